"""From a name to the interface or the sink that it stands for."""

import asyncio
import json
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import date
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import harvester
from harvester.config import plugins
from harvester.errors import UsageError
from harvester.sinks.jsonl.sink import JsonLines
from harvester.testing import SINK_CHECKS, FakeTransport, Simulator, check_sink
from harvester.wechat.interfaces import INTERFACES
from tests.support import ROOT, A, harvest

PACKAGE = """
from dataclasses import replace
from harvester.wechat.interfaces import INTERFACES
from harvester.testing import MemorySink

SUMMARY = INTERFACES["getarticlesummary"]
MINE = replace(SUMMARY, name="mine", path="/mine", group="own", retired=False)
USERS = replace(MINE, name="users", path="/users", group="users")
OLD = replace(MINE, name="old", retired=True)


class Kept(MemorySink):
    @classmethod
    def from_spec(cls, rest):
        return cls(f"kept:{rest}")
"""
ENTRY_POINTS = """
[harvester.endpoints]
mine = somebodys:MINE
users = somebodys:USERS
old = somebodys:OLD
getusersummary = somebodys:MINE

[harvester.sinks]
kept = somebodys:Kept
"""
PROGRAM = """
from harvester.config import plugins
names = plugins.endpoint_names()
print(len(names), [name for name in names if not name.startswith(("get", "publisher"))])
print(plugins.endpoint("mine").path, plugins.endpoint("getusersummary").path)
groups = plugins.endpoint_groups()
print([name for name in groups if name in ("own", "users")], groups["own"])
print(groups["users"], [name in groups["all"] for name in ("mine", "users", "old")])
print([endpoint.name for endpoint in plugins.endpoints_of("users")])
print([endpoint.name for endpoint in plugins.endpoints_of("old")])
print(plugins.sink_schemes())
print(plugins.sink("kept:a:b").identity)
"""


def test_what_is_installed_is_not_searched_for_the_built_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    searched: list[str] = []
    monkeypatch.setattr(plugins, "_points", lambda group: searched.append(group) or {})
    assert plugins.endpoints_of("getusersummary") == [INTERFACES["getusersummary"]]
    assert searched == []
    with pytest.raises(UsageError):
        plugins.endpoint("mine")
    assert searched[0] == "harvester.endpoints"


def test_each_interface_that_is_not_retired_stands_in_its_group_and_in_all() -> None:
    groups = plugins.endpoint_groups()
    assert groups.keys() == {"all", *(each.group for each in INTERFACES.values())}
    in_groups = [name for group in groups if group != "all" for name in groups[group]]
    current = [name for name, each in INTERFACES.items() if not each.retired]
    assert sorted(in_groups) == groups["all"] == sorted(current)


def test_a_name_stands_for_an_interface_or_for_those_of_a_group() -> None:
    retired = INTERFACES["getarticlesummary"]  # asked for by its name alone
    assert plugins.endpoints_of("getarticlesummary") == [retired]
    groups = plugins.endpoint_groups()
    for name in ("users", "all"):
        assert [made.name for made in plugins.endpoints_of(name)] == groups[name]
    assert {"getusercumulate", "getusersummary"} <= {*groups["users"]}


