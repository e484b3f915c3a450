"""The words of the page, its numbers and its times."""

from __future__ import annotations

import pytest

from harvester.report.causes import KINDS
from harvester.report.page import in_both
from harvester.report.texts import INTERFACE_TITLES, TEXTS, compact, moment, share
from harvester.wechat.interfaces import INTERFACES
from tests.report_data import NOW
from tests.support import at


@pytest.mark.parametrize(
    ("value", "zh", "en"),
    [
        (None, "–", "–"),
        (9_999, "9,999", "9,999"),
        (316_971, "31.7万", "317k"),
        (-12_345, "-1.2万", "-12.3k"),
        (271_900_000, "2.7亿", "272M"),
        (1_234_000_000, "12.3亿", "1.2B"),
    ],
)
def test_large_numbers_in_a_few_signs(value: int | None, zh: str, en: str) -> None:
    assert in_both(compact(value)) == (zh, en)


# words


def test_every_interface_has_a_short_name_in_both_languages() -> None:
    assert INTERFACE_TITLES.keys() == INTERFACES.keys()
    texts = [*INTERFACE_TITLES.values(), *TEXTS.values(), *(
        text for kind in KINDS.values() for text in (kind.short, kind.title, kind.advice)
    )]  # fmt: skip
    for zh, en in texts:
        assert zh.strip()
        assert en.strip()
        assert not [char for char in en if char > "\u2fff"], en


@pytest.mark.parametrize(
    ("part", "whole", "text"),
    [(0, 9, "0%"), (9, 9, "100%"), (1, 10**6, "0.1%"), (10**6 - 1, 10**6, "99.9%"), (0, 0, "–")],
)
def test_a_share_says_all_or_nothing_only_if_it_is(part: int, whole: int, text: str) -> None:
    assert share(part, whole) == text


def test_times_that_are_waited_for() -> None:
    assert moment(NOW - 1, NOW) == "now"
    assert in_both(moment(NOW + 3600, NOW)) == ("今天 17:30", "17:30 today")
    assert in_both(moment(at("2026-11-28", 9), NOW)) == ("11月28日 09:00", "Nov 28, 09:00")
