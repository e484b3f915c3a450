"""The table of the accounts: what people call them, and what they belong to.

Rule: pure.  Names are in the configuration, not in what is stored: an export that is given accounts
writes the table, and one that is given none leaves it as it is.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from hashlib import blake2b

from harvester.exports import arrow
from harvester.exports.arrow import pa
from harvester.exports.base import WHOLE, Chunk, TableShape
from harvester.exports.shapes import commented
from harvester.exports.source import Source
from harvester.model import Account
from harvester.sinks.base import Stamp
from harvester.tables import ACCOUNTS


class AccountsShape:
    """The table of these accounts."""

    def __init__(self, accounts: Collection[Account]) -> None:
        self.name = ACCOUNTS.name
        self._rows = sorted({each.appid: each for each in accounts}.items())
        known = arrow.schema_of(arrow.table_of(self.name, ACCOUNTS.fields))
        names = ["_appid", *[field.name for field in ACCOUNTS.fields]]
        schema = pa.schema([known.field(name) for name in names])
        comments = {column.name: column.meaning for column in ACCOUNTS.columns}
        self.tables = [TableShape(self.name, commented(schema, comments))]

    def __repr__(self) -> str:
        return f"<AccountsShape of {len(self._rows)} accounts>"

    @property
    def interfaces(self) -> list[str]:
        """The interfaces that its rows are from: none."""
        return []

    @property
    def day_fields(self) -> dict[str, str]:
        """The fields with a record's own day: none."""
        return {}

    def stamps(self, _: Mapping[str, Mapping[str, Stamp]]) -> dict[str, str]:
        """The stamp of its one part."""
        text = repr([(appid, each.name, each.group) for appid, each in self._rows])
        return {WHOLE: blake2b(text.encode(), digest_size=16).hexdigest()}

    def chunks(self, _: Source, __: str) -> Iterator[Chunk]:
        """Its rows, in the order of the appids."""
        columns = [
            [appid for appid, _ in self._rows],
            [each.name or None for _, each in self._rows],
            [each.group or None for _, each in self._rows],
        ]
        schema = self.tables[0].schema
        arrays = [pa.array(values, pa.string()) for values in columns]
        yield {self.name: pa.record_batch(arrays, schema=schema)}
