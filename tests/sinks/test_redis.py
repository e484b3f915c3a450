from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis as driver

from harvester import plugins
from harvester.errors import SinkError, UsageError
from harvester.model import Tally
from harvester.sinks.redis import RedisStreams
from tests.redis_server import PASSWORD, RedisServer
from tests.sinks.kept import (
    ODD,
    Died,
    Kept,
    batch,
    done,
    dying,
    job,
    killed_again_and_again,
    standing,
    truth,
    window,
)
from tests.support import KILLS, A, Wechat, harvest

OPERATIONS = 48


@pytest.fixture
def server(redis: RedisServer) -> RedisServer:
    """A server that holds nothing."""
    redis.empty()
    return redis


@pytest.fixture
def client(server: RedisServer) -> Iterator[Any]:
    with driver.Redis.from_url(server.url, decode_responses=True) as made:
        yield made


def at(server: RedisServer, **how: Any) -> Kept:
    return Kept(lambda: RedisStreams(server.url, **{"patience": 5.0, **how}))


def numbers(client: Any, key: str = "harvester:e") -> list[int]:
    """What somebody finds who reads a whole stream."""
    return sorted(json.loads(fields["record"])["n"] for _, fields in client.xrange(key))


# what is written


def test_what_is_written_can_be_read_back(server: RedisServer, client: Any) -> None:
    async def main() -> None:
        ledger = at(server)
        sink = await ledger.open()
        other = window(4, endpoint="f")
        await ledger.commit(sink, batch(1, ODD, {"n": 1}), batch(2), batch(3, 3), batch(other, 4))
        await sink.close()
        await sink.close()
        assert [record.get("n") for record in ledger.records()] == [None, 1, 3, 4]
        assert {**ledger.records()[0], **ODD} == ledger.records()[0]

    asyncio.run(main())
    ids = [place for place, _ in client.xrange("harvester:e")]
    assert ids == ["1-0", "1-1", "1-2"]
    assert client.xlen("harvester:f") == 1


def test_windows_give_way_to_themselves_and_to_longer_ones(
    server: RedisServer, client: Any
) -> None:
    async def main() -> None:
        ledger = at(server)
        sink = await ledger.open()
        days = [batch(day, day, day) for day in range(1, 9)]
        for one in days:
            await ledger.commit(sink, one)
        await ledger.commit(sink, batch(window(3, appid="wx2"), 33))
        assert await ledger.commit(sink, batch(3, 3, replaces=True), batch(20, 20)) == {
            window(3): Tally(2, days[2].checksum)
        }
        replaced = await ledger.commit(sink, batch(window(2, 6), 100, replaces=True))
        assert replaced[window(2, 6)].records == 11
        assert ledger.numbers() == numbers(client) == [1, 1, 8, 8, 20, 33, 100]
        assert await ledger.commit(sink, batch(8, replaces=True)) == {
            window(8): Tally(2, days[7].checksum)
        }
        assert await ledger.commit(sink, batch(8, replaces=True)) == {}
        await sink.close()
        assert ledger.numbers() == numbers(client) == [1, 1, 20, 33, 100]

    asyncio.run(main())


def test_a_window_that_comes_again_as_it_was_is_not_handed_on_again(
    server: RedisServer, client: Any
) -> None:
    async def main() -> None:
        ledger = at(server)
        sink = await ledger.open()
        first = batch(1, 1, 2)
        await ledger.commit(sink, first)
        before = client.xrange("harvester:e")
        again = batch(1, 2, 1, replaces=True, stamp="2025-01-01T00:00:00Z")
        assert await ledger.commit(sink, again) == {window(1): Tally(2, first.checksum)}
        await sink.close()
        assert client.xrange("harvester:e") == before

    asyncio.run(main())


