"""What is safe, what waits, what failed, and what was spent.

Rule: the only room that knows SQLite.

One row is a stretch of days in one state (`harvester.coverage`), kept by sink, account and
interface: what one destination has says nothing about another.  Beside them stand each sink's
receipt, how windows were cut, the range that was ever asked for, and the calls spent by day.  What
the latest commits brought is laid in later (`harvester.ledger.commits`), which no reader sees.
"""

from __future__ import annotations

from harvester.ledger.file import (
    FILE_NAME,
    Ledger,
    ledger_of,
    ledger_of_file,
    named_sinks,
    receipt_in,
)
from harvester.ledger.tables import (
    VERSION,
    Cutting,
    Entry,
    Exhausted,
    Key,
    Settled,
    Spent,
    Young,
)

__all__ = [
    "FILE_NAME",
    "VERSION",
    "Cutting",
    "Entry",
    "Exhausted",
    "Key",
    "Ledger",
    "Settled",
    "Spent",
    "Young",
    "ledger_of",
    "ledger_of_file",
    "named_sinks",
    "receipt_in",
]
