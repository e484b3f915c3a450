"""What an interface is to the engine, and the usual JSON shape of one.

Rule: pure; from a window to a request, from a response to a verdict.  Which interfaces exist,
and what their error codes mean, is data in `harvester.wechat.interfaces`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from operator import itemgetter
from typing import Any, ClassVar

from harvester.base.codec import AsText, MalformedError, encode, parse
from harvester.base.dates import (
    ONE_DAY,
    Grid,
    Load,
    WindowKind,
    last_settled_day,
    period_of,
    settles_at,
)
from harvester.errors import UsageError
from harvester.model import Action, Endpoint, Field, Request, Response, Token, Verdict, Window
from harvester.texts import say
from harvester.wechat.codes import ERRORS
from harvester.wechat.response import Rule, code_of, read, refusal

_OBJECTS = {dict}
_OF_THE_ANSWER = {"errcode", "errmsg", "is_delay"}
"""Fields that report that an answer is correct or late; they are not figures."""
_NAME = re.compile(r"[A-Za-z][0-9A-Za-z_-]{0,99}")
_DEVICE = re.compile(r"con|prn|aux|nul|com[0-9]|lpt[0-9]", re.IGNORECASE)  # to Windows
UNIX = "unix"
"""A format of days in a request: the Unix time of the first midnight in China, and of the one that
ends the last day."""
_DATE_FORMATS = ("%Y-%m-%d", "%Y%m%d", UNIX)
_SPEAKS_OF_RANGE = re.compile(r"range|span", re.IGNORECASE)
EARLIEST = date(2000, 1, 1)
"""The first day that an interface can have; files of lines count days from then on."""
DATE_FORMAT, DATE_RANGE = 61500, 61501
"""The two codes about dates.  Most pages call the first one the format and the second one the
range; getarticlesummary's own page calls the first one the range.  So the text decides."""


def check_name(name: object) -> str:
    """An interface's name, checked to be usable as a folder and a table; raises `UsageError`."""
    if isinstance(name, str) and _NAME.fullmatch(name) and not _DEVICE.fullmatch(name):
        return name
    shown = f"{name!r}"[:80]
    raise UsageError(
        "interface: {} cannot be the name of a folder or table; use up to 100 letters, digits, _"
        " and -, beginning with a letter",
        shown,
    )


TYPES = ("date", "int", "float", "str", "bool", "object", "list")
"""Of fields."""


def check_endpoint(name: object, first_day: Any, fields: Iterable[Field] = ()) -> None:
    """Check an interface's name, first day and fields; raises `UsageError`."""
    check_name(name)
    _check_fields(name, fields)
    is_day = isinstance(first_day, date) and not isinstance(first_day, datetime)
    if not is_day or first_day < EARLIEST:
        raise UsageError(
            "interface {}: first_day is {}, but must be {} or later; no interface of WeChat has"
            " older figures",
            name,
            first_day,
            EARLIEST,
        )


def _check_fields(interface: object, fields: Iterable[Field]) -> None:
    for each in fields:
        if not (isinstance(each.name, str) and _NAME.fullmatch(each.name)):
            shown = f"{each.name!r}"[:80]
            raise UsageError(
                "interface {}: field {} cannot be the name of a column; use up to 100 letters,"
                " digits, _ and -, beginning with a letter, or omit the field: its value is then"
                " in _extra",
                interface,
                shown,
            )
        for what, given in (("type", each.type), ("item", each.item)):
            if given not in TYPES:
                raise UsageError(
                    "interface {}: field {}: {} {!r} is not one of {}",
                    interface,
                    each.name,
                    what,
                    given,
                    ", ".join(TYPES),
                )
        if each.item == "list":
            raise UsageError(
                "interface {}: field {}: an item of a list cannot be a list; omit the field: its"
                " value is then in _extra",
                interface,
                each.name,
            )
        _check_fields(interface, each.fields)


def grid(endpoint: Endpoint, last: date) -> Grid:
    """How an interface's days are cut; last: the last day that can be asked for."""
    return Grid(endpoint.cut, endpoint.span, endpoint.first_day, last)


def first_not_due(endpoint: Endpoint, now: float) -> date:
    """The first day that WeChat does not have yet: its week or month, or its day, is not over."""
    settled = last_settled_day(now, endpoint.settled_hour)
    return period_of(settled + ONE_DAY, endpoint.cut)[0]


