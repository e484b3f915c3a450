"""Download years of WeChat Official Account statistics, every record exactly once.

Read `harvester.model`, `harvester.pipeline` and `harvester.worker` first; then `harvester.queues`
and `harvester.scheduler` (what is requested next), `harvester.ledger` and `harvester.sinks.base`
(how it is stored), `harvester.datacube` (the interfaces of WeChat).

Rule: a name is imported when it is first used: a program that imports the package without
harvesting does not wait for aiohttp and SQLite.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harvester.api import Records, run, run_sync, stream
    from harvester.datacube import Platform
    from harvester.endpoint import Endpoint, JsonEndpoint
    from harvester.errors import (
        AccountError,
        AttemptError,
        EndpointError,
        ExportError,
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
    from harvester.job import Job
    from harvester.ledger import Ledger, SqliteLedger
    from harvester.limiter import Rate
    from harvester.model import Account, Batch, Request, Response, Stored, Tally, Token, Window
    from harvester.reading import StoredRecords, export, read
    from harvester.settings import Keywords
    from harvester.sinks.base import Checkpoint, Fence, Sink, StoredWindow, Written
    from harvester.sinks.lines import JsonLines
    from harvester.sinks.memory import MemorySink
    from harvester.stores import FileStore, MemoryStore, TokenStore
    from harvester.transport import Transport

__version__ = "0.1.0"

__all__ = [
    "Account",
    "AccountError",
    "AttemptError",
    "Batch",
    "Checkpoint",
    "Endpoint",
    "EndpointError",
    "Event",
    "ExportError",
    "Failure",
    "Fence",
    "FileStore",
    "HarvestError",
    "IncompleteError",
    "Job",
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
    "Records",
    "Report",
    "Request",
    "Response",
    "RunError",
    "Sink",
    "SinkError",
    "SqliteLedger",
    "Stored",
    "StoredRecords",
    "StoredWindow",
    "Tally",
    "Token",
    "TokenStore",
    "Transport",
    "UsageError",
    "Window",
    "WindowError",
    "Written",
    "export",
    "read",
    "run",
    "run_sync",
    "stream",
]

_HOMES = {
    name: home
    for home, names in {
        "harvester.api": ("Records", "run", "run_sync", "stream"),
        "harvester.datacube": ("Platform",),
        "harvester.endpoint": ("Endpoint", "JsonEndpoint"),
        "harvester.errors": (
            "AccountError",
            "AttemptError",
            "EndpointError",
            "ExportError",
            "HarvestError",
            "IncompleteError",
            "LedgerError",
            "NetworkError",
            "RunError",
            "SinkError",
            "UsageError",
            "WindowError",
        ),
        "harvester.events": ("Event", "Failure", "Report"),
        "harvester.job": ("Job",),
        "harvester.ledger": ("Ledger", "SqliteLedger"),
        "harvester.limiter": ("Rate",),
        "harvester.model": (
            "Account",
            "Batch",
            "Request",
            "Response",
            "Stored",
            "Tally",
            "Token",
            "Window",
        ),
        "harvester.reading": ("StoredRecords", "export", "read"),
        "harvester.settings": ("Keywords",),
        "harvester.sinks.base": ("Checkpoint", "Fence", "Sink", "StoredWindow", "Written"),
        "harvester.sinks.lines": ("JsonLines",),
        "harvester.sinks.memory": ("MemorySink",),
        "harvester.stores": ("FileStore", "MemoryStore", "TokenStore"),
        "harvester.transport": ("Transport",),
    }.items()
    for name in names
}


def __getattr__(name: str) -> object:
    """A public name or a module of the package, imported on first use."""
    if name in _HOMES:
        value: object = getattr(import_module(_HOMES[name]), name)
        globals()[name] = value
        return value
    if not name.startswith("_"):
        try:
            return import_module(f"{__name__}.{name}")
        except ModuleNotFoundError as exc:
            if exc.name != f"{__name__}.{name}":
                raise
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
