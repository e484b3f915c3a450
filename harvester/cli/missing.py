"""The command ``status --missing DAY``: each account and interface that lacks a day, and why.

As JSON and CSV a row is printed before the next one is made; as text, the names of what lacks the
day are in memory.
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

from harvester.base import codec
from harvester.base.dates import parse_past_day
from harvester.base.spreadsheet import BOM, FORMULA
from harvester.cli.exit_status import COMPLETE, FAILED_WINDOWS
from harvester.cli.language import label, translated
from harvester.cli.terminal import (
    china_time,
    escaped,
    many,
    plain,
    show_line,
    show_rows,
    show_text,
)
from harvester.config.place import Place
from harvester.model import NAMES, listed
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
COLUMNS = (
    "day", "appid", "name", "endpoint", "state", "reason", "code", "detail", "since", "until",
    "what_to_do", "rid",
)  # fmt: skip
_HAS = "has"
_WAITS = ("waiting", "late", "missing")
TITLES = say("account"), say("name"), say("since"), say("interfaces")
MOST_DETAILS = 3


async def show_missing(
    place: Place,
    day: str,
    wanted: StatusFilter,
    *,
    form: str = "text",
    check: bool = False,
    everything: bool = False,
) -> int:
    """Print what lacks a day; gives the exit status.

    day: as of ``--start``.  form: ``text``, ``json`` or ``csv``.  everything: as text, a row also
    where nothing is to do.  Raises `UsageError` for a day that is not over.
    """
    now = time.time()
    wanted_day = parse_past_day(day, now, "--missing")
    printer = _PRINTERS[form](wanted_day, place.names, everything)
    states: Counter[str] = Counter()
    async with place.ledger() as ledger:
        reader = Reader(ledger, now, place.own, wanted)
        await reader.prepare()
        printer.begin()
        async for lack in lacks_of(reader, wanted_day):
            states[lack.state if lack else _HAS] += 1
            if lack is not None:
                printer.show(lack)
    printer.end(states)
    lacking = any(states[state] for state in LACKING)
    return FAILED_WINDOWS if check and lacking else COMPLETE


class _Reason:
    def __init__(self, first: Lack) -> None:
        self.first = first
        self.until = 0.0
        self.accounts: dict[tuple[str, date | None], list[str]] = {}
        self.details: dict[str, None] = {}

    def add(self, lack: Lack) -> None:
        self.accounts.setdefault((lack.appid, lack.since), []).append(lack.endpoint)
        self.until = max(self.until, lack.until if lack.state in _WAITS else 0.0)
        if lack.detail and len(self.details) < MOST_DETAILS:
            self.details.setdefault(lack.detail)


class _Text:
    """The reasons, with a row an account where somebody must do something; then the totals."""

    def __init__(self, day: date, names: Mapping[str, str], everything: bool) -> None:
        self._day, self._names, self._everything = day, names, everything
        self._reasons: dict[tuple[str, str], _Reason] = {}
        self._cut = False

    def begin(self) -> None:
        pass

    def show(self, lack: Lack) -> None:
        key = lack.state, lack.reason
        self._reasons.setdefault(key, _Reason(lack)).add(lack)

    def _show(self, reason: _Reason) -> None:
        first = reason.first
        interfaces = sum(map(len, reason.accounts.values()))
        accounts = many(len({appid for appid, _ in reason.accounts}), "account")
        until = say(" until {}", china_time(reason.until)) if reason.until else ""
        state = label(first.state.replace("_", " "))
        counts = [accounts, many(interfaces, "interface")] if first.endpoint else [accounts]
        show_text("{} ({}{}): {}", first.reason, state, until, joined(", ", counts))
        show_text("  {}", first.advice)
        for detail in reason.details:
            show_text("  {}", detail)
        if self._everything or first.to_do:
            rows = [[label(title) for title in TITLES]]
            rows += [
                [appid, plain(self._names.get(appid, "")), str(since or ""), self._listed(names)]
                for (appid, since), names in reason.accounts.items()
            ]
            show_rows(rows, "  ")
            self._cut |= any(len(names) > NAMES for names in reason.accounts.values())
        else:
            self._cut = True
        show_line()

    def _listed(self, names: list[str]) -> str:
        return ", ".join(names) if self._everything else translated(listed(names, "interface"))

    def end(self, states: Counter[str]) -> None:
        total, have = states.total(), states[_HAS]
        if not total:
            show_line("no account–interface pair matches")
            return
        found = sorted(self._reasons.values(), key=lambda each: not each.first.to_do)
        for reason in found:
            self._show(reason)
        if not self._everything and self._cut:
            show_text("--all shows each account and interface")
        lacking = sum(states[each] for each in UNDELIVERED)
        parts, others = (_numbers(states, some) for some in (UNDELIVERED, OTHERS))
        asked, day = have + lacking, self._day
        if others:
            show_text("not counted: {}", others)
        if lacking:
            pairs = many(asked, "account–interface pair")
            show_text("{}: {:,} of {} lack this day: {}", day, lacking, pairs, parts)
        elif asked == 1:
            show_text("{}: the only account–interface pair has this day", day)
        elif asked:
            show_text("{}: all {} have this day", day, many(asked, "account–interface pair"))
        else:
            show_text("{}: this day was not requested for any account–interface pair", day)


class _Json:
    """One line: the day, the rows, and the totals."""

    def __init__(self, day: date, names: Mapping[str, str], everything: bool) -> None:
        self._day, self._names = day, names
        self._comma = ""

    def begin(self) -> None:
        print(f'{{"day":"{self._day}","missing":[', end="")

    def show(self, lack: Lack) -> None:
        row = {"name": self._names.get(lack.appid, ""), **lack.to_dict()}
        print(self._comma + escaped(codec.encode(row).decode()), end="")
        self._comma = ","

    def end(self, states: Counter[str]) -> None:
        counts = {state: states[state] for state in STATES}
        totals = codec.encode({"interfaces": states.total(), "have": states[_HAS], **counts})
        print(f'],"totals":{totals.decode()}}}', flush=True)


class _Csv:
    """RFC 4180 for Excel, as the files of ``csv:`` exports: UTF-8 with a byte order mark."""

    def __init__(self, day: date, names: Mapping[str, str], everything: bool) -> None:
        self._day, self._names = str(day), names

    def begin(self) -> None:
        self._write(COLUMNS, BOM)

    def show(self, lack: Lack) -> None:
        row = {**lack.to_dict(), "day": self._day, "name": self._names.get(lack.appid, "")}
        self._write([_cell(row[name]) for name in COLUMNS])

    def _write(self, cells: Iterable[str], before: str = "") -> None:
        line = io.StringIO()
        csv.writer(line, lineterminator="\r\n").writerow(cells)
        text = f"{before}{line.getvalue()}"
        # standard output itself could have another encoding, and another line end
        if (raw := getattr(sys.stdout, "buffer", None)) is not None:
            raw.write(text.encode())
        else:  # a caller has redirected it into a text
            sys.stdout.write(text)

    def end(self, states: Counter[str]) -> None:
        sys.stdout.flush()


def _numbers(states: Counter[str], names: Iterable[str]) -> str:
    found = {each: states[each] for each in names if states[each]}
    return joined(", ", [say(COUNTED[state], number) for state, number in found.items()])


def _cell(value: object) -> str:
    """A cell on one line; a text that Excel would take for a formula is escaped."""
    text = "" if value is None else plain(str(value))
    return f"'{text}" if re.match(FORMULA, text) else text


_PRINTERS: Mapping[str, type[_Text | _Json | _Csv]] = {"text": _Text, "json": _Json, "csv": _Csv}
