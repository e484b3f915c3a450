"""The frozen values that modules pass to each other.

Rule: values only; nothing here decides, waits or does I/O.

Small values that are created for each window are named tuples: they cost a third of a frozen
dataclass.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from datetime import date
from enum import Enum
from itertools import islice
from typing import Any, NamedTuple, Protocol, runtime_checkable
from zlib import crc32

from harvester.base.codec import (
    TALLY_BITS,
    line_end,
    lines_of,
    own_fields,
    parse_lines,
    pieces_of,
    records_checksum,
)
from harvester.base.dates import WindowKind
from harvester.base.secrets import Secret
from harvester.texts import Text, changed, say

TokenSource = Callable[[], "Awaitable[Token | str] | Token | str"]
"""A user's callable that returns a token, for instance from a central token server."""


@dataclass(frozen=True, slots=True)
class Account:
    """One Official Account or mini-program.

    appid: the AppID from WeChat, ``wx`` and sixteen hexadecimal digits.
    secret: the AppSecret, kept as a `Secret`; it is never shown, logged, pickled or stored.
    token: where the access token comes from.  With a secret: ``"stable"`` (the default: WeChat's
        stable_token interface, never forced) or ``"classic"`` (the older token interface; every
        fetch ends the token of every other program).  Without a secret: ``"cloud"`` (cloud
        hosting, no token at all), ``"cloudbase"`` or ``"cloudbase:file:PATH"`` (a cloud hosting
        token from a file), ``"command:PROG ARGS"`` (the output of a program), ``"https://…"`` (the
        answer of a token server), ``"static:env:NAME"`` or ``"static:file:PATH"``.  It can also be
        a plain or async callable without arguments that returns a `Token` or a string.
        `Platform.account` makes accounts of a third-party platform.
    concurrency: the most requests in flight for this account; None: no limit for this account.
    name, group: the display name of the account, and its group; used in messages and `--only`.
    """

    appid: str
    secret: str | Secret | None = field(default=None, repr=False)
    token: str | TokenSource | TokenProvider = field(default="stable", repr=False)
    concurrency: int | None = field(default=None, repr=False)
    name: str = field(default="", repr=False)
    group: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        if self.secret is not None:
            object.__setattr__(self, "secret", Secret(self.secret))  # it is frozen


ACCESS_TOKEN = "access_token"  # the name of a query parameter, not a token


class Token(Secret):
    """An access token and its lifetime in seconds, counted from when WeChat issued it.

    parameter: the query parameter that carries the token: ``"access_token"``, or in cloud hosting
        ``"cloudbase_access_token"``; an empty string if no token is sent.
    """

    __slots__ = ("lifetime", "parameter")

    def __init__(
        self, value: str | Secret, lifetime: float = 7200.0, parameter: str = ACCESS_TOKEN
    ) -> None:
        super().__init__(value)
        self.lifetime = lifetime
        self.parameter = parameter

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {len(self.value)} characters, {self.lifetime:g} s>"

    @property
    def query(self) -> tuple[tuple[str, str], ...]:
        """The query that carries the token in a request; empty if no token is sent."""
        return ((self.parameter, self.value),) if self.parameter else ()

    def _parts(self) -> tuple[object, ...]:
        return (self.value, self.lifetime, self.parameter)


class Stored(Token):
    """A token in a token store, for all programs that share an account.

    ends: the Unix time at which the token expires.  lifetime: its lifetime in seconds when WeChat
    issued it.
    """

    __slots__ = ("ends",)

    def __init__(self, value: str | Secret, ends: float, lifetime: float) -> None:
        super().__init__(value, lifetime)
        self.ends = ends

    def _parts(self) -> tuple[object, ...]:
        return (*super()._parts(), self.ends)


class Window(NamedTuple):
    """The days that one request asks for: ``begin`` to ``end``, both included."""

    appid: str
    endpoint: str
    begin: date
    end: date

    def __str__(self) -> str:
        return say("{} {} {}", self.appid, self.endpoint, span(self.begin, self.end))


