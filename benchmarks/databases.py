"""What the sinks in databases cost, next to the cheapest correct way with the same driver.

Each sink writes the same batches, as the engine hands them over at full speed (groups of 512
windows), each group in one transaction with its progress.  Beside it stands the cheapest program
that leaves the same rows behind, one transaction a group, from records that are parsed already, in
a table without an index, without progress, without looking whether a window stands there:
``executemany`` for SQLite, an insert from Arrow columns for DuckDB, COPY for PostgreSQL.

The ratio is of processor time of this process (of the server beside it, which does the same for
both, only the clock tells); each way is measured in turn, and the best of its rounds counts.
"""

from __future__ import annotations

from typing import Any

from benchmarks.files import ENDPOINT
from harvester.sinks.columns import Table

RECORDS = 60_000
FEW, MANY = 10_000, 100_000
MILLION = "HARVESTER_MILLION"
"""A variable: memory is then measured up to a million records; some minutes a sink."""

ROUNDS = 3
GOAL, GATE = 0.7, 0.4
GROWTH_GOAL, GROWTH_GATE = 40.0, 80.0

Document = dict[str, Any]
COLUMNS = [field.name for field in Table(ENDPOINT.name, ENDPOINT.fields).columns[:-1]]
"""Without ``_extra``, which no record here has."""
