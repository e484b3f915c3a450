"""Every exception of the package, drawn as a tree; a class says how far a failure reaches.

    HarvestError                everything below, for the one ``except`` that catches all
    ├── UsageError              what was asked for cannot be done; nothing was sent
    ├── AttemptError            this attempt: it is tried again (never leaves the engine)
    ├── WindowError             this window: it failed for good
    ├── EndpointError           this interface of this account
    ├── AccountError            this account: somebody must act
    ├── RunError                the whole run
    │   ├── NetworkError        nothing answers
    │   ├── SinkError           the destination refuses
    │   │   └── ReaderGoneError whoever read standard output has gone
    │   └── LedgerError         the ledger cannot be read or written
    └── IncompleteError         a stream, or a report that was asked, lacks what was asked for

A caller of the library needs two ``except`` lines: `UsageError` for what he typed, and
`HarvestError` for the rest.

Rule: no message holds a secret or a token.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from harvester.events import Report


class HarvestError(Exception):
    """The root of everything that harvester raises.

    ``code`` and ``rid``: WeChat's errcode and its request id, of an error that WeChat told.
    """

    code: int | None = None
    rid: str = ""

    def told(self, code: int | None, rid: str) -> Self:
        """The same, with what WeChat told."""
        self.code, self.rid = code, rid
        return self


class UsageError(HarvestError, ValueError):
    """Unusable arguments or configuration; nothing was sent."""


class AttemptError(HarvestError):
    """One request brought no answer that can be used; it may be tried again.

    ``answered`` tells whether an answer had begun to come, ``connected`` whether the connection was
    open.
    """

    answered = False
    connected = False


class WindowError(HarvestError):
    """One window failed for good."""


class EndpointError(HarvestError):
    """One interface of one account gives nothing more (offline, not permitted).

    ``forbidden``: because the account may not use it.
    """

    forbidden = False


class AccountError(HarvestError):
    """One account stopped: its credentials, its permissions or its token source."""


class RunError(HarvestError):
    """The run stopped.  What the ledger holds is safe; the same call resumes.

    ``report`` is the `Report` of what was done until then, or None if nothing was begun.
    """

    report: Report | None = None


class NetworkError(RunError):
    """No request of any account was answered any more."""


class SinkError(RunError):
    """A destination could not be opened or written."""


class ReaderGoneError(SinkError):
    """Whoever read what a run hands out has gone: no fault, but the run is at its end."""


class LedgerError(RunError):
    """The ledger could not be opened, read or written."""


class IncompleteError(HarvestError):
    """A run ended without all that was asked for: windows failed, must wait or were not tried.

    Raised by a stream at its end and by `Report.raise_for_state`.  ``report`` is the `Report`: its
    ``state``, ``until`` and ``failures`` say what is missing.
    """

    def __init__(self, message: str, report: Report) -> None:
        super().__init__(message)
        self.report = report

    def __reduce__(self) -> tuple[type[IncompleteError], tuple[str, Report]]:
        """Pickle it whole: it may travel between processes."""
        return type(self), (str(self), self.report)