class Request(NamedTuple):
    """One HTTP request; query, body and headers can hold a token or a secret.

    path: the path below the base URL; for the user's own token server, a complete URL.
    """

    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None
    headers: tuple[tuple[str, str], ...] = ()

    def __repr__(self) -> str:
        return f"<Request {self.method} {self.path if self.path[:1] == '/' else '…'}>"


class Response(NamedTuple):
    """One HTTP answer, with its complete body."""

    status: int
    body: bytes

    def __repr__(self) -> str:
        return f"<Response {self.status}, {len(self.body)} bytes>"  # it may contain a token


Send = Callable[[Request], Awaitable[Response]]


@runtime_checkable
class TokenProvider(Protocol):
    """Where an account's tokens come from."""

    async def fetch(self, send: Send) -> Token:
        """A token that is valid now; raises `TokenRefusedError`."""
        ...


class Action(Enum):
    """The reaction to an answer; the first member stops the least, the last one the most."""

    DONE = "done"
    RETRY = "retry"  # this attempt: again after a backoff
    SLOW_DOWN = "slow down"  # this account: pause to the next minute, then again
    RENEW_TOKEN = "renew token"  # this account: one new token, then again
    QUOTA = "quota"  # this interface of this account: wait for midnight in China
    NOT_READY = "not ready"  # this window: the figures are not there yet
    SPLIT = "split"  # this window: it is too long, request single days
    FAIL_WINDOW = "fail window"
    NO_PERMISSION = "no permission"  # this interface; if all answer that, this account
    STOP_ENDPOINT = "stop endpoint"
    STOP_ACCOUNT = "stop account"


class Verdict(NamedTuple):
    """The meaning of one answer.

    code: WeChat's errcode; None if the answer had none (an HTTP or transport failure).
    message: one sentence for the operator.
    rid: WeChat's request id, for WeChat's support and for rid/get; empty if WeChat sent none.
    records: the unchanged records, if the action is DONE.
    answered: False if no HTTP answer arrived at all.
    foreign: rows of days that were not requested; they are not among the records.
    delayed: WeChat reports that the figures are late and will change (``is_delay``).
    more: the answer has another page.
    as_text: a number that a float cannot hold (NaN or 1e400) is a string in the records.
    then: the action to take instead when no attempt is left; None: the window fails.
    """

    action: Action
    message: str = ""
    code: int | None = None
    rid: str = ""
    records: list[dict[str, Any]] = []  # noqa: RUF012  (shared on purpose: never written to)
    answered: bool = True
    foreign: int = 0
    delayed: bool = False
    more: bool = False
    as_text: bool = False
    then: Action | None = None


class Code(NamedTuple):
    """A value of a field, and its label in Chinese and in English."""

    value: int | str
    zh: str
    en: str


class Field(NamedTuple):
    """One field of a record.

    type: ``date``, ``int``, ``float``, ``str``, ``bool``, ``object`` or ``list``; a date is a day
        in the format of the interface.
    meaning: one line in English.
    fields: the fields of an object, or of each item of a list of objects.
    item: the type of the items of a list.
    label: the title of the field in Chinese.
    codes: the values that have a label; other values are possible.
    codes_by: for a field within a list, the field of the outer item that decides what a value
        means.  Each code is then the text of both values, separated by a blank.
    constant: the field has the same value in every record, so it has no information.
    """

    name: str
    type: str
    meaning: str = ""
    fields: tuple[Field, ...] = ()
    item: str = "object"
    label: str = ""
    codes: tuple[Code, ...] = ()
    constant: bool = False
    codes_by: str = ""


