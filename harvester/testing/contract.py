"""The suite that the author of a sink runs.

Rule: it needs no test framework; what it finds is raised, one sentence for each broken promise.
"""

from __future__ import annotations

import inspect

from harvester.testing.bench import Bench, BrokenPromiseError, Make, Read, Remove
from harvester.testing.checks import CHECKS

SINK_CHECKS = tuple(CHECKS)
"""The names of the checks of `check_sink`, in order."""


async def check_sink(
    make: Make, read: Read, *, remove: Remove | None = None, only: str | None = None
) -> None:
    """Try everything that a sink promises; raises `BrokenPromiseError` at the first that fails.

    make: gives a sink on the target of that name, not yet open, as a new process would make it;
        each check has a target of its own (``write``, ``replace``: letters and ``_``), which is not
        there before.
    read: gives the records that stand in the target of that name, metadata included, as an
        iterable of dicts, or awaits to one.  Dates may be `date`, ``_fetched_at`` a `datetime`;
        fields that are None count as missing.
    remove: deletes the target of that name, as somebody else would; without it, what a sink does
        then is not tried.
    only: one of `SINK_CHECKS`, to have a test each.

    A test of a sink that keeps a file in a directory::

        @pytest.mark.parametrize("name", SINK_CHECKS)
        def test_my_sink(name, tmp_path):
            asyncio.run(check_sink(lambda n: MySink(tmp_path / n), my_read, only=name))
    """
    if only is not None and only not in CHECKS:
        raise ValueError(f"there is no check {only!r}; there are {', '.join(SINK_CHECKS)}")
    for name, check in CHECKS.items():
        if name == (only or name) and (remove is not None or name != "removed"):
            promise = (inspect.getdoc(check) or "").rstrip(".")
            bench = Bench(name, promise, make, read, remove)
            try:
                await check(bench)
            except BrokenPromiseError:
                raise
            except Exception as exc:
                raise bench.broken(f"{type(exc).__name__}: {exc}") from exc
