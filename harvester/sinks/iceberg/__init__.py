"""Iceberg: ``iceberg:DIR`` and ``iceberg:s3://bucket/prefix``, a table for each interface.

Rule: a write is one staged object; publishing makes one snapshot a table of many of them.

To commit each group of windows as a snapshot would write thousands of small files.  So a write puts
its lines into one object under ``.staging``.  What is staged is published as the sink is opened and
closed, once there is enough of it, and after a quarter of an hour; a scan sees both.  A table says
in its properties through which staged object it is published, so what a killed process has left is
published once.

`sink` is the sink, `single` writes for a ledger in a file, `shared` beside other workers with what
`registry` keeps in their database.  `catalog` has the tables of a destination, `table` one of them,
`staged` the staged objects, `files` the directory or the bucket.

Importing this package without pyiceberg raises `UsageError` with the command that installs it.
"""

from harvester.errors import UsageError, needs

try:
    import pyarrow as pa  # noqa: F401  (first: else it is called what Parquet needs)

    from harvester.sinks.iceberg.sink import Iceberg
except ImportError as exc:
    raise UsageError(needs("Iceberg needs its libraries", "iceberg")) from exc

__all__ = ["Iceberg"]
