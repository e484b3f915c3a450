"""Where a harvest is: its ledger, its sinks, and what its configuration says of it.

Rule: gives the same answer to the commands, to `Job`, to `read` and to the service; reads no file.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from harvester.base.dates import nearest
from harvester.base.secrets import Secret
from harvester.config import plugins
from harvester.config.accounts import ListedAccount
from harvester.config.interfaces import choose_interfaces
from harvester.errors import UsageError
from harvester.ledger import (
    FILE_NAME,
    Ledger,
    PostgresLedger,
    SqliteLedger,
    ledger_of,
    ledger_of_file,
    open_ledger,
)
from harvester.model import Endpoint, Find
from harvester.sinks.base import Sink, is_outside, name_in, spec_of
from harvester.texts import joined, say
from harvester.wechat.endpoint import JsonEndpoint


@dataclass(frozen=True)
class Place:
    """Where a harvest is, and what its configuration says of it.

    out: the directory of a run, the file of a sink that the library wrote, or the spec of either.
    given: the ledger, if it is not that of ``out``.  own: interfaces that the configuration
    describes.  sinks: those that were named, by the specs that reach them from here.  listed: the
    accounts of the file of accounts, None if there is no file.
    """

    out: Path
    given: str | Secret | os.PathLike[str] | None = None
    own: Sequence[JsonEndpoint] = ()
    sinks: Sequence[Sink] = ()
    listed: Sequence[ListedAccount] | None = None

    @cached_property
    def directory(self) -> Path:
        scheme, colon, rest = str(self.out).partition(":")
        if colon and scheme in ("jsonl", "sqlite") and not self.out.exists():
            return Path(rest.partition("?")[0]).expanduser()
        return self.out

    @property
    def lines(self) -> str:
        return f"jsonl:{self.directory}"

    def ledger(self, *, readonly: bool = True) -> Ledger:
        """The ledger, not entered; raises `UsageError`.

        The directory of one that is named must be there, if it is to be written; that of ``out`` is
        made.
        """
        if self.given is not None:
            return open_ledger(self.given, readonly=readonly)
        return SqliteLedger(ledger_of(self.directory), readonly=readonly)

    @cached_property
    def find(self) -> Find:
        return plugins.finder(self.own)

    def interfaces(self, names: Iterable[str]) -> list[Endpoint]:
        """The interfaces of names and groups, each once; raises `UsageError` for an unknown one."""
        return plugins.interfaces_of(choose_interfaces(names, self.own))

    def names_of(self, names: Collection[str]) -> set[str]:
        """The names of these; one that is unknown here stays, as the ledger may know it."""
        groups = plugins.endpoint_groups() if names else {}
        found: set[str] = set()
        for each in choose_interfaces(names, self.own):
            found.update(groups.get(each, [each]) if isinstance(each, str) else [each.name])
        return found

    @cached_property
    def names(self) -> Mapping[str, str]:
        return {each.appid: each.name for each in self.listed or () if each.name}

    def appids_of(self, given: Iterable[str]) -> list[str]:
        """Accounts of appids and names; raises `UsageError` for a name that none or several have.

        An appid that the file does not have stays, as the ledger may know it.
        """
        found = []
        for word in given:
            named = [each.appid for each in self.listed or () if word in each[:2]]
            if len(named) > 1:
                raise UsageError(
                    "{!r} is the name of several accounts ({}); give the appid",
                    word,
                    joined(" · ", named),
                )
            if not named and self.names and not word.startswith("wx"):
                hint = nearest(word, self.names.values())
                raise UsageError("no account is called {!r}{}", word, hint)
            found += named or [word]
        return found

    @cached_property
    def enabled(self) -> Mapping[str, bool] | None:
        return None if self.listed is None else {each.appid: each.enabled for each in self.listed}

    @property
    def disabled(self) -> list[str]:
        return [each.appid for each in self.listed or () if not each.enabled]


def ledger_for(sink: Sink) -> Path | None:
    """Where the library keeps the ledger of a sink; None of one that is no local file."""
    place: Path | None = sink.path
    if place is None:
        return None
    return ledger_of_file(place) if sink.is_file else place / FILE_NAME


def ledger_beside(sink: Sink) -> Path | None:
    """Where the ledger of a sink is: as the library keeps it, or as the command does."""
    own = ledger_for(sink)
    if own is None or not sink.is_file or own.exists():
        return own
    return own.with_name(FILE_NAME)


async def outside(ledger: Ledger) -> list[str]:
    """A sentence about each sink that is outside of the ledger's folder."""
    path, about = ledger.path, say("{} is outside of {}: a copy of that folder does not contain it")
    return [
        say(about, spec_of(name, path), path.parent)
        for name in await ledger.sinks()
        if path is not None and is_outside(name)
    ]


def as_known(ledger: Ledger, known: Collection[str], given: Sequence[Sink]) -> dict[str, Sink]:
    """The given sinks by their names in the ledger; raises `UsageError` for another one."""
    named = {name_in(sink, ledger.path): sink for sink in given}
    if strange := sorted(named.keys() - known):
        raise UsageError("{} does not list {}", ledger.where, strange[0])
    return named


def sink_named(ledger: Ledger, name: str, given: Mapping[str, Sink]) -> Sink | None:
    """The sink of a name in the ledger: a given one, or the one that its spec names.

    None if that is no spec, or was in the memory of a process; raises `UsageError`.
    """
    sink, spec = given.get(name), spec_of(name, ledger.path)
    scheme = spec.partition(":")[0]
    if sink is None and scheme in plugins.sink_schemes() and scheme != "memory":
        sink = unnamed(plugins.sink(spec), ledger)
    return sink


def unnamed(sink: Sink, ledger: Ledger | None = None) -> Sink:
    """A sink that a ledger alone names; of servers the user has named that of the ledger."""
    if sink.unnamed is not None:
        sink.unnamed(ledger.hosts if isinstance(ledger, PostgresLedger) else ())
    return sink
