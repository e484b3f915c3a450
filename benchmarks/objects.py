"""What object stores and Redis cost beyond their drivers.

The same groups of windows, 512 of them with eight records each as a commit brings them, are written
by the sink (objects and manifests; markers and checks of windows) and by the bare driver in the
cheapest way: one put a group with obstore, one pipeline of XADDs a group with redis.  The servers
are moto's and a Redis without persistence, each in a process of its own.
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
from benchmarks.servers import Missing, redis, s3
from harvester.codec import checksum, lines
from harvester.model import Batch, Window, metadata
from harvester.sinks.base import Sink

WINDOWS, RECORDS = 512, 8
GROUPS = 40
"""So many commits are enough for the first merge of 32 objects."""
REPEATS = 5
GOAL = 0.7
GATE = 0.4
BUCKET = "benchmark"


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


# an object store


def _measure_s3(groups: Sequence[Sequence[Batch]]) -> list[Figure]:
    import obstore
    from obstore.store import S3Store

    from harvester.sinks.objects import ObjectStore

    with s3(BUCKET):
        store = S3Store(BUCKET, client_options={"allow_http": True})

        async def bare(place: str) -> None:
            for number, group in enumerate(groups):
                body = b"".join([batch.body for batch in group])
                await obstore.put_async(store, f"{place}/{number}.jsonl", body)

        async def sink(place: str) -> None:
            await _by_sink(ObjectStore(f"s3://{BUCKET}/{place}"), groups)

        return _figures("s3", "bare puts", _take_turns({"bare": bare, "sink": sink}))


# Redis


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
    figures: list[Figure] = []
    for one in (_measure_s3, _measure_redis):
        try:
            figures += one(groups)
        except (Missing, ImportError) as exc:
            print(f"not measured: {exc}")
    return figures


if __name__ == "__main__":
    show(measure())
