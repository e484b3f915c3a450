"""Accounts and settings from files and the environment.

Rule: a file says only what the command line could say, and an unknown key is an error; a secret
comes from the environment or from a file of its own.
"""

from __future__ import annotations

import os
import shlex
import tomllib
from collections.abc import Collection
from pathlib import Path
from typing import Any

from harvester.datacube import TOKEN_KINDS
from harvester.errors import UsageError
from harvester.model import Account
from harvester.plan import nearest

DEFAULT_FILE = "harvester.toml"
SECRET_VARIABLE = "HARVESTER_SECRET"  # the name, not the secret


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file's content; raises `UsageError` with the file, and the line if there is one."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise UsageError(f"{path} cannot be read ({exc.strerror})") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise UsageError(f"{path} is not TOML: {exc}") from None


def read_config(path: Path, known: Collection[str]) -> dict[str, Any]:
    """Settings by the names of the options, with underscores; raises `UsageError`."""
    values = {}
    for key, value in read_toml(path).items():
        name = key.replace("-", "_")
        if name not in known:
            shown = sorted(option.replace("_", "-") for option in known)
            raise UsageError(f"{path}: unknown key {key!r}{nearest(key, shown)}")
        if name == "interface":
            if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
                raise UsageError(f"{path}: interface is not a list of tables; write [[interface]]")
        elif isinstance(value, dict):
            raise UsageError(f"{path}: {key!r} is a table; give a value")
        values[name] = value
    return values


def read_accounts(path: Path, *, secrets: bool = True) -> list[Account]:
    """The accounts of a file of ``[[account]]`` tables; raises `UsageError`.

    secrets: whether the references are followed; without, no account can fetch a token.
    """
    content = read_toml(path)
    for key in content:
        if key != "account":
            raise UsageError(f"{path}: unknown key {key!r}; accounts are [[account]] tables")
    tables = content.get("account", [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise UsageError(f"{path}: account is not a list of tables; write [[account]]")
    if not tables:
        raise UsageError(f"{path} names no account; add [[account]] tables")
    return [_account(path, number, table, secrets) for number, table in enumerate(tables, 1)]


def _account(path: Path, number: int, table: dict[str, Any], secrets: bool) -> Account:
    where = f"{path}, account {number}"
    for key, value in table.items():
        if key not in ("appid", "secret", "token"):
            raise UsageError(f"{where}: unknown key {key!r}; known are appid, secret, token")
        if not isinstance(value, str):
            raise UsageError(f"{where}: {key} is not a string")
    if not table.get("appid"):
        raise UsageError(f"{where} has no appid")
    if not table.get("secret"):
        raise UsageError(f"{where} ({table['appid']}) has no secret; write secret = 'env:NAME'")
    token = table.get("token", "stable")
    if token not in TOKEN_KINDS:
        raise UsageError(f"{where}: token {token!r} is not one of {', '.join(TOKEN_KINDS)}")
    secret = read_secret(table["secret"], where, path.parent) if secrets else "-"
    return Account(table["appid"], secret=secret, token=token)


def read_secret(reference: str, where: str, folder: Path) -> str:
    """What ``env:NAME`` or ``file:PATH`` refers to; raises `UsageError`."""
    kind, _, name = reference.partition(":")
    if kind == "env" and name:
        secret = os.environ.get(name, "")
        problem = f"the environment variable {name} is not set"
    elif kind == "file" and name:
        path = folder / Path(name).expanduser()
        try:
            with path.open(encoding="utf-8") as file:
                _check_private(file.fileno(), path, where)
                secret = file.read()
        except OSError as exc:
            raise UsageError(
                f"{where}: the secret file {path} cannot be read ({exc.strerror})"
            ) from None
        except UnicodeDecodeError:
            raise UsageError(f"{where}: the secret file {path} is not text") from None
        problem = f"the secret file {path} is empty"
    else:
        raise UsageError(f"{where}: a secret is a reference: env:NAME or file:PATH")
    if not secret.strip():
        raise UsageError(f"{where}: {problem}")
    return secret.strip()


def _check_private(number: int, path: Path, where: str) -> None:
    """Raise `UsageError` if others than its owner may read an open file."""
    if os.name != "nt" and os.fstat(number).st_mode & 0o077:  # Windows has no such bits
        raise UsageError(
            f"{where}: the secret file {path} is open to others; run: chmod 600"
            f" {shlex.quote(str(path))}"
        )


def single_account(appid: str) -> Account:
    """The account of ``--appid``; its secret is in the environment."""
    secret = os.environ.get(SECRET_VARIABLE, "").strip()
    if not secret:
        raise UsageError(
            f"the account {appid} has no secret; put it into the environment variable"
            f" {SECRET_VARIABLE}"
        )
    return Account(appid, secret=secret)