def test_an_id_is_made_from_the_record_and_is_its_own(server: RedisServer, client: Any) -> None:
    async def main() -> None:
        for prefix in ("a", "b"):
            ledger = at(server, prefix=prefix)
            sink = await ledger.open()
            stamp = f"2024-06-15T04:00:0{len(prefix) + ord(prefix) % 5}Z"
            await ledger.commit(sink, batch(1, 1, 1, 2, stamp=stamp), batch(2, 1, stamp=stamp))
            await sink.close()

    asyncio.run(main())
    one, two = ([fields["id"] for _, fields in client.xrange(f"{p}:e")] for p in ("a", "b"))
    assert one == two
    assert len({*one}) == 4


def test_empty_windows_make_no_stream(server: RedisServer, client: Any) -> None:
    async def main() -> None:
        ledger = at(server)
        sink = await ledger.open()
        await ledger.commit(sink, batch(1), batch(2, replaces=True))
        await sink.close()
        assert ledger.numbers() == []

    asyncio.run(main())
    assert not client.exists("harvester:e")


def test_ten_thousand_windows_and_their_replacement(server: RedisServer, client: Any) -> None:
    async def main() -> None:
        ledger = at(server)
        sink = await ledger.open()
        await ledger.commit(sink, *[batch(day, day, day) for day in range(1, 10_001)])
        await ledger.commit(sink, *[batch(day, -day, replaces=True) for day in range(1, 10_001)])
        await sink.close()
        assert ledger.numbers() == numbers(client) == list(range(-10_000, 0))

    asyncio.run(main())


