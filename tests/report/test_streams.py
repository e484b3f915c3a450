"""The days of a stream: a letter each, as the calendar has them."""

from __future__ import annotations

import random
from datetime import date

from harvester.base.dates import ONE_DAY
from harvester.ledger.coverage import Calendar, days_of
from harvester.report.streams import LETTERS, Stream, counts_of, letters_of

BEGIN = date(2023, 12, 1)


def test_letters_and_their_counts_are_those_of_the_calendar() -> None:
    draw = random.Random(5)
    for _ in range(60):
        years: dict[int, bytearray] = {}
        for number in range(430):
            day = BEGIN + ONE_DAY * number
            if day.year != 2024 or draw.random() < 0.9:
                row = years.setdefault(day.year, bytearray(b".") * days_of(day.year))
                row[(day - date(day.year, 1, 1)).days] = draw.choice(b"....feowxn")
        if draw.random() < 0.3:
            years.pop(2024, None)
        calendar, known = Calendar(years), Calendar(years).span()
        begin = BEGIN + ONE_DAY * draw.randrange(430)
        asked = begin, begin + ONE_DAY * draw.randrange(400)
        first, letters = letters_of(calendar, asked, known, None, 0.0)
        stream = Stream(("wx1", "one"), asked, first, letters, counts_of(letters), 0, 0.0)
        assert known is not None
        assert (stream.first, stream.last) == (min(begin, known[0]), max(asked[1], known[1]))
        for letter, count in zip(LETTERS, stream.counts, strict=True):
            runs = list(calendar.runs(stream.first, stream.last, bytes([letter])))
            assert list(stream.runs(letter)) == runs
            assert sum((last - one).days + 1 for one, last in runs) == count
            if runs:
                assert stream.bounds(letter) == (runs[0][0], runs[-1][1])
