"""Every exception of the package, drawn as a tree; a class is how much a failure affects.

    HarvestError                everything below, for the one ``except`` that catches all
    ├── UsageError              wrong arguments or configuration; nothing was sent
    │   └── NoLedgerError       there is no ledger yet, where one is to be read
    ├── AttemptError            this attempt: it is tried again (raised by a token store or a
    │                           transport; no run ends with it)
    ├── WindowError             this window: it failed for good
    ├── EndpointError           this interface of this account
    ├── AccountError            this account: an operator must act
    ├── RunError                the whole run
    │   ├── NetworkError        nothing answers
    │   ├── SinkError           the destination cannot be written
    │   │   ├── SinkAwayError   its server does not answer
    │   │   ├── NoRecordsError  it is not there, or nothing was ever stored in it
    │   │   └── ReaderGoneError the reader of standard output has ended
    │   ├── LedgerError         the ledger cannot be read or written
    │   └── ExportError         the target of an export cannot be written
    └── IncompleteError         a stream or a report ended without everything requested

A caller needs two ``except`` lines: `UsageError` for wrong arguments, and `HarvestError` for the
rest.

Rule: no message holds a secret or a token.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Protocol

from harvester.texts import changed, say

_USER = re.compile(
    r"(?is)\b(?!(?:postgresql|mysql)://[\w.%-]+@[^@\s]*(?:\s|$))"  # with a user alone
    r"(?P<scheme>[a-z][a-z0-9+.-]+:/(?:/+|(?=[^\s/@]*[:@])))"  # Path("a://b") has one slash
    r"(?!\[USER@\])(?:[^\s/@:\[]*:(?!\d{1,5}(?:[/?#'\"]|$)).*@(?=\S)|\S*@)"
)
"""The user and the password of a URL: to the last @, since a password may hold any character."""
_PASSWORD = re.compile(
    r"(?i)(?P<name>[?&](?:\w*(?:password|passwd|passphrase|pwd|secret|token)|scram_\w+)=)"
    r"[^&\s]*?(?=['\",;:)]*(?:[&\s]|$))"
)


def without_passwords(text: str) -> str:
    """A text whose URLs have no password, and no user that may be one."""
    return changed(text, _without_passwords) if ":/" in text else text


def _without_passwords(text: str) -> str:
    return _PASSWORD.sub(r"\g<name>…", _USER.sub(r"\g<scheme>…@", text))


def page(name: str) -> str:
    """The address of a page of the documentation, which is not installed with the program."""
    return f"https://github.com/wechat-harvester/wechat-harvester/blob/main/docs/{name}.md"


POSIX = say(
    "a POSIX system is needed, as Linux; on Windows install harvester in WSL: {}", page("windows")
)


def needs(what: str, extra: str) -> str:
    """The sentence about a library that is missing: what needs it, and what to type."""
    package = f"'wechat-harvester[{extra}]'"
    return say(
        "{}: pip install {}, or pipx inject wechat-harvester {}", say(what), package, package
    )


def unreadable(version: int, newest: int) -> str:
    """What to do about a stored format that this version of harvester does not read."""
    if version > newest:
        return say("a newer harvester wrote it: use that one")
    return say("a harvester before the first release wrote it; how to go on: {}", page("upgrading"))


class Summary(Protocol):
    """What an error has of a run: its `harvester.Report`."""

    records: int
    until: float | None
    notes: list[str]

    @property
    def state(self) -> str: ...
    @property
    def failures(self) -> Sequence[Any]: ...
    def to_dict(self) -> dict[str, Any]: ...


class HarvestError(Exception):
    """The root of all exceptions of harvester; no message has the password of a URL.

    It is raised with a sentence, or with a template and its values, as `harvester.texts.say` takes
    them.
    """

    def __init__(self, *parts: object) -> None:
        if parts and isinstance(parts[0], str):
            parts = (without_passwords(say(parts[0], *parts[1:])),)
        super().__init__(*parts)


class UsageError(HarvestError, ValueError):
    """Unusable arguments or configuration; nothing was sent."""


class NoLedgerError(UsageError):
    """There is no ledger yet, where one is to be read."""


class AttemptError(HarvestError):
    """An attempt failed, and may be tried again; a `TokenStore` or a `Transport` raises it.

    ``answered``: whether a part of an answer arrived; ``connected``: whether the connection was
    open.
    """

    answered = False
    connected = False


class WindowError(HarvestError):
    """One window failed for good."""


class EndpointError(HarvestError):
    """One interface of one account stopped."""


class AccountError(HarvestError):
    """One account stopped."""


class RunError(HarvestError):
    """The run stopped.  What the ledger holds is safe; the same call resumes.

    ``report`` is the `Report` of what was done until then, or None if nothing was begun.
    """

    report: Summary | None = None


class NetworkError(RunError):
    """No server answers any more."""


class SinkError(RunError):
    """A destination could not be opened or written."""


class SinkAwayError(SinkError):
    """The server of a destination does not answer: nothing is wrong with what is stored there."""


class NoRecordsError(SinkError):
    """A destination is not there, or nothing was ever stored in it."""


class ReaderGoneError(SinkError):
    """The reader of a run's output has ended: no fault, but the run cannot continue."""


class LedgerError(RunError):
    """The ledger could not be opened, read or written."""


class ExportError(RunError):
    """The target of an export could not be opened, read or written.

    A run that raises it had ended before: its ``report`` has the state of the run.
    """


class IncompleteError(HarvestError):
    """A run ended without everything requested: windows failed, must wait or were not tried.

    Raised by a stream at its end and by `Report.raise_for_state`.  ``report`` is the `Report`: its
    ``state``, ``until`` and ``failures`` have what is missing.
    """

    def __init__(self, message: str, report: Summary) -> None:
        super().__init__(message)
        self.report = report

    def __reduce__(self) -> tuple[type[IncompleteError], tuple[str, Summary]]:
        """Pickle it with its report, for other processes."""
        return type(self), (str(self), self.report)
