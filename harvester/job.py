"""A run as data: what is asked for, with which options, into which sinks.

Rule: a job holds text and numbers, and no secret.  What its text refers to (accounts, environment
variables, files) is read on the machine that runs it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Unpack, cast

from harvester import api
from harvester.base.secrets import Secret, holds_password
from harvester.base.threads import wait_for
from harvester.config.accounts import read_accounts, single_account
from harvester.config.files import (
    COMMAND_OPTIONS,
    located,
    over,
    read_config,
    read_environment,
)
from harvester.config.interfaces import choose_interfaces, read_interfaces
from harvester.config.place import Place
from harvester.config.settings import (
    KEYWORDS,
    OPTIONS,
    InvalidOptionError,
    Keywords,
    converted,
)
from harvester.engine.limiter import Rate
from harvester.engine.options import StopSignal
from harvester.errors import UsageError
from harvester.events import Observer, Report
from harvester.ledger import Ledger
from harvester.model import Account
from harvester.sinks.base import Sink
from harvester.texts import say
from harvester.tokens.stores import open_store

Value = str | int | float | Rate | None

_OBJECTS = ("session", "transport", "on_event", "stop")
_OWN = ("start", "end", "appid", "accounts", "only", "out", "sink")
_PASSWORDS = {
    "mysql": "MYSQL_PWD",
    "postgresql": say("PGPASSWORD or ~/.pgpass"),
    "redis": "HARVESTER_REDIS_PASSWORD",
    "rediss": "HARVESTER_REDIS_PASSWORD",
}


@dataclass(frozen=True, init=False, repr=False)
class Job:
    """The description of a run: it can be pickled, sent to another machine and run there.

    endpoints: names of interfaces and groups.
    start, end: the first and the last day, in the formats of `run`; ``yesterday`` is
        evaluated when the job runs.
    appid: one account; its secret is in HARVESTER_SECRET on the machine that runs the job.
    accounts: instead of appid, a file with accounts (TOML or CSV).  It is read on the machine that
        runs the job.  Its secrets are references: ``env:NAME``, ``file:PATH``.
    only: appids, names and groups of accounts in that file; without it, all enabled accounts.
    sink: specs, as ``"postgresql://host/database"``; without a spec, JSON lines in ``out``.
    out: the directory of the JSON lines, and of the ledger unless the option ``ledger`` names
        another place.
    interfaces: tables with the keys of ``[[interface]]`` in ``harvester.toml``.
    options: the options of `Keywords` that are text or numbers: all except ``session``,
        ``transport``, ``on_event`` and ``stop``.

    A relative path is relative to the directory in which the job runs.  Put passwords into the
    environment of the process that runs the job, or into a file on that machine; a URL with a
    password is refused.  All values are checked when the job is made: it raises `UsageError`, and
    `TypeError` for an unknown name.
    """

    endpoints: tuple[str, ...]
    start: str
    end: str
    appid: str | None
    accounts: str | None
    only: tuple[str, ...]
    sink: tuple[str, ...]
    out: str
    interfaces: tuple[dict[str, Any], ...] = field(hash=False)
    options: Mapping[str, Value | tuple[Value, ...]] = field(hash=False)

    def __init__(
        self,
        *,
        endpoints: str | Sequence[str],
        start: date | str,
        end: date | str,
        appid: str | None = None,
        accounts: str | os.PathLike[str] | None = None,
        only: str | Sequence[str] = (),
        sink: str | Secret | Sequence[str | Secret] = (),
        out: str | os.PathLike[str] = "harvest",
        interfaces: Sequence[Mapping[str, Any]] = (),
        **options: Unpack[Keywords],
    ) -> None:
        specs = [_hidden("sink", spec) for spec in _listed(sink)]
        given = {name: _hidden(name, value) for name, value in options.items()}
        sink, options = (), {}  # no frame is to show a URL that may hold a password
        for name, value in [*(("sink", spec) for spec in specs), *given.items()]:
            _refuse_password(name, value)
        values = {
            "endpoints": tuple(_plain("endpoints", name) for name in _listed(endpoints)),
            "start": _plain("start", start),
            "end": _plain("end", end),
            "appid": _plain("appid", appid),
            "accounts": _plain("accounts", accounts),
            "only": tuple(_plain("only", word) for word in _listed(only)),
            "sink": tuple(_plain("sink", spec) for spec in specs),
            "out": _plain("out", out),
            "interfaces": tuple(_plain_parts("interfaces", table) for table in interfaces),
            "options": {
                name: tuple(_plain(name, each) for each in _listed(value))
                if name == "export"
                else _plain(name, value)
                for name, value in given.items()
            },
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)  # it is frozen
        self._check()

    def __repr__(self) -> str:
        """All fields that are set: a traceback may show a job that was refused."""
        return f"Job({', '.join(f'{name}={value!r}' for name, value in vars(self).items())})"

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, environ: Mapping[str, str] | None = None) -> Job:
        """Read a job from a configuration file of ``harvester run``; raises `UsageError`.

        The keys of the file are the options of the command; ``endpoints`` can be used instead of
        ``endpoint``.  Options that only the command has (``json``, ``uvloop``, ``waiting-ok``) are
        ignored.  Relative paths are relative to the directory of the file.

        environ: variables ``HARVESTER_…`` that override the file, as for the command; without it
        nothing is overridden.  Secrets are read from the environment in which the job runs.
        """
        path = Path(path)
        values = _values(path, environ or {})
        try:
            return cls(**values)
        except InvalidOptionError as exc:
            raise exc.named(exc.name, path) from None
        except UsageError as exc:
            raise UsageError("{}: {}", path, exc) from None

    async def run(
        self,
        *,
        accounts: Account | Sequence[Account] | None = None,
        on_event: Observer | None = None,
        stop: StopSignal | None = None,
    ) -> Report:
        """Run the job in this process; result and exceptions are those of `harvester.run`.

        accounts: an earlier result of `read_accounts`; without it the accounts are read now.
        """
        options = {**self.options, "on_event": on_event, "stop": stop}
        return await api.run_at(
            self.read_accounts() if accounts is None else accounts,
            self._interfaces(),
            self.start,
            self.end,
            self.sink or self._place.lines,
            converted(cast("Keywords", options)),
            self._place.ledger(readonly=False),
        )

    def run_sync(
        self, *, on_event: Observer | None = None, stop: StopSignal | None = None
    ) -> Report:
        """Run the job from code that is not asynchronous, like `harvester.run_sync`."""
        return wait_for(lambda: self.run(on_event=on_event, stop=stop))

    @property
    def _place(self) -> Place:
        """Where its harvest is; without its interfaces, which are not read each time."""
        return Place(Path(self.out), cast("str | None", self.options.get("ledger")))

    def open_sinks(self) -> list[Sink]:
        """Create the sinks of the job, without opening them.  Raises `UsageError`."""
        return api.open_sinks(self.sink or self._place.lines)

    def open_ledger(self, *, readonly: bool = False) -> Ledger:
        """The ledger of the job; enter it with ``async with``.  Raises `UsageError`.

        readonly: the caller writes nothing but the state of the daily service.
        """
        return self._place.ledger(readonly=readonly)

    def read_accounts(self) -> Account | list[Account]:
        """The accounts with their secrets; raises `UsageError`, also if none can get a token."""
        if self.accounts is not None:
            return read_accounts(Path(self.accounts), only=self.only)
        return single_account(self.appid or "")

    def _interfaces(self) -> list[Any]:
        return choose_interfaces(self.endpoints, read_interfaces([*self.interfaces], "job"))

    def _check(self) -> None:
        """Raise `UsageError` for a job that cannot run; reads no secret and no accounts."""
        if (self.appid is None) == (self.accounts is None):
            raise UsageError("a job needs either an appid or a file of accounts")
        if self.only and self.accounts is None:
            raise UsageError(
                "only: it selects accounts from a file, but the job has no file of accounts"
            )
        anybody = Account(self.appid or "wx", secret="-")
        options = converted(cast("Keywords", dict(self.options)))
        scope, _ = api.resolve(anybody, self._interfaces(), self.start, self.end, options)
        api.open_targets(options, self.open_sinks(), scope.endpoints)
        self.open_ledger(readonly=True)  # only its spec is checked
        if isinstance(store := self.options.get("token_store"), str):
            open_store(store)


def _listed(given: Any) -> list[Any]:
    several = isinstance(given, Iterable) and not isinstance(given, str)
    return list(given) if several else [given]


def _hidden(name: str, value: Any) -> Any:
    secret = name in OPTIONS and OPTIONS[name].secret
    return Secret(value) if secret and isinstance(value, str) else value


def _refuse_password(name: str, value: object) -> None:
    if isinstance(value, Secret) and holds_password(value):
        scheme = value.value.partition(":")[0][:20]
        place = _PASSWORDS.get(scheme)
        raise UsageError(
            say("{}: a job cannot hold a password; remove it from the URL", name)
            + (say(" and set it in {} of the process that runs the job", place) if place else "")
        )


def _plain(name: str, value: object) -> Value:
    if name in _OBJECTS:
        raise UsageError(
            "{}: it belongs to one process; a job can hold only text and numbers", name
        )
    if isinstance(value, Secret):
        return value.value  # without a password
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if value is None or isinstance(value, str | int | float | Rate):
        return value
    raise UsageError(
        "{}: a job can hold text and numbers, but not a {}", name, type(value).__name__
    )


def _plain_parts(name: str, value: object) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain_parts(name, each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain_parts(name, each) for each in value]
    return _plain(name, value)


def _values(path: Path, environ: Mapping[str, str]) -> dict[str, Any]:
    folder = path.absolute().parent
    given = over(located(read_config(path), folder), read_environment(environ, COMMAND_OPTIONS))
    for name in ("endpoint", "start", "end"):
        if name not in given:
            raise UsageError("{}: there is no {}; a job needs endpoint, start and end", path, name)
    values = {"endpoints": given.pop("endpoint"), "out": folder / "harvest"}
    if "interface" in given:
        values["interfaces"] = given.pop("interface")
        read_interfaces(values["interfaces"], str(path))  # a message names the file
    for name, value in given.items():
        if name in _OWN or name in KEYWORDS:
            values[name] = _hidden(name, value)
    return values
