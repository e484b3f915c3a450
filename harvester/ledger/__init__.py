"""The ledgers: which windows are stored, waiting or failed, and how many calls were sent.

``base`` has their values; ``sqlite`` is the embedded ledger, ``sqlite_tables`` its own tables;
``postgresql`` is the shared one, ``leases`` its own tables; ``coverage``, ``encoding`` and
``statements`` are used by both; ``reach`` reads how far an interface is complete.

A ledger has a fixed list of sinks, their names and checkpoints: each of them has all windows that
the ledger calls stored.  Its methods raise `LedgerError`.
"""

from __future__ import annotations

import os
from pathlib import Path

from harvester.base.dates import nearest
from harvester.base.secrets import Secret
from harvester.base.sqlite import check_place
from harvester.errors import UsageError
from harvester.ledger.base import Exhausted, Key, Spent
from harvester.ledger.coverage import Outcome
from harvester.ledger.postgresql import PostgresLedger
from harvester.ledger.sqlite import (
    FILE_NAME,
    SqliteLedger,
    checkpoint_in,
    ledger_of,
    ledger_of_file,
    named_sinks,
)
from harvester.ledger.sqlite_tables import VERSION
from harvester.texts import say

__all__ = [
    "FILE_NAME",
    "VERSION",
    "Exhausted",
    "Key",
    "Ledger",
    "Outcome",
    "PostgresLedger",
    "Spent",
    "SqliteLedger",
    "checkpoint_in",
    "ledger_of",
    "ledger_of_file",
    "named_sinks",
    "open_ledger",
    "place_of",
    "shared",
]

Ledger = SqliteLedger | PostgresLedger
"""A ledger, an async context manager: the same methods, but for those of several workers."""

FORMS = say("give a path, sqlite:FILE or postgresql://…")


def place_of(ledger: Ledger | None) -> Path | Secret | None:
    """The file of a ledger, or the URL of its database."""
    if isinstance(ledger, PostgresLedger):
        return ledger.url
    return None if ledger is None else ledger.path


def shared(ledger: Ledger | None) -> PostgresLedger | None:
    """The ledger if several workers can share it, else None."""
    return ledger if isinstance(ledger, PostgresLedger) else None


def open_ledger(given: str | Secret | os.PathLike[str], *, readonly: bool = False) -> Ledger:
    """The ledger that a path or a spec names, not entered yet; raises `UsageError`.

    Also if it is to be written, and its directory does not exist.
    """
    if isinstance(given, os.PathLike):
        return _in_file(given, readonly=readonly)
    spec = Secret(given)
    scheme, mark, _ = spec.value.partition("://")
    if mark and scheme == "postgresql":
        return PostgresLedger(spec, readonly=readonly)
    if mark:
        hint = nearest(scheme, ["postgresql"])
        raise UsageError("ledger: {}://… is not a ledger{}; {}", scheme, hint, FORMS)
    path = spec.value.removeprefix("sqlite:")
    if path != spec.value and ("?" in path or not path):
        raise UsageError("ledger: SQLite has a path and no options; write it as sqlite:FILE")
    if not path:
        raise UsageError("ledger: its path is empty; {}", FORMS)
    return _in_file(path, readonly=readonly)


def _in_file(path: str | os.PathLike[str], *, readonly: bool) -> SqliteLedger:
    ledger = SqliteLedger(path, readonly=readonly)
    if not readonly:
        check_place(ledger.path, ledger.where)
    return ledger
