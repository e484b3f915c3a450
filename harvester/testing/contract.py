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
    """Try everything that a sink promises; raises `BrokenPromiseError` at the first that fails.

    make: returns a sink on the destination of that name, not yet open, as a new process would make
        it; each check has destinations of its own (``write``, ``replace``: letters and ``_``),
        which are not there before.
    read: returns the records in the destination of that name, metadata included, as an
        iterable of dicts, or awaits to one; of a feed, what a consumer holds that keeps the latest
        version of each window.  Dates may be `date`, ``_fetched_at`` a `datetime`; fields that are
        None count as missing.  A sink that has ``scan`` needs none; with both, both are tried.
    fenced: whether it refuses a writer with a lower epoch, as a sink of several machines must.
    only: one of `SINK_CHECKS`, to have a test each; one that is for sinks with ``scan`` or with a
        fence passes for all others.

    A test of a sink that keeps a file in a directory::

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
