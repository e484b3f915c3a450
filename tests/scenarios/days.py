"""A WeChat that gives each account two records a day, for any interface of any path."""

from __future__ import annotations

from collections import Counter
from datetime import date
from typing import Any

from tests.scenarios.server import Call, Server
from tests.support import days

RECORDS = 2
"""Of each day."""


class DaysOnly(Server):
    """The server.  longest: of a window, in days; a longer one is refused (61501)."""

    def __init__(self) -> None:
        super().__init__(self._days)
        self.longest = 400

    def _days(self, call: Call) -> dict[str, Any]:
        if len(call.days) > self.longest:
            return {"errcode": 61501, "errmsg": "date range error"}
        return {
            "list": [
                {"ref_date": day, "user_source": number, "new_user": int(day[-2:])}
                for day in call.days
                for number in range(RECORDS)
            ]
        }


def each_once(begin: date, end: date) -> Counter[str]:
    """The days of a range, each with the number of its records."""
    return Counter({str(day): RECORDS for day in days(begin, end)})
