"""Whoever is asked about the days of a harvest gives the same answer.

Ledgers are drawn at random.  What the command, the page, the pages of the service, its messages, a
workbook and the MCP server show is read back from their output and compared with a model that
knows each day for itself: no letters, no runs, no windows.

Some accounts were harvested long ago, one is disabled, the configuration lacks one, and it lacks
interfaces that the ledger has, a retired one among them.
"""

from __future__ import annotations

import asyncio
import base64
import copy
import json
import random
import re
import time as clock
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import date, time, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import openpyxl
import pytest

from harvester.base.dates import WindowKind
from harvester.cli.commands import invoke
from harvester.config.service import Address
from harvester.ledger import Outcome, SqliteLedger
from harvester.model import Tally, Window
from harvester.report import Overview
from harvester.report.missing import NOT_ASKED
from harvester.service.alerts import OF_TIME, alerts_of, digest
from harvester.service.http import Pages
from harvester.service.metrics import Metrics
from harvester.service.serve import Service, Setup
from harvester.service.state import Subject
from harvester.wechat.interfaces import INTERFACES
from tests.mcp.support import Desk, harvested
from tests.support import A, B, C, at, csv_rows

NOW, YESTERDAY = at("2026-11-26", 16.5), date(2026, 11, 25)
ONE, RECENT = timedelta(days=1), timedelta(days=31)
IN_GRACE = YESTERDAY - ONE
"""The newest day that could have been asked for 26 hours ago."""

DAILY, PORTRAIT = "getusercumulate", "getweanalysisappiduserportrait"
RETIRED = "getuserread"
NAMES = (
    "getinterfacesummary", DAILY, "getarticletotaldetail", "getupstreammsgweek",
    "getupstreammsgmonth", PORTRAIT,
)  # fmt: skip
OTHERS = ("getinterfacesummaryhour", RETIRED)
"""Interfaces that the configuration does not have (any more)."""
ACCOUNTS = (A, B, C)
DISABLED, UNLISTED = "wx00000000000000dd", "wx00000000000000ee"
CONFIG = f"""
endpoint = {json.dumps(NAMES)}
start = "yesterday-9d"
end = "yesterday"
accounts = "accounts.toml"
[serve]
lang = "en"
"""

LACKING = ("missing", "late", "waiting", "failed")
STORED = ("final", "empty", "provisional", "never_delivered")
HERE = (*STORED, "cannot_be_asked")
NOBODY = ("not_asked", "not_due")
STATES = (*LACKING, *STORED, "cannot_be_asked", *NOBODY)
PAGE_STATES = {"todo": "failed", "late": "waiting", "here": "final", "old": "missing"}
"""The states of an account, and how the page draws them."""
METRIC_STATES = {"todo": "failed", "late": "late", "here": "fresh", "old": "resting"}
BLAMED = "errcode 48001 (api unauthorized): the account is not allowed to use it"
DRAWN = {"final": 9, "empty": 2, "provisional": 2, "never_delivered": 1, "missing": 1, "late": 1,
         "waiting": 1, "failed": 1}  # fmt: skip


# the model


def units(name: str, begin: date, end: date) -> Iterable[list[date]]:
    """The days, weeks or months that lie in a range as a whole."""
    group: list[date] = []
    for number in range((end - begin).days + 1):
        day = begin + number * ONE
        group = [day] if starts_at(name, day) else [*group, day]
        if ends(name, day) and starts_at(name, group[0]):
            yield group


def cut(name: str) -> WindowKind:
    return INTERFACES[name].cut


def starts_at(name: str, day: date) -> bool:
    kinds = {WindowKind.WEEK: day.weekday() == 0, WindowKind.MONTH: day.day == 1}
    return kinds.get(cut(name), True)


def ends(name: str, day: date) -> bool:
    """Whether a window of this interface may end then."""
    return starts_at(name, day + ONE)


def until(name: str, day: date) -> date:
    """The last day of its day, week or month."""
    while not ends(name, day):
        day += ONE
    return day


