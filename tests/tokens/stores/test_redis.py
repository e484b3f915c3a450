"""What is particular to tokens in Redis."""

from __future__ import annotations

import asyncio
import sys
import time
import traceback

import pytest
import redis as library

import harvester
from harvester.errors import AttemptError, UsageError
from harvester.model import Stored
from harvester.tokens.stores.redis import PASSWORD_VARIABLE, RedisStore
from tests.redis_server import PASSWORD, RedisServer

ONE = Stored("one-s3cret-value", time.time() + 7200.0, 7200.0)


async def loaded(store: RedisStore) -> Stored | None:
    try:
        return await store.load("wx1")
    finally:
        await store.close()


@pytest.mark.parametrize(
    "url", ["redis://", "redis:///0", "redis://h:port/0", "redis://user:p4ssw0rd@h:x"]
)
def test_a_url_without_a_host_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(
        UsageError, match=r"written redis://HOST:PORT/DB(; in a user .*)?$"
    ) as caught:
        RedisStore(url)
    assert "p4ssw0rd" not in str(caught.value)


def test_a_database_that_is_none_is_refused_without_the_password() -> None:
    with pytest.raises(UsageError) as caught:
        RedisStore("redis://:p4ssw0rd@h:1/0?socket_timeout=p4ssw0rd")
    assert str(caught.value) == (
        "token store: the URL of redis://h:1 has an unknown option; it has no options"
    )


def test_without_the_library_the_line_to_type_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redis.asyncio", None)
    with pytest.raises(UsageError, match=r"pip install 'wechat-harvester\[redis\]', or pipx"):
        RedisStore("redis://127.0.0.1:1/0")


async def test_a_server_that_is_not_there_is_a_failed_attempt_that_names_it() -> None:
    store = RedisStore("redis://:p4ssw0rd@127.0.0.1:1/0")
    answer = "the token store redis://127.0.0.1:1 does not answer (ConnectionError)"
    for verb in (store.load("wx1"), store.replace("wx1", None, ONE)):
        with pytest.raises(AttemptError) as caught:
            await verb
        assert caught.value.__context__ is None
        assert str(caught.value) == answer
    with pytest.raises(AttemptError):
        async with store.lease("wx1"):
            raise AssertionError("it was given out")
    await store.close()
    assert repr(store) == "<RedisStore redis://127.0.0.1:1>"


async def test_a_wrong_password_is_a_failed_attempt(redis: RedisServer) -> None:
    with pytest.raises(AttemptError, match=r"does not answer \((Authentication|Response)Error\)$"):
        await loaded(RedisStore(redis.url.replace(PASSWORD, "wr0ng")))


async def test_the_password_may_come_from_the_environment(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    redis.empty()
    monkeypatch.setenv(PASSWORD_VARIABLE, PASSWORD)
    assert await loaded(RedisStore(f"redis://127.0.0.1:{redis.port}/0")) is None


@pytest.mark.parametrize("content", [b"", b"s3cret", b"[]", b'{"token":5}'])
async def test_what_is_not_ours_is_refused_and_stays(redis: RedisServer, content: bytes) -> None:
    redis.empty()
    with library.Redis.from_url(redis.url) as client:
        client.set("harvester:token:wx1", content)
        with pytest.raises(UsageError, match="contains something else under harvester:token:wx1;"):
            await loaded(RedisStore(redis.url))
        assert client.get("harvester:token:wx1") == content


async def test_a_token_vanishes_at_its_end(redis: RedisServer) -> None:
    redis.empty()
    store = RedisStore(redis.url)
    soon = Stored(ONE, time.time() + 0.3, ONE.lifetime)
    assert await store.replace("wx1", None, soon)
    found = [await store.load("wx1")]
    await asyncio.sleep(0.5)
    found.append(await store.load("wx1"))
    await store.close()
    assert [found[0] and Stored(found[0], 0.0, found[0].lifetime), found[1]] == [
        Stored(ONE, 0.0, ONE.lifetime),
        None,
    ]


async def test_a_lease_that_has_passed_on_is_not_ended_by_its_former_holder(
    redis: RedisServer,
) -> None:
    redis.empty()
    slow, other = RedisStore(redis.url, lease=0.2), RedisStore(redis.url)
    client = library.asyncio.Redis.from_url(redis.url)
    async with slow.lease("wx1"):
        await client.delete("harvester:lease:wx1")  # as if it had stood still too long
        holding = other.lease("wx1")
        await holding.__aenter__()
    held = bool(await client.exists("harvester:lease:wx1"))
    await holding.__aexit__(None, None, None)
    assert not await client.exists("harvester:lease:wx1")
    for each in (slow, other):
        await each.close()
    await client.aclose()
    assert held


async def test_a_server_that_comes_back_serves_again(redis: RedisServer) -> None:
    redis.empty()
    store = RedisStore(redis.url)
    await store.replace("wx1", None, ONE)
    redis.stop()
    with pytest.raises(AttemptError):
        await store.load("wx1")
    redis.start()
    assert await store.load("wx1") is None
    await store.close()


def test_a_run_whose_store_is_gone_or_wrong_shows_no_password_in_any_frame() -> None:
    async def main(spec: str) -> str:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: pytest.fail(str(context["message"])))
        try:
            async with harvester.stream(
                harvester.Account("wx1", token=lambda: "t"), "getarticlesummary", "2024-01-01",
                "2024-01-01", token_store=spec, base_url="http://127.0.0.1:1", attempts=1,
            ) as records:  # fmt: skip
                async for _ in records:
                    pass
        except harvester.HarvestError as exc:
            shown = traceback.TracebackException(
                type(exc), exc, exc.__traceback__, capture_locals=True
            )
            shown.stack = traceback.StackSummary.from_list(
                [frame for frame in shown.stack if frame.filename != __file__]
            )
            return "".join(shown.format())
        raise AssertionError("it went well")

    for spec in ("redis://:p4ssw0rd@127.0.0.1:1/0", "redis://:p4ssw0rd@127.0.0.1:x/0"):
        text = asyncio.run(main(spec))
        assert "harvester/api.py" in text
        assert "p4ssw0rd" not in text, text
