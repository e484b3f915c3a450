"""What the sinks in directories cost, next to the cheapest correct way with the same driver.

Each sink writes the same batches, as the engine hands them over when it is busy (groups of 512
windows), with a receipt for each group.  Beside it stands the cheapest program that leaves the same
behind: for lines, joining and writing the bodies with one fsync a group, packed by the same library
as one member a group; for Parquet, the same dicts through pyarrow's writer, with days and times as
such, and one fsync.  The ratio is of processor time, since the disk of a shared machine is not the
same twice; each way is measured in turn, and the best of its rounds counts.
"""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from datetime import date, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.figures import Figure, show
from benchmarks.memory import peak
from harvester import plugins
from harvester.codec import checksum, lines
from harvester.model import Batch, Window, metadata
from harvester.sinks import arrow
from harvester.sinks.compression import compression_of
from harvester.testing import Simulator

APPID = "wx00000000000000aa"
ACCOUNTS = 10
ENDPOINT = plugins.endpoint("getarticlesummary")
STAMP = "2024-06-15T04:00:00Z"
GROUP = 512
RECORDS = 60_000
FEW, MANY = 10_000, 1_000_000
LINES = 4
"""So many times the records for lines, which take so little that starting would count."""

ROUNDS = 3
GOAL, GATE = 0.7, 0.55
GROWTH_GOAL, GROWTH_GATE = 40.0, 80.0
SPECS = {
    "jsonl": "jsonl:{}",
    "gzip": "jsonl:{}?compress=gzip",
    "zstd": "jsonl:{}?compress=zstd",
    "parquet": "parquet:{}",
}

Group = Sequence[Batch]


def batches() -> Iterator[Batch]:
    """Days without end, of believable records."""
    simulator = Simulator(seed=1)
    days = [date(2024, 1, 1) + timedelta(days=n) for n in range(-1500, 0)]
    truth = [simulator.truth(APPID, day) for day in days]
    first = date(2014, 12, 1)
    for number in range(1_000_000):
        day = first + timedelta(days=number // ACCOUNTS)
        window = Window(f"wx{number % ACCOUNTS:016x}", ENDPOINT.name, day, day)
        records = [
            {**record, "ref_date": day.isoformat(), "msgid": f"{number}_{place}"}
            for place, record in enumerate(truth[number % len(truth)])
        ]
        encoded = lines(records, metadata(window, STAMP))
        yield Batch(window, STAMP, len(records), b"".join(encoded), checksum(encoded))


def groups(records: int) -> Iterator[Group]:
    """Batches of so many records, as the engine commits them."""
    source = batches()
    while records > 0:
        group = list(islice(source, GROUP))
        records -= sum(batch.records for batch in group)
        yield group


# the sinks, as the committer uses them


async def _through_the_sink(kind: str, folder: Path, given: Iterator[Group]) -> None:
    sink: Any = plugins.sink(SPECS[kind].format(folder))
    if hasattr(sink, "describe"):
        sink.describe([ENDPOINT])
    await sink.open({})
    for group in given:
        await sink.write(group)
        await sink.settle()
    await sink.finish()
    await sink.settle()
    await sink.close()


# the cheapest correct ways


def _bare_lines(kind: str, folder: Path, given: Iterator[Group]) -> None:
    suffix = {"jsonl": "", "gzip": ".gz", "zstd": ".zst"}[kind]
    pack = compression_of(suffix).pack if kind == "zstd" else _gzip if suffix else bytes
    with (folder / f"lines.jsonl{suffix}").open("wb", buffering=0) as file:
        for group in given:
            file.write(pack(b"".join([batch.body for batch in group])))
            os.fdatasync(file.fileno())


def _gzip(data: bytes) -> bytes:
    return zlib.compress(data, 6, 31)


def _bare_parquet(folder: Path, documents: list[dict[str, Any]]) -> None:
    schema = arrow.schema_of(arrow.table_of(ENDPOINT.name, ENDPOINT.fields))
    path = folder / "bare.parquet"
    with (
        path.open("wb") as file,
        pq.ParquetWriter(file, schema, compression="zstd", write_page_checksum=True) as writer,
    ):
        for begin in range(0, len(documents), 1 << 16):
            rows = [_typed(document) for document in documents[begin : begin + (1 << 16)]]
            writer.write_table(pa.Table.from_pylist(rows, schema))
    descriptor = os.open(path, os.O_RDONLY)
    os.fdatasync(descriptor)
    os.close(descriptor)


def _typed(document: dict[str, Any]) -> dict[str, Any]:
    return {
        **document,
        "ref_date": date.fromisoformat(document["ref_date"]),
        "_begin_date": date.fromisoformat(document["_begin_date"]),
        "_end_date": date.fromisoformat(document["_end_date"]),
        "_fetched_at": datetime.fromisoformat(document["_fetched_at"]),
    }


# measuring


def _spent(work: Callable[[Path], object]) -> tuple[float, float, int]:
    """Processor time, wall time, and bytes on the disk."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        cpu, wall = time.process_time(), time.perf_counter()
        work(folder)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        return cpu, wall, sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _measure(kind: str, given: list[Group], documents: list[dict[str, Any]]) -> list[Figure]:
    ours: list[tuple[float, float, int]] = []
    bare: list[tuple[float, float, int]] = []
    if kind != "parquet":
        given = given * LINES
    for _ in range(ROUNDS):
        ours.append(
            _spent(lambda folder: asyncio.run(_through_the_sink(kind, folder, iter(given))))
        )
        if kind == "parquet":
            bare.append(_spent(lambda folder: _bare_parquet(folder, documents)))
        else:
            bare.append(_spent(lambda folder: _bare_lines(kind, folder, iter(given))))
    records = len(documents) * (1 if kind == "parquet" else LINES)
    cpu, wall, size = (min(values) for values in zip(*ours, strict=True))
    bare_cpu, _, bare_size = (min(values) for values in zip(*bare, strict=True))
    return [
        Figure(f"{kind}: of the speed of the cheapest way", bare_cpu / cpu, "", GOAL, GATE),
        Figure(f"{kind}: records a second", records / wall, "/s"),
        Figure(f"{kind}: processor time a record", 1e6 * cpu / records, "µs"),
        Figure(f"{kind}: bytes a record on the disk", size / records, "B"),
        Figure(f"{kind}: bytes a record, the cheapest way", bare_size / records, "B"),
    ]


def _peak_of(kind: str, records: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "benchmarks.files", kind, str(records), folder]
        return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _memory(kind: str) -> list[Figure]:
    few, many = _peak_of(kind, FEW), _peak_of(kind, MANY)
    return [
        Figure(
            f"{kind}: growth of the peak, {FEW:,} to {MANY:,} records",
            many - few,
            "MB",
            goal=GROWTH_GOAL,
            gate=GROWTH_GATE,
            more_is_better=False,
        )
    ]


def measure() -> list[Figure]:
    """The figures."""
    given = list(groups(RECORDS))
    documents = [document for group in given for batch in group for document in batch.documents()]
    gc.collect()
    gc.freeze()  # a sink does not live beside half a million objects of ours
    found = [figure for kind in SPECS for figure in _measure(kind, given, documents)]
    return found + [figure for kind in SPECS for figure in _memory(kind)]


def main() -> None:
    """Print the figures, or, asked with arguments, be the process that is measured."""
    if len(sys.argv) == 4:
        kind, records, folder = sys.argv[1:]
        asyncio.run(_through_the_sink(kind, Path(folder), groups(int(records))))
        print(peak())
    else:
        show(measure())


if __name__ == "__main__":
    main()
