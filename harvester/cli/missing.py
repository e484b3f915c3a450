"""The command ``status --missing DAY``: each account and interface that lacks a day, and why.

Rule: reads the ledger; a row is printed before the next one is made, so memory does not grow.
"""

from __future__ import annotations

import csv
import io
import re
import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import date
from typing import Protocol

from rich.cells import cell_len

from harvester.base import codec
from harvester.base.dates import last_legal_day, parse_day
from harvester.base.spreadsheet import BOM, FORMULA
from harvester.cli.exit_status import COMPLETE, FAILED_WINDOWS
from harvester.cli.language import LANGUAGES, label, language
from harvester.cli.terminal import china_time, escaped, many, padded, plain, readable, show_line
from harvester.config.place import Place
from harvester.errors import UsageError
from harvester.ledger.base import Key
from harvester.report.days import Reader, StatusFilter
from harvester.report.missing import LACKING, OTHERS, STATES, UNDELIVERED, Lack, lacks_of
from harvester.texts import joined, say

COUNTED = {
    "failed": "{:,} failed", "late": "{:,} late", "missing": "{:,} missing",
    "not_asked": "{:,} not asked", "never_harvested": "{:,} never harvested",
    "waiting": "{:,} waiting", "not_due": "{:,} not due",
    "never_delivered": "{:,} never delivered", "cannot_be_asked": "{:,} cannot be asked",
    "no_figures": "{:,} no figures",
}  # fmt: skip
"""How many interfaces of accounts are in a state."""
COLUMNS = (
    "day", "appid", "name", "endpoint", "state", "reason", "code", "detail", "since", "until",
    "what_to_do", "rid",
)  # fmt: skip
_HAS = "has"
_WAITS = ("waiting", "late", "missing")
ENGLISH = 1
MOST_REASONS = 20
"""The most reasons for which it is shown what to do."""


async def show_missing(
    place: Place,
    day: str,
    wanted: StatusFilter,
    *,
    form: str = "text",
    check: bool = False,
) -> int:
    """Print what lacks a day; gives the exit status.

    day: as of ``--start``.  form: ``text``, ``json`` or ``csv``.  check: whether it is
    a status of its own if something lacks a day that WeChat has.  Raises `UsageError` for a day
    that is not over.
    """
    now = time.time()
    wanted_day = _day_of(day, now)
    printer = _PRINTERS[form](wanted_day, place.names)
    states: Counter[str] = Counter()
    async with place.ledger() as ledger:
        reader = Reader(ledger, now, place.own, wanted)
        await reader.prepare()
        printer.begin(reader.asked)
        async for lack in lacks_of(reader, wanted_day):
            states[lack.state if lack else _HAS] += 1
            if lack is not None:
                printer.show(lack)
    printer.end(states)
    lacking = any(states[state] for state in LACKING)
    return FAILED_WINDOWS if check and lacking else COMPLETE


def _day_of(given: str, now: float) -> date:
    day = parse_day(given, now, "--missing")
    if day > (last := last_legal_day(now)):
        raise UsageError(
            "--missing: nobody has {} yet; the last day with data is yesterday in China, {}",
            day,
            last,
        )
    return day


class _Printer(Protocol):
    """A form of the answer."""

    def __init__(self, day: date, names: Mapping[str, str]) -> None: ...

    def begin(self, keys: Iterable[Key]) -> None:
        """Print what comes first; keys: what was asked for."""
        ...

    def show(self, lack: Lack) -> None:
        """Print a row."""
        ...

    def end(self, states: Counter[str]) -> None:
        """Print what comes last; states: interfaces of accounts by state, `_HAS` as well."""
        ...