def load_of(endpoint: Endpoint, end: date, calls: int, spent: int, now: float) -> Load:
    """What the calls that are left, up to an end, need of an interface's daily quota."""
    moves_on = end == last_settled_day(now, endpoint.settled_hour)
    period = {WindowKind.DAYS: endpoint.span, WindowKind.WEEK: 7, WindowKind.MONTH: 30}.get(
        endpoint.cut, 1
    )
    by_the_day = endpoint.cut in (WindowKind.DAYS, WindowKind.RECENT)
    return Load(calls, spent, end, moves_on and by_the_day, endpoint.late_days, period)


@dataclass(frozen=True)
class JsonEndpoint:
    """An interface whose request has two days as JSON, and whose answer has a ``list``.

    An answer is empty only if its list is empty.  The request is sent again if the answer has no
    list, if all rows are for other days, or, with an empty ``rows``, if the answer has no known
    field: otherwise the error page of a gateway would count as an empty day.

    path: the path below the base URL.
    errors: a rule for each errcode; an errcode without a rule fails the window.
    dates: the format of days in the request, ``%Y-%m-%d``, ``%Y%m%d`` or ``unix``.
    begin_key, end_key: the names of the two days in the body of the request.  If both names are the
        same, the request has only one day.
    body: the other fields of the body.
    asks_first_day: the request has only the first day of the window (for a week or a month that
        WeChat returns for any of its days).
    rows: the field with the records; empty: the complete answer is one record.
    lifts: fields beside ``rows`` that belong to each record.
    day_field: the field of a record that has its day (``stat_item.date``: a field within an
        object), or empty; records of days that were not requested are dropped.
    grows: while the figures change, each answer has all records of the earlier answers.  Always
        true if a record has a list of entries that each have a day.
    key: the fields that identify a record of an account; required if ``grows``.
    record_type: the name of the type in `harvester.wechat.types`, for example GetUserSummary.
    permission_set: the number of the group of rights that an account must grant to a third-party
        platform before the platform is allowed to call the interface.
    cloud_call: the name of the interface in cloud functions.
    title, label: one line about the interface, in English and in Chinese.
    page: the URL of WeChat's page about the interface.

    The other fields are those of `Endpoint`.  Raises `UsageError` for an invalid name, span, hour,
    date format or body.
    """

    method: ClassVar[str] = "POST"

    name: str
    path: str
    first_day: date
    span: int = 1
    settled_hour: int = 8
    errors: Mapping[int, Rule] = field(default_factory=lambda: ERRORS, repr=False)
    successors: tuple[str, ...] = ()
    title: str = ""
    label: str = ""
    group: str = ""
    cut: WindowKind = WindowKind.DAYS
    asks_first_day: bool = False
    dates: str = "%Y-%m-%d"
    begin_key: str = "begin_date"
    end_key: str = "end_date"
    body: Mapping[str, Any] = field(default_factory=dict)
    rows: str = "list"
    lifts: tuple[str, ...] = ()
    day_field: str = "ref_date"
    late_days: int = 0
    daily: bool = False
    grows: bool = False
    retired: bool = False
    key: tuple[str, ...] = ()
    fields: tuple[Field, ...] = field(default=(), repr=False)
    record_type: str = ""
    permission_set: str = ""
    cloud_call: str = ""
    page: str = ""

    def __post_init__(self) -> None:
        check_endpoint(self.name, self.first_day, self.fields)
        if self.span < 1 or not 0 <= self.settled_hour <= 23 or self.late_days < 0:
            raise UsageError(
                "interface {}: span must be at least 1, settled_hour 0 to 23, late_days at least 0",
                self.name,
            )
        if self.dates not in _DATE_FORMATS:
            raise UsageError(
                "interface {}: dates must be {}", self.name, " or ".join(_DATE_FORMATS)
            )
        days = {self.begin_key, self.end_key}
        if "" in days | self.body.keys() or days & self.body.keys():
            raise UsageError(
                "interface {}: begin_key and end_key must be names that are not keys of body",
                self.name,
            )
        one_day = self.asks_first_day or (self.cut is WindowKind.DAYS and self.span == 1)
        if len(days) == 1 and not one_day:
            raise UsageError(
                "interface {}: begin_key and end_key are the same key, so a request names one day;"
                ' this requires span = 1 and cut = "days", or asks_first_day',
                self.name,
            )
        if self.late_days and not self.key and (self.grows or list_by_day(self)):
            raise UsageError(
                "interface {}: its records grow, so a later answer must be compared with them; "
                'name the fields that identify a record: key = ["ref_date", …]',
                self.name,
            )
        if not _is_json(self.body):
            raise UsageError("interface {}: body has a value that JSON cannot represent", self.name)

    def request(self, window: Window, token: Token, page: int = 1) -> Request:
        """A POST with the two days of the window in the body and the token in the query."""
        first, last = window.begin, window.begin if self.asks_first_day else window.end
        begin: str | int
        end: str | int
        if self.dates == "%Y-%m-%d":
            begin = first.isoformat()
            end = begin if first == last else last.isoformat()
        elif self.dates == UNIX:
            begin, end = int(settles_at(first - ONE_DAY, 0)), int(settles_at(last, 0))
        else:
            begin, end = first.strftime(self.dates), last.strftime(self.dates)
        given = {self.begin_key: begin, self.end_key: end, **self.body}
        if self.begin_key == self.end_key:
            given[self.begin_key] = begin
        return Request("POST", self.path, token.query, encode(given))

    def quota_request(self, token: Token) -> Request | None:
        """A POST to quota/get with the path of this interface.

        For an account of a platform, this request also carries the token of the account and not
        that of the platform: WeChat accepts the latter only for interfaces of the platform itself.
        """
        body = encode({"cgi_path": self.path})
        return Request("POST", "/cgi-bin/openapi/quota/get", token.query, body)

    def verdict(self, response: Response, window: Window) -> Verdict:
        """DONE with the records of ``rows``, or the action of the rule for the errcode."""
        answer = read(response)
        if isinstance(answer, Verdict):
            return answer
        code = code_of(answer)
        if code is None:
            return Verdict(Action.RETRY, say("the answer's errcode is not a number"))
        if code:
            return self._refused(answer, window)
        return self._done(answer, window)

    def _done(self, answer: dict[str, Any], window: Window) -> Verdict:
        if not self.rows:
            return self._whole(answer, window)
        if self.rows not in answer:
            return Verdict(Action.RETRY, say("the answer has no {}", self.rows))
        records = answer[self.rows]
        if not isinstance(records, list) or not {*map(type, records)} <= _OBJECTS:
            return Verdict(Action.RETRY, say("the answer's {} is not a list of objects", self.rows))
        if self.lifts:
            beside = {name: answer[name] for name in self.lifts if name in answer}
            records = [{**beside, **record} for record in records]
        return self._asked(records, answer, window)

    def _whole(self, answer: dict[str, Any], window: Window) -> Verdict:
        record = {name: answer[name] for name in answer if name not in _OF_THE_ANSWER}
        known = [each.name for each in self.fields]
        known += [self.day_field.partition(".")[0]] if self.day_field else []
        if not (any(name in record for name in known) if known else record):
            figures = (
                say("none of {}", ", ".join(dict.fromkeys(known))) if known else say("no figures")
            )
            return Verdict(Action.RETRY, say("the answer has {}", figures))
        return self._asked([record], answer, window)

    def _asked(
        self, records: list[dict[str, Any]], answer: dict[str, Any], window: Window
    ) -> Verdict:
        marks = [each["is_delay"] for each in (answer, *records) if "is_delay" in each]
        done = Verdict(
            Action.DONE,
            records=records,
            delayed=any(map(_is_true, marks)),
            as_text=isinstance(answer, AsText),
        )
        asked = within(records, self.day_field, window) if self.day_field else records
        foreign = len(records) - len(asked)
        if not foreign:
            return done
        if not asked:
            return Verdict(
                Action.RETRY, say("the answer has only rows of days that were not requested")
            )
        return done._replace(records=asked, foreign=foreign)

    def _refused(self, answer: dict[str, Any], window: Window) -> Verdict:
        verdict = refusal(answer, self.errors)
        if verdict.action is Action.STOP_ENDPOINT and self.successors:
            names = ", ".join(self.successors)
            return verdict._replace(
                message=say("{}; its successors are {}", verdict.message, names)
            )
        return too_long(verdict, answer, window) if self.cut is WindowKind.DAYS else verdict


