"""A sink of your own that feeds other programs: each record becomes an entry of a Redis stream.

    WX_APPID=wx… HARVESTER_SECRET=… python examples/redis_sink.py redis://localhost:6379/0 records

A stream cannot replace an entry: after a crash, or when figures have changed, a window is sent
again.  So a reader keeps, of the windows that overlap, the one with the latest version.
"""

import asyncio
import os
import sys
from collections.abc import Sequence

from redis.asyncio import Redis

import harvester


class RedisStream(harvester.Sink):
    """Sends windows to one stream."""

    def __init__(self, url: str, key: str) -> None:
        self._redis, self._key = Redis.from_url(url), key

    @property
    def identity(self) -> str:
        return f"redis stream {self._key}"  # the ledger stores it, so the URL is left out

    async def open(self, checkpoint: harvester.Checkpoint | None) -> harvester.Checkpoint:
        return {}

    async def write(
        self, batches: Sequence[harvester.Batch], fence: harvester.Fence
    ) -> harvester.Written:
        async with self._redis.pipeline() as pipeline:  # a transaction
            for batch in batches:
                window = "/".join(map(str, batch.window))  # appid, endpoint, begin, end
                for number, line in enumerate(batch.lines().splitlines(), 1):
                    name = f"{window}/{number}"
                    pipeline.xadd(self._key, {"id": name, "version": batch.version, "record": line})
            await pipeline.execute()
        return harvester.Written()

    async def close(self) -> None:
        await self._redis.aclose()


async def main(url: str, key: str) -> None:
    account = harvester.Account(os.environ["WX_APPID"], secret=os.environ["HARVESTER_SECRET"])
    report = await harvester.run(
        account,
        "getusersummary",
        "2024-01-01",
        "2024-03-31",
        sink=RedisStream(url, key),
        ledger=f"{key}.ledger",
        base_url=os.environ.get("WX_BASE_URL", "https://api.weixin.qq.com"),
        rate=os.environ.get("WX_RATE", "300/min"),
    )
    print(report.state, report.windows.done, "windows,", report.records, "records")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
