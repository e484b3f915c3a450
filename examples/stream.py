"""Print how many people followed and left on each day of 2024, by channel.

WX_APPID=wx… HARVESTER_SECRET=… python examples/stream.py
"""

import asyncio
import os
import sys

import harvester


async def main() -> None:
    account = harvester.Account(os.environ["WX_APPID"], secret=os.environ["HARVESTER_SECRET"])
    async with harvester.stream(
        account,
        "getusersummary",
        "2024-01-01",
        "2024-12-31",
        base_url=os.environ.get("WX_BASE_URL", "https://api.weixin.qq.com"),
        rate=os.environ.get("WX_RATE", "300/min"),
    ) as records:
        async for record in records:
            day, channel = record["ref_date"], record["user_source"]
            print(day, channel, record["new_user"], record["cancel_user"])


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except harvester.UsageError as exc:  # wrong arguments; nothing was sent
        sys.exit(str(exc))
    except harvester.HarvestError as exc:  # anything else: its message says what to do
        sys.exit(str(exc))
