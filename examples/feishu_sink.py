"""A sink of your own that fills a table of Feishu Bitable, 飞书多维表格: a row a record.

    WX_APPID=wx… HARVESTER_SECRET=… FEISHU_APP_ID=cli_… FEISHU_APP_SECRET=… \
        python examples/feishu_sink.py APP_TOKEN TABLE_ID

The app needs the right to edit the Bitable.  The table has the text columns ``account`` and
``day`` and the number columns of `FIGURES`.  Bitable has no transactions: what is there of a day is
removed, then the day is written.  If that is interrupted, the next run does it again.

Calls, which an edition of Feishu may count by the month: each run makes one for every 500 rows that
the table has, then one for every 1,000 rows that it writes and one for every 500 that it replaces,
at least one for what comes within a second.  Rows must not be edited while it runs.
"""

import asyncio
import os
import sys
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import aiohttp

import harvester

FIGURES = ("user_source", "new_user", "cancel_user")
CREATED_AT_ONCE = 1000
READ_AT_ONCE = DELETED_AT_ONCE = 500
"""The most records of a call."""


def batched(items: list[Any], size: int) -> list[list[Any]]:
    return [items[begin : begin + size] for begin in range(0, len(items), size)]


def days_of(window: harvester.Window) -> list[str]:
    days = (window.end - window.begin).days + 1
    return [str(window.begin + timedelta(days=number)) for number in range(days)]


def text_of(value: Any) -> str:
    """The text of a cell; `search` answers with a list of its pieces."""
    pieces: list[dict[str, str]] = [{"text": value}] if isinstance(value, str) else value or []
    return "".join([piece["text"] for piece in pieces])


class FeishuTable(harvester.Sink):
    """Writes days to one table."""

    def __init__(self, app_token: str, table_id: str) -> None:
        self._table = f"/open-apis/bitable/v1/apps/{app_token}/tables/{table_id}/records"
        self._name = table_id
        self._token, self._until = "", 0.0

    @property
    def identity(self) -> str:
        return f"feishu table {self._name}"

    async def open(self, checkpoint: harvester.Checkpoint | None) -> harvester.Checkpoint:
        self._session = aiohttp.ClientSession(
            os.environ.get("FEISHU_BASE_URL", "https://open.feishu.cn"),
            timeout=aiohttp.ClientTimeout(60),
        )
        self._rows = await self._read()
        return {}

    async def write(
        self, batches: Sequence[harvester.Batch], fence: harvester.Fence
    ) -> harvester.Written:
        gone, rows = list[str](), list[dict[str, Any]]()
        for batch in batches:
            for day in days_of(batch.window):  # also what an interrupted run has written
                gone += self._rows.pop((batch.window.appid, day), [])
            for record in batch.records:
                figures = {name: record[name] for name in FIGURES if name in record}
                key = {"account": batch.window.appid, "day": record["ref_date"]}
                rows.append({"fields": {**key, **figures}})
        for some in batched(gone, DELETED_AT_ONCE):
            await self._call("batch_delete", {"records": some})
        for part in batched(rows, CREATED_AT_ONCE):
            answer = await self._call("batch_create", {"records": part})
            for row, item in zip(part, answer["records"], strict=True):
                place = row["fields"]["account"], row["fields"]["day"]
                self._rows.setdefault(place, []).append(item["record_id"])
        return harvester.Written()

    async def close(self) -> None:
        if hasattr(self, "_session"):
            await self._session.close()

    async def _read(self) -> dict[tuple[str, str], list[str]]:
        """The ids of the rows that are there, by account and day."""
        found: dict[tuple[str, str], list[str]] = {}
        query, page, more = {"field_names": ["account", "day"]}, "", True
        while more:
            answer = await self._call(f"search?page_size={READ_AT_ONCE}{page}", query)
            for item in answer["items"]:
                account, day = (text_of(item["fields"].get(name)) for name in ("account", "day"))
                found.setdefault((account, day), []).append(item["record_id"])
            more, page = answer["has_more"], f"&page_token={answer.get('page_token')}"
        return found

    async def _call(self, what: str, body: dict[str, Any]) -> dict[str, Any]:
        if time.monotonic() > self._until:
            app = {name: os.environ[f"FEISHU_{name.upper()}"] for name in ("app_id", "app_secret")}
            answer = await self._post("/open-apis/auth/v3/tenant_access_token/internal", app, {})
            self._token = answer["tenant_access_token"]
            self._until = time.monotonic() + answer["expire"] - 300
        headers = {"Authorization": f"Bearer {self._token}"}
        answer = await self._post(f"{self._table}/{what}", body, headers)
        data: dict[str, Any] = answer["data"]
        return data

    async def _post(
        self, path: str, body: dict[str, Any], headers: dict[str, str]
    ) -> dict[str, Any]:
        async with self._session.post(path, json=body, headers=headers) as response:
            answer: dict[str, Any] = await response.json(content_type=None)
        if answer["code"]:
            raise harvester.SinkError(f"Feishu answered {answer['code']}: {answer.get('msg', '')}")
        return answer


async def main(app_token: str, table_id: str) -> None:
    account = harvester.Account(os.environ["WX_APPID"], secret=os.environ["HARVESTER_SECRET"])
    report = await harvester.run(
        account,
        "getusersummary",
        "2024-01-01",
        "2024-03-31",
        sink=FeishuTable(app_token, table_id),
        ledger=f"{table_id}.ledger",
        base_url=os.environ.get("WX_BASE_URL", "https://api.weixin.qq.com"),
        rate=os.environ.get("WX_RATE", "300/min"),
    )
    print(report.state, report.windows.done, "windows,", report.records, "records")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