def test_an_interface_is_known_whether_it_is_built_in_or_not_there() -> None:
    assert plugins.known_endpoint("getusersummary") == INTERFACES["getusersummary"]
    assert plugins.known_endpoint("nobody") is None


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("mesages", " (did you mean messages?)"),
        ("getusersumary", " (did you mean getusersummary?)"),
        ("zzz", ""),
    ],
)
def test_what_is_neither_is_refused_with_the_nearest_of_both(name: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        plugins.endpoints_of(name)
    assert str(caught.value) == (
        f"there is no interface or group {name!r}{hint}; harvester endpoints lists all of them"
    )


def test_the_built_in_sink_is_made_from_its_spec(tmp_path: Path) -> None:
    made = plugins.sink(f"jsonl:{tmp_path}/a:b")
    assert isinstance(made, JsonLines)
    assert made.path == tmp_path / "a:b"


@pytest.mark.parametrize("spec", ["", "jsonl", "parquets:x", ":x", "JSONL:x"])
def test_what_names_no_sink_is_refused_and_the_known_ones_are_told(spec: str) -> None:
    with pytest.raises(UsageError, match=r"^there is no sink .*; the sinks are: .*jsonl:…"):
        plugins.sink(spec)


def installed(folder: Path, points: str, **modules: str) -> None:
    """A distribution called somebodys, in a folder."""
    for name, text in modules.items():
        (folder / f"{name}.py").write_text(text)
    info = folder / "somebodys-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: somebodys\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(points)


BROKEN = {
    "fails": ("import nothing_of_this_name", "ModuleNotFoundError: No module named"),
    "ends": ("raise SystemExit(3)", "SystemExit(3)"),
    "refuses": ("from harvester import UsageError\nraise UsageError('wrong')", "wrong"),
    "lacks": ("", "AttributeError: module 'lacks' has no attribute 'MADE'"),
    "none": ("MADE = 5", "it is not an Endpoint"),
    "differs": (
        "from harvester.wechat.interfaces import INTERFACES\nMADE = INTERFACES['getusersummary']",
        "its interface is called getusersummary",
    ),
    "kind": (
        "from harvester.wechat.endpoint import JsonEndpoint\nclass MADE(JsonEndpoint): pass",
        "it is not an Endpoint",
    ),
}
"""Modules of broken interfaces, by their names, and what is said."""


@pytest.mark.sampled
@pytest.mark.thorough
@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_interface_is_left_out_with_one_warning(name: str, tmp_path: Path) -> None:
    module, cause = BROKEN[name]
    installed(tmp_path, f"[harvester.endpoints]\n{name} = {name}:MADE\n", **{name: module})
    (tmp_path / "c.toml").write_text(
        "[[interface]]\nname='mine'\npath='/m'\nfirst_day='2024-01-01'\ngroup='own'\n"
    )
    days = ("--start", "2024-01-01", "--end", "2024-01-02")
    for arguments in (
        ("endpoints",), ("plan", "all", *days), ("plan", "own", "--config", "c.toml", *days),
    ):  # fmt: skip
        done = harvest(*arguments, cwd=tmp_path, PYTHONPATH=f"{tmp_path}:{ROOT}")
        assert done.returncode == 0, done.stderr
        assert f"\n{name} " not in done.stdout
        (said,) = done.stderr.splitlines()
        assert said.startswith(
            f"harvester: the plug-in {name} of somebodys cannot be used: {cause}"
        )
    done = harvest("plan", "users", *days, cwd=tmp_path, PYTHONPATH=f"{tmp_path}:{ROOT}")
    assert (done.returncode, "Traceback" in done.stderr) == (0, False)
    done = harvest("plan", name, *days, cwd=tmp_path, PYTHONPATH=f"{tmp_path}:{ROOT}")
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)
    assert cause in done.stderr.splitlines()[-1]


@pytest.mark.thorough
def test_an_interface_that_is_broken_now_stays_in_the_ledger(tmp_path: Path) -> None:
    """What it harvested is known as that of an interface that is not installed."""
    module = (
        "from datetime import date\nimport harvester\n"
        "MINE = harvester.JsonEndpoint('mine', '/datacube/getusersummary', date(2024, 1, 1))"
    )
    installed(tmp_path, "[harvester.endpoints]\nmine = somebodys:MINE\n", somebodys=module)
    program = (
        "import harvester, harvester.testing as t; s = t.Simulator();"
        f"harvester.run_sync(harvester.Account({A!r}, secret='practice'), 'mine', '2024-01-01',"
        " '2024-01-02', sink='jsonl:harvest', transport=t.FakeTransport(s)).raise_for_state()"
    )
    ran = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, '.'); {program}"], cwd=tmp_path,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    (tmp_path / "somebodys.py").write_text("import nothing_of_this_name")
    for command in (["status"], ["verify"], ["report", "--no-curves"], ["status", "--json"]):
        done = harvest(*command, cwd=tmp_path, PYTHONPATH=f"{tmp_path}:{ROOT}")
        assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr
        assert command != ["verify"] or ": 20 records read" in done.stdout
        warned = command != ["verify"]  # which needs no interface
        assert done.stderr.count("the plug-in mine of somebodys cannot be used") == warned


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("module", "said"),
    [
        ("import nothing_of_this_name", "ModuleNotFoundError: No module named"),
        ("class Kept: pass", "it has no from_spec"),
        ("class Kept:\n    def from_spec(rest): raise LookupError('hidden')", "LookupError"),
        ("class Kept:\n    def from_spec(rest): return rest", "str is not derived from Sink"),
    ],
)
def test_a_broken_sink_fails_alone_in_one_sentence(module: str, said: str, tmp_path: Path) -> None:
    installed(tmp_path, "[harvester.sinks]\nkept = somebodys:Kept\n", somebodys=module)
    plan = ("plan", "users", "--start", "2024-01-01", "--end", "2024-01-02")
    done = harvest(*plan, "--sink", "kept:hidden", cwd=tmp_path, PYTHONPATH=f"{tmp_path}:{ROOT}")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert said in line
    done = harvest(*plan, "--sink", "jsonl:x", cwd=tmp_path, PYTHONPATH=f"{tmp_path}:{ROOT}")
    assert (done.returncode, done.stderr) == (0, "")


