from __future__ import annotations

import asyncio
import json
import random
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import redis as driver
import redis.cluster as cluster_driver

from harvester import plugins
from harvester.errors import SinkError, UsageError
from harvester.sinks.redis import RedisStreams
from tests.redis_server import PASSWORD, RedisServer, redis_cluster, wait_for_cluster
from tests.sinks.feed import JOB, ODD, Consumer, Died, Ledger, batch, dying, job, window


@pytest.fixture
def server(redis: RedisServer) -> RedisServer:
    """A server that holds nothing."""
    redis.empty()
    return redis


@pytest.fixture
def client(server: RedisServer) -> Iterator[Any]:
    with driver.Redis.from_url(server.url, decode_responses=True) as made:
        yield made


@pytest.fixture(scope="module")
def running_cluster() -> Iterator[list[RedisServer]]:
    with redis_cluster() as nodes:
        yield nodes


@pytest.fixture
def nodes(running_cluster: list[RedisServer]) -> list[RedisServer]:
    """The nodes of a cluster that holds nothing."""
    for node in running_cluster:
        node.empty()
    return running_cluster


def at(server: RedisServer, **how: Any) -> RedisStreams:
    return RedisStreams(server.url, **{"patience": 5.0, **how})


def sent(client: Any, *keys: str) -> list[dict[str, str]]:
    """The entries of streams, as somebody finds them who reads them from their beginning."""
    return [fields for key in keys for _, fields in client.xrange(key)]


def windows(client: Any, *keys: str) -> dict[tuple[str, ...], list[int]]:
    """What a consumer of these streams has."""
    consumer = Consumer()
    consumer.read(sent(client, *keys))
    return consumer.windows


def ids(client: Any, key: str = "harvester:e") -> list[str]:
    return [fields["id"].removeprefix("wx1/e/") for fields in sent(client, key)]


async def written(sink: RedisStreams, *batches: Any, checkpoint: Any = None) -> dict[str, str]:
    """Open, write, close; gives the checkpoint."""
    try:
        await sink.open({} if checkpoint is None else checkpoint)
        return {**(checkpoint or {}), **(await sink.write(batches, {})).checkpoint}
    finally:
        await sink.close()


# what is sent


def test_an_entry_is_a_record_with_its_id_and_its_windows_version_and_size(
    server: RedisServer, client: Any
) -> None:
    one, other = batch(window(1, 7), ODD, {"n": 1}, version=5), batch(2, {}, version=6)
    asyncio.run(written(at(server), one, other, batch(window(4, endpoint="f"), 4)))
    assert sent(client, "harvester:e") == [
        {
            "id": f"wx1/e/2024-01-01/2024-01-07/{number}", "version": "5", "records": "2",
            "record": line.decode(),
        }
        for number, line in enumerate(one.lines().split(b"\n")[:2], 1)
    ] + [
        {
            "id": "wx1/e/2024-01-02/2024-01-02/1", "version": "6", "records": "1",
            "record": other.lines().decode()[:-1],
        }
    ]  # fmt: skip
    assert {**json.loads(sent(client, "harvester:e")[0]["record"]), **ODD} == one.documents()[0]
    assert client.xlen("harvester:f") == 1


def test_an_empty_window_is_one_entry_without_a_record(server: RedisServer, client: Any) -> None:
    asyncio.run(written(at(server), batch(window(1, 3), version=9)))
    assert sent(client, "harvester:e") == [
        {"id": "wx1/e/2024-01-01/2024-01-03/0", "version": "9", "records": "0"}
    ]


async def test_a_window_that_is_sent_again_has_the_same_ids(
    server: RedisServer, client: Any
) -> None:
    checkpoint = await written(at(server), batch(1, 1, 2, version=1))
    await written(at(server), batch(1, 3, 4, 5, version=2), checkpoint=checkpoint)
    days = "2024-01-01/2024-01-01"
    assert ids(client) == [f"{days}/1", f"{days}/2", f"{days}/1", f"{days}/2", f"{days}/3"]
    assert [entry["version"] for entry in sent(client, "harvester:e")] == [*"11222"]