@runtime_checkable
class Endpoint(Protocol):
    """One interface.

    name: the name that users type; it is also the name of the folder or the table.
    group: the group of the interface, or an empty string.
    first_day: the first day that has data.
    cut, span: how a range is cut into windows, and the most days of one window.
    settled_hour: the hour in China from which the figures of the previous day can be requested.
    late_days: the number of days for which the figures of a window can change, counted from its
        last day (included); 0: they never change.  If a record has a list with one entry per day,
        the last entry is for the last of these days.
    daily: the interface has a row for every day: a day without a row is late, never zero.
    day_field: the field of a record that has its day: ``ref_date``, or ``stat_item.date`` for a
        field within an object; empty if there is no such field.
    retired: WeChat has taken the interface offline; it is requested by its own name only, never as
        part of a group.
    successors: the interfaces that WeChat offers instead.
    fields: the known fields of a record.
    """

    @property
    def name(self) -> str: ...
    @property
    def group(self) -> str: ...
    @property
    def first_day(self) -> date: ...
    @property
    def cut(self) -> WindowKind: ...
    @property
    def span(self) -> int: ...
    @property
    def settled_hour(self) -> int: ...
    @property
    def late_days(self) -> int: ...
    @property
    def daily(self) -> bool: ...
    @property
    def day_field(self) -> str: ...
    @property
    def retired(self) -> bool: ...
    @property
    def successors(self) -> tuple[str, ...]: ...
    @property
    def fields(self) -> tuple[Field, ...]: ...

    def request(self, window: Window, token: Token, page: int = 1) -> Request:
        """The request for a window, or for a later page; ``token.query`` carries the token."""
        ...

    def verdict(self, response: Response, window: Window) -> Verdict:
        """The meaning of a response, with records if it is DONE; any bytes must be accepted."""
        ...

    def quota_request(self, token: Token) -> Request | None:
        """The request for the number of calls left today; None if there is no such request."""
        ...


Find = Callable[[str], Endpoint | None]


def with_rid(message: str, rid: str) -> str:
    """A message with WeChat's request id at its end, if there is one."""
    return say("{} [rid: {}]", message, rid) if rid else message


def without_rid(message: str) -> str:
    """An error without WeChat's request id, which differs each time."""
    return changed(message, lambda text: text.partition(" [rid:")[0])


def span(begin: date, end: date) -> str:
    """The first and the last day of a range, or its only day."""
    return f"{begin}" if begin == end else say("{} to {}", begin, end)


def many(number: int, noun: str) -> str:
    """A number with its noun: 1 day, 1,234 days."""
    return Text(f"{{}} {noun}{'' if number == 1 else 's'}", (f"{number:,}",))


