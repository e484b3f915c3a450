"""Exports: tables for readers, derived from a sink; `export` makes a target equal to the sink.

``source`` reads the sink, ``shapes`` makes tables of its records, ``joined`` the tables that join
interfaces; ``files`` (Parquet and CSV), ``duckdb`` and ``xlsx`` are the targets.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import partial
from hashlib import blake2b
from typing import NamedTuple
from zlib import crc32

from harvester.errors import ExportError, HarvestError, UsageError
from harvester.exports.account_names import AccountsShape
from harvester.exports.base import WHOLE, Chunk, Content, Exported, Held, Part, Target, Unit
from harvester.exports.joined import JoinedShape
from harvester.exports.shapes import FLAT, Shape
from harvester.exports.source import Source
from harvester.model import Account, Find
from harvester.tables import ACCOUNTS, TABLES, JoinedTable
from harvester.texts import changed, joined, say

FORM = 3
"""The form of what is written; another one makes every target be written anew."""

AnyShape = Shape | JoinedShape | AccountsShape


class Difference(NamedTuple):
    """How a target differs from a sink.

    shapes: what is compared: interfaces, and tables that join them.  wanted: the stamps of all
    their months.  changed: months that are to be written; gone: parts of the target that are to be
    removed.  is_equal: whether nothing differs.
    """

    shapes: dict[str, AnyShape]
    wanted: dict[str, dict[str, str]]
    changed: dict[str, list[str]]
    gone: list[Part]
    is_equal: bool

    @property
    def written(self) -> int:
        """The number of months of interfaces that are to be written."""
        return sum(len(self.changed[name]) for name in self._interfaces())

    @property
    def kept(self) -> int:
        """The number of months of interfaces that are equal."""
        return sum(len(self.wanted[name]) for name in self._interfaces()) - self.written

    def _interfaces(self) -> list[str]:
        return [name for name, shape in self.shapes.items() if isinstance(shape, Shape)]


def export(
    source: Source,
    target: Target,
    names: Collection[str],
    find: Find,
    *,
    replace: bool = False,
    stopped: Callable[[], None] = lambda: None,
) -> Exported:
    """Make a target equal to a sink.

    names: only of these interfaces; none means all.  replace: also a target that was made from
    another harvest.  stopped: is called often, and raises to end the export early.  Raises
    `UsageError` if the target cannot be used, and `ExportError` if it cannot be written.
    """
    target.stopped = stopped
    left_out: dict[str, Exception] = {}
    while True:
        try:
            done = _export(source, target, _Choice(names, find, left_out), replace=replace)
        except _CannotExportError as exc:
            left_out[exc.name] = exc.cause
        else:
            break
    if left_out:
        listed = [say("{} ({})", name, _first_line(exc)) for name, exc in left_out.items()]
        raise ExportError(
            "{}: what cannot be exported is left as it was there: {}; all others are up to date",
            target.identity,
            joined("; ", listed),
        ) from next(iter(left_out.values()))
    return done


class _Choice(NamedTuple):
    """What is exported: names, as of `export`, less those that turned out to be impossible."""

    names: Collection[str]
    find: Find
    left_out: Mapping[str, Exception] = {}


class _CannotExportError(HarvestError):
    """The records of an interface cannot become a table; name: of the interface or the table."""

    def __init__(self, name: str, cause: Exception) -> None:
        super().__init__(name)
        self.name, self.cause = name, cause


@contextmanager
def _naming(name: str) -> Iterator[None]:
    """Name what cannot be exported; errors of sinks, files and users stay what they are."""
    try:
        yield
    except (HarvestError, OSError):
        raise
    except Exception as exc:
        raise _CannotExportError(name, exc) from exc


def _first_line(exc: Exception) -> str:
    first = changed(str(exc), lambda text: text.strip().partition("\n")[0])
    return first or type(exc).__name__


def _export(source: Source, target: Target, choice: _Choice, *, replace: bool) -> Exported:
    """Make a target equal, once; raises `_CannotExportError` for the first that cannot be."""
    with closing(target):
        held = target.open(create=True, thorough=replace)
        harvest = source.harvest()
        if held.harvest and harvest and held.harvest != harvest:
            if not replace:
                raise UsageError(
                    "{} was made from another harvest than {}; choose another target, or replace"
                    " what it holds (--replace)",
                    target.identity,
                    source.sink.identity,
                )
            held = Held("", dict.fromkeys(held.stamps, ""))
        target.harvest = harvest or held.harvest
        found = _compare(source, target, held, choice, source.accounts)
        if found.is_equal:
            return Exported(kept=found.kept)
        rows = 0
        removed = _by_interface(found.gone, found.shapes)

        def counted(shape: AnyShape, month: str) -> Iterator[Chunk]:
            nonlocal rows
            with _naming(shape.name):
                for chunk in shape.chunks(source, month):
                    target.stopped()
                    rows += len(chunk[shape.name]) if isinstance(shape, Shape) else 0
                    yield chunk

        for name, shape in found.shapes.items():
            units = [
                Unit(month, found.wanted[name][month], partial(counted, shape, month))
                for month in found.changed[name]
            ]
            if units or removed.get(name):
                with _naming(name):
                    target.write(shape.tables, units, removed.pop(name, []))
        for parts in removed.values():
            target.write([], [], parts)
        target.finish()
    months = {(_owner(table, found.shapes), month) for table, month in found.gone}
    replaced = {(name, month) for name, listed in found.wanted.items() for month in listed}
    removed_months = {(name, month) for name, month in months - replaced if name not in TABLES}
    return Exported(found.written, len(removed_months), found.kept, rows)


def is_equal(
    source: Source,
    target: Target,
    names: Collection[str],
    find: Find,
    *,
    stopped: Callable[[], None] = lambda: None,
) -> bool:
    """Whether a target is equal to a sink, and undamaged; changes nothing.

    The names of accounts are in no sink: a target without a table of them lacks nothing.
    """
    target.stopped = stopped
    with closing(target):
        held = target.open(create=False, thorough=True)
        choice, named = _Choice(names, find), (ACCOUNTS.name, WHOLE) in held.stamps
        either = [source.accounts] if named else [source.accounts, ()]
        return any(_compare(source, target, held, choice, each).is_equal for each in either)


def _compare(
    source: Source, target: Target, held: Held, choice: _Choice, accounts: Collection[Account]
) -> Difference:
    names = choice.names
    stored = source.interfaces()
    chosen = [name for name in stored if not names or name in names]
    shapes = _shapes(target, stored, choice)
    if accounts and target.shape == FLAT:
        shapes[ACCOUNTS.name] = AccountsShape(accounts)
    _check_names(target, shapes.values())
    known = {*stored, *names, *TABLES}
    wanted_names = {*names, *shapes, *(each.name for each in _joined(names))}
    wanted: dict[str, dict[str, str]] = {}
    changed: dict[str, list[str]] = {}
    parts: set[Part] = set()
    made = [name for shape in shapes.values() for name in shape.interfaces]
    found = {name: source.stamps(name) for name in dict.fromkeys(made)}
    for name, shape in shapes.items():
        form = _form(shape, target)
        stamps = {month: f"{form}-{stamp}" for month, stamp in shape.stamps(found).items()}
        wanted[name] = dict(sorted(stamps.items()))
        tables = [table.name for table in shape.tables]
        parts.update((table, month) for table in tables for month in stamps)
        changed[name] = [
            month
            for month, stamp in wanted[name].items()
            if any(held.stamps.get((table, month)) != stamp for table in tables)
        ]
    gone = [
        part
        for part in held.stamps
        if part not in parts
        and (not names or _owner(part[0], known) in wanted_names)
        and (part[0] != ACCOUNTS.name or accounts)
        and _owner(part[0], known) not in choice.left_out
    ]
    if target.whole:
        target.contents = {
            name: Content(
                sum(stamp.rows for stamp in found.get(name, {}).values()),
                len(shapes[name].tables[0].schema) if name in shapes else 0,
                source.coverage.get(name),
            )
            for name in {*chosen, *source.coverage}
            if not names or name in names
        }
        target.digest = _digest(wanted, target.contents)
        equal = held.digest == target.digest
        changed = {name: [] if equal else [*months] for name, months in wanted.items()}
        return Difference(shapes, wanted, changed, [], equal or not (wanted or held.digest))
    return Difference(shapes, wanted, changed, gone, not gone and not any(changed.values()))


def _shapes(target: Target, stored: Sequence[str], choice: _Choice) -> dict[str, AnyShape]:
    """Those of the named interfaces, and of the tables that one of them is a part of."""
    names, made = choice.names, dict[str, Shape]()
    for name in stored:
        if name not in choice.left_out:
            with _naming(name):
                made[name] = Shape(name, choice.find(name), target.shape, target.language)
    found: dict[str, AnyShape] = {
        name: shape for name, shape in made.items() if not names or name in names
    }
    for table in _joined(names) if target.shape == FLAT else ():
        if table.name in choice.left_out:
            continue
        repeats = target.whole and len(table.parts) == 1  # a workbook has little room
        if not repeats and any(name in made for name in table.interfaces):
            found[table.name] = JoinedShape(table, made, target.language)
    return found


def _joined(names: Collection[str]) -> list[JoinedTable]:
    """The tables that one of these interfaces is a part of, also if nothing of it is stored."""
    return [
        table
        for table in TABLES.values()
        if not names or any(name in names for name in table.interfaces)
    ]


def _check_names(target: Target, shapes: Iterable[AnyShape]) -> None:
    """Raise `UsageError` if two interfaces need a table of the same name."""
    taken: dict[str, str] = {}
    for shape in shapes:
        for table in shape.tables:
            other = taken.setdefault(table.name.lower(), shape.name)
            if other != shape.name:
                raise UsageError(
                    "{}: the interfaces {} and {} both need a table {}; export one of them"
                    " (--endpoint), each to a target of its own",
                    target.identity,
                    other,
                    shape.name,
                    table.name,
                )


def _digest(wanted: Mapping[str, Mapping[str, str]], contents: Mapping[str, Content]) -> str:
    listed = [f"{name} {month} {stamp}" for name in wanted for month, stamp in wanted[name].items()]
    listed += [f"{name} {contents[name].coverage}" for name in sorted(contents)]
    return blake2b("\n".join(listed).encode(), digest_size=16).hexdigest()


def _form(shape: AnyShape, target: Target) -> str:
    """What the rows of a target look like, in a few letters."""
    columns = [f"{table.name} {table.schema.remove_metadata()}" for table in shape.tables]
    text = " ".join([target.form, target.language, *columns])
    return f"{FORM}-{crc32(text.encode()):08x}"


def _owner(table: str, names: Collection[str]) -> str:
    """The interface of a table, of several the longest name; empty if it is none of these."""
    owners = [name for name in names if table == name or table.startswith(f"{name}_")]
    return max(owners, key=len, default="")


def _by_interface(parts: Sequence[Part], names: Collection[str]) -> dict[str, list[Part]]:
    found: dict[str, list[Part]] = {}
    for part in parts:
        found.setdefault(_owner(part[0], names), []).append(part)
    return found
