"""The frozen values that travel from room to room.

Rule: values only; nothing here decides, waits or touches the outside.

The small ones that are made once a window are named tuples: they cost a third of a frozen
dataclass.  The two that hold something secret hide it in their repr.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from datetime import date
from enum import Enum
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote_plus
from zlib import crc32

from harvester.codec import TALLY_BITS, lines_of, pieces_of

if TYPE_CHECKING:
    from harvester.auth import TokenProvider
    from harvester.endpoint import Endpoint

TokenSource = Callable[[], "Awaitable[Token | str] | Token | str"]
"""A callable of the user's that gives a token: a central token server, for instance."""


@dataclass(frozen=True, slots=True)
class Account:
    """One Official Account.

    appid: as WeChat gives it, ``wx`` and sixteen hexadecimal digits.
    secret: the AppSecret; never shown, logged or stored.
    token: where its access token comes from.  With a secret: ``"stable"`` (the default: WeChat's
        stable_token interface, never forced) or ``"classic"`` (the older token interface; every
        fetch kills the token of everybody else).  Without one: ``"cloud"`` (cloud hosting, no token
        at all), ``"cloudbase"`` or ``"cloudbase:file:PATH"`` (its token, from a file),
        ``"command:PROG ARGS"`` (what a program prints), ``"https://…"`` (what a token server
        answers), ``"static:env:NAME"`` or ``"static:file:PATH"``; or a callable, plain or async,
        without arguments, that returns a `Token` or a string.  `Platform.account` makes accounts
        of a third-party platform.
    concurrency: requests in flight for it at the most, whatever others may have; None: no cap of
        its own.
    """

    appid: str
    secret: str | None = field(default=None, repr=False)
    token: str | TokenSource | TokenProvider = field(default="stable", repr=False)
    concurrency: int | None = field(default=None, repr=False)


ACCESS_TOKEN = "access_token"  # the name of a query parameter, not a token


class Token:
    """An access token and how long it lives, in seconds, counted from when it was given out.

    parameter: the query parameter that carries it: ``"access_token"``, in cloud hosting
        ``"cloudbase_access_token"``, or an empty string where no token is sent at all.
    """

    __slots__ = ("lifetime", "parameter", "value")

    def __init__(self, value: str, lifetime: float = 7200.0, parameter: str = ACCESS_TOKEN) -> None:
        self.value = value
        self.lifetime = lifetime
        self.parameter = parameter

    def __repr__(self) -> str:
        return f"<Token of {len(self.value)} characters, {self.lifetime:g} s>"


class Stored(NamedTuple):
    """A token as a store keeps it, for all programs that share an account.

    ends: the Unix time of its end; lifetime: the seconds that it had when it was given out.
    """

    value: str
    ends: float
    lifetime: float

    def __repr__(self) -> str:
        return f"<Stored token of {len(self.value)} characters, until {self.ends:.0f}>"


class Hidden:
    """A secret or a token, where its value must not show: in a repr, or in a frame's locals."""

    __slots__ = ("value",)

    def __init__(self, value: str) -> None:
        self.value = value

    def __repr__(self) -> str:
        return "<Hidden>"

    @property
    def is_text(self) -> bool:
        """Whether it can be sent: bytes that are no UTF-8 come out of the environment as text."""
        try:
            return bool(self.value.encode())
        except (AttributeError, UnicodeEncodeError):
            return False

    def cut_from(self, text: str) -> str:
        """The text without it: an answer may echo what was sent, as it is or in part escaped."""
        if not self.value:
            return text
        value = self.value.encode(errors="replace")
        given = text.encode(errors="replace")
        left = _without(given, value)
        return text if left == given else left.decode(errors="replace")

    def cut_from_response(self, response: Response) -> Response:
        """The same of an answer; what is so short that it stands there by chance is left."""
        if len(self.value) < SHORTEST_TO_CUT:
            return response
        body = _without(response.body, self.value.encode(errors="replace"))
        return Response(response.status, body)


