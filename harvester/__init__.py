"""Download years of WeChat Official Account statistics, every record exactly once.

Rule: a name is imported when it is first used: a program that imports the package without
harvesting does not wait for aiohttp and SQLite.
"""

_HOMES = {
    name: home
    for home, names in {
        "harvester.api": ("Records", "run", "run_sync", "stream"),
        "harvester.base.dates": ("WindowKind",),
        "harvester.config.settings": ("Keywords",),
        "harvester.engine.limiter": ("Rate",),
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
        "harvester.model": (
            "Account",
            "Action",
            "Batch",
            "Endpoint",
            "Field",
            "Request",
            "Response",
            "Stored",
            "Tally",
            "Token",
            "Verdict",
            "Window",
        ),
        "harvester.reading": ("StoredRecords", "StoredTables", "export", "read", "rows"),
        "harvester.sinks.base": ("Checkpoint", "Fence", "Sink", "StoredWindow", "Written"),
        "harvester.sinks.jsonl.sink": ("JsonLines",),
        "harvester.sinks.memory": ("MemorySink",),
        "harvester.tokens.platform": ("Platform",),
        "harvester.tokens.stores": ("FileStore", "MemoryStore", "TokenStore"),
        "harvester.transport": ("Transport",),
        "harvester.wechat.endpoint": ("JsonEndpoint",),
    }.items()
    for name in names
}

__version__ = "0.1.0"

TYPE_CHECKING = False  # an interrupt while typing is imported would print a traceback
if not TYPE_CHECKING:
    __all__ = sorted(_HOMES)
else:  # the same for type checkers, which cannot read the table; a test compares the two
    # isort: off
    from harvester.api import Records as Records, run as run, run_sync as run_sync, stream as stream
    from harvester.base.dates import WindowKind as WindowKind
    from harvester.config.settings import Keywords as Keywords
    from harvester.engine.limiter import Rate as Rate
    from harvester.errors import (
        AccountError as AccountError,
        AttemptError as AttemptError,
        EndpointError as EndpointError,
        ExportError as ExportError,
        HarvestError as HarvestError,
        IncompleteError as IncompleteError,
        LedgerError as LedgerError,
        NetworkError as NetworkError,
        RunError as RunError,
        SinkError as SinkError,
        UsageError as UsageError,
        WindowError as WindowError,
    )
    from harvester.events import Event as Event, Failure as Failure, Report as Report
    from harvester.job import Job as Job
    from harvester.model import (
        Account as Account,
        Action as Action,
        Batch as Batch,
        Endpoint as Endpoint,
        Field as Field,
        Request as Request,
        Response as Response,
        Stored as Stored,
        Tally as Tally,
        Token as Token,
        Verdict as Verdict,
        Window as Window,
    )
    from harvester.reading import (
        StoredRecords as StoredRecords,
        StoredTables as StoredTables,
        export as export,
        read as read,
        rows as rows,
    )
    from harvester.sinks.base import (
        Checkpoint as Checkpoint,
        Fence as Fence,
        Sink as Sink,
        StoredWindow as StoredWindow,
        Written as Written,
    )
    from harvester.sinks.jsonl.sink import JsonLines as JsonLines
    from harvester.sinks.memory import MemorySink as MemorySink
    from harvester.tokens.platform import Platform as Platform
    from harvester.tokens.stores import (
        FileStore as FileStore,
        MemoryStore as MemoryStore,
        TokenStore as TokenStore,
    )
    from harvester.transport import Transport as Transport
    from harvester.wechat.endpoint import JsonEndpoint as JsonEndpoint


def __getattr__(name: str) -> object:
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
    return sorted({*globals(), *_HOMES})
