"""A sink of your own that fills a table of Feishu Bitable, 飞书多维表格: a row a record.

    WX_APPID=wx… HARVESTER_SECRET=… FEISHU_APP_ID=cli_… FEISHU_APP_SECRET=… \
        python examples/feishu_sink.py APP_TOKEN TABLE_ID

The app needs the right to edit the Bitable.  The table has the text columns ``account`` and
``day`` and the number columns of `FIGURES`.  Bitable has no transactions: what is there of a day is
removed, then the day is written.  If that is interrupted, the next run does it again.
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
AT_ONCE = 500
"""The most records of a call that creates or deletes some."""


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
        return {}

    async def write(
        self, batches: Sequence[harvester.Batch], fence: harvester.Fence
    ) -> harvester.Written:
        gone, rows = list[str](), list[dict[str, Any]]()
        for batch in batches:
            gone += await self._rows_of(batch.window)  # also of a run that was interrupted
            for record in batch.records:
                figures = {name: record[name] for name in FIGURES if name in record}
                key = {"account": batch.window.appid, "day": record["ref_date"]}
                rows.append({"fields": {**key, **figures}})
        for begin in range(0, len(gone), AT_ONCE):
            some = {"records": gone[begin : begin + AT_ONCE]}
            await self._call(f"{self._table}/batch_delete", some)
        for begin in range(0, len(rows), AT_ONCE):
            part = {"records": rows[begin : begin + AT_ONCE]}
            await self._call(f"{self._table}/batch_create", part)
        return harvester.Written()

    async def close(self) -> None:
        if hasattr(self, "_session"):
            await self._session.close()

    async def _rows_of(self, window: harvester.Window) -> list[str]:
        """The ids of the rows of a window's days."""
        found: list[str] = []
        for number in range((window.end - window.begin).days + 1):
            day = window.begin + timedelta(days=number)
            conditions = [
                {"field_name": name, "operator": "is", "value": [value]}
                for name, value in (("account", window.appid), ("day", str(day)))
            ]
            query = {"filter": {"conjunction": "and", "conditions": conditions}}
            page = f"{self._table}/search?page_size={AT_ONCE}"
            answer = await self._call(page, query)
            found += [item["record_id"] for item in answer["items"]]
            while answer["has_more"]:
                answer = await self._call(f"{page}&page_token={answer['page_token']}", query)
                found += [item["record_id"] for item in answer["items"]]
        return found

    async def _call(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        if time.monotonic() > self._until:
            app = {name: os.environ[f"FEISHU_{name.upper()}"] for name in ("app_id", "app_secret")}
            answer = await self._post("/open-apis/auth/v3/tenant_access_token/internal", app, {})
            self._token = answer["tenant_access_token"]
            self._until = time.monotonic() + answer["expire"] - 300
        headers = {"Authorization": f"Bearer {self._token}"}
        answer = await self._post(path, body, headers)
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
