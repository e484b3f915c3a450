"""Figures that come late, and answers that lack what earlier ones had.

Rule: the world's seed determines when each row and each entry comes; an answer lacks again only
what is stored.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import date
from functools import lru_cache
from random import Random
from typing import Any, NamedTuple

from harvester.base.dates import DAY, ONE_DAY
from harvester.model import Endpoint
from harvester.wechat.endpoint import day_of, in_record
from harvester.wechat.interfaces import INTERFACES
from harvester.wechat.late import Delivery, delivery, due_at

LATE = tuple(
    INTERFACES[name] for name in ("getusercumulate", "getusersummary", "getarticletotaldetail")
)
MOST_DAYS = 40
ASKED_FOR = {Delivery.DAILY: 30, Delivery.ENTRIES: 30, Delivery.UNCERTAIN: 7}
"""What comes so many days late is got; it is asked for until then, and seldom later."""
YOUNG = 3
"""Days for which a run is not complete without it."""
CALLED_LATE = 0.2
"""How many days of an interface of lists are called late for ever."""
LISTS = {"getarticletotaldetail": ("detail_list", "stat_date", 30)}
"""The list that grows, its day, and the days for which it does."""


class Place(NamedTuple):
    """Where a row or an entry is: its day, its article and the day of its entry, if it has one."""

    endpoint: str
    appid: str
    day: date
    article: str = ""
    entry: date | None = None


class Lateness:
    """When the figures of a world come.

    born: days before it have no rows of an interface that has one for each day.
    stored: what the answers of former runs had, and sinks and ledger have.
    """

    def __init__(self, seed: int, born: date) -> None:
        self.seed = seed
        self.born = born
        self.forgetful = Random(f"forgetful {seed}").choice((0.0, 0.3, 0.6))
        self.stored: set[Place] = set()
        self.drawn = lru_cache(4096)(self._drawn)

    def _drawn(self, endpoint: str, appid: str, day: date) -> tuple[int, int]:
        """By how many days it is late, and how many entries at the end of its list are."""
        draw = Random(f"{self.seed} {endpoint} {appid} {day}")
        return draw.choice((0, 0, 0, draw.randint(1, 3), draw.randint(1, MOST_DAYS))), draw.randint(
            1, 3
        )

    def exists(self, place: Place) -> bool:
        """Whether it ever comes."""
        return delivery(INTERFACES[place.endpoint]) is not Delivery.DAILY or place.day >= self.born

    def _is_late(self, place: Place) -> int:
        days, entries = self.drawn(place.endpoint, place.appid, place.day)
        if place.endpoint in LISTS:
            grows = LISTS[place.endpoint][2]
            if place.entry is None or place.entry < place.day + (grows - entries) * ONE_DAY:
                return 0
        return days

    def comes(self, place: Place) -> float:
        """The Unix time from which answers have it."""
        due = due_at(INTERFACES[place.endpoint], place.entry or place.day)
        return due + self._is_late(place) * DAY

    def is_got(self, place: Place) -> bool:
        """Whether it comes while it is asked for."""
        return self._is_late(place) <= ASKED_FOR[delivery(INTERFACES[place.endpoint])]

    def answered(
        self, endpoint: Endpoint, appid: str, body: bytes, wall: float, draw: Random
    ) -> bytes:
        """An answer as it is at a time."""
        answer = json.loads(body)
        if not isinstance(answer.get("list"), list):
            return body
        lacking = draw.random() < self.forgetful
        if endpoint.name in LISTS and self._is_called_late(appid, answer["list"]):
            answer["is_delay"] = True
        found = []
        for record in answer["list"]:
            if kept := self._record(endpoint, appid, record, wall, draw if lacking else None):
                found.append(kept)
        return json.dumps({**answer, "list": found}).encode()

    def _is_called_late(self, appid: str, records: list[dict[str, Any]]) -> bool:
        """Whether WeChat calls a day late for ever, also if all of its figures are there."""
        text = f"called late {self.seed} {appid} {[each['ref_date'] for each in records[:1]]}"
        return Random(text).random() < CALLED_LATE

    def _record(
        self,
        endpoint: Endpoint,
        appid: str,
        record: dict[str, Any],
        wall: float,
        draw: Random | None,
    ) -> dict[str, Any] | None:
        def stays(place: Place) -> bool:
            if not self.exists(place) or wall < self.comes(place):
                return False
            return draw is None or place not in self.stored or draw.random() < 0.5

        whole, *entries = places(endpoint, appid, record)
        if endpoint.name not in LISTS:
            return record if stays(whole) else None
        name, _, grows = LISTS[endpoint.name]
        # a record that is lacking when its list is full may lack its last entries for good
        if wall < due_at(endpoint, whole.day + (grows - 1) * ONE_DAY) and not stays(whole):
            return None
        return {**record, name: [
            each for each, place in zip(record[name], entries, strict=True) if stays(place)
        ]}  # fmt: skip


def places(endpoint: Endpoint, appid: str, record: dict[str, Any]) -> list[Place]:
    """Where a record is, and each entry of its list."""
    day = day_of(in_record(record, endpoint.day_field))
    assert day is not None
    if endpoint.name not in LISTS:
        return [Place(endpoint.name, appid, day)]
    name, field, _ = LISTS[endpoint.name]
    whole = Place(endpoint.name, appid, day, record["msgid"])
    return [whole, *[whole._replace(entry=day_of(each[field])) for each in record[name]]]


def pieces(
    endpoint: Endpoint, appid: str, records: Sequence[dict[str, Any]]
) -> Iterator[tuple[Place, dict[str, Any]]]:
    """Each record, and each entry of its list apart; and where it is."""
    for record in records:
        whole, *entries = places(endpoint, appid, record)
        if endpoint.name not in LISTS:
            yield whole, record
            continue
        name = LISTS[endpoint.name][0]
        yield whole, {key: value for key, value in record.items() if key != name}
        yield from zip(entries, record[name], strict=True)
