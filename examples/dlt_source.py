"""A source of dlt: each interface is a resource, and goes on where the last load ended.

    pip install wechat-harvester 'dlt[duckdb]'
    WX_APPID=wx… HARVESTER_SECRET=… python dlt_source.py wechat.duckdb 2026-01-01 2026-03-31

The state of a resource has the last day that was loaded.  A load asks again for the days before it
whose figures can still change, and replaces all rows of a day.  Lists within records are left to
dlt, which makes tables of them.  There is no ledger of harvester: dlt stores the state in its
destination together with the rows.
"""

import os
import sys
from collections.abc import AsyncIterator, Iterator
from datetime import date, timedelta
from typing import Any

import dlt
from dlt.extract import DltResource

import harvester

AGAIN = {"getusersummary": 3, "getusercumulate": 3, "getarticletotaldetail": 30}
"""The interfaces, and how many days before the last one are asked for again."""


@dlt.source
def wechat(account: harvester.Account, start: date, end: date) -> Iterator[DltResource]:
    """The interfaces of an account from a day on."""
    for name in AGAIN:
        resource = dlt.resource(
            records,
            name=name,
            write_disposition={"disposition": "merge", "strategy": "delete-insert"},
            merge_key=("_appid", "ref_date"),
        )
        yield resource(account, name, start, end)


async def records(
    account: harvester.Account, name: str, start: date, end: date
) -> AsyncIterator[dict[str, Any]]:
    """The records of an interface since the last load, less the days that are final."""
    state = dlt.current.resource_state(name)
    if "until" in state:
        start = max(start, date.fromisoformat(state["until"]) - timedelta(days=AGAIN[name]))
    where = os.environ.get("WX_BASE_URL", "https://api.weixin.qq.com")
    rate = os.environ.get("WX_RATE", "300/min")
    async with harvester.stream(account, name, start, end, base_url=where, rate=rate) as found:
        async for record in found:
            yield record
    state["until"] = end.isoformat()


def load(database: str, start: date, end: date) -> str:
    """Load into a database of DuckDB."""
    account = harvester.Account(os.environ["WX_APPID"], secret=os.environ["HARVESTER_SECRET"])
    pipeline = dlt.pipeline(
        "wechat", destination=dlt.destinations.duckdb(database), dataset_name="datacube"
    )
    return str(pipeline.run(wechat(account, start, end)))


if __name__ == "__main__":
    print(load(sys.argv[1], date.fromisoformat(sys.argv[2]), date.fromisoformat(sys.argv[3])))
