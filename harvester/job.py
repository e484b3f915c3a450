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
"""What an option of a job may be."""

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
    """A run as data, which can be pickled, sent to another machine and run there.

    endpoints: names of interfaces and groups.  start, end: the first and the last day, as `run`
        takes them; ``yesterday`` is that of the day on which the job runs.
    appid: one account; its secret is in HARVESTER_SECRET where the job runs.  accounts: instead of
    appid, a file of accounts (TOML or CSV), whose secrets are references: ``env:NAME``,
        ``file:PATH``.  The file is read where the job runs.  only: appids, names and groups of
        accounts of that file; without it all that are enabled.
    sink: specs, as ``"postgresql://host/database"``; if there is none, JSON lines in ``out``, where
        the ledger is kept too unless the option ``ledger`` names another.
    interfaces: tables as ``[[interface]]`` in ``harvester.toml``.
    options: those of `Keywords` that are text or numbers: all but ``session``, ``transport``,
        ``on_event`` and ``stop``.

    A relative path is relative to the directory in which the job runs.  A password belongs in the
    environment of the process that runs the job, or in a file there; a URL with a password is
    refused.  All values are checked when a job is made: raises `UsageError`, and `TypeError` for an
    unknown name.
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
        """The job in a file that ``harvester run --config`` takes; raises `UsageError`.

        Its keys are the options of the command; ``endpoints`` may be written for ``endpoint``.
        Options of the command alone (``json``, ``uvloop``, ``waiting-ok``) are ignored. Relative
        paths are relative to the directory of the file.

        environ: variables ``HARVESTER_…`` that override the file, as they do for the command; none
        without it.  Secrets are read from the environment where the job runs.
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
        """Run it here; returns and raises what `harvester.run` does.

        accounts: what `read_accounts` has returned before; without it the accounts are read now.
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
        """Run it here from code that is not asynchronous, as `harvester.run_sync` does."""
        return wait_for(lambda: self.run(on_event=on_event, stop=stop))

    @property
    def _place(self) -> Place:
        """Where its harvest is; without its interfaces, which are not read each time."""
        return Place(Path(self.out), cast("str | None", self.options.get("ledger")))

    def open_sinks(self) -> list[Sink]:
        """Its sinks, not opened yet; raises `UsageError`."""
        return api.open_sinks(self.sink or self._place.lines)

    def open_ledger(self, *, readonly: bool = False) -> Ledger:
        """Its ledger, not entered yet; raises `UsageError`.

        readonly: it is only read, but for the state of the daily service.
        """
        return self._place.ledger(readonly=readonly)

    def read_accounts(self) -> Account | list[Account]:
        """Its accounts with their secrets; raises `UsageError`, also if none can have a token."""
        if self.accounts is not None:
            return read_accounts(Path(self.accounts), only=self.only)
        return single_account(self.appid or "")

    def _interfaces(self) -> list[Any]:
        return choose_interfaces(self.endpoints, read_interfaces([*self.interfaces], "job"))

    def _check(self) -> None:
        """Raise `UsageError` for a job that cannot run; reads no secret and no accounts."""
        if (self.appid is None) == (self.accounts is None):
            raise UsageError("a job needs an appid or a file of accounts, and not both")
        if self.only and self.accounts is None:
            raise UsageError("only: it selects accounts of a file, and the job has none")
        anybody = Account(self.appid or "wx", secret="-")
        options = converted(cast("Keywords", dict(self.options)))
        scope, _ = api.resolve(anybody, self._interfaces(), self.start, self.end, options)
        api.open_targets(options, self.open_sinks(), scope.endpoints)
        self.open_ledger(readonly=True)  # only its spec is checked
        if isinstance(store := self.options.get("token_store"), str):
            open_store(store)


# values


def _listed(given: Any) -> list[Any]:
    """One value, or several."""
    several = isinstance(given, Iterable) and not isinstance(given, str)
    return list(given) if several else [given]


def _hidden(name: str, value: Any) -> Any:
    """The value; text that may hold a password as a `Secret`."""
    secret = name in OPTIONS and OPTIONS[name].secret
    return Secret(value) if secret and isinstance(value, str) else value


def _refuse_password(name: str, value: object) -> None:
    """Raise `UsageError` for a URL that holds a password."""
    if isinstance(value, Secret) and holds_password(value):
        scheme = value.value.partition(":")[0][:20]
        place = _PASSWORDS.get(scheme)
        raise UsageError(
            say("{}: a job holds no password; remove it from the URL", name)
            + (say(" and put it into {} of the process that runs the job", place) if place else "")
        )


def _plain(name: str, value: object) -> Value:
    """The value as text or a number; raises `UsageError`."""
    if name in _OBJECTS:
        raise UsageError("{}: it belongs to one process, and a job holds text and numbers", name)
    if isinstance(value, Secret):
        return value.value  # without a password
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if value is None or isinstance(value, str | int | float | Rate):
        return value
    raise UsageError("{}: a job holds text and numbers, not a {}", name, type(value).__name__)


def _plain_parts(name: str, value: object) -> Any:
    """Tables and lists, down to text and numbers; raises `UsageError`."""
    if isinstance(value, Mapping):
        return {str(key): _plain_parts(name, each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain_parts(name, each) for each in value]
    return _plain(name, value)


# the file


def _values(path: Path, environ: Mapping[str, str]) -> dict[str, Any]:
    """The content of a file, as a job takes it; raises `UsageError`."""
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