@dataclass
class Stream:
    """One interface of one account: what was drawn of each day, and what is true of it."""

    appid: str
    name: str
    asked: list[tuple[date, date]]
    drawn: dict[date, str] = field(default_factory=dict)
    truth: dict[date, str] = field(default_factory=dict)
    windows: dict[date, date] = field(default_factory=dict)
    blamed: bool = False
    since: date | None = None

    @property
    def ends(self) -> date:
        return self.asked[-1][1]

    @property
    def known(self) -> list[date]:
        """The days that can be judged, in order."""
        return sorted(day for day, state in self.truth.items() if state not in NOBODY)

    @property
    def begins(self) -> date:
        """Behind the last day before a judged one that nobody has asked for."""
        last = self.known[-1]
        before = [day for day, state in self.truth.items() if day < last and state in NOBODY]
        return max(before) + ONE if before else min(self.truth)

    def until(self, good: Iterable[str]) -> date | None:
        last, begins = None, self.begins
        for day in sorted(self.truth):
            if day >= begins:
                if self.truth[day] not in good:
                    break
                last = day
        return last

    def stale(self, newest: date = IN_GRACE, late: date = IN_GRACE) -> bool:
        """Whether it should have had figures long ago; both: the last days that were due then."""
        if not self.known or max(self.truth) < YESTERDAY - RECENT:
            return False
        answered = [day for day in self.known if self.truth[day] in (*HERE, "late")]
        edge = (
            min([day for day in self.gaps if day > max(answered)], default=None)
            if answered
            else self.known[-1]
        )
        old = [day for day in self.known if self.truth[day] == "late"][:1]
        found = [(day, due) for day, due in ((edge, newest), *[(day, late) for day in old]) if day]
        return any(due >= until(self.name, day) for day, due in found)

    @property
    def complete(self) -> date | None:
        return self.until(HERE)

    @property
    def final(self) -> date | None:
        return self.until({*HERE} - {"provisional"})

    @property
    def newest(self) -> date | None:
        held = [day for day, state in self.truth.items()
                if state in ("final", "empty", "provisional")]  # fmt: skip
        return max(held, default=None)

    @property
    def gaps(self) -> list[date]:
        return sorted(day for day, state in self.truth.items() if state in LACKING)

    def counts(self) -> Counter[str]:
        found = Counter(self.truth.values())
        found["final"] += found["empty"]
        return found


