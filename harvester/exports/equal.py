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
from harvester.errors import ExportError, HarvestError, UsageError, page
from harvester.exports.arrow import pa
from harvester.exports.base import (
    EVERY_MONTH,
    WHOLE,
    Chunk,
    Content,
    Exported,
    Held,
    Part,
    TableShape,
    Target,
    Unit,
)
from harvester.exports.coverage import Coverage
from harvester.exports.joined import JoinedShape
from harvester.exports.listed import COVERAGE, WIDTH, AccountsShape, CoverageShape, ListedShape
from harvester.exports.shapes import FLAT, Shape
from harvester.exports.source import Source
from harvester.model import Account, Find
from harvester.sinks.base import Stamp
from harvester.tables import ACCOUNTS, FETCHED, TABLES, JoinedTable, tables_of
from harvester.texts import changed, joined, say
from harvester.wechat.interfaces import INTERFACES

FORM = 4
"""The form of what is written; another one makes every target be written anew."""

MOST_RUNS = 100_000
"""The rows of the table ``coverage`` in a workbook; of more, an interface has one per state."""

AnyShape = Shape | JoinedShape | ListedShape


class Difference(NamedTuple):
    """How a target differs from a sink.

    wanted: the stamps of all months of the shapes.  gone: parts of the target that are to be
    removed.  done: what writing it will have done.
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
            "{}: could not export {}; their tables are unchanged, all others are up to date",
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
                "{} was made from another harvest than {}; choose another target, or replace its"
                " contents (--replace)",
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

        def chosen(shape: AnyShape, month: str) -> Iterator[Chunk]:
            columns = {table.name: table.schema.names for table in shape.tables}
            with _naming(shape.name):
                for chunk in shape.chunks(source, month):
                    target.stopped()
                    yield {
                        name: rows.select(columns[name])
                        for name, rows in chunk.items()
                        if name in columns
                    }

        _withdraw(source, target, found)
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


def _withdraw(source: Source, target: Target, found: Difference) -> None:
    """Show no days as stored whose records this export removes, before it does."""
    shape = found.shapes.get(COVERAGE.name)
    if isinstance(shape, CoverageShape) and found.changed[COVERAGE.name]:
        former = [row[:WIDTH] for row in target.stored(shape.tables[0])]
        if (kept := shape.without_lost(former)) != former:
            rows = partial(CoverageShape(kept, target.language).chunks, source, WHOLE)
            target.write(shape.tables, [Unit(WHOLE, "", rows)], [])


def is_equal(
    source: Source,
    target: Target,
    names: Collection[str],
    find: Find,
    *,
    stopped: Callable[[], None] = lambda: None,
) -> bool:
    """Whether a target is equal to a sink, and undamaged; changes nothing.

    names: only of these interfaces; none means those that it holds.
    The names of accounts are in no sink: a target without a table of them lacks nothing.  Neither
    is the table ``coverage``, which is not judged.
    """
    source.check_accounts()
    target.stopped = stopped
    with closing(target):
        held = target.open(create=False, thorough=True)
        choice = _Choice(names or _held_by(held, source.interfaces()), find)
        named = (ACCOUNTS.name, WHOLE) in held.stamps
        known = _accounts(source, target)
        either = [known] if named else [known, known._replace(listed=()), _Accounts((), {})]
        return any(
            _compare(source, target, held, choice, each, covers=False).is_equal for each in either
        )


def _held_by(held: Held, stored: Collection[str]) -> set[str]:
    """What a target holds: interfaces, and tables that join them; none if it has no record.

    A table of neither counts as one of an interface without a name, which no sink has.
    """
    tables = {*held.tables, *(table for table, _ in held.stamps)} - {ACCOUNTS.name, COVERAGE.name}
    return {_owner(table, {*stored, *INTERFACES, *TABLES}) for table in tables}


class _Accounts(NamedTuple):
    """What is known of accounts: those of the table ``accounts``, and names by appid."""

    listed: Collection[Account]
    names: Mapping[str, str]


def _accounts(source: Source, target: Target) -> _Accounts:
    if source.accounts:
        named = {each.appid: each.name for each in source.accounts if each.name}
        return _Accounts(source.accounts, {**source.names, **named})
    return _Accounts((), {**target.names(), **source.names})


def _compare(
    source: Source,
    target: Target,
    held: Held,
    choice: _Choice,
    accounts: _Accounts,
    *,
    covers: bool = True,
) -> Difference:
    """How a target differs; covers: whether the table ``coverage`` is compared, too."""
    stored = source.interfaces()
    chosen = [name for name in stored if not choice.names or name in choice.names]
    known = {*stored, *choice.names, *TABLES}
    shapes = _shapes(target, stored, choice, accounts)
    if covers and source.coverage is not None and target.shape == FLAT:
        of = _covered(source.coverage, held, choice.names, known)
        rows = source.coverage.rows(of, accounts.names)
        most = MOST_RUNS if target.whole else None
        added: dict[str, AnyShape] = {COVERAGE.name: CoverageShape(rows, target.language, most)}
        # the second sheet of a workbook; else readers see it after the records
        shapes = {**added, **shapes} if target.whole else {**shapes, **added}
    tables = [table.name for shape in shapes.values() for table in shape.tables]
    check_tables(target, choice.names, choice.find, tables)
    shapes = _choose(target, shapes)
    _check_names(target, shapes.values())
    days = {name: day for shape in shapes.values() for name, day in shape.day_fields.items()}
    found = {name: source.stamps(name, day) for name, day in days.items()}
    wanted: dict[str, dict[str, str]] = {}
    for name, shape in shapes.items():
        form, stamps = _form(shape, target, source), shape.stamps(found)
        wanted[name] = {month: f"{form}-{stamp}" for month, stamp in sorted(stamps.items())}
    if target.whole:
        target.contents = _contents(source, target, found, chosen, choice.names)
        target.digest = _digest(wanted, target.contents)
        changed, is_equal = _compared_as_a_whole(target, held, wanted, covers=covers)
        done = _done(shapes, changed, found, chosen)
        return Difference(shapes, wanted, changed, [], is_equal, done)
    changed = _changed(shapes, wanted, held)
    gone = _gone(shapes, wanted, held, choice, known)
    if not covers:
        gone = [part for part in gone if part[0] != COVERAGE.name]
    if not accounts.listed:
        gone = [part for part in gone if part[0] != ACCOUNTS.name]
    there = {(name, month) for name, months in wanted.items() for month in months}
    removed = len(_removed(gone, held, known) - there)
    done = _done(shapes, changed, found, chosen)._replace(removed=removed)
    is_equal = not gone and not any(changed.values())
    return Difference(shapes, wanted, changed, gone, is_equal, done)


def _compared_as_a_whole(
    target: Target, held: Held, wanted: Mapping[str, Mapping[str, str]], *, covers: bool
) -> tuple[dict[str, list[str]], bool]:
    ends = None if covers else 1  # the second part of a digest is of the coverage
    is_same = held.digest.split(".")[:ends] == target.digest.split(".")[:ends]
    changed = {name: [] if is_same else [*months] for name, months in wanted.items()}
    return changed, is_same or not (wanted or held.digest)


def _changed(
    shapes: Mapping[str, AnyShape], wanted: Mapping[str, Mapping[str, str]], held: Held
) -> dict[str, list[str]]:
    return {
        name: [
            month
            for month, stamp in wanted[name].items()
            if any(held.stamps.get((table.name, month)) != stamp for table in shape.tables)
        ]
        for name, shape in shapes.items()
    }


def _gone(
    shapes: Mapping[str, AnyShape],
    wanted: Mapping[str, Mapping[str, str]],
    held: Held,
    choice: _Choice,
    known: Collection[str],
) -> list[Part]:
    parts = {
        (table.name, month)
        for name, shape in shapes.items()
        for table in shape.tables
        for month in wanted[name]
    }
    names = {*choice.names, *shapes, *(each.name for each in _joined(choice.names))}
    owners = {part: _owner(part[0], known) for part in held.stamps if part not in parts}
    return [
        part
        for part, owner in owners.items()
        if (not choice.names or owner in names or part[0] == COVERAGE.name)
        and owner not in choice.left_out
    ]


def _contents(
    source: Source,
    target: Target,
    found: Mapping[str, Mapping[str, Stamp]],
    chosen: Collection[str],
    names: Collection[str],
) -> dict[str, Content]:
    coverage = source.coverage or Coverage()
    return {
        name: Content(
            sum(stamp.rows for stamp in found.get(name, {}).values()),
            coverage.interfaces.get(name),
            coverage.runs.get(name, ()),
        )
        for name in _of_tables(target, {*chosen, *coverage.interfaces})
        if not names or name in names
    }


def _removed(gone: Iterable[Part], held: Held, known: Collection[str]) -> set[tuple[str, str]]:
    """The months of interfaces whose tables go; a table that joins interfaces is of none.

    Of an interface that nothing is known of any more, all tables begin with its name.
    """
    tables = {table for table, _ in held.stamps}
    found = set()
    for table, month in gone:
        owner = _owner(table, {*known, *INTERFACES})
        owner = owner or min((each for each in tables if _owner(table, [each])), key=len)
        if owner not in (*TABLES, ACCOUNTS.name, COVERAGE.name):
            found.add((owner, month))
    return found


def _covered(
    coverage: Coverage, held: Held, names: Collection[str], known: Collection[str]
) -> list[str]:
    """The interfaces of the table ``coverage``: all, or those named and those the target holds."""
    if not names or COVERAGE.name in names:
        return sorted(coverage.interfaces)
    tables = {table for table, _ in held.stamps}
    there = {*names, *[_owner(table, known) for table in tables]}
    there.update(name for table in tables & {*TABLES} for name in TABLES[table].interfaces)
    return sorted(there & {*coverage.interfaces})


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


def _shapes(
    target: Target, stored: Sequence[str], choice: _Choice, accounts: _Accounts
) -> dict[str, AnyShape]:
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
            found[table.name] = JoinedShape(table, flat, target.language, accounts.names)
    if accounts.listed and is_flat:
        found[ACCOUNTS.name] = AccountsShape(accounts.listed)
    return found


def _choose(target: Target, shapes: dict[str, AnyShape]) -> dict[str, AnyShape]:
    """Those of the chosen tables: those that the target names, else all.

    A workbook, which has little room, has without a choice no interface with lists that tables join
    with others: these have its records.  Nor has it a table that joins interfaces and would say no
    more than that of its only one.
    """
    if target.whole:
        for shape in shapes.values():
            shape.tables = [in_workbook(table, shape.interfaces) for table in shape.tables]
    joining = [each for each in shapes.values() if isinstance(each, JoinedShape) and target.whole]
    if not target.tables:
        joined = {name for table in TABLES.values() for name in table.interfaces}
        repeated = {name for name in joined & shapes.keys() if len(shapes[name].tables) > 1}
        repeated |= {each.name for each in joining if _is_copy(each, shapes)}
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


def in_workbook(table: TableShape, stored: Collection[str] = ()) -> TableShape:
    """A table as a workbook has it, which has few cells; stored: interfaces that have records.

    Lists and joined tables are without the time of each row, since no program loads increments
    from there; and without the columns that only retired interfaces fill, unless one is stored.
    """
    left = () if "_end_date" in table.schema.names else (FETCHED.name,)
    kept = [
        (field, column)
        for field, column in zip(table.schema, table.columns, strict=True)
        if column.name not in left
        and (not column.retired or any(name in stored for name in column.retired))
    ]
    fields, columns = zip(*kept, strict=True)
    return TableShape(table.name, pa.schema(fields), columns)


def _is_copy(table: JoinedShape, shapes: Mapping[str, AnyShape]) -> bool:
    """Whether a table has the rows of one interface alone, and no column that its own one lacks."""
    own = shapes.get(table.interfaces[0])
    if not isinstance(own, Shape) or len(table.interfaces) > 1:
        return False
    if not (own.is_a_row_a_record and table.is_a_row_a_record):
        return False
    [part] = [each for each in TABLES[table.name].parts if each.interface == own.name]
    return all(name == field for name, field in part.columns.items())


def _of_tables(target: Target, names: Collection[str]) -> set[str]:
    """Those of the interfaces that the chosen tables are of; all without a choice."""
    if not target.tables:
        return {*names}
    owners = [
        TABLES[table].interfaces if table in TABLES else (_owner(table, names),)
        for table in target.tables
    ]
    return {name for found in owners for name in found if name in names}


def check_tables(
    target: Target, names: Collection[str], find: Find, there: Collection[str] = ()
) -> None:
    """Raise `UsageError` if a target names a table that no interface has.

    names: of interfaces, beside those that are built in; there: tables that are known.
    """
    known = {*TABLES, ACCOUNTS.name, COVERAGE.name, *there}
    if target.tables <= known:
        return
    for name in {*INTERFACES, *names}:
        endpoint = find(name)
        known.update(each.name for each in tables_of(name, endpoint.fields if endpoint else ()))
    for name in sorted(target.tables - known):
        raise UsageError(
            "{}: there is no table {!r}{}; all tables: {}",
            target.identity,
            name,
            nearest(name, known),
            page("tables"),
        )


def _joined(names: Collection[str]) -> list[JoinedTable]:
    """The tables that one of these interfaces is a part of, also if nothing of it is stored."""
    return [
        table
        for table in TABLES.values()
        if not names or any(name in names for name in (table.name, *table.interfaces))
    ]


def _check_names(target: Target, shapes: Iterable[AnyShape]) -> None:
    taken: dict[str, str] = {}
    for shape in shapes:
        for table in shape.tables:
            other = taken.setdefault(table.name.lower(), shape.name)
            if other != shape.name:
                raise UsageError(
                    "{}: the interfaces {} and {} both need a table {}; export each of them"
                    " (--endpoint) to a target of its own",
                    target.identity,
                    other,
                    shape.name,
                    table.name,
                )


def _digest(wanted: Mapping[str, Mapping[str, str]], contents: Mapping[str, Content]) -> str:
    """Of all stamps, and behind a full stop of what a ledger knows of these days."""
    listed = [
        f"{name} {month} {stamp}"
        for name in wanted
        if name != COVERAGE.name
        for month, stamp in wanted[name].items()
    ]
    known = [f"{name} {contents[name].runs}" for name in sorted(contents)]
    known += [f"{wanted.get(COVERAGE.name)}"]
    texts = ["\n".join(each).encode() for each in (listed, known)]
    return ".".join([blake2b(text, digest_size=16).hexdigest() for text in texts])


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