def too_long(verdict: Verdict, answer: Mapping[str, Any], window: Window) -> Verdict:
    """SPLIT in place of a refusal of the range, if the window has more than one day."""
    if window.begin == window.end or verdict.code not in (DATE_FORMAT, DATE_RANGE):
        return verdict
    text = answer.get("errmsg")
    speaks_of_range = isinstance(text, str) and _SPEAKS_OF_RANGE.search(text) is not None
    if verdict.code == DATE_RANGE or speaks_of_range:
        return verdict._replace(action=Action.SPLIT)
    return verdict


def _is_true(value: object) -> bool:
    """``is_delay`` has been seen as a boolean and as a string; 1 would mean the same."""
    return str(value).strip().lower() in ("true", "1")


def _is_json(body: Mapping[str, Any]) -> bool:
    """Whether a body arrives unchanged: a date would arrive as text, an infinity as null."""
    try:
        return bool(parse(encode(body)) == body)
    except (TypeError, MalformedError):
        return False


def within(records: list[dict[str, Any]], day_field: str, window: Window) -> list[dict[str, Any]]:
    """The records of the window's days; one that names no day belongs to it."""
    begin, end = window.begin, window.end
    if begin == end:
        try:
            days = [*map(itemgetter(day_field), records)]
            if days.count(begin.isoformat()) == len(days):
                return records
        except KeyError:  # one has no day, or has it in an object
            pass
    return [record for record in records if _lies_in(in_record(record, day_field), begin, end)]