def duration(seconds: float) -> str:
    """Seconds with a unit that suits them: 9.5 s, 42 s, 20 min, 2 h 05 min."""
    if seconds < 10:
        return say("{:.1f} s", seconds)
    if seconds < 120:
        return say("{:.0f} s", seconds)
    minutes = round(seconds / 60)
    if minutes < 120:
        return say("{} min", minutes)
    return say("{:,} h {:02} min", minutes // 60, minutes % 60)


NAMES = 3


def listed(names: Collection[str], noun: str) -> str:
    """The first names of a list, and how many more there are."""
    first, left = ", ".join(islice(names, NAMES)), len(names) - NAMES
    return say("{} and {}", first, many(left, f"more {noun}")) if left > 0 else first


RECHECK_INTERVAL = 6 * 3600.0
"""Seconds for which a window that is stored with all its days, and is not final, is not requested
again: WeChat's figures change once a day."""


class Batch:
    """All records of one window, on their way to the sinks.

    endpoint: the description of the interface, for its columns; None if it is unknown.
    fetched_at: the time of the request (RFC 3339, UTC, whole seconds).
    version: the Unix time in milliseconds; it grows with each fetch of a window.
    replaces: records of these days can already be in the sink.
    late: the figures are late: the window does not count as done, and is requested again.
    """

    __slots__ = (
        "_beside",
        "_checksum",
        "_pieces",
        "_records",
        "count",
        "endpoint",
        "fetched_at",
        "late",
        "packed",
        "replaces",
        "version",
        "window",
    )  # fmt: skip

    def __init__(
        self,
        window: Window,
        records: list[dict[str, Any]],
        fetched_at: str,
        *,
        endpoint: Endpoint | None = None,
        version: int = 0,
        replaces: bool = False,
        late: bool = False,
    ) -> None:
        self.window = window
        self.count = len(records)
        self.fetched_at = fetched_at
        self.endpoint = endpoint
        self.version = version
        self.replaces = replaces
        self.late = late
        self._records: list[dict[str, Any]] | None = records
        self.packed: bytes | None = None
        self._pieces: list[bytes] | None = None
        self._beside: bytes | None = None
        self._checksum: int | None = None

    def __repr__(self) -> str:
        return f"<Batch {self.window}, {self.count} records>"

    @property
    def records(self) -> list[dict[str, Any]]:
        """The unchanged records, without metadata."""
        if self._records is None:
            assert self.packed is not None, "pack has made the lines"
            self._records = own_fields(parse_lines(self.packed))
        return self._records

    @property
    def pieces(self) -> list[bytes]:
        """Each record as JSON without its closing brace; raises `MalformedError`."""
        if self._pieces is None:
            self._pieces = pieces_of(self.records)
        return self._pieces

    @property
    def checksum(self) -> int:
        """The checksum of the records without metadata: 32 bits."""
        if self._checksum is None:
            self._checksum = records_checksum(self.pieces)
        return self._checksum

    @property
    def tally(self) -> Tally:
        """The number of records, and the checksum of the window."""
        return Tally.of(self.count, self.checksum, self._line_end())

    def lines(self) -> bytes:
        """The records with metadata, as JSON lines in UTF-8."""
        if self.packed is not None:
            return self.packed
        return lines_of(self.pieces, self._line_end())

    def _line_end(self) -> bytes:
        if self._beside is None:
            self._beside = line_end(metadata(self.window, self.fetched_at))
        return self._beside

    def pack(self) -> None:
        """Keep lines instead of records: records need several times as much memory."""
        self.packed = self.lines()
        self._records = self._pieces = self._beside = None

    def documents(self) -> list[dict[str, Any]]:
        """The records with metadata, as dicts."""
        beside = metadata(self.window, self.fetched_at)
        return [{**record, **beside} for record in self.records]


def all_days(window: Window) -> int:
    """A bit for each day of a window."""
    return (1 << ((window.end - window.begin).days + 1)) - 1


def metadata(window: Window, fetched_at: str) -> dict[str, str]:
    """The metadata fields that are added to every record of a window."""
    return {
        "_appid": window.appid,
        "_endpoint": window.endpoint,
        "_begin_date": window.begin.isoformat(),
        "_end_date": window.end.isoformat(),
        "_fetched_at": fetched_at,
    }


class Tally(NamedTuple):
    """The number of records, and the sum of the checksums of their windows, modulo 2**63.

    The lower 32 bits of a window's checksum are the checksum of its records; the other bits also
    depend on its metadata.  So the sum changes if figures were exchanged between two windows, or
    if metadata was changed or exchanged.
    """

    records: int = 0
    checksum: int = 0

    @classmethod
    def of(cls, records: int, checksum: int, beside: bytes) -> Tally:
        """The tally of a window; beside: the end of its lines, which has the metadata."""
        if not records:
            return cls()
        product = checksum * (crc32(beside) | 1)
        return cls(records, (product ^ product >> 32) << 32 & TALLY_BITS | checksum)

    def same_records(self, other: Tally) -> bool:
        """Whether two tallies of a window describe the same records, whenever fetched."""
        return self.records == other.records and not (self.checksum ^ other.checksum) & _RECORDS

    def plus(self, other: Tally) -> Tally:
        """The sum of two tallies."""
        return Tally(self.records + other.records, (self.checksum + other.checksum) & TALLY_BITS)


_RECORDS = (1 << 32) - 1