def test_a_window_may_hold_more_than_is_sent_at_once(server: RedisServer, client: Any) -> None:
    batches = [batch(1, *range(5000)), *[batch(day, day) for day in range(2, 2000)]]
    asyncio.run(written(at(server), *batches))
    found = windows(client, "harvester:e")
    assert len(found) == 1999
    assert found["wx1", "e", "2024-01-01", "2024-01-01"] == [*range(5000)]


def test_no_other_key_is_made(server: RedisServer, client: Any) -> None:
    asyncio.run(written(at(server, prefix="a:b"), batch(1, 1), batch(window(1, endpoint="f"), 1)))
    assert sorted(client.keys("*")) == ["a:b:e", "a:b:f"]


# what a consumer makes of it


def die_at_any_moment(client: Any, *servers: RedisServer) -> int:
    """At each of them in a run of its own; gives how many there are."""
    with dying(0) as moments:
        asyncio.run(job(lambda: at(servers[0], prefix="whole"), Ledger()))
    for moment in range(1, len(moments) + 1):
        prefix, ledger = f"p{moment}", Ledger()
        with dying(moment), pytest.raises(Died):
            asyncio.run(job(lambda: at(servers[1], prefix=prefix), ledger))  # noqa: B023
        asyncio.run(job(lambda: at(servers[2], prefix=prefix), ledger))  # noqa: B023
        assert len(ledger.committed) == len(JOB)
        found = windows(client, f"{prefix}:e", f"{prefix}:f")
        assert found == ledger.truth(), moments[moment - 1]
    return len(moments)


