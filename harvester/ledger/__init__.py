"""What is stored, what waits, what failed, and what was spent.

``base`` is the interface, ``sqlite`` the embedded ledger, ``tables`` what stands in its file.
"""

from __future__ import annotations

from harvester.coverage import Outcome
from harvester.ledger.base import Exhausted, Key, Ledger, Spent
from harvester.ledger.sqlite import (
    FILE_NAME,
    SqliteLedger,
    checkpoint_in,
    ledger_of,
    ledger_of_file,
    named_sinks,
)
from harvester.ledger.tables import VERSION

__all__ = [
    "FILE_NAME",
    "VERSION",
    "Exhausted",
    "Key",
    "Ledger",
    "Outcome",
    "Spent",
    "SqliteLedger",
    "checkpoint_in",
    "ledger_of",
    "ledger_of_file",
    "named_sinks",
]