def test_one_window_may_hold_more_than_one_script_takes(
    server: RedisServer, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harvester.sinks.redis.MOST", 10)

    async def main() -> None:
        ledger = at(server)
        sink = await ledger.open()
        await ledger.commit(sink, batch(1, *range(25)), *[batch(day, day) for day in range(2, 40)])
        await ledger.commit(sink, batch(window(1, 30), 7, replaces=True))
        await sink.close()
        assert ledger.numbers() == numbers(client) == [7, *range(31, 40)]

    asyncio.run(main())


# runs that die


def test_what_a_run_that_died_had_handed_on_is_not_handed_on_again(
    server: RedisServer, client: Any
) -> None:
    async def main() -> None:
        ledger = at(server)
        sink = await ledger.open()
        await ledger.commit(sink, batch(1, 1))
        await sink.write([batch(2, 2), batch(3, 3), batch(4, 4), batch(window(8, 7), 8)])
        await sink.close()
        before = client.xrange("harvester:e")
        assert ledger.numbers() == [1]
        sink = await ledger.open()
        assert ledger.numbers() == [1]
        await ledger.commit(
            sink,
            batch(2, 2, stamp="2025-01-01T00:00:00Z"),
            batch(3, 33),  # other figures
            *[batch(day, day) for day in range(8, 15)],  # other windows
        )
        assert ledger.numbers() == [1, 2, *range(8, 15), 33]
        await ledger.finish(sink)
        await sink.close()
        assert ledger.numbers() == numbers(client)
        after = client.xrange("harvester:e")
        assert [entry for entry in before if entry in after] == before[:2]

    asyncio.run(main())


def test_a_replacement_that_no_receipt_speaks_of_is_undone(
    server: RedisServer, client: Any
) -> None:
    async def main() -> None:
        ledger = at(server)
        sink = await ledger.open()
        await ledger.commit(sink, batch(1, 1), batch(2, 2), batch(3, 3))
        await sink.write([batch(window(1, 2), 12, replaces=True), batch(3, replaces=True)])
        assert ledger.numbers() == [1, 2, 3]
        await sink.close()
        sink = await ledger.open()
        assert ledger.numbers() == numbers(client) == [1, 2, 3]
        await ledger.commit(sink, batch(window(1, 2), 12, replaces=True))
        await sink.close()
        assert ledger.numbers() == numbers(client) == [3, 12]

    asyncio.run(main())


def test_a_replacement_whose_receipt_is_stored_is_settled_by_the_next_run(
    server: RedisServer, client: Any
) -> None:
    async def main() -> None:
        ledger = at(server)
        sink = await ledger.open()
        await ledger.commit(sink, batch(1, 1), batch(2, 2))
        ledger.store((await sink.write([batch(1, 11, replaces=True)])).receipt)
        assert ledger.numbers() == [2, 11]
        await sink.close()
        sink = await ledger.open()
        await sink.close()
        assert ledger.numbers() == numbers(client) == [2, 11]

    asyncio.run(main())


@pytest.mark.parametrize("part", range(4))
def test_a_job_that_dies_at_any_moment_ends_with_the_truth(
    server: RedisServer, client: Any, tmp_path: Path, part: int
) -> None:
    with dying(0) as moments:
        sink = at(server, prefix="whole").make()
        asyncio.run(job(sink, tmp_path / "l", operations=OPERATIONS))
    assert {"after xadd", "after settle streams"} < {*moments}
    for moment in range(1 + part, len(moments) + 1, 4):
        make, path = at(server, prefix=f"p{moment}").make, tmp_path / f"ledger{moment}"
        sink = make()
        with dying(moment), pytest.raises(Died):
            asyncio.run(job(sink, path, operations=OPERATIONS))
        asyncio.run(sink.close())
        assert standing(make(), path) == truth(done(path)), moments[moment - 1]
        asyncio.run(job(make(), path, operations=OPERATIONS))
        assert standing(make(), path) == truth(OPERATIONS), moments[moment - 1]
        seen = Counter(f["record"] + "\n" for _, f in client.xrange(f"p{moment}:e"))
        assert seen == truth(OPERATIONS), moments[moment - 1]


class Consumer:
    """Reads a stream as it grows, as somebody who pushes on does."""

    def __init__(self, server: RedisServer, key: str) -> None:
        self.found: list[str] = []
        self._client: Any = driver.Redis.from_url(server.url, decode_responses=True)
        self._key, self._last = key, "0-0"
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while True:
            last_turn = self._stop.is_set()
            while page := self._client.xread({self._key: self._last}, count=500):
                for place, fields in page[0][1] if isinstance(page, list) else page[self._key][0]:
                    self._last = place
                    self.found.append(fields["id"])
            if last_turn:
                return
            time.sleep(0.001)

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(20)
        self._client.close()


@pytest.mark.timeout(600)
@pytest.mark.thorough
def test_kills_at_random_moments_lose_and_double_nothing(
    server: RedisServer, client: Any, tmp_path: Path
) -> None:
    spec, path, reached = f"{server.url}?prefix=killed", tmp_path / "ledger", list[int]()

    def each() -> None:
        reached.append(done(path))
        assert standing(plugins.sink(spec), path) == truth(reached[-1])

    killed_again_and_again(spec, path, each, 0.01)
    assert len({*reached}) > min(5, KILLS // 3)
    assert standing(plugins.sink(spec), path) == truth()
    assert Counter(f["record"] + "\n" for _, f in client.xrange("killed:e")) == truth()


ONCE = """
import asyncio, json, sys
from pathlib import Path
from harvester import plugins
from tests.sinks.kept import batch
async def main(spec, path):
    sink = plugins.sink(spec)
    ledger = json.loads(path.read_text()) if path.exists() else {"receipt": {}, "done": 0}
    ledger["receipt"].update(await sink.open(ledger["receipt"]))
    print("open", flush=True)
    while ledger["done"] < 900:
        first = ledger["done"] + 1
        written = await sink.write([batch(day, *[day] * 20) for day in range(first, first + 3)])
        ledger["receipt"].update(written.receipt)
        ledger["done"] += 3
        path.with_suffix(".tmp").write_text(json.dumps(ledger))
        path.with_suffix(".tmp").replace(path)
        await sink.settle()
    await sink.finish()
    await sink.close()
asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
"""


@pytest.mark.timeout(600)
@pytest.mark.thorough
def test_a_consumer_gets_each_record_once_however_often_the_run_is_killed(
    server: RedisServer, client: Any, tmp_path: Path
) -> None:
    consumer = Consumer(server, "once:e")
    try:
        killed_again_and_again(
            f"{server.url}?prefix=once", tmp_path / "ledger", lambda: None, 0.02, KILLS, ONCE
        )
    finally:
        consumer.stop()
    assert len(consumer.found) == len({*consumer.found}) == 900 * 20
    assert numbers(client, "once:e") == sorted(list(range(1, 901)) * 20)


# two writers, and other ledgers


def test_a_second_writer_is_refused_until_the_first_has_closed(server: RedisServer) -> None:
    async def main() -> None:
        one, two = at(server), at(server)
        sink = await one.open()
        await one.commit(sink, batch(1, 1))
        for receipt in (None, {}, one.receipt):
            other = two.make()
            with pytest.raises(UsageError, match="is in use by another harvester"):
                await other.open(receipt)
            await other.close()
        await one.commit(sink, batch(2, 2))
        await sink.close()
        sink = await two.open()
        await two.commit(sink, batch(2, 22), batch(3, 3))
        await sink.close()
        sink = await one.open()
        await one.commit(sink, batch(3, 33))
        await sink.close()
        assert one.numbers() == [1, 22, 33]

    asyncio.run(main())


def test_a_writer_whose_place_was_taken_writes_nothing_more(
    server: RedisServer, client: Any
) -> None:
    async def main() -> None:
        one, two = at(server), at(server)
        former = await one.open()
        await one.commit(former, batch(1, 1))
        for each in client.client_list():
            if each["name"].startswith("harvester-"):
                client.client_kill_filter(_id=each["id"])
        sink = await two.open()
        with pytest.raises(SinkError, match="another harvester has begun to write"):
            await former.write([batch(2, 2)])
        await two.commit(sink, batch(3, 3))
        await former.close()
        await sink.close()
        assert numbers(client) == [1, 3]

    asyncio.run(main())


def test_without_a_ledger_a_window_that_comes_again_replaces_itself(
    server: RedisServer, client: Any
) -> None:
    async def main() -> None:
        for number in range(3):
            sink = at(server).make()
            await sink.open(None)
            await sink.write([batch(1, number), batch(2 + number, 2 + number)])
            await sink.settle()
            await sink.close()

    asyncio.run(main())
    assert numbers(client) == [2, 2, 3, 4]


# what is not there


def test_what_was_deleted_is_never_called_harvested(server: RedisServer, client: Any) -> None:
    async def main() -> None:
        ledger = at(server)
        sink = await ledger.open()
        await ledger.commit(sink, batch(1, 1), batch(2, 2))
        await sink.close()
        client.xtrim("harvester:e", maxlen=0)  # a consumer's right
        sink = await ledger.open()
        await sink.close()
        client.delete("harvester:e")
        await _refused(ledger, "the stream harvester:e was deleted")
        server.empty()
        await _refused(ledger, "its bookkeeping is gone")
        other = at(server)
        sink = await other.open()
        await other.commit(sink, batch(9, 9))
        await sink.close()
        await _refused(ledger, "something else stands in its place")

    asyncio.run(main())


async def _refused(ledger: Kept, how: str) -> None:
    sink = ledger.make()
    with pytest.raises(SinkError, match=f"is gone .{how}., though the ledger says"):
        await sink.open(dict(ledger.receipt))
    await sink.close()
    with pytest.raises(SinkError, match="is gone"):
        ledger.records()


def test_a_server_that_came_back_without_its_last_commits_is_told(
    server: RedisServer, client: Any
) -> None:
    async def main() -> None:
        ledger = at(server)
        sink = await ledger.open()
        await ledger.commit(sink, batch(1, 1))
        state = client.hgetall("harvester:.state")
        await ledger.commit(sink, batch(2, 2))
        await sink.close()
        client.hset("harvester:.state", mapping=state)
        await _refused(ledger, "the server came back without its last commits")

    asyncio.run(main())


# what can never be written is told before anything is sent


def opened(sink: RedisStreams) -> Exception:
    async def main() -> Exception:
        with pytest.raises((UsageError, SinkError)) as caught:
            await sink.open({})
        await sink.close()
        return caught.value

    found = asyncio.run(main())
    assert PASSWORD not in repr(found)
    assert "\n" not in str(found)
    return found


def test_a_wrong_password_and_a_database_that_is_none_are_unusable(server: RedisServer) -> None:
    wrong = opened(RedisStreams(server.url.replace(PASSWORD, "wrong")))
    assert isinstance(wrong, UsageError)
    assert "it refuses this user or password" in str(wrong)
    none = opened(RedisStreams(server.url.replace(f"{server.port}/0", f"{server.port}/99")))
    assert isinstance(none, UsageError)
    assert "it has no such database" in str(none)


def test_a_replica_is_unusable(server: RedisServer, client: Any) -> None:
    client.replicaof("127.0.0.1", "9")
    try:
        found = opened(RedisStreams(server.url))
    finally:
        client.replicaof("NO", "ONE")
    assert isinstance(found, UsageError)
    assert "it is a replica, which is read-only" in str(found)


def test_a_key_that_is_something_else_is_told(server: RedisServer, client: Any) -> None:
    from harvester.datacube import INTERFACES

    client.set("harvester:getarticlesummary", "x")
    sink = RedisStreams(server.url)
    sink.describe([INTERFACES["getarticlesummary"]])
    found = opened(sink)
    assert isinstance(found, UsageError)
    assert "has a string harvester:getarticlesummary that no harvester wrote" in str(found)

    async def main() -> None:
        client.set("harvester:e", "x")
        client.delete("harvester:getarticlesummary")
        ledger = at(server)
        sink = await ledger.open()
        with pytest.raises(SinkError, match="was written by something else"):
            await sink.write([batch(1, 1)])
        await sink.close()

    asyncio.run(main())


def test_a_full_memory_stops_the_run_and_loses_nothing(server: RedisServer, client: Any) -> None:
    async def main() -> None:
        ledger = at(server)
        sink = await ledger.open()
        await ledger.commit(sink, batch(1, 1))
        client.config_set("maxmemory", "1")
        try:
            with pytest.raises(SinkError, match="could not be written: its memory is full; noth"):
                await sink.write([batch(2, 2)])
            await sink.close()
        finally:
            client.config_set("maxmemory", "0")
        sink = await ledger.open()
        await ledger.commit(sink, batch(2, 2))
        await sink.close()
        assert ledger.numbers() == numbers(client) == [1, 2]

    asyncio.run(main())


def test_a_server_that_is_down_is_asked_again_for_a_bounded_time() -> None:
    started = time.monotonic()
    found = opened(RedisStreams("redis://127.0.0.1:9/0", patience=0.6))
    assert type(found) is not UsageError
    assert "it does not answer for 0.6 s; nothing that was committed is lost" in str(found)
    assert 0.2 < time.monotonic() - started < 5


def test_a_server_that_is_gone_and_back_again_is_waited_for(
    server: RedisServer, client: Any
) -> None:
    async def main() -> None:
        client.config_set("appendfsync", "always")
        client.config_set("appendonly", "yes")
        while client.info("persistence")["aof_rewrite_in_progress"]:
            await asyncio.sleep(0.02)
        ledger = at(server, patience=30.0)
        sink = await ledger.open()
        await ledger.commit(sink, batch(1, 1))
        server.stop()
        task = asyncio.ensure_future(ledger.commit(sink, batch(2, 2)))
        await asyncio.sleep(0.3)
        assert not task.done()
        await asyncio.to_thread(server.start, "yes")
        await task
        await ledger.commit(sink, batch(1, 11, replaces=True))
        await sink.close()
        assert ledger.numbers() == [2, 11]

    try:
        asyncio.run(main())
    finally:
        server.stop()
        server.start()


def test_a_server_that_comes_back_empty_is_told(server: RedisServer) -> None:
    async def main() -> None:
        ledger = at(server, patience=20.0)
        sink = await ledger.open()
        await ledger.commit(sink, batch(1, 1))
        server.stop()
        await asyncio.to_thread(server.start)
        with pytest.raises(SinkError, match=r"is gone .the server came back without it"):
            await sink.write([batch(2, 2)])
        await sink.close()

    asyncio.run(main())


def test_a_write_can_be_cancelled_in_its_midst(server: RedisServer, client: Any) -> None:
    async def main() -> None:
        ledger = at(server)
        sink = await ledger.open()
        await ledger.commit(sink, batch(1, 1))
        for wait in (0.0, 0.001, 0.003, 0.01):
            task = asyncio.ensure_future(sink.write([batch(day, day) for day in range(2, 500)]))
            await asyncio.sleep(wait)
            task.cancel()
            await asyncio.wait([task])
            await sink.close()
            sink = await ledger.open()
        assert ledger.numbers() == [1]
        await ledger.commit(sink, *[batch(day, day) for day in range(2, 500)])
        await ledger.finish(sink)
        await sink.close()
        assert ledger.numbers() == numbers(client) == list(range(1, 500))

    asyncio.run(main())


# specs


def test_a_spec_names_server_database_and_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    for spec, identity in (
        ("redis://:sesame@h:7/3?prefix=a:b", "redis://h:7/3?prefix=a:b"),
        ("redis://h", "redis://h:6379/0"),
        ("rediss://me:sesame@h/1", "rediss://me@h:6379/1"),
    ):
        sink = plugins.sink(spec)
        assert sink.identity == identity
        assert plugins.sink(identity).identity == identity
        assert "sesame" not in repr(sink) + repr(vars(sink))


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("redis:", "redis://HOST:PORT/DB"),
        ("redis://", "redis://HOST:PORT/DB"),
        ("redis://h/x", "redis://HOST:PORT/DB"),
        ("redis://:sesame@h:port", "redis://HOST:PORT/DB"),
        ("redis://:sesame@h/0?prefx=a", "redis has no option 'prefx'"),
        ("redis://:ses?ame@h/0", "a ? in a password is written %3F"),
    ],
)
def test_a_spec_that_is_none_is_told_in_one_sentence(spec: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        plugins.sink(spec)
    assert said in str(caught.value)
    assert "ses" not in str(caught.value)


def test_a_password_comes_from_the_environment(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARVESTER_REDIS_PASSWORD", PASSWORD)

    async def main() -> None:
        sink = plugins.sink(f"redis://127.0.0.1:{server.port}")
        await sink.open({})
        await sink.close()

    asyncio.run(main())


def test_a_missing_library_is_named_with_the_line_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(UsageError, match=r"pip install 'wechat-harvester\[redis\]'"):
        plugins.sink("redis://h")


def test_the_library_is_not_imported_before_it_is_used() -> None:
    program = (
        "import sys, harvester; from harvester import plugins\nplugins.sink('memory:')\n"
        "assert 'redis' not in sys.modules\nplugins.sink('redis://h')\n"
        "assert 'redis' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


# the command


def test_the_command_harvests_refreshes_and_verifies(
    server: RedisServer, client: Any, tmp_path: Path, wechat: Callable[..., Wechat]
) -> None:
    simulated = wechat()
    arguments = (
        "run", "getarticlesummary", "--appid", A, "--start", "2024-01-01", "--end", "2024-03-31",
        "--base-url", simulated.url, "--rate", "5000/s", "--out", tmp_path, "--sink", server.url,
    )  # fmt: skip
    for more in ([], [], ["--refresh"]):
        result = harvest(*arguments, *more)
        assert result.returncode == 0, result.stderr
        assert PASSWORD not in result.stdout + result.stderr
        verified = harvest("verify", "--out", tmp_path, HARVESTER_REDIS_PASSWORD=PASSWORD)
        assert verified.returncode == 0, verified.stdout
        assert "exactly what was fetched" in verified.stdout
    assert client.xlen("harvester:getarticlesummary") > 91
    for path in tmp_path.iterdir():
        assert PASSWORD.encode() not in path.read_bytes()
    client.delete("harvester:getarticlesummary")
    again = harvest(*arguments)
    assert again.returncode == 4
    assert "though the ledger says that it was harvested" in again.stderr
    assert "Traceback" not in again.stderr