SHORTEST_TO_CUT = 16
"""Characters of a token.  WeChat's have more than a hundred, its secrets 32."""

_CUT = "…".encode()
_ESCAPED = re.compile(rb"%(?:25)*([0-9A-Fa-f]{2})|\\+u([0-9A-Fa-f]{4})|\\+([/\"'])")
_ESCAPED_IN_EACH_OTHER = 4
_LONGEST_ESCAPED = 1 << 16
"""Bytes of a text in which escapes are looked for: an answer with a message is short."""


def _without(text: bytes, value: bytes) -> bytes:
    """The text less a value, also where some of its characters are escaped (URL, JSON)."""
    for form in {value, quote_plus(value).encode()}:
        text = text.replace(form, _CUT)
    if len(text) > _LONGEST_ESCAPED or (b"%" not in text and b"\\" not in text):
        return text
    plain, places = _unescaped(text)
    wanted, _ = _unescaped(value)  # what it holds itself may look escaped, too
    end = len(plain)
    while (begin := plain.rfind(wanted, 0, end)) >= 0:
        text = text[: places[begin]] + _CUT + text[places[begin + len(wanted)] :]
        end = begin
    return text


def _unescaped(text: bytes) -> tuple[bytes, list[int]]:
    """What a text means, and where each byte of that, and its end, stands in the text."""
    places = list(range(len(text) + 1))
    for _ in range(_ESCAPED_IN_EACH_OTHER):
        plain, steps = bytearray(), list[int]()
        at = 0
        for found in _ESCAPED.finditer(text):
            meant = _meant(found)
            plain += text[at : found.start()] + meant
            steps += [*range(at, found.start()), *[found.start()] * len(meant)]
            at = found.end()
        if not at:
            break
        steps += range(at, len(text) + 1)
        text, places = bytes(plain + text[at:]), [places[step] for step in steps]
    return text, places


def _meant(escaped: re.Match[bytes]) -> bytes:
    url, json, sign = escaped.groups()
    if url:
        return bytes.fromhex(url.decode())
    return chr(int(json, 16)).encode(errors="replace") if json else bytes(sign)


class Window(NamedTuple):
    """What one request asks for: days ``begin`` to ``end``, both included."""

    appid: str
    endpoint: str
    begin: date
    end: date

    def __str__(self) -> str:
        days = f"{self.begin}" if self.begin == self.end else f"{self.begin} to {self.end}"
        return f"{self.appid} {self.endpoint} {days}"


class Request(NamedTuple):
    """One HTTP request; query, body and headers may hold a token or a secret.

    path: below the base URL; or, of a token server of the user's, a whole URL.
    """

    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None
    headers: tuple[tuple[str, str], ...] = ()

    def __repr__(self) -> str:
        return f"<Request {self.method} {self.path if self.path[:1] == '/' else '…'}>"


class Response(NamedTuple):
    """One HTTP answer, its body read to the end."""

    status: int
    body: bytes

    def __repr__(self) -> str:
        return f"<Response {self.status}, {len(self.body)} bytes>"  # a token may stand in it


class Action(Enum):
    """What an answer asks of us, named after how far it reaches."""

    DONE = "done"
    RETRY = "retry"  # this attempt: again after a backoff
    SLOW_DOWN = "slow down"  # this account: pause to the next minute, then again
    RENEW_TOKEN = "renew token"  # this account: one new token, then again
    QUOTA = "quota"  # this interface of this account: wait for midnight in China
    NOT_READY = "not ready"  # this window: the figures are not there yet
    SPLIT = "split"  # this window: it is too long, ask for its halves
    FAIL_WINDOW = "fail window"
    NO_PERMISSION = "no permission"  # this interface; if all say so, this account
    STOP_ENDPOINT = "stop endpoint"
    STOP_ACCOUNT = "stop account"


