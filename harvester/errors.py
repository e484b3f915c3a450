"""Every exception of the package, drawn as a tree; a class says how much a failure affects.

    HarvestError                everything below, for the one ``except`` that catches all
    ├── UsageError              wrong arguments or configuration; nothing was sent
    ├── AttemptError            this attempt: it is tried again (never leaves the engine)
    ├── WindowError             this window: it failed for good
    ├── EndpointError           this interface of this account
    ├── AccountError            this account: an operator must act
    ├── RunError                the whole run
    │   ├── NetworkError        nothing answers
    │   ├── SinkError           the destination cannot be written
    │   │   ├── SinkAwayError   its server does not answer
    │   │   └── ReaderGoneError the reader of standard output has ended
    │   └── LedgerError         the ledger cannot be read or written
    └── IncompleteError         a stream or a report ended without everything requested

A caller needs two ``except`` lines: `UsageError` for wrong arguments, and `HarvestError` for the
rest.

Rule: no message holds a secret or a token.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from harvester.events import Report


class HarvestError(Exception):
    """The root of all exceptions of harvester.

    ``code`` and ``rid``: WeChat's errcode and request id, if the error comes from WeChat.
    """

    code: int | None = None
    rid: str = ""

    def told(self, code: int | None, rid: str) -> Self:
        """The same error, with WeChat's errcode and request id."""
        self.code, self.rid = code, rid
        return self


class UsageError(HarvestError, ValueError):
    """Unusable arguments or configuration; nothing was sent."""


class AttemptError(HarvestError):
    """One request brought no answer that can be used; it may be tried again.

    ``answered``: whether a part of an answer arrived; ``connected``: whether the connection was
    open.
    """

    answered = False
    connected = False


class WindowError(HarvestError):
    """One window failed for good."""


class EndpointError(HarvestError):
    """One interface of one account stopped (retired, or not permitted).

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
    """No server answers any more."""


class SinkError(RunError):
    """A destination could not be opened or written."""


class SinkAwayError(SinkError):
    """The server of a destination does not answer: nothing is wrong with what is stored there."""


class ReaderGoneError(SinkError):
    """The reader of a run's output has ended: no fault, but the run cannot go on."""


class LedgerError(RunError):
    """The ledger could not be opened, read or written."""


class IncompleteError(HarvestError):
    """A run ended without everything requested: windows failed, must wait or were not tried.

    Raised by a stream at its end and by `Report.raise_for_state`.  ``report`` is the `Report`: its
    ``state``, ``until`` and ``failures`` say what is missing.
    """

    def __init__(self, message: str, report: Report) -> None:
        super().__init__(message)
        self.report = report

    def __reduce__(self) -> tuple[type[IncompleteError], tuple[str, Report]]:
        """Pickle it with its report, for other processes."""
        return type(self), (str(self), self.report)
