"""Download years of WeChat Official Account statistics, every record exactly once.

Read `harvester.model`, `harvester.engine.attempt` and `harvester.engine.worker` first; then
`harvester.engine.window_queue` and `harvester.engine.scheduler` (what is requested next),
`harvester.ledger` and `harvester.sinks.base` (how it is stored), `harvester.wechat` (the interfaces
of WeChat), `harvester.exports` (tables for readers).

Rule: a name is imported when it is first used: a program that imports the package without
harvesting does not wait for aiohttp and SQLite.
"""

TYPE_CHECKING = False  # an interrupt in the import of typing would be a traceback
if TYPE_CHECKING:
    from harvester.api import Records, run, run_sync, stream
    from harvester.config.settings import Keywords
    from harvester.engine.limiter import Rate
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
    from harvester.model import (
        Account,
        Batch,
        Endpoint,
        Request,
        Response,
        Stored,
        Tally,
        Token,
        Window,
    )
    from harvester.reading import StoredRecords, StoredTables, export, read
    from harvester.sinks.base import Checkpoint, Fence, Sink, StoredWindow, Written
    from harvester.sinks.jsonl.sink import JsonLines
    from harvester.sinks.memory import MemorySink
    from harvester.tokens.platform import Platform
    from harvester.tokens.stores import FileStore, MemoryStore, TokenStore
    from harvester.transport import Transport
    from harvester.wechat.endpoint import JsonEndpoint

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
    "StoredTables",
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
        "harvester.tokens.platform": ("Platform",),
        "harvester.wechat.endpoint": ("JsonEndpoint",),
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
        "harvester.engine.limiter": ("Rate",),
        "harvester.model": (
            "Account",
            "Batch",
            "Endpoint",
            "Request",
            "Response",
            "Stored",
            "Tally",
            "Token",
            "Window",
        ),
        "harvester.reading": ("StoredRecords", "StoredTables", "export", "read"),
        "harvester.config.settings": ("Keywords",),
        "harvester.sinks.base": ("Checkpoint", "Fence", "Sink", "StoredWindow", "Written"),
        "harvester.sinks.jsonl.sink": ("JsonLines",),
        "harvester.sinks.memory": ("MemorySink",),
        "harvester.tokens.stores": ("FileStore", "MemoryStore", "TokenStore"),
        "harvester.transport": ("Transport",),
    }.items()
    for name in names
}


def __getattr__(name: str) -> object:
    """A public name or a module of the package, imported on first use."""
    from importlib import import_module

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
