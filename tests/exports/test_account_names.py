"""The table of the accounts: their names and groups, beside what is stored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import harvester
from harvester.exports.base import Exported
from harvester.exports.equal import export, is_equal
from harvester.exports.source import Source
from harvester.exports.targets import open_target
from harvester.model import Account
from harvester.sinks.memory import MemorySink
from harvester.wechat.interfaces import INTERFACES
from tests.exports.support import TARGETS, USERS, few, tables

NORTH = Account("wx0000000000000001", name="北方", group="区域")
SOUTH = Account("wx0000000000000000", name="=south")
ROWS = [
    {"_appid": SOUTH.appid, "name": "=south", "group": ""},
    {"_appid": NORTH.appid, "name": "北方", "group": "区域"},
]


def do(sink: MemorySink, spec: str, *accounts: Account, names: tuple[str, ...] = ()) -> Exported:
    """Export with these accounts, and see that the target is equal."""
    source = Source(sink, lambda: None, accounts=accounts)
    done = export(source, open_target(spec), names, INTERFACES.get)
    assert is_equal(source, open_target(spec), names, INTERFACES.get)
    return done


def rows(spec: str) -> list[dict[str, Any]]:
    return [
        {name: str(value or "").removeprefix("'") for name, value in row.items()}
        for row in tables(spec)["accounts"]
    ]


FLAT = [each for each in TARGETS if not each.startswith("iceberg")]


@pytest.mark.thorough
@pytest.mark.parametrize("target", FLAT)
def test_the_accounts_that_an_export_is_given_are_a_table(target: str, tmp_path: Path) -> None:
    spec = f"{target.format(tmp_path)}?shape=flat"
    sink = few()
    do(sink, spec)
    assert "accounts" not in tables(spec)
    do(sink, spec, NORTH, SOUTH)
    assert rows(spec) == ROWS
    assert not do(sink, spec, NORTH, SOUTH).written
    do(sink, spec, NORTH)
    assert rows(spec) == ROWS[1:]


@pytest.mark.thorough
@pytest.mark.parametrize("target", [each for each in FLAT if not each.startswith("xlsx")])
def test_an_export_that_is_given_none_leaves_them(target: str, tmp_path: Path) -> None:
    spec = f"{target.format(tmp_path)}?shape=flat"
    do(few(), spec, NORTH, SOUTH)
    assert do(few(), spec).kept
    do(few(), spec, names=(USERS,))
    assert rows(spec) == ROWS


def test_the_library_takes_one_account_or_several(tmp_path: Path) -> None:
    spec = f"csv:{tmp_path}/c"
    harvester.export(few(), spec, accounts=[NORTH, SOUTH])
    assert rows(spec) == ROWS
    harvester.export(few(), spec, accounts=NORTH)
    assert rows(spec) == ROWS[1:]


def test_an_account_that_is_not_listed_may_have_a_name(tmp_path: Path) -> None:
    spec = f"csv:{tmp_path}/c"
    source = Source(few(), lambda: None, accounts=[NORTH], names={SOUTH.appid: "south"})
    export(source, open_target(spec), (), INTERFACES.get)
    named = {(row["_appid"], row["account"]) for row in tables(spec)["followers_by_source"]}
    assert named == {(SOUTH.appid, "south"), (NORTH.appid, NORTH.name)}
    assert rows(spec) == ROWS[1:]