def test_a_job_that_dies_at_any_entry_ends_with_the_truth_at_the_consumer(
    server: RedisServer, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harvester.sinks.redis.PIPELINE", 1)
    assert die_at_any_moment(client, server, server, server) > 2 * len(JOB)


async def test_a_consumer_that_gets_any_part_twice_or_in_any_order_ends_with_the_truth(
    server: RedisServer, client: Any
) -> None:
    ledger, draw = Ledger(), random.Random(20261125)
    await job(lambda: at(server), ledger)
    entries = sent(client, "harvester:e", "harvester:f")
    given = [
        entries[:cut] + entries[again:]
        for cut in range(len(entries) + 1)
        for again in range(cut + 1)
    ]
    given += [draw.sample(entries, len(entries)) for _ in range(200)]
    for each in given:
        consumer = Consumer()
        consumer.read(each)
        assert consumer.windows == ledger.truth(), each


async def test_what_a_late_writer_sends_of_an_older_version_counts_for_nothing(
    server: RedisServer, client: Any
) -> None:
    one, two = at(server), at(server)
    await one.open(None)
    await two.open(None)
    await one.write([batch(window(1, 7), 2, 3, version=2)], {})
    await two.write([batch(3, 1, version=1), batch(9, 9, version=1)], {})
    await one.close()
    await two.close()
    assert windows(client, "harvester:e") == {
        ("wx1", "e", "2024-01-01", "2024-01-07"): [2, 3],
        ("wx1", "e", "2024-01-09", "2024-01-09"): [9],
    }


# what is not there


def opened(sink: RedisStreams, checkpoint: dict[str, str] | None = None) -> Exception:
    """Why it is not opened."""

    async def main() -> Exception:
        with pytest.raises((UsageError, SinkError)) as caught:
            await sink.open(checkpoint or {})
        await sink.close()
        return caught.value

    found = asyncio.run(main())
    assert PASSWORD not in repr(found)
    assert "\n" not in str(found)
    return found


def refused(sink: RedisStreams, checkpoint: dict[str, str], how: str) -> None:
    found = opened(sink, checkpoint)
    assert isinstance(found, SinkError)
    assert re.search(how, str(found))
    assert "though the ledger says that its records were sent; put it back" in str(found)


def test_a_stream_that_was_deleted_is_never_called_sent(server: RedisServer, client: Any) -> None:
    checkpoint = asyncio.run(written(at(server), batch(1, 1), batch(window(1, endpoint="f"), 1)))
    client.delete("harvester:f")
    refused(at(server), checkpoint, "the stream harvester:f in redis://.* was deleted")
    asyncio.run(written(at(server), batch(1, 1)))  # a new ledger, which knows nothing of it
    server.empty()
    refused(at(server), checkpoint, "the stream harvester:e in redis://.* was deleted")


async def test_entries_that_were_trimmed_or_deleted_stay_sent(
    server: RedisServer, client: Any
) -> None:
    checkpoint = await written(at(server), batch(1, 1, 2))
    client.xdel("harvester:e", *[place for place, _ in client.xrange("harvester:e")][1:])
    client.xtrim("harvester:e", maxlen=0)
    await written(at(server), batch(2, 2), checkpoint=checkpoint)
    assert ids(client) == ["2024-01-02/2024-01-02/1"]


def test_a_stream_that_is_older_than_the_ledger_is_told(server: RedisServer) -> None:
    checkpoint = asyncio.run(written(at(server), batch(1, 1)))
    with driver.Redis.from_url(server.url) as client:
        copy = client.dump("harvester:e")
        checkpoint = asyncio.run(written(at(server), batch(2, 2), checkpoint=checkpoint))
        client.restore("harvester:e", 0, copy, replace=True)
    refused(at(server), checkpoint, "the stream harvester:e in redis://.* is older than what was")


async def test_a_server_that_comes_back_empty_is_told_at_the_next_write(
    server: RedisServer,
) -> None:
    sink = at(server, patience=20.0)
    await sink.open({})
    await sink.write([batch(1, 1)], {})
    server.stop()
    await asyncio.to_thread(server.start)
    with pytest.raises(SinkError, match=r"harvester:e in .* was deleted, though the ledger"):
        await sink.write([batch(2, 2)], {})
    await sink.close()


# what can never be written is told before anything is sent


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        (PASSWORD, "wrong", "it refuses this user or password"),
        ("/0", "/99", "it has no such database"),
    ],
)
def test_a_wrong_password_and_a_database_that_is_none_are_unusable(
    server: RedisServer, right: str, wrong: str, said: str
) -> None:
    found = opened(RedisStreams(server.url.replace(right, wrong)))
    assert isinstance(found, UsageError)
    assert said in str(found)


def test_a_replica_is_unusable(server: RedisServer, client: Any) -> None:
    client.replicaof("127.0.0.1", "9")
    try:
        found = opened(RedisStreams(server.url))
    finally:
        client.replicaof("NO", "ONE")
    assert isinstance(found, UsageError)
    assert "it is a replica, which is read-only" in str(found)


async def test_a_key_that_is_something_else_is_told_and_left(
    server: RedisServer, client: Any
) -> None:
    client.set("harvester:e", "x")
    with pytest.raises(SinkError, match="holds something else; take another prefix"):
        await written(at(server), batch(1, 1))
    assert client.get("harvester:e") == "x"


async def test_a_full_memory_stops_the_run_and_loses_nothing(
    server: RedisServer, client: Any
) -> None:
    checkpoint = await written(at(server), batch(1, 1))
    client.config_set("maxmemory", "1")
    try:
        with pytest.raises(SinkError, match="could not be written: its memory is full; noth"):
            await written(at(server), batch(2, 2), checkpoint=checkpoint)
    finally:
        client.config_set("maxmemory", "0")
    await written(at(server), batch(2, 2), checkpoint=checkpoint)
    assert ids(client) == ["2024-01-01/2024-01-01/1", "2024-01-02/2024-01-02/1"]


@contextmanager
def user(server: RedisServer, client: Any, *rules: str) -> Iterator[RedisStreams]:
    """A sink of a user who may do no more than these rules say."""
    client.execute_command("ACL", "SETUSER", "other", "on", f">{PASSWORD}", *rules)
    try:
        yield RedisStreams(server.url.replace("redis://:", "redis://other:"))
    finally:
        client.execute_command("ACL", "DELUSER", "other")


