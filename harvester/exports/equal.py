"""Make a target equal to a sink.

Rule: compares stamps; what has not changed is not written.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import partial
from hashlib import blake2b
from typing import NamedTuple
from zlib import crc32

from harvester.base.dates import nearest
from harvester.errors import ExportError, HarvestError, UsageError
from harvester.exports.account_names import AccountsShape
from harvester.exports.base import (
    EVERY_MONTH,
    WHOLE,
    Chunk,
    Content,
    Exported,
    Held,
    Part,
    Size,
    Target,
    Unit,
)
from harvester.exports.joined import JoinedShape
from harvester.exports.shapes import FLAT, Shape
from harvester.exports.source import Records, Source
from harvester.model import Account, Find
from harvester.sinks.base import Stamp
from harvester.tables import ACCOUNTS, TABLES, JoinedTable, tables_of
from harvester.texts import changed, joined, say
from harvester.wechat.interfaces import INTERFACES

FORM = 3
"""The form of what is written; another one makes every target be written anew."""

SAMPLE = 64
"""The records a month and interface from which the size of a table is estimated."""

AnyShape = Shape | JoinedShape | AccountsShape


class Difference(NamedTuple):
    """How a target differs from a sink.

    shapes: what is compared: interfaces, and tables that join them.  wanted: the stamps of all
    their months.  changed: months that are to be written; gone: parts of the target that are to be
    removed.  is_equal: whether nothing differs.  done: what writing it will have done.
    """

    shapes: dict[str, AnyShape]
    wanted: dict[str, dict[str, str]]
    changed: dict[str, list[str]]
    gone: list[Part]
    is_equal: bool
    done: Exported


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
    source.check_accounts()
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
            "{}: what cannot be exported is unchanged there: {}; all others are up to date",
            target.identity,
            joined("; ", listed),
        ) from next(iter(left_out.values()))
    return done


class _Choice(NamedTuple):
    """What is exported: names, as of `export`, less those that turned out to be impossible."""

    names: Collection[str]
    find: Find
    left_out: Mapping[str, Exception] = {}


def _of_same_harvest(source: Source, target: Target, held: Held, *, replace: bool) -> Held:
    """What a target holds of this harvest; raises `UsageError` if it is of another one."""
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
    return held


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
        held = _of_same_harvest(source, target, held, replace=replace)
        accounts = _accounts(source, target)
        found = _compare(source, target, held, choice, accounts)
        if found.is_equal:
            return found.done
        removed = _by_interface(found.gone, found.shapes)
        if target.whole:
            target.sizes = _sizes(source, found.shapes)

        def chosen(shape: AnyShape, month: str) -> Iterator[Chunk]:
            names = {table.name for table in shape.tables}
            with _naming(shape.name):
                for chunk in shape.chunks(source, month):
                    target.stopped()
                    yield {name: rows for name, rows in chunk.items() if name in names}

        for name, shape in found.shapes.items():
            months = found.changed[name]
            if target.whole and months:
                months = [EVERY_MONTH]  # by account, then day
            units = [
                Unit(month, found.wanted[name].get(month, ""), partial(chosen, shape, month))
                for month in months
            ]
            if units or removed.get(name):
                with _naming(name):
                    target.write(shape.tables, units, removed.pop(name, []))
        for parts in removed.values():
            target.write([], [], parts)
        target.finish()
    return found.done


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
    source.check_accounts()
    target.stopped = stopped
    with closing(target):
        held = target.open(create=False, thorough=True)
        choice, named = _Choice(names, find), (ACCOUNTS.name, WHOLE) in held.stamps
        known = _accounts(source, target)
        either = [known] if named else [known, known._replace(listed=()), _NOBODY]
        return any(_compare(source, target, held, choice, each).is_equal for each in either)


class _Accounts(NamedTuple):
    """What is known of accounts: those of the table ``accounts``, and names by appid."""

    listed: Collection[Account]
    names: Mapping[str, str]


_NOBODY = _Accounts((), {})


def _accounts(source: Source, target: Target) -> _Accounts:
    """Those that the source has; else those names that the open target has already."""
    if source.accounts:
        return _Accounts(
            source.accounts, {each.appid: each.name for each in source.accounts if each.name}
        )
    return _Accounts((), {**target.names(), **source.names})


def _compare(
    source: Source, target: Target, held: Held, choice: _Choice, accounts: _Accounts
) -> Difference:
    names = choice.names
    stored = source.interfaces()
    chosen = [name for name in stored if not names or name in names]
    shapes = _shapes(target, stored, choice, accounts.names)
    if accounts.listed and target.shape == FLAT:
        shapes[ACCOUNTS.name] = AccountsShape(accounts.listed)
    _check_tables(target, shapes, choice)
    shapes = _choose(target, shapes, choice)
    _check_names(target, shapes.values())
    known = {*stored, *names, *TABLES}
    wanted_names = {*names, *shapes, *(each.name for each in _joined(names))}
    wanted: dict[str, dict[str, str]] = {}
    changed: dict[str, list[str]] = {}
    parts: set[Part] = set()
    made = {name: day for shape in shapes.values() for name, day in shape.day_fields.items()}
    found = {name: source.stamps(name, day) for name, day in made.items()}
    for name, shape in shapes.items():
        form = _form(shape, target, source)
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
        and (part[0] != ACCOUNTS.name or accounts.listed)
        and _owner(part[0], known) not in choice.left_out
    ]
    if target.whole:
        target.contents = {
            name: Content(
                sum(stamp.rows for stamp in found.get(name, {}).values()),
                source.coverage.get(name),
            )
            for name in {*chosen, *source.coverage}
            if not names or name in names
        }
        target.digest = _digest(wanted, target.contents)
        equal = held.digest == target.digest
        changed = {name: [] if equal else [*months] for name, months in wanted.items()}
        gone, is_equal = [], equal or not (wanted or held.digest)
    else:
        is_equal = not gone and not any(changed.values())
    done = _done(shapes, changed, found, chosen)
    left = {(_owner(table, known), month) for table, month in gone}
    left -= {(name, month) for name, months in wanted.items() for month in months}
    done = done._replace(removed=sum(name not in TABLES for name, _ in left))
    return Difference(shapes, wanted, changed, gone, is_equal, done)


def _done(
    shapes: Mapping[str, AnyShape],
    changed: Mapping[str, Sequence[str]],
    stored: Mapping[str, Mapping[str, Stamp]],
    chosen: Collection[str],
) -> Exported:
    """What writing these months does: each month of an interface counts once.

    An interface that has no table of its own there is written if one that joins it is.
    """
    own = {name for name, shape in shapes.items() if isinstance(shape, Shape)}
    written, every = set[Part](), set[Part]()
    for table, shape in shapes.items():
        for name in shape.interfaces:
            if name in chosen and (name == table or name not in own):
                every.update((name, month) for month in stored[name])
                written.update((name, month) for month in changed[table] if month in stored[name])
    rows = sum(stored[name][month].rows for name, month in written)
    return Exported(len(written), 0, len(every) - len(written), rows)


def _sizes(source: Source, shapes: Mapping[str, AnyShape]) -> dict[str, Size]:
    """How large each table will be: what is known, else estimated from some records a month."""
    found: dict[str, Size] = {}
    for shape in shapes.values():
        rows, is_exact = _rows_of(source, shape)
        for table in shape.tables:
            found[table.name] = Size(rows.get(table.name, 0), len(table.schema), is_exact)
    return found


def _rows_of(source: Source, shape: AnyShape) -> tuple[Mapping[str, int], bool]:
    """The rows of each table of a shape, and whether that is exact."""
    if isinstance(shape, AccountsShape):
        return {shape.name: len(source.accounts)}, True
    stored = {name: source.stamps(name, day) for name, day in shape.day_fields.items()}
    if shape.is_a_row_a_record:
        return {shape.name: sum(each.rows for each in stored[shape.interfaces[0]].values())}, True
    rows: dict[str, float] = {}
    is_exact = True
    for month in sorted({month for stamps in stored.values() for month in stamps}):
        some = {name: _sample(source, name, day, month) for name, day in shape.day_fields.items()}
        ends = [found[-1].place for found in some.values() if _count(found) >= SAMPLE]
        if ends:  # what is joined is of the same account and days
            last = min(ends)
            some = {
                name: [one for one in found if one.place <= last] for name, found in some.items()
            }
        read = sum(map(_count, some.values()))
        there = sum(stamps.get(month, Stamp()).rows for stamps in stored.values())
        share = read / max(there, read) if ends else 1.0
        is_exact &= share == 1.0
        for chunk in shape.of(some):
            for name, found in chunk.items():
                rows[name] = rows.get(name, 0) + len(found) / share
    return {name: round(number) for name, number in rows.items()}, is_exact


def _sample(source: Source, name: str, day_field: str, month: str) -> list[Records]:
    """The first records of a month."""
    found: list[Records] = []
    with closing(source.read(name, day_field, month)) as records:
        for each in records:
            found.append(each)
            if _count(found) >= SAMPLE:
                break
    return found


def _count(found: Iterable[Records]) -> int:
    return sum(len(each.numbers) for each in found)


def _shapes(
    target: Target, stored: Sequence[str], choice: _Choice, accounts: Mapping[str, str]
) -> dict[str, AnyShape]:
    """Those of the named interfaces, and of the tables that one of them is a part of."""
    names = choice.names

    def made(form: str) -> dict[str, Shape]:
        shapes = {}
        for name in stored:
            if name not in choice.left_out:
                with _naming(name):
                    shapes[name] = Shape(name, choice.find(name), form, target.language)
        return shapes

    own = made(target.shape)
    found: dict[str, AnyShape] = {
        name: shape for name, shape in own.items() if not names or name in names
    }
    is_flat = target.shape == FLAT
    wanted = [each for each in _joined(names) if is_flat or each.name in target.tables]
    flat = own if is_flat or not wanted else made(FLAT)
    for table in wanted:
        if table.name not in choice.left_out and any(name in flat for name in table.interfaces):
            found[table.name] = JoinedShape(table, flat, target.language, accounts)
    return found


def _choose(target: Target, shapes: dict[str, AnyShape], choice: _Choice) -> dict[str, AnyShape]:
    """Those of the chosen tables: those that the target names, else all.

    A workbook, which has little room, has without a choice no interface with lists that tables join
    with others: these have its records.
    """
    if not target.tables:
        joined = {name for table in TABLES.values() for name in table.interfaces}
        repeated = {name for name in joined & shapes.keys() if len(shapes[name].tables) > 1}
        return {
            name: shape
            for name, shape in shapes.items()
            if not target.whole or name not in repeated
        }
    found = {}
    for name, shape in shapes.items():
        shape.tables = [table for table in shape.tables if table.name in target.tables]
        if shape.tables:
            found[name] = shape
    return found


def _check_tables(target: Target, shapes: Mapping[str, AnyShape], choice: _Choice) -> None:
    """Raise `UsageError` if a table is named that no interface has."""
    known = {*TABLES, ACCOUNTS.name}
    known.update(table.name for shape in shapes.values() for table in shape.tables)
    if target.tables <= known:
        return
    for name in {*INTERFACES, *choice.names}:
        endpoint = choice.find(name)
        known.update(each.name for each in tables_of(name, endpoint.fields if endpoint else ()))
    for name in sorted(target.tables - known):
        raise UsageError(
            "{}: there is no table {!r}{}; docs/tables.md lists them",
            target.identity,
            name,
            nearest(name, known),
        )


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


def _form(shape: AnyShape, target: Target, source: Source) -> str:
    """What the rows of a target look like, and what limits them, in a few letters."""
    columns = [f"{table.name} {table.schema.remove_metadata()}" for table in shape.tables]
    text = " ".join([target.form, target.language, *columns, str(source.limits)])
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
