"""The suite for authors of a sink.

Rule: it needs no test framework; it raises one sentence for each broken guarantee.
"""

from __future__ import annotations

import inspect

from harvester.testing.checks import CHECKS, FENCED, SCANNED
from harvester.testing.sink_bench import Bench, BrokenPromiseError, Make, Read

SINK_CHECKS = tuple(CHECKS)
"""The names of the checks of `check_sink`, in order."""


async def check_sink(
    make: Make, read: Read | None = None, *, fenced: bool = False, only: str | None = None
) -> None:
    """Check all guarantees of a sink; raises `BrokenPromiseError` at the first failure.

    make: called with the name of a destination; returns a sink for it that is not yet open, as a
        new process would create it.  Each check uses destinations of its own, which do not exist
        before; their names are made of letters and ``_`` (``write``, ``replace``).
    read: called with the name of a destination; returns its records with metadata, as an iterable
        of dicts or an awaitable of one.  For a feed: the records of a consumer that keeps only the
        latest version of each window.  Dates can be `date`, and ``_fetched_at`` a `datetime`;
        fields that are None count as missing.  A sink with ``scan`` does not need this argument; if
        it has both, both are tested.
    fenced: whether the sink refuses a writer with a lower epoch, as a sink for several machines
        must.
    only: one of `SINK_CHECKS`, to make one test per check.  A check for sinks with ``scan`` or a
        fence passes for all other sinks.

    A test of a sink with one file per destination::

        @pytest.mark.parametrize("name", SINK_CHECKS)
        def test_my_sink(name, tmp_path):
            asyncio.run(check_sink(lambda n: MySink(tmp_path / n), only=name))
    """
    if only is not None and only not in CHECKS:
        raise ValueError(f"there is no check {only!r}; there are {', '.join(SINK_CHECKS)}")
    scans = make("scan").scan is not None
    if not scans and read is None:
        raise ValueError("this sink has no scan: check_sink needs read= to read its records")
    for name, check in CHECKS.items():
        if (only or name) != name or (name in SCANNED and not scans):
            continue
        if name in FENCED and not fenced:
            continue
        promise = (inspect.getdoc(check) or "").rstrip(".")
        bench = Bench(name, promise, make, read)
        try:
            await check(bench)
        except BrokenPromiseError:
            raise
        except Exception as exc:
            raise bench.broken(f"{type(exc).__name__}: {exc}") from exc
        finally:
            await bench.close_crashed()
