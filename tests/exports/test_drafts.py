"""Drafts take their place whole; what an export began is gone at its end."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from harvester.errors import UsageError
from harvester.exports.drafts import Claim, Drafts


def test_a_draft_takes_its_place_and_the_directory_goes(tmp_path: Path) -> None:
    drafts = Drafts(tmp_path / ".new")
    assert [*tmp_path.iterdir()] == []
    drafts.path("a/b").write_text("new")
    (tmp_path / "b").write_text("former")
    drafts.show("a/b", tmp_path / "b")
    drafts.path("c").write_text("not shown")
    drafts.drop()
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"b": "new"}


def test_what_a_killed_export_left_is_removed(tmp_path: Path) -> None:
    Drafts(tmp_path / ".new").path("c").write_text("left")
    Drafts(tmp_path / ".new")
    assert [*tmp_path.iterdir()] == []


def test_a_claim_leaves_no_lock_file(tmp_path: Path) -> None:
    claim = Claim(tmp_path / "lock", "this")
    with pytest.raises(UsageError, match="this is in use by another harvester"):
        Claim(tmp_path / "lock", "this")
    claim.release()
    assert [*tmp_path.iterdir()] == []


def test_of_many_that_want_a_lock_one_at_a_time_has_it(tmp_path: Path) -> None:
    held, most, taken = 0, 0, 0
    guard = threading.Lock()

    def work() -> None:
        nonlocal held, most, taken
        for _ in range(200):
            try:
                claim = Claim(tmp_path / "lock", "this")
            except UsageError:
                continue
            with guard:
                held, taken = held + 1, taken + 1
                most = max(most, held)
            with guard:
                held -= 1
            claim.release()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert most == 1
    assert taken > 4
    assert [*tmp_path.iterdir()] == []