async def test_a_user_who_may_not_add_entries_is_told(server: RedisServer, client: Any) -> None:
    with user(server, client, "~*", "+@read", "+@connection") as sink:
        with pytest.raises(SinkError, match="it refuses this user or password") as caught:
            await written(sink, batch(1, 1))
        assert PASSWORD not in str(caught.value)


async def test_a_user_needs_no_dangerous_command(server: RedisServer, client: Any) -> None:
    rules = ("~harvester:*", "+@all", "-@dangerous", "-@admin", "-@scripting")
    with user(server, client, *rules) as sink:
        checkpoint = await written(sink, batch(1, 1))
        await written(sink, batch(2, 2), checkpoint=checkpoint)
    assert len(ids(client)) == 2


# connections that are lost


def test_a_server_that_is_down_is_asked_again_for_a_bounded_time() -> None:
    started = time.monotonic()
    found = opened(RedisStreams("redis://127.0.0.1:9/0", patience=0.6))
    assert type(found) is not UsageError
    assert "was away for 0.6 s (ConnectionError); nothing that was committed is lost" in str(found)
    assert 0.2 < time.monotonic() - started < 5


async def test_a_server_that_is_gone_and_back_again_is_waited_for(
    server: RedisServer, client: Any
) -> None:
    client.config_set("appendfsync", "always")
    client.config_set("appendonly", "yes")
    while client.info("persistence")["aof_rewrite_in_progress"]:
        await asyncio.sleep(0.02)
    sink = at(server, patience=30.0)
    await sink.open({})
    await sink.write([batch(1, 1)], {})
    server.stop()
    try:
        task = asyncio.ensure_future(sink.write([batch(2, 2)], {}))
        await asyncio.sleep(0.3)
        assert not task.done()
        await asyncio.to_thread(server.start, "yes")
        await task
        await sink.write([batch(1, 11, version=2)], {})
        await sink.close()
        assert sorted(windows(client, "harvester:e").values()) == [[2], [11]]
    finally:
        server.stop()
        server.start()


class _Cut:
    """Between a client and a server; drops the connection after so many bytes of the client's."""

    def __init__(self, server: RedisServer, bytes_until_cut: int) -> None:
        self._server, self._left = server, bytes_until_cut
        self.cuts = 0

    async def __call__(self, reader: Any, writer: Any) -> None:
        there, here = await asyncio.open_connection("127.0.0.1", self._server.port)
        back = asyncio.ensure_future(self._copy(there, writer))
        while data := await reader.read(1000):
            here.write(data)
            self._left -= len(data)
            if self._left < 0 and not self.cuts:
                await here.drain()
                self.cuts += 1
                break
        back.cancel()
        writer.close()
        here.close()

    async def _copy(self, reader: Any, writer: Any) -> None:
        while data := await reader.read(65_536):
            writer.write(data)


@pytest.mark.parametrize("after", [500, 5_000, 40_000, 90_000])
async def test_a_connection_that_is_cut_in_the_midst_of_a_write_repeats_it(
    server: RedisServer, client: Any, after: int
) -> None:
    batches = [batch(day, day, day, version=day) for day in range(1, 400)]
    cut = _Cut(server, after)
    async with await asyncio.start_server(cut, "127.0.0.1", 0) as proxy:
        port = proxy.sockets[0].getsockname()[1]
        sink = RedisStreams(server.url.replace(f":{server.port}/", f":{port}/"), patience=10)
        await written(sink, *batches)
    assert cut.cuts == 1
    assert sorted(windows(client, "harvester:e").values()) == [[day, day] for day in range(1, 400)]


async def test_a_write_can_be_cancelled_in_its_midst(server: RedisServer, client: Any) -> None:
    batches = [batch(day, day) for day in range(1, 500)]
    for wait in (0.0, 0.001, 0.003, 0.01):
        sink = at(server)
        await sink.open({})
        task = asyncio.ensure_future(sink.write(batches, {}))
        await asyncio.sleep(wait)
        task.cancel()
        await asyncio.wait([task])
        await sink.close()
    await written(at(server), *batches)
    assert sorted(windows(client, "harvester:e").values()) == [[day] for day in range(1, 500)]


