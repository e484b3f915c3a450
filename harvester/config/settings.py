"""Every option, declared once: its type, its check, its default and its help.

Rule: values and checks; reads no file and no environment, and knows no command line.

`Keywords` declares the options of the library, `Arguments` the further ones of the commands.  The
keyword options of `run` and `stream`, the options of the commands, the keys of the TOML file and
the variables ``HARVESTER_<NAME>`` all derive from these two.
"""

from __future__ import annotations

import math
import os
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from datetime import date
from pathlib import Path
from types import NoneType
from typing import (
    Annotated,
    Any,
    NamedTuple,
    TypedDict,
    Unpack,
    cast,
    get_args,
    get_type_hints,
)

from harvester.base.retry import check_count
from harvester.base.secrets import Secret
from harvester.engine.limiter import EXPECTED, Rate
from harvester.engine.options import Options, StopSignal
from harvester.errors import UsageError
from harvester.events import Observer
from harvester.texts import say
from harvester.tokens.stores import TokenStore
from harvester.transport import BASE_URL, Session, Transport, check_base_url


class Kind(NamedTuple):
    """The values that an option takes.

    expected: their description in messages; metavar: in ``--help``.
    check: returns the value to use; raises `UsageError`, `TypeError` or `ValueError`.
    read: returns the value of a text; raises `ValueError` or `KeyError`.
    """

    expected: str
    metavar: str
    check: Callable[[Any], object]
    read: Callable[[str], object] = str


def _instance(*types: type) -> Callable[[Any], object]:
    def check(value: Any) -> object:
        if not isinstance(value, types):
            raise TypeError
        return value

    return check


def _with_methods(*names: str) -> Callable[[Any], object]:
    def check(value: Any) -> object:
        has_all = all(callable(getattr(value, name, None)) for name in names)
        if not has_all or isinstance(value, type):  # a class instead of an object
            raise TypeError
        return value

    return check


_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|min|h|d)")
_SECONDS = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86_400.0}


def _duration(value: Any) -> float:
    """Return a duration in seconds; a text has a unit, a number is of seconds."""
    if isinstance(value, str):
        found = _DURATION.fullmatch(value.strip().lower())
        if found is None:
            raise ValueError
        value = float(found[1]) * _SECONDS[found[2]]
    if isinstance(value, bool) or not 0 < value < math.inf:
        raise ValueError
    return float(value)


def _count(value: Any) -> int:
    return check_count("", value)


class Tolerance(NamedTuple):
    """How many accounts may fail: a number, or a percentage of those that were asked for."""

    number: float
    is_share: bool = False

    def of(self, accounts: int) -> int:
        return int(accounts * self.number / 100 if self.is_share else self.number)


_TOLERANCE = re.compile(r"(\d+)|(\d+(?:\.\d+)?)\s*%")


def _tolerance(value: Any) -> Tolerance:
    found = _TOLERANCE.fullmatch(str(value).strip())
    if isinstance(value, bool) or found is None or float(found[2] or 0) > 100:
        raise ValueError
    return Tolerance(float(found[1] or found[2]), found[1] is None)


def _one_of(*words: str) -> Callable[[Any], object]:
    def check(value: Any) -> object:
        if value not in words:
            raise ValueError
        return value

    return check


def _string(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    if "\0" in value:
        raise ValueError
    return value


def _path(value: Any) -> Path:
    text = _string(os.fspath(value))
    if not text or "://" in text:  # a path would keep what may be a password on the disk
        raise ValueError
    return Path(text).expanduser()  # no shell has processed the value of a file or a variable


def _spec(value: Any) -> Secret:
    return value if isinstance(value, Secret) else Secret(_string(value))


def _token_store(value: Any) -> object:
    return Secret(value) if isinstance(value, str | Secret) else _is_store(value)


def _ledger(value: Any) -> object:
    if isinstance(value, str | Secret):
        return Secret(value)
    return _instance(os.PathLike)(value)


def _stop(value: Any) -> object:
    if isinstance(value, threading.Event):  # its wait would block the event loop
        raise TypeError
    return _with_methods("wait")(value)


_is_store = _with_methods("load", "replace", "lease", "close")
_FLAGS = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}

