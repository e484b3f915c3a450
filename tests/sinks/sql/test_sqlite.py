"""The sink in SQLite: what is particular to it; what all SQL sinks promise is in `test_base`."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from harvester.errors import SinkError, UsageError
from tests.sinks.sql.test_base import Target, part


def test_what_cannot_be_a_database_is_refused_in_one_sentence(lite: Target, tmp_path: Path) -> None:
    def refused(path: Path | str) -> str:
        lite.path = Path(path)
        return lite.refused(UsageError, {})

    text = tmp_path / "x.db"
    text.write_text("a,b\n" * 5000)
    assert refused(text).endswith("could not be opened: it is a file of another kind")
    assert text.read_text() == "a,b\n" * 5000
    assert "is a directory; name a file" in refused(tmp_path)
    assert f"there is no directory {text}; create the directory, or " in refused(text / "y.db")
    assert refused("/proc/x.db").endswith("could not be opened: it cannot be written")
    for lite.path, kind, said in (
        (text, SinkError, "could not be read: it is a file of another kind"),
        (tmp_path, UsageError, "is a directory; name a file"),
    ):
        with pytest.raises(kind, match=said):
            lite.scan()


def test_a_scan_of_a_file_that_may_not_be_read_says_nothing_against_what_it_holds() -> None:
    with tempfile.TemporaryDirectory() as folder:
        target = Target("sqlite", Path(folder), None)
        target.harvest([part(1, 1)])
        Path(folder).chmod(0o777)
        target.path.chmod(0)
        user = os.geteuid()
        if user == 0:  # who may read everything
            os.seteuid(65534)
        try:
            with pytest.raises(UsageError, match="could not be read: it cannot be"):
                target.scan()
        finally:
            os.seteuid(user)


@pytest.mark.thorough
def test_a_window_of_any_number_of_records_is_stored(lite: Target) -> None:
    """A statement has many rows: as many as fit, and then what is left."""
    windows = [part(number, *range(number)) for number in range(1, 161)]
    lite.harvest(*[[each] for each in windows], windows[:90])
    found = lite.scan()
    assert [len(list(each.records())) for each in found.values()] == [*range(1, 161)]
    assert [each.tally for each in found.values()] == [each.tally for each in windows]


def test_a_ledger_of_harvester_is_no_target(lite: Target) -> None:
    lite.execute("CREATE TABLE calendar (a)")
    lite.execute("CREATE TABLE open_window (a)")
    assert lite.refused(UsageError).endswith("is a ledger of harvester; choose another file")


def test_a_copy_that_cannot_be_written_is_read(tmp_path: Path) -> None:
    target = Target("sqlite", tmp_path, None)
    target.harvest([part(1, 1), part(2, 2)])
    copy = tmp_path / "copy"
    copy.mkdir()
    shutil.copy(target.path, copy)
    (copy / target.path.name).chmod(stat.S_IRUSR | stat.S_IRGRP | stat.S_IROTH)
    copy.chmod(0o555)
    (tmp_path / "list.py").write_text(
        "import asyncio, os, sys\n"
        "from harvester.sinks.sql.sqlite import SQLite\n"
        "sink = SQLite(sys.argv[1])\n"
        "if os.geteuid() == 0: os.setgid(65534); os.setuid(65534)\n"
        "print(sink.endpoints(), [one.records() for one in sink.scan('checked')])\n"
    )
    parents = [each for each in tmp_path.parents if each.stat().st_uid == os.geteuid()]
    for each in (tmp_path, *parents[:3]):
        each.chmod(each.stat().st_mode | 0o055)
    try:
        ran = subprocess.run(
            [sys.executable, str(tmp_path / "list.py"), str(copy / target.path.name)],
            capture_output=True, text=True,
        )  # fmt: skip
    finally:
        copy.chmod(0o755)
    assert ran.stdout.strip() == (
        "['checked'] [[{'n': 1, 'Title': 't1'}], [{'n': 2, 'Title': 't2'}]]"
    ), ran.stderr
    assert [each.name for each in copy.iterdir()] == [target.path.name]
