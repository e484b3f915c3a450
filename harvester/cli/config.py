"""Settings from files and the environment.

Rule: a file says only what the command line could say, and an unknown key is an error; a secret
comes from the environment or from a file of its own.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Collection
from pathlib import Path
from typing import Any

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
    except RecursionError:
        raise UsageError(f"{path} cannot be read: its values are nested too deeply") from None


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


def single_account(appid: str) -> Account:
    """The account of ``--appid``; its secret is in the environment."""
    secret = os.environ.get(SECRET_VARIABLE, "").strip()
    if not secret:
        raise UsageError(
            f"the account {appid} has no secret; put it into the environment variable"
            f" {SECRET_VARIABLE}"
        )
    return Account(appid, secret=secret)