# a cluster


async def test_a_cluster_takes_the_streams_of_all_interfaces(nodes: list[RedisServer]) -> None:
    names = [f"interface{number}" for number in range(12)]
    checkpoint: dict[str, str] = {}
    for version, node in enumerate(nodes, 1):  # the URL of any node names the cluster
        batches = [
            batch(window(day, endpoint=name), version, version=version)
            for name in names
            for day in range(1, 200)
        ]
        checkpoint = await written(at(node), *batches, checkpoint=checkpoint)
    assert sorted(checkpoint) == sorted(names)
    for node in nodes:
        with driver.Redis.from_url(node.url) as one:
            assert one.dbsize() > 0
    with _client_of(nodes) as client:
        found = windows(client, *[f"harvester:{name}" for name in names])
    assert len(found) == 12 * 199
    assert {figure for figures in found.values() for figure in figures} == {len(nodes)}


def _client_of(nodes: list[RedisServer]) -> Any:
    return cluster_driver.RedisCluster.from_url(nodes[0].url, decode_responses=True)


@pytest.mark.thorough
def test_a_job_on_a_cluster_that_dies_at_any_moment_ends_with_the_truth(
    nodes: list[RedisServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harvester.sinks.redis.PIPELINE", 3)
    with _client_of(nodes) as client:
        die_at_any_moment(client, *nodes)


@pytest.mark.thorough
async def test_a_node_that_is_gone_and_back_again_is_waited_for(nodes: list[RedisServer]) -> None:
    names = [f"interface{number}" for number in range(12)]
    batches = [batch(window(1, endpoint=name), 1) for name in names]
    sink = at(nodes[0], patience=60.0)
    await sink.open({})
    await sink.write(batches, {})
    nodes[1].stop()
    task = asyncio.ensure_future(sink.write(batches, {}))
    await asyncio.sleep(1)
    assert not task.done()
    await asyncio.to_thread(nodes[1].start, "yes")
    await task
    await sink.close()
    for node in nodes:
        wait_for_cluster(node)
    with _client_of(nodes) as client:
        for name in names:
            assert client.xlen(f"harvester:{name}") >= 2


def test_a_stream_of_a_cluster_that_was_deleted_is_told(nodes: list[RedisServer]) -> None:
    checkpoint = asyncio.run(written(at(nodes[0]), batch(1, 1)))
    with _client_of(nodes) as client:
        client.delete("harvester:e")
    refused(at(nodes[1]), checkpoint, "the stream harvester:e in redis://.* was deleted")


def test_a_cluster_has_database_0_alone(nodes: list[RedisServer]) -> None:
    found = opened(RedisStreams(nodes[0].url.removesuffix("/0") + "/1"))
    assert isinstance(found, UsageError)
    assert "a cluster has no database but 0" in str(found)


# specs


def test_a_spec_names_server_database_and_prefix() -> None:
    for spec, identity in (
        ("redis://:sesame@h:7/3?prefix=a:b", "redis://h:7/3?prefix=a:b"),
        ("redis://h", "redis://h:6379/0"),
        ("rediss://me:sesame@h/1", "rediss://h:6379/1"),
    ):
        sink = plugins.sink(spec)
        assert sink.identity == identity
        assert plugins.sink(identity).identity == identity
        assert "sesame" not in repr(sink) + repr(vars(sink))


async def test_a_password_comes_from_the_environment(
    server: RedisServer, nodes: list[RedisServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARVESTER_REDIS_PASSWORD", PASSWORD)
    for each in (server, nodes[0]):
        sink = plugins.sink(f"redis://127.0.0.1:{each.port}")
        await sink.open({})
        await sink.write([batch(1, 1)], {})
        await sink.close()


# the command