class World:
    """A ledger that was drawn, in a folder with a configuration, and what is true of it.

    options: what a command is given besides.  disabled: accounts that are shown and not harvested;
    never: accounts that should be, and are not in the ledger.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.draw = folder, random.Random(seed)
        self.streams: dict[tuple[str, str], Stream] = {}
        self.outcomes: list[Outcome] = []
        self.options: tuple[str, ...] = ()
        self.disabled: tuple[str, ...] = ()
        self.never: tuple[str, ...] = ()
        first = ACCOUNTS[0], NAMES[0]
        for appid in (*(ACCOUNTS[:2] if seed % 3 else ACCOUNTS), DISABLED, UNLISTED):
            ended = appid != ACCOUNTS[0] and self.draw.random() < 0.3
            for name, often in (*((name, 0.85) for name in NAMES), *((n, 0.3) for n in OTHERS)):
                if self.draw.random() < often or (appid, name) == first:
                    self._add(appid, name, ended=ended)
        newest = max(each.ends for each in self.streams.values())
        for each in self.streams.values():
            each.since = self._since(each, newest)
        (folder / "harvester.toml").write_text(CONFIG)
        (folder / "accounts.toml").write_text("".join(
            f'[[account]]\nappid = "{appid}"\nsecret = "env:SECRET"\n'
            f"enabled = {json.dumps(appid != DISABLED)}\n" for appid in (*ACCOUNTS, DISABLED)
        ))  # fmt: skip
        (folder / "harvest").mkdir()
        first = self.streams[ACCOUNTS[0], NAMES[0]].asked[0][0]
        harvested(folder / "harvest", NAMES[0], f"{first}", f"{first}", appids=ACCOUNTS[:1])
        asyncio.run(self._write())

    async def _write(self) -> None:
        async with SqliteLedger(self.folder / "harvest" / "ledger.sqlite") as ledger:
            for number in range(2):  # by several runs
                await ledger.register([
                    (*key, *days) for key, each in self.streams.items()
                    for days in each.asked[number:][:1]
                ])  # fmt: skip
            await ledger.commit(self.outcomes, {})

    def _add(self, appid: str, name: str, *, ended: bool) -> None:
        behind = self.draw.choice((0, 33) if name == RETIRED else (0, 0, 0, 0, 1, 2, 6, 31, 33))
        if ended:
            behind = self.draw.randrange(32, 60)
        if (appid, name) == (ACCOUNTS[0], NAMES[0]):
            behind = 0
        end = YESTERDAY - behind * ONE
        begin = end - self.draw.randrange(9, 100 if "month" in name else 45) * ONE
        asked = [(begin, end)]
        if (end - begin).days > 12 and self.draw.random() < 0.4:
            gap = begin + self.draw.randrange(2, 9) * ONE
            asked = [(begin, gap - ONE), (gap + self.draw.randrange(1, 4) * ONE, end)]
        stream = self.streams[appid, name] = Stream(appid, name, asked)
        stream.blamed = self.draw.random() < 0.3
        for days in asked:
            self._draw(stream, [*units(name, *days)])
        if name == "getinterfacesummary" and self.draw.random() < 0.3:
            before = begin - self.draw.randrange(2, 9) * ONE
            stream.drawn[before] = "final"
            self._put(stream, before, before, "final")
        self._judge(stream)

    def _draw(self, stream: Stream, left: list[list[date]]) -> None:
        appid, name, begin, state = stream.appid, stream.name, stream.asked[0][0], ""
        while left:
            state = self.draw.choices([*DRAWN], list(DRAWN.values()))[0]
            number = 1 if not stream.drawn else self.draw.randrange(1, 5)
            some, left = left[:number], left[number:]
            if not stream.drawn and name in (DAILY, NAMES[0]):
                state = "final"  # before the first row nothing was to be delivered
            if name == PORTRAIT:
                state = self.draw.choice(
                    ("final", "missing", "waiting", "failed", "provisional", "late", "empty")
                )
            stream.drawn |= dict.fromkeys([day for unit in some for day in unit], state)
            if state == "missing" or (appid, name, some[0][0]) == (ACCOUNTS[0], NAMES[0], begin):
                continue  # the first day of one interface is harvested
            by_day = cut(name) not in (WindowKind.WEEK, WindowKind.MONTH)
            for unit in [[some[0][0], some[-1][-1]]] if by_day else some:
                self._put(stream, unit[0], unit[-1], state)
                stream.windows |= dict.fromkeys([day for part in some for day in part], unit[-1])

    def _put(self, stream: Stream, begin: date, end: date, state: str) -> None:
        window = Window(stream.appid, stream.name, begin, end)
        number = (end - begin).days + 1
        all_days = (1 << number) - 1
        failed = (48001, BLAMED) if stream.blamed else (None, "HTTP 502, after 5 attempts")
        more: dict[str, dict[str, Any]] = {
            "empty": {"state": "final", "empty": all_days, "tally": Tally()},
            "provisional": {"state": "open", "due": NOW + 9_000, "detail": "its figures grow"},
            "never_delivered": {"state": "never", "empty": all_days, "tally": Tally()},
            "late": {"detail": "a day has no row yet", "due": NOW + 9_000},
            "waiting": {"code": 45009, "due": NOW + 9_000, "detail": "quota", "tally": Tally()},
            "failed": {"code": failed[0], "detail": failed[1], "tally": Tally()},
        }
        given = {"state": state, "tally": Tally(number, 7), **more.get(state, {})}
        self.outcomes.append(Outcome(window, **given))

    def _judge(self, stream: Stream) -> None:
        """What is true of each day from the first to the last that was asked for or is known."""
        drawn, truth = stream.drawn, stream.truth
        day = min(stream.asked[0][0], *drawn) if drawn else stream.asked[0][0]
        while day <= stream.ends:
            over = until(stream.name, day) <= YESTERDAY
            truth[day] = drawn.get(day, "not_asked" if over else "not_due")
            day += ONE
        rows = [day for day, state in drawn.items() if state == "final"]
        if stream.name == DAILY:
            for each in drawn:
                if drawn[each] == "empty" and min(rows) < each < max(rows):
                    truth[each] = "late"
        if stream.name == PORTRAIT:
            stored = ("final", "provisional", "late", "empty")
            rows = [day for day, state in drawn.items() if state in stored]
            behind = [day for day in truth if not [row for row in rows if row >= day]]
            askable = [number for number in (30, 7, 1) if number <= len(behind)]
            left = behind[-askable[0] :] if askable and stream.ends == YESTERDAY else []
            for each, state in drawn.items():
                if state in ("provisional", "late") and stream.windows[each] != YESTERDAY:
                    truth[each] = "final"  # its records stay as they are
                elif state not in stored and each not in left:
                    truth[each] = "cannot_be_asked"

    def _since(self, stream: Stream, newest: date) -> date | None:
        """Since when nobody asks for it, though others go on."""
        if stream.name == RETIRED:  # nobody is to ask for it
            return None
        last = stream.ends
        later = [
            last + number * ONE for number in range(1, 64) if ends(stream.name, last + number * ONE)
        ]
        due = [day for day in later if day <= IN_GRACE]
        others = [day for day in later if day <= min(newest, YESTERDAY)]
        return last + ONE if due and others and last >= YESTERDAY - RECENT else None

    # what some of them show

    def listed(self) -> World:
        """Of the accounts that the file has and does not disable."""
        file = "--accounts", str(self.folder / "accounts.toml")
        known = {appid for appid, _ in self.streams}
        never = tuple(appid for appid in ACCOUNTS if appid not in known)
        return self._with(lambda each: each.appid in ACCOUNTS, options=file, never=never)

    def served(self) -> World:
        """Of these accounts, and of the interfaces that the configuration has."""
        return self.listed()._with(lambda each: each.name in NAMES)

    def marked(self) -> World:
        """All of the ledger; the file says which account is disabled."""
        file = "--accounts", str(self.folder / "accounts.toml")
        return self._with(lambda each: True, options=file, disabled=(DISABLED,))

    def _with(self, shown: Callable[[Stream], bool], **more: Any) -> World:
        other = copy.copy(self)
        other.streams = {key: each for key, each in self.streams.items() if shown(each)}
        vars(other).update(more)
        return other

    # sums

    def of(self, appid: str) -> list[Stream]:
        return [each for each in self.streams.values() if each.appid == appid]

    @property
    def appids(self) -> list[str]:
        return sorted({each.appid for each in self.streams.values()})

    def resting(self, appid: str) -> bool:
        """Whether nobody harvests it."""
        return (
            appid in self.disabled or max(each.ends for each in self.of(appid)) < YESTERDAY - RECENT
        )

    def counts(self, streams: Iterable[Stream] | None = None) -> Counter[str]:
        total: Counter[str] = Counter()
        for each in self.streams.values() if streams is None else streams:
            total.update(each.counts())
        return total

    def expected(self, stream: Stream) -> date | None:
        """The newest day that is judged; None if none is expected."""
        day = YESTERDAY
        while not ends(stream.name, day):
            day -= ONE
        known = stream.known
        if self.resting(stream.appid) or not known or stream.since:
            return None
        span = min(stream.truth), max(stream.truth)
        return day if span[0] <= day and span[1] >= day - RECENT else None

    def freshness(self, appid: str) -> tuple[int, int]:
        """How many interfaces of an account lack the newest day, of how many that are expected."""
        newest = [(each, day) for each in self.of(appid) if (day := self.expected(each))]
        return sum(each.truth.get(day) not in HERE for each, day in newest), len(newest)

    def state(self, appid: str) -> str:
        """Of an account, as the page calls it."""
        if not self.resting(appid):
            for each in self.of(appid):
                if each.since or (each.blamed and "failed" in each.truth.values()):
                    return "todo"
        late, expected = self.freshness(appid)
        return "late" if late else "here" if expected else "old"

    # asking

    def told(self, *arguments: str, status: int = 0) -> str:
        capture: pytest.CaptureFixture[str] = self.capture  # type: ignore[attr-defined]
        capture.readouterr()
        where = *self.options, "--out", str(self.folder / "harvest")
        assert invoke([*arguments, *where]) == status
        return capture.readouterr().out


def percent(part: int, whole: int) -> str:
    """Tenths, and all or nothing only where that is exact."""
    if part in (0, whole):
        return f"{100 * part // whole}%"
    return f"{min(max(100 * part / whole, 0.1), 99.9):.1f}%"


def number(text: str) -> int:
    return int(text.replace(",", ""))


def lacking(counts: Counter[str]) -> int:
    return sum(counts[state] for state in LACKING)


def whole(counts: Counter[str]) -> int:
    """The days that count: each state of a day but those that nobody can or did ask for."""
    return lacking(counts) + counts["final"] + counts["provisional"] + counts["never_delivered"]


def same_counts(found: dict[str, Any], wanted: Counter[str]) -> None:
    assert {state: found[state] for state in STATES} == {state: wanted[state] for state in STATES}


def same_counts_but_zeros(found: dict[str, Any], wanted: Counter[str]) -> None:
    """The same of an answer that leaves out what is 0."""
    assert {state: found[state] for state in STATES if state in found} == {
        state: wanted[state] for state in STATES if wanted[state]
    }


# what each shows


def check_status_json(world: World) -> None:
    found = json.loads(world.told("status", "--json"))
    same_counts(found, world.counts())
    states = defaultdict(int)
    for cause in found["causes"]:
        states[cause["state"]] += cause["days"]
    wanted = world.counts()
    assert {state: states[state] for state in LACKING} == {
        state: wanted[state] for state in LACKING
    }
    for each in found["streams"]:
        stream = world.streams[each["appid"], each["endpoint"]]
        same_counts(each, stream.counts())
        assert each["not_asked_since"] == (str(stream.since) if stream.since else None)
        assert ("stale" in each["states"]) is (stream.since is not None or stream.stale())
        ranges: dict[date, str] = {}
        for part in each["ranges"]:
            day = date.fromisoformat(part["begin_date"])
            while day <= date.fromisoformat(part["end_date"]):
                assert day not in ranges
                ranges[day] = part["state"]
                day += ONE
        shown = (*LACKING, "provisional", "never_delivered", "cannot_be_asked", *NOBODY)
        assert ranges == {day: state for day, state in stream.truth.items() if state in shown}
    assert len(found["streams"]) == len(world.streams)
    assert found["never_harvested"] == [*world.never]
    since = any(each.since or each.stale() for each in world.streams.values())
    fine = not (wanted["missing"] or wanted["failed"] or since or world.never)
    assert found["state"] == ("fine" if fine else "incomplete")


def check_status(world: World) -> None:
    text, wanted = world.told("status"), world.counts()
    head = re.search(r"harvested +([\d,]+) of ([\d,]+) days? \(([^)]*)\)", text)
    assert head is not None
    total = whole(wanted)
    assert (number(head[1]), number(head[2])) == (total - lacking(wanted), total)
    assert head[3] == percent(total - lacking(wanted), total)
    for state in LACKING:
        found = re.search(rf"^  {state} +([\d,]+) days?$", text, re.MULTILINE)
        assert (number(found[1]) if found else 0) == wanted[state]
    for words in ("never delivered", "can no longer be requested", "not asked for", "not due"):
        found = re.search(rf"^  {words}: ([\d,]+) days?", text, re.MULTILINE)
        state = {"can no longer be requested": "cannot_be_asked"}.get(
            words, words.replace(" ", "_").removesuffix("_for")
        )
        assert (number(found[1]) if found else 0) == wanted[state]
    causes: Counter[str] = Counter()
    for state, days in re.findall(
        r"^  (\w+)(?: until [^:]*:\d\d[^:]*)?: wx.*?: ([\d,]+) days?, ", text, re.MULTILINE
    ):
        causes[state] += number(days)
    assert {state: causes[state] for state in LACKING} == {
        state: wanted[state] for state in LACKING
    }
    since = {str(each.since) for each in world.streams.values() if each.since}
    assert set(re.findall(r"not asked for since ([\d-]+)", text)) == since
    stale = any(each.stale() for each in world.streams.values())
    bad = lacking(wanted) or since or world.never or stale
    assert ("nothing needs attention" in text) is not bool(bad)
    never = re.findall(r"^  never harvested: (.*)$", text, re.MULTILINE)
    assert never == [", ".join(world.never)] * bool(world.never)


def check_missing(world: World) -> None:
    every = sorted({day for each in world.streams.values() for day in each.truth})
    for day in world.draw.sample(every, min(2, len(every))):
        found = json.loads(world.told("status", "--missing", str(day), "--json"))
        rows = {(each["appid"], each["endpoint"]): each["state"] for each in found["missing"]}
        assert len(rows) == len(found["missing"])
        wanted = {(appid, ""): "never_harvested" for appid in world.never}
        for key, stream in world.streams.items():
            is_due = until(stream.name, day) <= YESTERDAY
            state = stream.truth.get(day, "not_asked" if is_due else "not_due")
            if day < INTERFACES[stream.name].first_day:
                state = "no_figures"
            if state not in ("final", "empty", "provisional"):
                wanted[key] = state
        assert rows == wanted
        table = csv_rows(world.told("status", "--missing", str(day), "--csv"))
        assert {(each["appid"], each["endpoint"]): each["state"] for each in table} == rows
        last = world.told("status", "--missing", str(day)).splitlines()[-1]
        lack = sum(state in LACKING for state in wanted.values())
        have = len(world.streams) + len(world.never) - len(wanted)
        if lack:
            assert re.match(
                rf"{day}: {lack} of {lack + have} account–interface pairs? lack this day", last
            )
        elif have:
            all_have = "the only" if have == 1 else f"all {have}"
            assert last.startswith(f"{day}: {all_have} account–interface pair")
        else:
            assert last == f"{day}: this day was not requested for any account–interface pair"


def check_page(world: World, text: str) -> None:
    packed = re.search(r'id="data">([^<]*)<', text)
    assert packed is not None
    content = json.loads(zlib.decompress(base64.b64decode(packed[1])))
    letters = {"final": "f", "empty": "e", "provisional": "o", "late": "l", "missing": ".",
               "waiting": "w", "failed": "x", "never_delivered": "n", "cannot_be_asked": "-",
               "not_asked": "_", "not_due": ","}  # fmt: skip
    shown = set()
    for appid, _, rows, reasons, newest, state in content["accounts"]:
        streams = {each.name: each for each in world.of(appid)}
        assert state == PAGE_STATES[world.state(appid)]
        late, expected = world.freshness(appid)
        told = re.match(r"(\d+) of (\d+) interfaces?, ", newest[1][1])
        assert told is None if not late else (int(told[1]), int(told[2])) == (late, expected)
        for place, first, shape in rows:
            stream = streams[content["interfaces"][place][0]]
            run = "".join(letter * count for letter, count in content["shapes"][shape])
            assert first == str(min(stream.truth))
            assert run == "".join(letters[stream.truth[day]] for day in sorted(stream.truth))
            shown.add((appid, stream.name))
        days = sum(each[3] for each in reasons if each[0] != "not_asked")
        assert days == (0 if world.resting(appid) else lacking(world.counts(streams.values())))
        since = {(each[1], content["interfaces"][place][0]) for each in reasons
                 if each[0] == "not_asked" for place in each[2]}  # fmt: skip
        wanted = {(str(each.since), each.name) for each in streams.values() if each.since}
        assert since == (set() if world.resting(appid) else wanted)
    assert shown == {key for key, each in world.streams.items() if each.known}
    assert {each[0] for each in content["accounts"]} == {*world.appids}
    counts = world.counts()
    found = re.search(r"([\d,]+) of ([\d,]+) interface-days missing", text)
    assert found is not None or not lacking(counts)
    if found:
        assert (number(found[1]), number(found[2])) == (lacking(counts), whole(counts))


def check_metrics(world: World, text: str) -> None:
    found: dict[str, float] = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            name, value = line.rsplit(" ", 1)
            found[name.replace('"', "")] = float(value)
    calendar = [each for each in found if each.startswith("harvester_calendar")]
    shown = {each.name for each in world.streams.values()}
    assert {each.partition("endpoint=")[2].partition(",")[0] for each in calendar} == shown
    states = Counter(world.state(appid) for appid in world.appids)
    for state, label in METRIC_STATES.items():
        assert found[f"harvester_accounts{{state={label}}}"] == states[state]
    assert found["harvester_accounts{state=never}"] == len(world.never)
    for name in NAMES:
        streams = [each for each in world.streams.values() if each.name == name]
        counts = world.counts(streams)
        for state in STATES:
            if state != "empty" and streams:
                series = f"harvester_calendar{{endpoint={name},state={state}}}"
                assert found[series] == counts[state]
        young = [each for each in streams if world.state(each.appid) != "old"]
        series = f"harvester_oldest_gap_seconds{{endpoint={name}}}"
        oldest = max(
            [(date(2026, 11, 26) - each.gaps[0]).days for each in young if each.gaps], default=0
        )
        assert found.get(series, 0) == 86_400 * oldest


def check_messages(world: World, seen: Overview) -> None:
    lines = digest(seen, YESTERDAY, 0.0, "en").body.splitlines()
    counts = world.counts()
    (history,) = [line for line in lines if line.startswith("History: ")]
    total = whole(counts)
    share = percent(total - lacking(counts), total)
    assert history.startswith(f"History: {share} (")
    if lacking(counts):
        assert f"({lacking(counts):,} of {total:,} interface-days missing)" in history
    of_causes = sum(number(n) for line in lines if not line.startswith("History")
                    for n in re.findall(r"\(([\d,]+) interface-days? missing\)", line))  # fmt: skip
    harvested = [each for each in world.streams.values() if not world.resting(each.appid)]
    assert of_causes == lacking(world.counts(harvested))
    since: defaultdict[str, set[Subject]] = defaultdict(set)
    for each in world.streams.values():
        if each.since:
            since[str(each.since)].add(Subject(each.appid, each.name))
    said = {day for line in lines for day in re.findall(r"Not asked for since ([\d-]+):", line)}
    assert said == {*since}
    alerts = alerts_of(seen, time(8, 5), 26 * 3600.0)
    assert {each.about: {*whom} for each, whom in alerts.items() if each.kind == NOT_ASKED} == since
    stale = {each for alert in OF_TIME for each in alerts.get(alert, ())}
    for each in stale:
        assert any(one.stale(YESTERDAY) for one in world.of(each.appid))


def check_workbook(world: World) -> None:
    book = world.folder / "book.xlsx"
    world.told("export", f"xlsx:{book}")
    rows = [
        [*row] for row in openpyxl.load_workbook(book).worksheets[0].iter_rows(values_only=True)
    ]
    head = rows[0]
    gaps: dict[tuple[str, str, date], str] = {}
    states = {state: state for state in LACKING}
    seen = set()
    for row in rows[1:]:
        given = dict(zip(head, row, strict=True))
        if given["Table"] in (*NAMES, *OTHERS) and row[0] in (None, NAMES[0]):
            seen.add(given["Table"])
            streams = [each for each in world.streams.values() if each.name == given["Table"]]
            judged = [each for each in streams if each.known]
            counts = world.counts(streams)
            assert given["Days missing"] == lacking(counts)
            assert given["Accounts that lack days"] == sum(bool(each.gaps) for each in judged)
            for column, ends_at in (
                ("Complete until", [each.complete for each in judged]),
                ("Final until", [each.final for each in judged]),
            ):
                assert as_day(given[column]) == earliest(ends_at)
        elif row[0] in world.appids:
            day, last = as_day(row[2]), as_day(row[3])
            assert day is not None
            assert last is not None
            while day <= last:
                gaps[row[0], row[1], day] = states[row[4]]
                day += ONE
    assert seen == {each.name for each in world.streams.values()}
    assert gaps == {
        (*key, day): each.truth[day] for key, each in world.streams.items() for day in each.gaps
    }


def as_day(value: Any) -> date | None:
    return value.date() if value is not None else None


def earliest(days: list[date | None]) -> date | None:
    known = [day for day in days if day is not None]
    return min(known) if known and len(known) == len(days) else None


def check_mcp(world: World) -> None:
    with Desk(world.folder / "harvest", disabled=world.disabled) as desk:
        found = desk("coverage")
    same_counts_but_zeros(found["totals"], world.counts())
    judged = [each for each in world.streams.values() if each.known]
    same_reach(found, judged)
    for name, told in found["interfaces"].items():
        streams = [each for each in judged if each.name == name]
        if streams:
            same_reach(told, streams)
        every = [each for each in world.streams.values() if each.name == name]
        same_counts_but_zeros(told, world.counts(every))
        if len(streams) > 1:
            behind = sum(bool(each.gaps) for each in streams)
            assert told["accounts"] == len(streams)
            assert told.get("accounts_lacking_days", 0) == behind
    assert {*found["interfaces"]} == {each.name for each in world.streams.values()}
    assert {each["appid"] for each in found["accounts"]} == {*world.appids}
    for account in found["accounts"]:
        streams = [each for each in world.of(account["appid"]) if each.known]
        assert account["state"] == world.state(account["appid"])
        if streams:
            same_reach(account, streams)
        for told in account["interfaces"]:
            stream = world.streams[account["appid"], told["endpoint"]]
            same_counts_but_zeros(told, stream.counts())
            assert told["not_asked_since"] == (str(stream.since) if stream.since else None)
            if stream.known:
                same_reach(told, [stream])


def same_reach(found: dict[str, Any], streams: list[Stream]) -> None:
    def text(day: date | None) -> str | None:
        return None if day is None else str(day)

    assert found["complete_until"] == text(earliest([each.complete for each in streams]))
    assert found["final_until"] == text(earliest([each.final for each in streams]))
    if "newest_day" in found:
        newest = [each.newest for each in streams if each.newest]
        assert found.get("days_lacking", 0) == sum(len(each.gaps) for each in streams)
        assert found["newest_day"] == text(max(newest, default=None))
        assert found["first_day"] == text(min(each.begins for each in streams))


def check_service(world: World) -> None:
    """Over HTTP: the page, the metrics and the JSON; and the messages about the same overview."""

    async def main() -> tuple[dict[str, str], Overview]:
        setup = Setup.load(world.folder / "harvester.toml")
        service = Service(lambda: setup, log=print)
        async with (
            Pages(service, Metrics(wall=lambda: NOW), lambda: NOW).served(
                Address("127.0.0.1", 0)
            ) as port,
            aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session,
        ):
            texts = {}
            for path in ("/", "/metrics", "/status.json"):
                async with session.get(path) as answer:
                    assert answer.status == 200
                    texts[path] = await answer.text()
        return texts, await setup.look(NOW)

    texts, seen = asyncio.run(main())
    world = world.served()
    same_counts(json.loads(texts["/status.json"]), world.counts())
    check_page(world, texts["/"])
    check_metrics(world, texts["/metrics"])
    check_messages(world, seen)


def check_report(world: World) -> None:
    page = world.folder / "page.html"
    page.unlink(missing_ok=True)
    world.told("report", "--html", str(page))
    check_page(world, page.read_text())


def check_all(world: World) -> None:
    check_service(world)
    check_workbook(world)
    for seen in (world, world.listed()):
        check_status_json(seen)
        check_status(seen)
        check_missing(seen)
    for seen in (world, world.marked()):
        check_report(seen)
        check_mcp(seen)


@pytest.mark.thorough
@pytest.mark.parametrize(
    "seeds",
    [
        range(12),
        *[
            pytest.param(range(first, first + 47), marks=marks)
            for first, marks in (
                (12, [pytest.mark.thorough]),
                *((first, [pytest.mark.thorough, pytest.mark.nightly]) for first in (59, 106, 153)),
            )
        ],
    ],
    ids=lambda seeds: f"{seeds[0]}-{seeds[-1]}",
)
def test_each_output_says_of_each_day_what_is_true_of_it(
    seeds: range,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(clock, "time", lambda: NOW)
    monkeypatch.setenv("SECRET", "practice")
    for seed in seeds:
        folder = tmp_path / f"{seed}"
        folder.mkdir()
        world = World(folder, seed)
        world.capture = capsys  # type: ignore[attr-defined]
        check_all(world)