class _Text:
    """A line each; then what to do for each reason, and the totals."""

    def __init__(self, day: date, names: Mapping[str, str]) -> None:
        self._day, self._names = day, names
        self._advice: dict[str, str] = {}
        self._widths = (0, 0)

    def begin(self, keys: Iterable[Key]) -> None:
        widths = [(cell_len(self._account(appid)), len(name)) for appid, name in keys]
        widths += [(cell_len(self._account(appid)), 0) for appid in self._names]
        columns = zip(*widths, strict=True) if widths else ((0,), (0,))
        account, interface = map(max, columns)
        self._widths = max(account, len("account")), max(interface, len("interface"))

    def show(self, lack: Lack) -> None:
        if not self._advice:
            self._line(*map(label, ("account", "interface", "state", "since", "reason")))
        at = LANGUAGES.index(language())
        reason, advice = lack.reason[at], lack.advice[at]
        self._advice.setdefault(reason, advice)
        until = ""
        if lack.state in _WAITS and lack.until:
            until = f" {label(say('until {}', china_time(lack.until)))}"
        detail = say(": {}", lack.detail) if lack.detail else ""
        since = str(lack.since or "")
        account = self._account(lack.appid)
        self._line(account, lack.endpoint, _words(lack.state), since, reason + until + detail)

    def _account(self, appid: str) -> str:
        name = self._names.get(appid)
        return plain(f"{appid} ({name})" if name else appid)

    def _line(self, account: str, interface: str, state: str, since: str, reason: str) -> None:
        account, interface = map(padded, (account, interface), self._widths)
        show_line(
            "{}  {}  {}  {}  {}",
            account,
            interface,
            padded(state, 15),
            padded(since, 10),
            readable(reason),
        )

    def end(self, states: Counter[str]) -> None:
        total, have = states.total(), states[_HAS]
        if not total:
            show_line("nothing that was asked for is like that")
            return
        if have == total:
            show_line(
                "{}: nothing lacks it, of {} of accounts", self._day, many(total, "interface")
            )
            return
        lacking = sum(states[each] for each in UNDELIVERED)
        show_line("what to do:")
        colon = ": " if language() == "en" else "："
        for reason, advice in [*self._advice.items()][:MOST_REASONS]:
            show_line("  {}", plain(f"{reason}{colon}{advice}"))
        more = len(self._advice) - MOST_REASONS
        if more > 0:
            show_line("  and {}; --json and --csv have it in each row", many(more, "other reason"))
        parts, others = (_numbers(states, some) for some in (UNDELIVERED, OTHERS))
        asked, day = have + lacking, self._day
        if others:
            show_line("not counted: {}", others)
        if lacking:
            show_line(
                "{}: {:,} of {} of accounts lack it: {}",
                day,
                lacking,
                many(asked, "interface"),
                parts,
            )
        else:
            show_line("{}: nothing lacks it, of {} of accounts", day, many(asked, "interface"))


class _Json:
    """One line: the day, the rows, and the totals."""

    def __init__(self, day: date, names: Mapping[str, str]) -> None:
        self._day, self._names = day, names
        self._comma = ""

    def begin(self, keys: Iterable[Key]) -> None:
        print(f'{{"day":"{self._day}","missing":[', end="")

    def show(self, lack: Lack) -> None:
        row = {"name": self._names.get(lack.appid, ""), **lack.to_dict(ENGLISH)}
        print(self._comma + escaped(codec.encode(row).decode()), end="")
        self._comma = ","

    def end(self, states: Counter[str]) -> None:
        counts = {state: states[state] for state in STATES}
        totals = codec.encode({"interfaces": states.total(), "have": states[_HAS], **counts})
        print(f'],"totals":{totals.decode()}}}', flush=True)


class _Csv:
    """RFC 4180 for Excel, as the files of ``csv:`` exports: UTF-8 with a byte order mark."""

    def __init__(self, day: date, names: Mapping[str, str]) -> None:
        self._day, self._names = str(day), names

    def begin(self, keys: Iterable[Key]) -> None:
        self._write(COLUMNS, BOM)

    def show(self, lack: Lack) -> None:
        row = {**lack.to_dict(ENGLISH), "day": self._day, "name": self._names.get(lack.appid, "")}
        self._write([_cell(row[name]) for name in COLUMNS])

    def _write(self, cells: Iterable[str], before: str = "") -> None:
        line = io.StringIO()
        csv.writer(line, lineterminator="\r\n").writerow(cells)
        _write_bytes(f"{before}{line.getvalue()}".encode())

    def end(self, states: Counter[str]) -> None:
        sys.stdout.flush()


def _numbers(states: Counter[str], names: Iterable[str]) -> str:
    """How many interfaces of accounts there are of some states."""
    found = {each: states[each] for each in names if states[each]}
    return joined(", ", [say(COUNTED[state], number) for state, number in found.items()])


def _cell(value: object) -> str:
    """A cell on one line; a text that Excel would take for a formula is escaped."""
    text = "" if value is None else plain(str(value))
    return f"'{text}" if re.match(FORMULA, text) else text


def _write_bytes(line: bytes) -> None:
    """Write to standard output as it is: in no other encoding, and with no other line end."""
    if (raw := getattr(sys.stdout, "buffer", None)) is not None:
        raw.write(line)
    else:
        sys.stdout.write(line.decode())


def _words(state: str) -> str:
    return label(state.replace("_", " "))


_PRINTERS: Mapping[str, type[_Printer]] = {"text": _Text, "json": _Json, "csv": _Csv}