RATE = Kind(EXPECTED, "R", Rate.parse)
DURATION = Kind("a duration with its unit, e.g. 90s, 10m or 2h", "TIME", _duration)
COUNT = Kind("a whole number of at least 1", "N", _count, int)
TOLERANCE = Kind("a number of accounts or a share of them, e.g. 20 or 5%", "N|P%", _tolerance)
FLAG = Kind("true or false", "", _instance(bool), lambda text: _FLAGS[text.strip().lower()])
ORDER = Kind("newest or oldest", "[newest|oldest]", _one_of("newest", "oldest"))
LOG_FORMAT = Kind("text or json", "[text|json]", _one_of("text", "json"))
STRING = Kind("a string", "TEXT", _string)
SPEC = Kind("a string", "SPEC", _spec)
PATH = Kind("a path", "FILE", _path)
DAY = Kind("a date, e.g. 2024-01-31, or yesterday", "DATE", _instance(str, date))
URL = Kind(f"an http or https URL, e.g. {BASE_URL}", "URL", check_base_url)
SESSION = Kind("an aiohttp.ClientSession", "", _instance(Session))
STORE = Kind("memory, file:PATH, redis://HOST:PORT/DB or a TokenStore", "SPEC", _token_store)
EXPORT = Kind("a spec, e.g. parquet:DIR, or a list of them", "TARGET", _spec)
LEDGER = Kind("a path, sqlite:FILE, postgresql://… or None", "SPEC", _ledger)
CALLABLE = Kind("a function that takes an event", "", _with_methods("__call__"))
TRANSPORT = Kind("a Transport, e.g. harvester.testing.FakeTransport", "", _with_methods("send"))
STOP = Kind("an anyio.Event or an asyncio.Event", "", _stop)

REQUIRED = object()
"""The default of an option that must be given."""

RUN, RUN_AND_PLAN = ("run",), ("run", "plan")
SENDING, ASKING = ("run", "check"), ("run", "plan", "check")
WITH_OUT = (
    "run", "plan", "status", "verify", "rebuild", "report", "sink", "export", "forget", "mcp",
    "check",
)  # fmt: skip
LIBRARY_ONLY = ()


class Option(NamedTuple):
    """The declaration of an option, besides its name and its type.

    commands: those that take it.
    secret: whether its text may hold a password, and must not be shown.  A spec is a `Secret`.
    """

    kind: Kind
    default: Any
    help: str
    commands: tuple[str, ...] = RUN_AND_PLAN
    metavar: str = ""
    secret: bool = False
    several: bool = False


# the table of options, without the formatter, which would give each argument a line
# fmt: off


class Keywords(TypedDict, total=False):
    """The keyword options of `run` and `stream`."""

    rate: Annotated[Rate | str, Option(RATE, "300/min",
        "Maximum number of requests for one account in any period of this length: 10/s, 300/min,"
        " 2/h.  WeChat publishes no limit; the default is cautious.",
        ASKING)]
    burst: Annotated[int, Option(COUNT, 1,
        "Requests of one account that the rate allows at one moment.", ASKING)]
    concurrency: Annotated[int, Option(COUNT, 64,
        "Requests in flight for all accounts together.", ASKING)]
    account_concurrency: Annotated[int | None, Option(COUNT, None,
        "Requests in flight for one account.  If not given: an equal share of the concurrency, at"
        " least 2.", ASKING)]
    attempts: Annotated[int, Option(COUNT, 8,
        "Attempts per window before the window fails; with the delays between attempts, the"
        " default gives a busy server one to two minutes.")]
    patience: Annotated[str | float, Option(DURATION, "10m",
        "How long a run keeps trying after servers stop answering: 90s, 10m, 2h.  Attempts during"
        " this time do not count.  With --wait there is no limit.", ASKING)]
    daily_quota: Annotated[int | None, Option(COUNT, None,
        "Calls per day (China time) for each interface of each account.  If not given: as many as"
        " WeChat allows.", (*ASKING, "status", "report"))]
    ask_quota: Annotated[bool, Option(FLAG, False,
        "Ask WeChat how many calls are left today, once for each interface of each account.")]
    order: Annotated[str, Option(ORDER, "newest",
        "newest: yesterday first, then provisional figures (which can still change), then the past,"
        " newest first."
        "  oldest: from the first day to the last.")]
    refresh: Annotated[bool, Option(FLAG, False,
        "Harvest days again even if they are stored, and replace them.")]
    wait: Annotated[bool, Option(FLAG, False,
        "Wait until quotas are reset and figures are ready, instead of ending the run.", RUN)]
    base_url: Annotated[str, Option(URL, BASE_URL,
        "Base URL of a server to use instead of WeChat's.", SENDING, secret=True)]
    ca_file: Annotated[str | os.PathLike[str] | None, Option(PATH, None,
        "PEM file with certificate authorities to trust in addition to those of the machine; not"
        " together with a session, which has its own TLS settings.", SENDING)]
    token_store: Annotated[str | Secret | TokenStore | None, Option(STORE, "memory",
        "Where programs share the token of an account: memory (only this run), file:PATH (this"
        " machine; if PATH is a directory, one file per account), redis://HOST:PORT/DB (password"
        " in HARVESTER_REDIS_PASSWORD); in the library also a TokenStore, which is not closed.",
        SENDING, secret=True)]
    ledger: Annotated[str | Secret | os.PathLike[str] | None, Option(LEDGER, None,
        "Where the ledger is: a path, sqlite:FILE, or postgresql://HOST/DB, which any number of"
        " processes and machines can share; in the library also None, for no ledger.  If not"
        " given: for the command it is in --out; for the library it is beside the first sink that"
        " is a local directory (DIR/ledger.sqlite) or file (FILE.ledger.sqlite), else in the"
        " database of a postgresql:// sink, else there is none, and the report says so; stream has"
        " none.",
        WITH_OUT, secret=True)]
    export: Annotated[str | Secret | Sequence[str | Secret], Option(EXPORT, (),
        "Exports to update at the end of the run, unless the run is interrupted; repeatable:"
        " parquet:DIR, parquet:s3://BUCKET/PREFIX, csv:DIR, xlsx:FILE, duckdb:FILE.",
        RUN, metavar="TARGET", several=True)]
    lease: Annotated[str | float, Option(DURATION, "60s",
        "With a shared ledger: if this process does not renew its lease for this long, other"
        " processes take over its accounts.", RUN)]
    session: Annotated[Session | None, Option(SESSION, None,
        "Your own aiohttp.ClientSession: the library uses it with all its settings, and never"
        " closes it.  Without it, the library does less work for each request.", LIBRARY_ONLY)]
    transport: Annotated[Transport | None, Option(TRANSPORT, None,
        "A transport that replaces the network, for example harvester.testing.FakeTransport in"
        " tests; it excludes base_url, session and ca_file.", LIBRARY_ONLY)]
    on_event: Annotated[Observer | None, Option(CALLABLE, None,
        "A function that is called in the event loop with each event (harvester.events).  A"
        " coroutine function is awaited, one event after the other.", LIBRARY_ONLY)]
    stop: Annotated[StopSignal | None, Option(STOP, None,
        "An anyio.Event or asyncio.Event: once it is set, the run finishes and commits the"
        " requests in flight, and ends; the state of the report is interrupted.", LIBRARY_ONLY)]