def documented(page: str, word: str) -> dict[str, Any]:
    """What the block of a page defines that has this word."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    [code] = [each for each in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if word in each]
    module = ModuleType("documented")
    sys.modules.setdefault("documented", module)
    exec(compile(code, page, "exec"), module.__dict__)
    assert set(re.findall(r"^(?:import|from) (\S+)", code, re.MULTILINE)) <= {
        "harvester", "json", "datetime",
    }  # fmt: skip
    return vars(module)


def test_the_interface_in_the_docs_has_public_names_alone_and_harvests() -> None:
    own = documented("interfaces.md", "class Followers")["FOLLOWERS"]
    assert isinstance(own, harvester.Endpoint)
    assert {"Verdict", "Action", "Field", "WindowKind"} <= {*harvester.__all__}
    simulator = Simulator()
    sink = harvester.MemorySink()
    report = harvester.run_sync(
        harvester.Account(A, secret="practice"), own, "2024-01-01", "2024-01-10", sink=sink,
        transport=FakeTransport(simulator), rate="1000/s",
    )  # fmt: skip
    report.raise_for_state()
    truth = [
        row
        for day in range(1, 11)
        for row in simulator.truth_of("getusersummary", A, date(2024, 1, day), date(2024, 1, day))
    ]
    assert report.records == len(truth) > 0


@pytest.mark.thorough
@pytest.mark.parametrize("name", SINK_CHECKS)
def test_a_sink_that_stores_no_tally_is_scanned_as_the_docs_say(name: str, tmp_path: Path) -> None:
    sys.path.append(str(ROOT / "examples"))
    try:
        from own_sink import Windows
    finally:
        sys.path.pop()

    class Kept(Windows):  # type: ignore[misc, no-any-unimported]
        @classmethod
        def from_spec(cls, rest: str) -> "Kept":
            return cls(Path(rest))

        def _rows(self, sql: str, *values: str) -> list[Any]:
            if not self.path.exists():
                return []
            with closing(sqlite3.connect(self.path)) as database:
                return database.execute(sql, values).fetchall()

        async def open(self, checkpoint: harvester.Checkpoint | None) -> Any:
            if checkpoint == {} and self.endpoints():
                raise UsageError("it has records of another ledger")
            return await super().open(checkpoint)

        def endpoints(self, _: object = None) -> set[str]:
            return {
                name for (name,) in self._rows("SELECT endpoint FROM windows WHERE length(lines)")
            }

        def scan(
            self, endpoint: str, appids: Any = None, _: object = None, days: Any = None
        ) -> Iterator[harvester.StoredWindow]:
            sql = "SELECT * FROM windows WHERE endpoint = ? AND length(lines) ORDER BY 1, 3"
            for appid, _name, first, last, text in self._rows(sql, endpoint):
                begin, end = date.fromisoformat(first), date.fromisoformat(last)
                if (appids is not None and appid not in appids) or (
                    days and not (begin <= days[1] and end >= days[0])
                ):
                    continue
                window = harvester.Window(appid, endpoint, begin, end)
                lines = [json.loads(line) for line in text.splitlines()]
                fetched_at = lines[0]["_fetched_at"]
                beside = {"_appid", "_endpoint", "_begin_date", "_end_date", "_fetched_at"}
                records = [{k: v for k, v in each.items() if k not in beside} for each in lines]
                tally = harvester.Batch(window, records, fetched_at).tally
                yield harvester.StoredWindow(window, tally, fetched_at, lambda found=records: found)

    asyncio.run(check_sink(lambda place: Kept.from_spec(str(tmp_path / place)), only=name))


@pytest.mark.thorough
def test_somebodys_interface_and_sink_come_in_by_the_same_door(tmp_path: Path) -> None:
    installed(tmp_path, ENTRY_POINTS, somebodys=PACKAGE)
    program = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{PROGRAM}"
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    users = plugins.endpoint_groups()["users"]
    assert (ran.stdout.splitlines(), ran.stderr) == (
        [
            f"{len(INTERFACES) + 3} ['mine', 'old', 'users']",
            "/mine /datacube/getusersummary",
            "['own', 'users'] ['mine']",
            f"{[*users, 'users']} {[True] * len(users) + [False]}",
            "['users']",
            "['old']",
            "['-', 'jsonl', 'kept', 'memory', 'mysql', 'postgresql', 'sqlite']",
            "kept:a:b",
        ],
        "",
    )
