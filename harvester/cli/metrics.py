"""The option ``--metrics``: the metrics of a run and of its ledger, as a file.

Rule: the file is complete at any time, and readable by the user of node_exporter.
"""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harvester.base.files import replace_file
from harvester.cli.terminal import notify
from harvester.config.place import Place
from harvester.errors import HarvestError, UsageError, needs
from harvester.events import Event, Observer, Report
from harvester.report.days import Reader, StatusFilter
from harvester.report.overview import overview_of
from harvester.texts import of_system, say

if TYPE_CHECKING:
    from harvester.service.metrics import Metrics

SUFFIX = ".prom"
READABLE = 0o644


def metrics_file(values: dict[str, Any], place: Place) -> MetricsFile | None:
    """What ``--metrics`` asks for; raises `UsageError` if it cannot be done."""
    path: Path | None = values["metrics"]
    if path is None:
        if values["metrics_appid"]:
            raise UsageError(
                "--metrics-appid requires --metrics FILE, because it adds a label to these metrics"
            )
        return None
    if path.suffix != SUFFIX:
        raise UsageError("--metrics {}: node_exporter reads files named *{} only", path, SUFFIX)
    folder = path.absolute().parent
    if path.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
        what = say("is a directory") if path.is_dir() else say("cannot be created in {}", folder)
        raise UsageError("--metrics: {} {}", path, what)
    metrics = _continued(path, by_account=values["metrics_appid"])
    return MetricsFile(path, metrics, place, values["daily_quota"])


def _continued(path: Path, *, by_account: bool) -> Metrics:
    """Metrics that continue those in a file; raises `UsageError` without their library."""
    try:
        from harvester.service.metrics import Metrics
    except ImportError:
        raise UsageError(needs("--metrics needs a library", "serve")) from None
    try:
        return Metrics(by_account=by_account, former=path.read_text("utf-8"))
    except FileNotFoundError:
        pass
    except (OSError, ValueError):
        notify("{} cannot be read as metrics; its counters restart at zero", path)
    return Metrics(by_account=by_account)


class MetricsFile:
    """The metrics of a run, and the file that they are written to."""

    def __init__(self, path: Path, metrics: Metrics, place: Place, daily_quota: int | None) -> None:
        self._path = path
        self._metrics = metrics
        self._place = place
        self._daily_quota = daily_quota

    def beside(self, observe: Observer) -> Observer:
        def both(event: Event) -> Any:
            self._metrics.observe(event)
            return observe(event)

        return both

    def write(self, report: Report) -> None:
        try:
            asyncio.run(self._read())
        except HarvestError as exc:  # the gauges are unchanged
            self._note(report, say("the ledger could not be read for the metrics: {}", exc))
        try:
            content = self._metrics.render()
            replace_file(self._path, content, "metrics", READABLE, masked=False)
        except OSError as exc:
            self._note(report, say("{} cannot be written ({})", self._path, of_system(exc)))

    async def _read(self) -> None:
        wanted = StatusFilter(listed=self._place.enabled or None)
        async with self._place.ledger() as ledger:
            reader = Reader(ledger, time.time(), self._place.own, wanted)
            made = await overview_of(reader, names={}, daily_quota=self._daily_quota)
            self._metrics.update(made)

    def _note(self, report: Report, text: str) -> None:
        notify(text)
        report.notes.append(text)