class Arguments(TypedDict):
    """The further options of the commands."""

    endpoint: Annotated[list[str], Option(STRING, REQUIRED,
        "Interfaces and groups of interfaces.", ASKING, several=True)]
    start: Annotated[str | date, Option(DAY, REQUIRED,
        "First day: YYYY-MM-DD, yesterday (China time; before 08:00 it means the day before"
        " yesterday), yesterday-30d, or first (the first day of each interface).")]
    end: Annotated[str | date, Option(DAY, REQUIRED, "Last day, included.")]
    appid: Annotated[str, Option(STRING, None,
        "One account; its secret comes from HARVESTER_SECRET.", ASKING, "ID")]
    only: Annotated[list[str], Option(STRING, (),
        "Only the accounts of --accounts with this appid, name or group, repeatable.",
        (*ASKING, "status"), metavar="WHO", several=True)]
    accounts: Annotated[Path, Option(PATH, None,
        "TOML file with an [[account]] table for each account: appid, name, group, enabled (false:"
        " the account is left out), secret (env:NAME, or file:PATH of a file that only its owner"
        " can read), token (stable, classic, cloud, cloudbase, command:…, https://…, static:…),"
        " platform, refresh_token, concurrency (a limit for this account); and with [[platform]]"
        " tables.  Or a CSV file with these names in its header line.",
        (*ASKING, "status", "report", "export", "mcp"))]
    out: Annotated[Path, Option(PATH, Path("harvest"),
        "Directory of the JSON lines and the ledger.", WITH_OUT, "DIR")]
    sink: Annotated[list[Secret], Option(SPEC, (),
        "A sink that replaces the JSON lines, repeatable; the ledger stays in --out.  With -,"
        " standard output contains only the records, and all messages go to standard error.",
        secret=True, several=True)]
    uvloop: Annotated[bool, Option(FLAG, False,
        "Run on uvloop, if it is installed: 4 to 10 percent less CPU.", RUN)]
    json: Annotated[bool, Option(FLAG, False,
        "Print the report as JSON at the end of standard output (with --sink -: of standard"
        " error).",
        RUN)]
    quiet: Annotated[bool, Option(FLAG, False,
        "Show no progress and no summary: only what needs attention, and the report of --json.",
        RUN)]
    log_format: Annotated[str, Option(LOG_FORMAT, "text",
        "Format of messages and progress: text, or json (one object per line, with its time).",
        RUN)]
    waiting_ok: Annotated[bool, Option(FLAG, False,
        "Exit with 0 instead of 3 if nothing is wrong but something must wait: for schedulers that"
        " treat every other status as a failure.", RUN)]
    allow_failed: Annotated[Tolerance, Option(TOLERANCE, None,
        "Exit with 0 instead of 1 if no more accounts failed than this: a number (20) or a share"
        " (5%).  Accounts that did not fail in the previous run are always named.", RUN)]
    metrics: Annotated[Path, Option(PATH, None,
        "Write metrics to FILE.prom at the end of the run, even if the run fails, for the textfile"
        " collector of the Prometheus node_exporter; counters continue from run to run.", RUN)]
    metrics_appid: Annotated[bool, Option(FLAG, False,
        "Write the metrics of each interface separately for each account, with the label appid.",
        RUN)]


