"""`forget`: an account, or an interface of it, goes from the ledger and from every sink."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import harvester
from harvester.base import files as durable
from harvester.base.chinese import shown
from harvester.base.dates import Days
from harvester.base.outage import Away
from harvester.cli.commands import invoke
from harvester.ledger import FILE_NAME, Key, SqliteLedger
from harvester.report.texts import title_of
from harvester.service.mail import Message
from harvester.service.state import State
from harvester.sinks.base import Checkpoint, Fence, Written
from harvester.testing import MemorySink
from harvester.upkeep.forget import forget, known_of
from tests import builders
from tests.support import A, B

NAMES = ("getusersummary", "getusercumulate")
RANGE = ("2023-12-20", "2024-01-20")
SINKS = {
    "jsonl": ["jsonl:{}/lines"],
    "sqlite": ["sqlite:{}/rows.db"],
    "both": ["jsonl:{}/lines?compress=gzip", "sqlite:{}/rows.db"],
}
Rows = Counter[tuple[str, str, str, str]]


class Harvest:
    """A directory with a ledger and its sinks."""

    def __init__(self, folder: Path, kind: str) -> None:
        self.folder, self.kind = folder, kind

    @property
    def specs(self) -> list[str]:
        return [each.format(self.folder) for each in SINKS[self.kind]]

    def run(self, *appids: str, sinks: Any = None) -> None:
        sinks, ledger = sinks or self.specs, self.folder / FILE_NAME
        report = builders.harvested(sinks, *appids, endpoints=NAMES, days=RANGE, ledger=ledger)
        report.raise_for_state()

    def copy(self, folder: Path) -> Harvest:
        shutil.copytree(self.folder, folder)
        return Harvest(folder, self.kind)

    def rows(self) -> list[Rows]:
        """What each sink holds, a record each."""
        found = []
        for spec in self.specs:
            rows: Rows = Counter()
            for name in NAMES:
                table = harvester.read(spec, name).read_all().drop_columns(["_fetched_at"])
                rows.update(
                    (row["_appid"], name, str(row["ref_date"]), str(row))
                    for row in table.to_pylist()
                )
            found.append(rows)
        return found

    def accounts(self) -> list[str]:
        async def main() -> list[str]:
            async with SqliteLedger(self.folder / FILE_NAME, readonly=True) as ledger:
                return await ledger.accounts()

        return asyncio.run(main())

    def command(self, *arguments: str) -> int:
        return invoke([arguments[0], "--ledger", str(self.folder / FILE_NAME), *arguments[1:]])

    def forget(self, *arguments: str) -> int:
        return self.command("forget", "--appid", A, *arguments)


@pytest.fixture(params=[*SINKS])
def harvested(tmp_path: Path, request: pytest.FixtureRequest) -> Harvest:
    made = Harvest(tmp_path / "harvest", request.param)
    made.folder.mkdir()
    made.run(A, B)
    return made


def without(rows: Rows, gone: Callable[[str, str], bool]) -> Rows:
    return Counter({row: number for row, number in rows.items() if not gone(*row[:2])})


@pytest.mark.thorough
def test_an_account_goes_from_the_ledger_and_every_sink(harvested: Harvest) -> None:
    before = harvested.rows()
    assert harvested.forget("--yes") == 0
    assert harvested.rows() == [without(rows, lambda appid, _: appid == A) for rows in before]
    assert harvested.accounts() == [B]
    for command in (("verify",), ("status", "--check")):
        assert harvested.command(*command) == 0
    harvested.run(A, B)
    assert harvested.rows() == before


def test_an_interface_of_it_goes_alone(harvested: Harvest) -> None:
    before = harvested.rows()
    assert harvested.forget("--endpoint", NAMES[0], "--yes") == 0
    gone = A, NAMES[0]
    assert harvested.rows() == [without(rows, lambda *key: key == gone) for rows in before]
    assert harvested.accounts() == [A, B]
    assert harvested.command("verify") == 0
    assert harvested.forget("--yes") == 0
    assert harvested.accounts() == [B]


def killed(number: int, *arguments: str) -> int | None:
    """The command in a process that is killed at the moment of that number; None if it was."""
    child = os.fork()
    if child == 0:
        left = [number]

        def watch(_: str, __: bool) -> None:
            left[0] -= 1
            if not left[0]:
                os._exit(99)

        durable.watch(watch)
        os._exit(invoke(arguments))
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return None if status == 99 else status


def moments(harvested: Harvest, folder: Path, numbers: range) -> Iterator[Harvest]:
    """Copies in which the removal was killed at one moment after the other."""
    for number in numbers:
        copy = harvested.copy(folder / str(number))
        ledger = str(copy.folder / FILE_NAME)
        status = killed(number, "forget", "--ledger", ledger, "--appid", A, "--yes")
        if status is not None:
            assert status == 0
            assert number > 30
            return
        yield copy
        shutil.rmtree(copy.folder)


@pytest.mark.sampled
@pytest.mark.thorough
@pytest.mark.parametrize(
    ("harvested", "numbers"),
    [
        ("both", range(14, 1000, 40)),  # the first one: the ledger has forgotten, and no sink yet
        *[pytest.param(kind, range(1, 1000, 2), marks=pytest.mark.thorough) for kind in SINKS],
    ],
    indirect=["harvested"],
)
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork")
def test_the_same_command_goes_on_where_it_was_killed(
    harvested: Harvest, tmp_path: Path, numbers: range
) -> None:
    wanted = [without(rows, lambda appid, _: appid == A) for rows in harvested.rows()]
    for copy in moments(harvested, tmp_path, numbers):
        known = A in copy.accounts()
        assert copy.forget("--yes") == (0 if known else 2)
        assert copy.rows() == wanted
        assert copy.accounts() == [B]
        assert copy.command("verify") == 0


@pytest.mark.sampled
@pytest.mark.thorough
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork")
def test_a_run_after_a_killed_removal_has_every_record_once(
    harvested: Harvest, tmp_path: Path
) -> None:
    wanted = harvested.rows()
    for copy in moments(harvested, tmp_path, range(2, 1000, 4)):
        copy.run(A, B)
        assert copy.rows() == wanted
        assert copy.command("verify") == 0


# what is refused


@pytest.fixture
def lines(tmp_path: Path) -> Harvest:
    made = Harvest(tmp_path / "harvest", "jsonl")
    made.folder.mkdir()
    made.run(A)
    return made


def test_without_yes_it_is_shown_and_stays(
    lines: Harvest, capsys: pytest.CaptureFixture[str]
) -> None:
    before = lines.rows()
    assert lines.forget() == 2
    shown = capsys.readouterr()
    assert shown.out.splitlines() == [
        f"{A} getusercumulate, 2023-12-20 to 2024-01-20: 32 of 32 days stored, 32 records",
        f"{A} getusersummary, 2023-12-20 to 2024-01-20: 32 of 32 days stored, 320 records",
        f"  in jsonl:{lines.folder}/lines",
    ]
    assert shown.err.startswith("harvester: nothing was removed; --yes removes ")
    assert (lines.rows(), lines.accounts()) == (before, [A])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--appid", A[:-1] + "b"), f"the ledger knows no account {A[:-1]}b (did you mean {A}?)"),
        (("--appid", A, "--endpoint", "getuserread"),
         (f"the ledger has nothing for getuserread of {A}; it has getusercumulate,"
         " getusers")),
        (("--appid", A, "--endpoint", "articles"), "the ledger has nothing for "),
    ],
)  # fmt: skip
def test_what_the_ledger_does_not_know_is_refused(
    arguments: tuple[str, ...], said: str, lines: Harvest, capsys: pytest.CaptureFixture[str]
) -> None:
    for more in ((), ("--yes",)):
        assert lines.command("forget", *arguments, *more) == 2
        assert said in capsys.readouterr().err


def test_the_account_of_the_configuration_is_not_taken(
    lines: Harvest, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HARVESTER_APPID", A)
    assert lines.command("forget", "--yes") == 2
    assert "--appid" in capsys.readouterr().err
    assert lines.accounts() == [A]


def test_while_a_run_has_the_ledger_it_is_refused(
    lines: Harvest, capsys: pytest.CaptureFixture[str]
) -> None:
    async def main() -> int:
        async with SqliteLedger(lines.folder / FILE_NAME):
            return await asyncio.to_thread(lines.forget, "--yes")

    assert asyncio.run(main()) == 2
    assert "in use" in capsys.readouterr().err


class Own(MemorySink):
    """A sink that no spec names; without a scan."""

    listed = True
    scan = None
    endpoints = None

    def __init__(self) -> None:
        super().__init__("own://x")


def test_a_sink_that_the_command_cannot_open_is_refused(
    lines: Harvest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = Harvest(tmp_path / "own", "jsonl")
    home.folder.mkdir()
    home.run(A, sinks=Own())
    assert home.forget("--yes") == 2
    assert "own://x has records of this ledger, but no spec can name it" in (
        capsys.readouterr().err
    )
    assert home.accounts() == [A]


def test_a_sink_that_cannot_be_read_back_gets_an_empty_window_of_all_days(tmp_path: Path) -> None:
    home, own = Harvest(tmp_path, "jsonl"), Own()
    home.run(A, B, sinks=own)

    async def main() -> None:
        async with SqliteLedger(tmp_path / FILE_NAME) as ledger:
            known = await known_of(ledger, A)
            await forget(ledger, A, known, {"own://x": own}, lambda _: None, 0.0, whole=True)

    asyncio.run(main())
    assert {record["_appid"] for record in own.records} == {B}
    assert home.accounts() == [B]


class Broken(Own):
    async def open(self, checkpoint: Checkpoint | None) -> Checkpoint:
        raise harvester.SinkError("it is away")

    async def write(self, batches: Any, fence: Fence) -> Written:
        raise AssertionError


def test_nothing_has_changed_if_a_sink_cannot_be_opened(lines: Harvest) -> None:
    before = lines.rows()

    async def main() -> None:
        async with SqliteLedger(lines.folder / FILE_NAME) as ledger:
            known = await known_of(ledger, A)
            with pytest.raises(harvester.SinkError, match="it is away"):
                await forget(
                    ledger, A, known, {"own://x": Broken()}, lambda _: None, 0.0, whole=True
                )

    asyncio.run(main())
    assert (lines.rows(), lines.accounts()) == (before, [A])
    assert lines.command("verify") == 0


# a server that is away


class Restarting(Own):
    """Its server is away at each other call, and it is unknown whether the call took effect."""

    calls = 0

    async def write(self, batches: Any, fence: Fence) -> Written:
        self.calls += 1
        written = await super().write(batches, fence)
        if self.calls % 2:
            raise Away("connection reset")
        return written


class RestartingLedger(SqliteLedger):
    calls = 0

    async def forget(self, key: Key, ranges: Sequence[Days]) -> None:
        self.calls += 1
        await super().forget(key, ranges)
        if self.calls % 2:
            raise Away("connection reset")


@pytest.mark.thorough
def test_a_server_that_is_away_is_waited_for(tmp_path: Path) -> None:
    own = Restarting()
    Harvest(tmp_path, "jsonl").run(A, B, sinks=(quiet := Own()))
    own.__dict__.update(quiet.__dict__)

    async def main() -> list[str]:
        async with RestartingLedger(tmp_path / FILE_NAME) as ledger:
            known = await known_of(ledger, A)
            await forget(ledger, A, known, {"own://x": own}, lambda _: None, 0.0, whole=True)
            assert ledger.calls == 4
            return await ledger.accounts()

    assert asyncio.run(main()) == [B]
    assert {record["_appid"] for record in own.records} == {B}


# what only a sink knows


def renamed(harvest: Harvest) -> str:
    """A damaged row: its account is another one."""
    other = f"{A[:-1]}b"
    with closing(sqlite3.connect(harvest.folder / "rows.db")) as database, database:
        database.execute(
            f"UPDATE {NAMES[1]} SET _appid = ? WHERE _appid = ? AND ref_date = '2024-01-03'",
            (other, A),
        )
    return other


@pytest.mark.parametrize("harvested", ["sqlite"], indirect=True)
def test_records_of_an_account_that_the_ledger_does_not_know_are_removed(
    harvested: Harvest, capsys: pytest.CaptureFixture[str]
) -> None:
    before = harvested.rows()
    other = renamed(harvested)
    assert harvested.command("verify") == 1
    capsys.readouterr()
    assert harvested.command("forget", "--appid", other) == 2
    [line] = [line for line in capsys.readouterr().out.splitlines() if line.startswith(other)]
    assert re.fullmatch(rf"{other} {NAMES[1]}, 20.* days stored, 1 record", line)
    assert harvested.command("forget", "--appid", other, "--yes") == 0
    assert harvested.accounts() == [A, B]
    [left] = harvested.rows()
    assert [row[:3] for row in (before[0] - left)] == [(A, NAMES[1], "2024-01-03")]
    assert not left - before[0]
    assert harvested.command("forget", "--appid", other, "--yes") == 2


# what is kept beside the records


@pytest.mark.parametrize("harvested", ["sqlite"], indirect=True)
def test_nothing_of_it_stays_in_the_file_of_a_database(harvested: Harvest) -> None:
    path = harvested.folder / "rows.db"
    size = path.stat().st_size
    assert harvested.command("forget", "--appid", B, "--endpoint", NAMES[1], "--yes") == 0
    assert B.encode() in path.read_bytes()
    assert harvested.command("forget", "--appid", B, "--yes") == 0
    assert B.encode() not in path.read_bytes()
    assert path.stat().st_size < 0.75 * size
    assert harvested.command("verify") == 0


MESSAGES = {
    "alone": f"● AppSecret 错误：一店 ({A})。请重置\n到齐：3 / 4 个账号",
    "together": f"● AppSecret 错误：一店 ({A})、{B}。请重置",
    "only": f"● Stale figures: {A}.  Nothing new for longer than allowed; see the page.",
    "other": f"● Stale figures: {B}.",
}


def messages(lines: Harvest, *more: Message) -> dict[str, str]:
    """The bodies of the service's messages, by key; more: that are stored first."""

    async def main() -> dict[str, str]:
        async with SqliteLedger(lines.folder / FILE_NAME, readonly=True) as ledger:
            if more:
                assert await ledger.swap_state("", State(mail=more, number=1).write())
            state = State.read(await ledger.service_state())
            return {each.key: each.body for each in state.mail}

    return asyncio.run(main())


def test_messages_that_were_not_sent_name_it_no_more(lines: Harvest) -> None:
    some = [Message(key, "env:A", "title", body) for key, body in MESSAGES.items()]
    assert messages(lines, *some) == MESSAGES
    assert lines.forget("--endpoint", NAMES[0], "--yes") == 0
    assert messages(lines) == MESSAGES
    assert lines.forget("--yes") == 0
    assert messages(lines) == {
        "alone": "到齐：3 / 4 个账号",
        "together": f"● AppSecret 错误：…、{B}。请重置",
        "other": MESSAGES["other"],
    }


def test_of_an_interface_messages_about_it_name_the_account_no_more(lines: Harvest) -> None:
    about = [f"● 缺少权限 用户增减：{A}。", f"● 缺少权限 累计用户：{A}。"]
    assert shown(title_of(NAMES[0]), "zh") in about[0]
    messages(lines, Message("1", "env:A", "title", "\n".join(about)))
    assert lines.forget("--endpoint", NAMES[0], "--yes") == 0
    assert messages(lines) == {"1": about[1]}
