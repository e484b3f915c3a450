"""The tables of an Iceberg destination, in their catalog, and the note of who owns them.

Rule: used from one thread; what it raises is the library's, or an error of `harvester.errors`.

The catalog is a SQLite file, or the database of a shared ledger.  Without either, as a bucket is
used without a ledger, it is made anew from the tables each time.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote

from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import NoSuchTableError
from pyiceberg.utils.concurrent import ExecutorFactory

from harvester import durable, sqlitefile
from harvester.endpoint import Field
from harvester.errors import SinkError, UsageError
from harvester.model import Batch
from harvester.secrets import Secret
from harvester.sinks import arrow
from harvester.sinks.columns import Table
from harvester.sinks.iceberg.files import Files
from harvester.sinks.iceberg.registry import Registry, shared_catalog
from harvester.sinks.iceberg.table import NAMESPACE, IcebergTable, newest_metadata, version_of

CATALOG = "catalog.sqlite"
_OWNER = ".staging/owner"


class Tables:
    """The tables of a destination.

    name: the destination, as messages name it.  command: what makes ledger and catalog anew.
    place: the catalog's file, or the URL of the database that keeps it; None for neither.
    """

    def __init__(self, files: Files, name: str, command: str, place: Path | Secret | None) -> None:
        self.files = files
        self.name = name
        self.command = command
        self.place = place
        self.by_name: dict[str, IcebergTable] = {}
        self._columns: dict[str, Table] = {}
        self._catalog: SqlCatalog | None = None
        self._temporary: TemporaryDirectory[str] | None = None
        self._had_pool = False

    def __repr__(self) -> str:
        return f"<Tables of {self.name}>"

    # the catalog

    def open(self) -> None:
        """Open the catalog, if it is not open; it is made if it is not there."""
        if self._catalog is not None:
            return
        self._had_pool = ExecutorFactory._instance is not None
        with durable.step("open catalog"):
            if isinstance(self.place, Path):
                sqlitefile.make(self.place)
            catalog = self._new_catalog()
            catalog.create_namespace_if_not_exists(NAMESPACE)
        self._catalog = catalog
        if isinstance(self.place, Path):
            durable.sync_directory(self.place.parent)

    def close(self) -> None:
        """Close the catalog, and end the threads that the library has started for it."""
        catalog, self._catalog = self._catalog, None
        if catalog is not None:
            catalog.close()
            _end_pool(self._had_pool)
        self.by_name.clear()
        self._columns.clear()
        self._end_temporary()

    @contextmanager
    def looked_at(self) -> Iterator[dict[str, IcebergTable]]:
        """The tables by name, of a destination that is not open here."""
        had_pool = ExecutorFactory._instance is not None
        catalog = self._new_catalog("?mode=ro&uri=true")
        try:
            if self.place is None:
                catalog.create_namespace_if_not_exists(NAMESPACE)
                self._take_newest(catalog)
            yield {name: self._loaded(catalog, name) for name in _names(catalog)}
        finally:
            catalog.close()
            self._end_temporary()
            _end_pool(had_pool)

    def _new_catalog(self, options: str = "?uri=true") -> SqlCatalog:
        """A catalog, connected; options: of SQLite, where that is a file."""
        given = {**self.files.properties, "warehouse": self.files.root}
        if isinstance(self.place, Secret):
            url = Registry(self.place, self.files.root).catalog_url
            return shared_catalog({**given, "uri": url.value})
        path = self.place
        if path is None:
            self._temporary = TemporaryDirectory(prefix="harvester-")
            path, options = Path(self._temporary.name) / CATALOG, "?uri=true"
        place = quote(str(path.resolve()))
        return SqlCatalog("harvester", **given, uri=f"sqlite:///file:{place}{options}")

    def _end_temporary(self) -> None:
        temporary, self._temporary = self._temporary, None
        if temporary is not None:
            temporary.cleanup()

    def _opened(self) -> SqlCatalog:
        assert self._catalog is not None, "the catalog is not open"
        return self._catalog

    # the tables

    def load(self, *, anew: bool) -> None:
        """Load every table; anew: let go of data files that are gone."""
        catalog = self._opened()
        for name in _names(catalog):
            self.by_name[name] = self._loaded(catalog, name)
            if anew:
                self.by_name[name].forget_missing()

    def latest(self, name: str) -> IcebergTable:
        """A table as it is now, whoever has changed it."""
        return self._loaded(self._opened(), name)

    def _loaded(self, catalog: SqlCatalog, name: str) -> IcebergTable:
        try:
            return IcebergTable(catalog, self.files, name)
        except FileNotFoundError as exc:
            raise SinkError(
                f"the catalog of {self.name} names {exc.filename or exc}, which is gone: one of the"
                f" two is older; put the right one back, or run {self.command}"
            ) from None

    def described(self) -> list[str]:
        """The folders that hold a table, whatever the catalog says."""
        return [name for name in self.files.folders() if newest_metadata(self.files, name)]

    def take_newest(self) -> None:
        """Take the newest state of each table that stands there into the catalog."""
        self._take_newest(self._opened())

    def _take_newest(self, catalog: SqlCatalog) -> None:
        for name in self.described():
            newest, known = newest_metadata(self.files, name), -1
            with suppress(NoSuchTableError, FileNotFoundError):
                known = version_of(catalog.load_table((NAMESPACE, name)).metadata_location)
            if newest and version_of(newest) > known:
                with durable.step("register table"):
                    if catalog.table_exists((NAMESPACE, name)):
                        catalog.drop_table((NAMESPACE, name))
                    catalog.register_table((NAMESPACE, name), newest)

    def describe(self, batches: Sequence[Batch]) -> None:
        """See to it that each interface has a table with all its columns."""
        for name, batch in {each.window.endpoint: each for each in reversed(batches)}.items():
            fields = batch.endpoint.fields if batch.endpoint is not None else ()
            known = self._columns.get(name)
            if known is None or (fields and not known.fields):
                self.make(name, fields)
                self._columns[name] = arrow.table_of(name, fields)

    def make(self, name: str, fields: Sequence[Field]) -> IcebergTable:
        """The table of an interface, made or widened if it has not all columns."""
        made = IcebergTable.make(self._opened(), self.files, name, fields)
        self.by_name[name] = made
        return made

    def drift(self, batches: Sequence[Batch]) -> list[str]:
        """What is new in the first answer of each interface: it is in all its records."""
        firsts = {each.window.endpoint: each for each in reversed(batches) if each.count}
        told = list[str]()
        for name, batch in firsts.items():
            self._columns[name].rows(batch)
            told += self._columns[name].drift()
        return told

    @property
    def through(self) -> int:
        """The highest number through which a table is published."""
        return max((table.through for table in self.by_name.values()), default=0)

    @property
    def are_empty(self) -> bool:
        """Whether no record is published."""
        return all(table.is_empty for table in self.by_name.values())

    def made_small(self) -> tuple[int, int]:
        """Make each table as small as can be; gives the number of files before and after."""
        before = self._count()
        for table in self.by_name.values():
            table.compact()
            table.tidy(time.time() + 1)
        return before, self._count()

    def _count(self) -> int:
        return sum(len(self.files.find(name)) for name in self.by_name)

    # whose they are

    def owner(self) -> str:
        """What the note of the owner says; empty if there is none."""
        with suppress(FileNotFoundError):
            return self.files.get(_OWNER).decode()
        return ""

    def own(self) -> str:
        """From now on this belongs to the ledger that is told what is returned."""
        owner = secrets.token_hex(16)
        self.files.put(_OWNER, owner.encode(), "note of the owner")
        return owner

    def check_owner(self, owner: str) -> None:
        """Raise `SinkError` if another ledger has begun to write."""
        if self.owner() != owner:
            raise SinkError(
                f"{self.name} belongs to another ledger now, which began to write it; use that"
                " ledger, or another destination"
            )

    def gone(self) -> SinkError:
        """That the catalog is gone, or all."""
        if not self.described():
            return SinkError(
                f"{self.name} is gone, though the ledger refers to it; put it back, or use a"
                " new ledger"
            )
        return SinkError(
            f"the catalog {self.place} is gone; put it back, or run {self.command}, which makes it"
            " anew from the tables; if the ledger is in a database, name it (--ledger)"
        )

    def unknown(self) -> UsageError:
        """That what stands there is another ledger's."""
        return UsageError(
            f"{self.name} holds a harvest that this ledger does not know; use the ledger that"
            " filled it (--ledger), or choose another destination; if that ledger is lost,"
            f" {self.command} makes one from what is stored"
        )


def _names(catalog: SqlCatalog) -> list[str]:
    return [name for _, name in catalog.list_tables(NAMESPACE)]


def _end_pool(was_there: bool) -> None:
    """End the threads that the library has started since."""
    pool = ExecutorFactory._instance
    if pool is not None and not was_there:
        ExecutorFactory._instance = None
        pool.shutdown()