# fmt: on


def _table(declaration: type) -> dict[str, Option]:
    hints = get_type_hints(declaration, include_extras=True)
    return {name: get_args(hint)[1] for name, hint in hints.items()}


KEYWORDS: Mapping[str, Option] = _table(Keywords)
OPTIONS: Mapping[str, Option] = {**_table(Arguments), **KEYWORDS}
"""Each option by its name, in the order in which ``--help`` shows them."""

_MAY_BE_NONE = frozenset(
    name for name, hint in get_type_hints(Keywords).items() if NoneType in get_args(hint)
)

Keywords.__doc__ = f"{Keywords.__doc__}\n\n" + "\n".join(
    f"{name}: {row.help}" + ("" if row.default is None else f"  Default: {row.default!r}.")
    for name, row in KEYWORDS.items()
)


class InvalidOptionError(UsageError):
    """An option has a value that it does not take."""

    def __init__(self, name: str, shown: str, expected: str) -> None:
        super().__init__("{}={}: expected {}", name, shown, say(expected))
        self.name, self.shown, self.expected = name, shown, expected

    def __reduce__(self) -> tuple[type[InvalidOptionError], tuple[str, str, str]]:
        return type(self), (self.name, self.shown, self.expected)

    def named(self, name: str, where: object = None) -> UsageError:
        """The same, with the name as written, e.g. ``--rate``, and the file that has it."""
        values = name, self.shown, say(self.expected)
        if where is None:
            return UsageError("invalid {} {}: expected {}", *values)
        return UsageError("{}: invalid {} {}: expected {}", where, *values)


def _shown(name: str, value: object) -> str:
    """The value, unless it may hold a secret or is no plain value."""
    if isinstance(value, str) and OPTIONS[name].secret and "@" in value:
        return "'…'"
    if isinstance(value, date):
        return str(value)
    plain = isinstance(value, str | int | float | Rate | None)
    return repr(value) if plain else f"<{type(value).__name__}>"


def check(name: str, value: object) -> Any:
    """The checked value of an option; raises `InvalidOptionError`."""
    if value is None and name in _MAY_BE_NONE:
        return None
    if OPTIONS[name].several and isinstance(value, list | tuple):
        return [check(name, each) for each in value]
    return _checked(name, value, lambda kind: kind.check(value))


def read(name: str, text: str) -> Any:
    """The value of a text; raises `InvalidOptionError`."""
    return _checked(name, text, lambda kind: kind.check(kind.read(text)))


def _checked(name: str, given: object, call: Callable[[Kind], object]) -> object:
    kind = OPTIONS[name].kind
    try:
        return call(kind)
    except (UsageError, TypeError, ValueError, KeyError):
        raise InvalidOptionError(name, _shown(name, given), kind.expected) from None


def converted(given: Keywords) -> Keywords:
    """The checked options of a caller, in the same dict; the only place that does it.

    Specs come first: they become secrets, so that no frame of a traceback shows a password.  Raises
    `InvalidOptionError`, or `TypeError` for an unknown name.
    """
    values: dict[str, Any] = cast("Any", given)
    for name in sorted(values, key=lambda name: name not in _SPECS):
        if name not in KEYWORDS:
            raise TypeError(say("unknown option {!r}", name))
        values[name] = check(name, values[name])
    return given


_SPECS = [name for name, option in KEYWORDS.items() if option.kind in (STORE, LEDGER, EXPORT)]


_DEFAULTS = {name: check(name, option.default) for name, option in KEYWORDS.items()}


def options_of(given: Mapping[str, Any]) -> Options:
    """The options of the engine, from converted options and from the defaults of the others."""
    values = {**_DEFAULTS, **given}
    return Options(**{field.name: values[field.name] for field in fields(Options)})


def engine_options(**given: Unpack[Keywords]) -> Options:
    """The same of options as a caller writes them; raises as `converted` does."""
    return options_of(converted(given))
