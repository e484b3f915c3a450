"""An interface that is added to the table is known everywhere, with no other edit."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path

from tests.scenarios.wire import A
from tests.support import Wechat, bare, environment

ADDED = """
from datetime import date
from harvester.datacube import ERRORS, INTERFACES
from harvester.endpoint import Field, JsonEndpoint

INTERFACES["getfollowers"] = JsonEndpoint(
    "getfollowers",
    "/datacube/getusersummary",
    date(2024, 1, 1),
    span=7,
    errors=ERRORS,
    group="users",
    title="followers by channel",
    record_type="GetFollowers",
    fields=(
        Field("ref_date", "date", "the day"),
        Field("user_source", "int", "the channel"),
        Field("new_user", "int", "people who followed"),
        Field("parts", "list", "by part", (Field("share", "float", "of all, 0 to 1"),)),
        Field("tags", "list", "texts", item="str"),
    ),
)
"""
COMMAND = "import sys\nfrom harvester.cli import main\nsys.exit(main())"
TYPES = """
from typing import get_type_hints
from harvester.datacube.types import GetFollowers, GetFollowersParts
hints = get_type_hints(GetFollowers)
assert hints.pop("parts") == list[GetFollowersParts]
assert hints.pop("tags") == list[str]
print({name: hint.__name__ for name, hint in hints.items()}, GetFollowers.__total__)
print(get_type_hints(GetFollowersParts))
"""


def run(program: str, *arguments: str | Path, cwd: Path) -> str:
    """The output of a program that first adds the interface to the table."""
    ran = subprocess.run(
        [sys.executable, "-c", ADDED + program, *map(str, arguments)],
        capture_output=True, text=True, timeout=90, cwd=cwd, env=environment(), check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_an_added_interface_is_listed_alone_and_in_its_group(tmp_path: Path) -> None:
    for name in ("all", "users"):
        listed = run(COMMAND, "endpoints", name, cwd=tmp_path)
        assert [line.split() for line in listed.splitlines() if "getfollowers" in line] == [
            ["getfollowers", "7", "2024-01-01", "active"]
        ]
    shown = run(COMMAND, "endpoints", "getfollowers", cwd=tmp_path)
    assert "getfollowers: followers by channel" in shown
    assert "people who followed" in shown


def test_an_added_interface_is_harvested_with_its_group_into_columns(
    wechat: Callable[..., Wechat], tmp_path: Path
) -> None:
    here = wechat()
    report = json.loads(
        run(
            COMMAND, "run", "users", "--appid", A, "--start", "2024-03-01", "--end", "2024-03-05",
            "--base-url", here.url, "--rate", "100/s", "--out", "out",
            "--sink", "sqlite:users.db", "--sink", "jsonl:out", "--json", cwd=tmp_path,
        )
    )  # fmt: skip
    assert report["state"] == "complete"
    truth = here.simulator.truth_of("getusersummary", A, date(2024, 3, 1), date(2024, 3, 5))
    lines = [
        json.loads(line)
        for path in (tmp_path / "out" / "getfollowers").glob("*.jsonl")
        for line in path.read_text().splitlines()
    ]
    assert sorted(map(str, map(bare, lines))) == sorted(map(str, truth))
    database = sqlite3.connect(tmp_path / "users.db")
    columns = {name for _, name, *_ in database.execute("PRAGMA table_info(getfollowers)")}
    assert {"ref_date", "user_source", "new_user", "parts", "tags"} < columns
    assert "cancel_user" not in columns  # the answers hold it, and the added interface does not
    [(followed,)] = database.execute("SELECT sum(new_user) FROM getfollowers")
    assert followed == sum(row["new_user"] for row in truth) > 0
    database.close()


def test_an_added_interface_has_a_type_for_its_records(tmp_path: Path) -> None:
    assert run(TYPES, cwd=tmp_path).splitlines() == [
        "{'ref_date': 'str', 'user_source': 'int', 'new_user': 'int'} False",
        "{'share': <class 'float'>}",
    ]
