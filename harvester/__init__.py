"""Harvest years of WeChat datacube statistics, each record of each day exactly once.

Read `harvester.model`, `harvester.pipeline` and `harvester.engine` to know the system; then
`harvester.lane` and `harvester.board` (what is asked next), `harvester.ledger` and
`harvester.sinks.base` (what is safe), `harvester.datacube` (what is WeChat's own).
"""

from harvester.api import Keywords, Records, run, stream
from harvester.datacube import Platform
from harvester.endpoint import Endpoint, JsonEndpoint
from harvester.errors import (
    AccountError,
    EndpointError,
    HarvestError,
    IncompleteError,
    LedgerError,
    NetworkError,
    RunError,
    SinkError,
    UsageError,
    WindowError,
)
from harvester.events import Event, Failure, Report
from harvester.ledger import Ledger
from harvester.limiter import Rate
from harvester.model import Account, Batch, Tally, Token, Window
from harvester.reading import StoredRecords, read
from harvester.sinks.base import Receipt, Sink, Written
from harvester.sinks.jsonl import JsonLines
from harvester.sinks.memory import MemorySink
from harvester.stores import FileStore, MemoryStore, TokenStore

__version__ = "0.1.0"

__all__ = [
    "Account",
    "AccountError",
    "Batch",
    "Endpoint",
    "EndpointError",
    "Event",
    "Failure",
    "FileStore",
    "HarvestError",
    "IncompleteError",
    "JsonEndpoint",
    "JsonLines",
    "Keywords",
    "Ledger",
    "LedgerError",
    "MemorySink",
    "MemoryStore",
    "NetworkError",
    "Platform",
    "Rate",
    "Receipt",
    "Records",
    "Report",
    "RunError",
    "Sink",
    "SinkError",
    "StoredRecords",
    "Tally",
    "Token",
    "TokenStore",
    "UsageError",
    "Window",
    "WindowError",
    "Written",
    "read",
    "run",
    "stream",
]
