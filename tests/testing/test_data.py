"""Believable article statistics, the same for the same question."""

from datetime import date, timedelta
from itertools import pairwise

from harvester.testing import articles
from harvester.testing.data import READ_DAYS, THRESHOLD, published

DAY = date(2023, 6, 1)
YEAR = [date(2022, 1, 1) + timedelta(days=n) for n in range(365)]


def test_a_msgid_is_a_message_and_a_place_in_it_from_1_to_8() -> None:
    for article in (article for day in YEAR for article in published(1, "wx1", day)):
        message, _, index = article.msgid.partition("_")
        assert message.isdigit()
        assert 1 <= int(index) <= 8


def test_no_record_lies_below_the_threshold() -> None:
    least = min(record["int_page_read_user"] for day in YEAR for record in articles(1, "wx1", day))
    assert least >= THRESHOLD


def test_people_are_never_more_than_times() -> None:
    for record in (record for day in YEAR for record in articles(1, "wx1", day)):
        for name in ("int_page_read", "ori_page_read", "share", "add_to_fav"):
            assert 0 <= record[f"{name}_user"] <= record[f"{name}_count"]


def test_an_article_is_read_for_a_week_less_each_day() -> None:
    article = max(published(1, "wx1", DAY), key=lambda article: article.readers)
    readers = [
        record["int_page_read_user"]
        for age in range(READ_DAYS + 3)
        for record in articles(1, "wx1", DAY + timedelta(days=age))
        if record["msgid"] == article.msgid
    ]
    assert len(readers) == READ_DAYS
    assert readers[0] == max(readers)
    assert sum(one > other for one, other in pairwise(readers)) >= READ_DAYS - 3


def test_an_account_posts_on_most_days_but_not_on_all() -> None:
    posting = sum(bool(published(1, "wx1", day)) for day in YEAR)
    assert 250 < posting < 340


def test_an_account_rests_in_the_first_week_of_october() -> None:
    for year in range(2015, 2026):
        for number in range(1, 9):
            assert published(1, "wx1", date(year, 10, number)) == ()
