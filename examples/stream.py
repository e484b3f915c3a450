"""Print every article of 2024 with its readers.

WX_APPID=wx… WX_SECRET=… python examples/stream.py
"""

import asyncio
import os
import sys

import harvester


async def main() -> None:
    account = harvester.Account(os.environ["WX_APPID"], secret=os.environ["WX_SECRET"])
    async with harvester.stream(
        account,
        "getarticlesummary",
        "2024-01-01",
        "2024-12-31",
        base_url=os.environ.get("WX_BASE_URL", "https://api.weixin.qq.com"),
        rate=os.environ.get("WX_RATE", "300/min"),
    ) as records:
        async for record in records:
            print(record["title"], record["int_page_read_user"])


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except harvester.UsageError as exc:  # what was typed cannot be done; nothing was sent
        sys.exit(str(exc))
    except harvester.HarvestError as exc:  # anything else: its message says what to do
        sys.exit(str(exc))
