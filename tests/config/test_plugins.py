"""From a name to the interface or the sink that it stands for."""

import subprocess
import sys
from pathlib import Path

import pytest

from harvester.config import plugins
from harvester.errors import UsageError
from harvester.sinks.jsonl.sink import JsonLines
from harvester.wechat.interfaces import INTERFACES

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


GROUPS = {
    "all": 31, "articles": 4, "interface": 2, "messages": 7, "minigame": 1, "miniprogram": 10,
    "publisher": 5, "users": 2,
}  # fmt: skip


def test_each_interface_that_is_not_retired_stands_in_its_group_and_in_all() -> None:
    groups = plugins.endpoint_groups()
    assert {name: len(names) for name, names in groups.items()} == GROUPS
    in_groups = [name for group in groups if group != "all" for name in groups[group]]
    assert sorted(in_groups) == groups["all"]
    assert not any(plugins.endpoint(name).retired for name in groups["all"])


def test_a_name_stands_for_an_interface_or_for_those_of_a_group() -> None:
    retired = INTERFACES["getarticlesummary"]  # asked for by its name alone
    assert plugins.endpoints_of("getarticlesummary") == [retired]
    users = [made.name for made in plugins.endpoints_of("users")]
    assert users == ["getusercumulate", "getusersummary"]
    assert len(plugins.endpoints_of("all")) == 31


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
        f"there is no interface {name!r}, and no group{hint}; harvester endpoints lists them"
    )


def test_the_built_in_sink_is_made_from_its_spec(tmp_path: Path) -> None:
    made = plugins.sink(f"jsonl:{tmp_path}/a:b")
    assert isinstance(made, JsonLines)
    assert made.path == tmp_path / "a:b"


@pytest.mark.parametrize("spec", ["", "jsonl", "parquets:x", ":x", "JSONL:x"])
def test_what_names_no_sink_is_refused_and_the_known_ones_are_told(spec: str) -> None:
    with pytest.raises(UsageError, match=r"^no sink for .*: these are known: .*jsonl:…"):
        plugins.sink(spec)


def test_somebodys_interface_and_sink_come_in_by_the_same_door(tmp_path: Path) -> None:
    (tmp_path / "somebodys.py").write_text(PACKAGE)
    info = tmp_path / "somebodys-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: somebodys\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    program = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{PROGRAM}"
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert (ran.stdout.splitlines(), ran.stderr) == (
        [
            "40 ['mine', 'old', 'users']",
            "/mine /datacube/getusersummary",
            "['own', 'users'] ['mine']",
            "['getusercumulate', 'getusersummary', 'users'] [True, True, False]",
            "['users']",
            "['old']",
            "['-', 'jsonl', 'kept', 'memory', 'mysql', 'postgresql', 'sqlite']",
            "kept:a:b",
        ],
        "",
    )
