"""Keeps a table of Apache Iceberg equal to an interface: months that have changed are overwritten.

    pip install 'wechat-harvester[export]' 'pyiceberg[sql-sqlite,pyarrow]'
    python iceberg_table.py harvest getusersummary 2026-01 --catalog sqlite:///catalog.sqlite

Run it after a harvest.  A table property has what was last read of each month (its number of rows,
and when the newest was fetched), and is changed in the same commit as the rows.  The catalog can be
any that pyiceberg knows.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import pyarrow.compute as pc
from pyiceberg.catalog import Catalog
from pyiceberg.catalog.sql import SqlCatalog

import harvester


def update(where: str, interface: str, first: date, catalog: Catalog) -> list[str]:
    """Overwrite what has changed since a month; returns the months that were written."""
    catalog.create_namespace_if_not_exists("wechat")
    name = f"wechat.{interface}"
    table = catalog.create_table_if_not_exists(name, harvester.read(where, interface).schema)
    written = []
    for begin, end in months(first):
        stored = harvester.read(where, interface, start=begin, end=end).read_all()
        key, state = f"harvester.{begin:%Y-%m}", "0"
        if stored.num_rows:
            state = f"{stored.num_rows} {pc.max(stored['_fetched_at']).as_py().isoformat()}"
        if table.properties.get(key, "0") == state:
            continue
        with table.transaction() as change:
            change.overwrite(stored, f"ref_date >= '{begin}' AND ref_date <= '{end}'")
            change.set_properties({key: state})
        written.append(f"{begin:%Y-%m}")
    return written


def months(first: date) -> Iterator[tuple[date, date]]:
    """The first and the last day of each month until today."""
    begin = first.replace(day=1)
    while begin <= date.today():
        following = (begin + timedelta(days=31)).replace(day=1)
        yield begin, following - timedelta(days=1)
        begin = following


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("where", help="what was harvested: a directory, or a sink, as sqlite:x.db")
    parser.add_argument("interface", help="one with a row a day, which has ref_date")
    parser.add_argument("month", help="the first month, as 2026-01")
    parser.add_argument("--catalog", default="sqlite:///catalog.sqlite", metavar="URL")
    parser.add_argument("--warehouse", default="warehouse", metavar="DIR", type=Path)
    given = parser.parse_args()
    given.warehouse.mkdir(exist_ok=True)
    catalog = SqlCatalog("default", uri=given.catalog, warehouse=f"{given.warehouse.resolve()}")
    written = update(given.where, given.interface, date.fromisoformat(f"{given.month}-01"), catalog)
    print("written:", ", ".join(written) or "nothing, no month has changed")


if __name__ == "__main__":
    main()