def list_by_day(endpoint: Endpoint) -> tuple[str, str] | None:
    """The list of a record that has entries with a day each, and the field of that day."""
    for each in endpoint.fields:
        for part in each.fields:
            if each.type == "list" and part.type == "date":
                return each.name, part.name
    return None


def in_record(record: Any, field: str) -> Any:
    """What a field of a record holds, or (``stat_item.date``) of an object in it; None if not."""
    for name in field.split("."):
        record = record.get(name) if isinstance(record, dict) else None
    return record


def figures_of(
    endpoint: Endpoint,
) -> Callable[[list[dict[str, Any]]], list[dict[str, Any]]]:
    """A function from records of an interface to those that have a value beside their key and day.

    Null, an empty list and an empty object are none, also within others; 0 is one, and so is what
    the catalogue does not know.  All records of an interface whose fields are only a key and a day
    have figures.
    """
    beside = {*getattr(endpoint, "key", ()), endpoint.day_field}
    beside.update(each.name for each in endpoint.fields if each.constant)
    figures = [each for each in endpoint.fields if each.name not in beside]
    if not figures:
        return list
    usual = itemgetter(next((each.name for each in figures if each.type in _NUMBERS), ""))

    def has_figures(record: Mapping[str, Any]) -> bool:
        return any(
            value.__class__ not in _HOLLOW or _holds(value, f"{name}.", beside)
            for name, value in record.items()
            if name not in beside
        )

    def with_figures(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
        try:
            sum(map(usual, records))  # without a loop in Python, and fails if one has no number
        except (KeyError, TypeError, OverflowError):  # the last: too large for a sum with a float
            return [each for each in records if has_figures(each)]
        return records

    return with_figures


_HOLLOW, _NUMBERS = {dict, list, type(None)}, ("int", "float")


def _holds(value: Any, path: str, beside: Collection[str]) -> bool:
    """Whether a value is one, or has one that is not at one of these paths."""
    left = [(value, path)]  # it may be nested more deeply than calls can be
    while left:
        value, path = left.pop()
        if isinstance(value, dict):
            inner = [(f"{path}{name}", each) for name, each in value.items()]
            left += [(each, f"{name}.") for name, each in inner if name not in beside]
        elif isinstance(value, list):
            left += [(each, f"{path}[].") for each in value]
        elif value is not None:
            return True
    return False


def _lies_in(value: object, begin: date, end: date) -> bool:
    day = day_of(value)
    return day is None or begin <= day <= end


def day_of(value: object) -> date | None:
    """The day, or the first day of the week or month, that a field names.

    WeChat writes ``2024-01-31``, ``20240131``, ``20240129-20240204`` and ``202401``.
    """
    if isinstance(value, int):
        value = str(value)
    if not isinstance(value, str):
        return None
    digits = value.replace("-", "")
    if not (digits.isascii() and digits.isdigit()):
        return None
    if len(digits) == 6:
        digits += "01"
    try:
        return date.fromisoformat(f"{digits[:4]}-{digits[4:6]}-{digits[6:8]}")
    except ValueError:
        return None
