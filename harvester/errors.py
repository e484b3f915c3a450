"""All exceptions of the package as a tree; the class says how much a failure affects.

    HarvestError                the base class of all exceptions of the package
    ├── UsageError              wrong arguments or configuration; nothing was sent
    │   └── NoLedgerError       there is no ledger yet that could be read
    ├── AttemptError            one attempt failed and is repeated (raised by a token store or a
    │                           transport; it never ends a run)
    ├── WindowError             one window failed permanently
    ├── EndpointError           one interface of one account stopped
    ├── AccountError            one account stopped: an operator must act
    ├── RunError                the run stopped
    │   ├── NetworkError        no server answers
    │   ├── SinkError           the destination cannot be written
    │   │   ├── SinkAwayError   the server of the destination does not answer
    │   │   ├── NoRecordsError  the destination does not exist, or nothing was ever stored there
    │   │   └── ReaderGoneError the reader of standard output has ended
    │   ├── LedgerError         the ledger cannot be read or written
    │   └── ExportError         the target of an export cannot be written
    └── IncompleteError         a run ended, and not everything requested was harvested

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
    "harvester needs a POSIX system such as Linux; on Windows, install it in WSL: {}",
    page("windows"),
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
        return say("a newer version of harvester wrote it: use that version")
    return say(
        "a harvester older than the first release wrote it; what to do: {}", page("upgrading")
    )


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
    """The base class of all exceptions of harvester; no message has the password of a URL.

    Its arguments are a sentence, or a template and its values, like those of `harvester.texts.say`.
    """

    def __init__(self, *parts: object) -> None:
        if parts and isinstance(parts[0], str):
            parts = (without_passwords(say(parts[0], *parts[1:])),)
        super().__init__(*parts)


class UsageError(HarvestError, ValueError):
    """Wrong arguments or configuration; nothing was sent."""


class NoLedgerError(UsageError):
    """There is no ledger yet that could be read."""


class AttemptError(HarvestError):
    """An attempt failed and can be repeated; a `TokenStore` or a `Transport` raises it.

    ``answered``: whether part of an answer arrived; ``connected``: whether the connection was open.
    """

    answered = False
    connected = False


class WindowError(HarvestError):
    """One window failed permanently."""


class EndpointError(HarvestError):
    """One interface of one account stopped."""


class AccountError(HarvestError):
    """One account stopped."""


class RunError(HarvestError):
    """The run stopped.  Windows in the ledger are safe; the same call resumes the run.

    ``report`` is the `Report` of the work until then, or None if the run had not begun.
    """

    report: Summary | None = None


class NetworkError(RunError):
    """No server answers."""


class SinkError(RunError):
    """A destination could not be opened or written."""


class SinkAwayError(SinkError):
    """The server of a destination does not answer; the stored data are not damaged."""


class NoRecordsError(SinkError):
    """A destination does not exist, or nothing was ever stored in it."""


class ReaderGoneError(SinkError):
    """The reader of a run's output has ended; this is not a fault, but the run cannot continue."""


class LedgerError(RunError):
    """The ledger could not be opened, read or written."""


class ExportError(RunError):
    """The target of an export could not be opened, read or written.

    If a run raises it, the harvest itself had already ended: ``report`` has its state.
    """


class IncompleteError(HarvestError):
    """A run ended, but some windows failed, must wait or were not tried.

    A stream raises it at its end, and so does `Report.raise_for_state`.  The ``state``, ``until``
    and ``failures`` of its ``report`` (a `Report`) show what is missing.
    """

    def __init__(self, message: str, report: Summary) -> None:
        super().__init__(message)
        self.report = report

    def __reduce__(self) -> tuple[type[IncompleteError], tuple[str, Summary]]:
        return type(self), (str(self), self.report)
