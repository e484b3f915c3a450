"""Texts that are put together, in both languages; tests/cli/test_language.py has the catalogue."""

from __future__ import annotations

import copy
import pickle

import pytest

from harvester.base.chinese import Titled, series, shown
from harvester.texts import joined, say

DAY = Titled("11月25日", "Nov 25")


@pytest.mark.parametrize(
    ("text", "chinese", "english"),
    [
        (DAY, "11月25日", "Nov 25"),
        (say("{} is complete", DAY), "11月25日的数据已到齐", "Nov 25 is complete"),
        (series([DAY, "wx1"]), "11月25日、wx1", "Nov 25, wx1"),
        (joined(", ", [DAY, "wx1"]), "11月25日，wx1", "Nov 25, wx1"),
        (say("{}: {}.  {}", DAY, "wx1", DAY), "11月25日：wx1。11月25日", "Nov 25: wx1.  Nov 25"),
        (say("{} ({:,})", DAY, 1234), "11月25日（1,234）", "Nov 25 (1,234)"),
        (say("{}: {}", "wx1", "a: b"), "wx1: a: b", "wx1: a: b"),
        ("Yesterday", "Yesterday", "Yesterday"),
        (say("Yesterday"), "昨天", "Yesterday"),
    ],
)
def test_a_text_in_both_languages(text: str, chinese: str, english: str) -> None:
    assert (shown(text, "zh"), shown(text, "en")) == (chinese, english)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda it: pickle.loads(pickle.dumps(it))])
def test_a_titled_text_stays_one_in_another_process(copied: object) -> None:
    assert callable(copied)
    assert shown(copied(DAY), "zh") == "11月25日"
