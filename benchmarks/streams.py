"""What the Redis sink costs beyond its driver.

The same groups of windows, 512 of them with eight records each as a commit brings them, are written
by the sink (markers and checks of windows) and by the bare driver in the cheapest way: one pipeline
of XADDs a group.  The server is a Redis without persistence, in a process of its own.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import date, timedelta
from typing import Any, NamedTuple

from benchmarks.figures import Figure, show
from benchmarks.servers import Missing, redis
from harvester.codec import checksum, lines
from harvester.model import Batch, Window, metadata
from harvester.sinks.base import Sink

WINDOWS, RECORDS = 512, 8
GROUPS = 40
REPEATS = 5
GOAL = 0.7
GATE = 0.4


class Spent(NamedTuple):
    """Seconds on the clock, and of CPU time of this process."""

    clock: float
    cpu: float


def _groups() -> list[list[Batch]]:
    stamp = "2024-06-15T04:00:00Z"
    found = []
    for group in range(GROUPS):
        batches = []
        for number in range(WINDOWS):
            day = date(2014, 12, 1) + timedelta(days=group * WINDOWS + number)
            window = Window("wx0000000000000001", "getarticlesummary", day, day)
            records = [
                {
                    "ref_date": str(day), "msgid": f"{10_000_000 + number}_{place}",
                    "title": f"第{place}条：今天的天气和昨天一样", "int_page_read_user": number,
                    "int_page_read_count": number + place, "ori_page_read_user": place,
                    "ori_page_read_count": 2 * place, "share_user": 3, "share_count": 4,
                    "add_to_fav_user": 5, "add_to_fav_count": 6,
                }
                for place in range(RECORDS)
            ]  # fmt: skip
            encoded = lines(records, metadata(window, stamp))
            body, total = b"".join(encoded), checksum(encoded)
            batches.append(Batch(window, stamp, RECORDS, body, total))
        found.append(batches)
    return found


async def _by_sink(sink: Sink, groups: Sequence[Sequence[Batch]]) -> None:
    """What a run does, less its ledger."""
    await sink.open({})
    for group in groups:
        await sink.write(group)
        await sink.settle()
    await sink.close()


Contender = Callable[[str], Awaitable[None]]


def _take_turns(contenders: dict[str, Contender]) -> dict[str, list[Spent]]:
    """Each contender some times, in turns of random order, each time at a new place."""
    spent: dict[str, list[Spent]] = {name: [] for name in contenders}
    draw = random.Random(4)
    for turn in range(REPEATS + 1):
        for name in draw.sample(sorted(contenders), len(contenders)):
            clock, cpu = time.perf_counter(), time.process_time()
            asyncio.run(_awaited(contenders[name](f"{name}-{turn}")))
            if turn:  # the first is to warm up
                spent[name].append(Spent(time.perf_counter() - clock, time.process_time() - cpu))
    return spent


async def _awaited(work: Awaitable[None]) -> None:
    await work


def _figures(name: str, bare: str, spent: dict[str, list[Spent]]) -> list[Figure]:
    records = GROUPS * WINDOWS * RECORDS
    clock = {each: statistics.median(one.clock for one in spent[each]) for each in spent}
    cpu = {each: statistics.median(one.cpu for one in spent[each]) for each in spent}
    return [
        Figure(f"{name}: CPU of {bare} / CPU of the sink", cpu["bare"] / cpu["sink"],
               goal=GOAL, gate=GATE),
        Figure(f"{name}: clock of {bare} / clock of the sink", clock["bare"] / clock["sink"]),
        Figure(f"{name}: records a second, sink", records / clock["sink"], "/s"),
        Figure(f"{name}: records a second, {bare}", records / clock["bare"], "/s"),
        Figure(f"{name}: CPU a record, sink", 1e6 * cpu["sink"] / records, "µs"),
        Figure(f"{name}: CPU a record, {bare}", 1e6 * cpu["bare"] / records, "µs"),
    ]  # fmt: skip


def _measure_redis(groups: Sequence[Sequence[Batch]]) -> list[Figure]:
    from redis import Redis

    from harvester.sinks.redis import RedisStreams

    with redis() as url, Redis.from_url(url) as client:

        async def bare(place: str) -> None:
            for group in groups:
                pipe: Any = client.pipeline(transaction=False)
                for batch in group:
                    for line in batch.body.splitlines():
                        pipe.xadd(place, {"record": line})
                pipe.execute()
            client.delete(place)

        async def sink(place: str) -> None:
            await _by_sink(RedisStreams(url, prefix=place), groups)
            client.flushall()

        turns = _take_turns({"bare": bare, "sink": sink})
        return _figures("redis", "bare XADDs", turns)


def measure() -> list[Figure]:
    """The figures."""
    groups = _groups()
    try:
        return _measure_redis(groups)
    except (Missing, ImportError) as exc:
        print(f"not measured: {exc}")
        return []


if __name__ == "__main__":
    show(measure())