class Verdict(NamedTuple):
    """What one answer means.

    code: WeChat's errcode, None if the answer had none (an HTTP or transport failure).
    message: one sentence for the operator.
    rid: WeChat's request id, for its support and for rid/get; empty if it gave none.
    records: the records of an answer that is DONE, as they came.
    answered: False if no HTTP answer arrived at all; connected: False if not even a connection was
        opened.
    foreign: rows that it held for days that were not asked for; they are not among the records.
    delayed: WeChat says that the figures are late and will change (``is_delay``).
    more: the answer has another page.
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
    connected: bool = True


def without_rid(message: str) -> str:
    """An error as it reads without WeChat's request id, which is another one each time."""
    return message.partition(" [rid:")[0]


def many(number: int, noun: str) -> str:
    """A number with its noun: 1 day, 1,234 days."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


NAMES = 3
"""So many names of a list are told."""


def listed(names: Collection[str], noun: str) -> str:
    """The first names of a list, and how many more there are."""
    first, left = ", ".join(islice(names, NAMES)), len(names) - NAMES
    return f"{first} and {many(left, f'more {noun}')}" if left > 0 else first


HELD = 6 * 3600.0
"""Seconds for which a window that is stored with all its days, and is not final, is not asked for
again: WeChat's figures change once a day."""


class Batch:
    """All records of one window, on their way to the sinks.

    endpoint: the interface's description, for its columns; None if it is not known.
    records: as they came, without the metadata.  fetched_at: RFC 3339, UTC, whole seconds.
    version: grows with each fetch of a window (milliseconds of the Unix time).
    replaces: records of these days may stand in the sink already.
    late: the figures are late: the window comes again, and this run may not count it as done.
    """

    __slots__ = (
        "_pieces", "_sums", "endpoint", "fetched_at", "late", "records", "replaces", "version",
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
        self.records = records
        self.fetched_at = fetched_at
        self.endpoint = endpoint
        self.version = version
        self.replaces = replaces
        self.late = late
        self._pieces: list[bytes] | None = None
        self._sums: list[int] | None = None

    def __repr__(self) -> str:
        return f"<Batch {self.window}, {len(self.records)} records>"

    @property
    def pieces(self) -> list[bytes]:
        """Each record as JSON without its closing brace; raises `MalformedError`."""
        if self._pieces is None:
            self._pieces = pieces_of(self.records)
        return self._pieces

    @property
    def checksums(self) -> list[int]:
        """The checksum of each record: crc32 of its piece."""
        if self._sums is None:
            self._sums = [*map(crc32, self.pieces)]
        return self._sums

    @property
    def tally(self) -> Tally:
        """How many records, and the sum of their checksums."""
        return Tally(len(self.records), sum(self.checksums) & TALLY_BITS)

    def lines(self) -> bytes:
        """The records as JSON lines, metadata included, UTF-8."""
        return lines_of(self.pieces, metadata(self.window, self.fetched_at))

    def documents(self) -> list[dict[str, Any]]:
        """The records as dicts, metadata included."""
        beside = metadata(self.window, self.fetched_at)
        return [{**record, **beside} for record in self.records]


def all_days(window: Window) -> int:
    """A bit for each day of a window."""
    return (1 << ((window.end - window.begin).days + 1)) - 1


def metadata(window: Window, fetched_at: str) -> dict[str, str]:
    """The fields that stand beside an interface's own in every record of a window."""
    return {
        "_appid": window.appid,
        "_endpoint": window.endpoint,
        "_begin_date": window.begin.isoformat(),
        "_end_date": window.end.isoformat(),
        "_fetched_at": fetched_at,
    }


class Tally(NamedTuple):
    """How many records, and the sum of their checksums, which does not depend on their order."""

    records: int = 0
    checksum: int = 0

    def plus(self, other: Tally) -> Tally:
        """Both together."""
        return Tally(self.records + other.records, (self.checksum + other.checksum) & TALLY_BITS)
