"""The command ``serve``: the daily service, its pages, and its signals.

Rule: SIGTERM and SIGINT end it in order, a second one at once; SIGHUP reloads.  None loses data.
"""

from __future__ import annotations

import asyncio
import logging
import resource
import signal
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

from harvester.cli.exit_status import COMPLETE
from harvester.cli.loop import run
from harvester.cli.progress import Lines
from harvester.cli.signals import heed
from harvester.cli.terminal import LibraryLog, log, name_accounts
from harvester.config.files import DEFAULT_FILE, read_config
from harvester.errors import UsageError, needs
from harvester.events import Code, Event, Notice, RunStarted
from harvester.report.page import template
from harvester.service.serve import Service, Setup
from harvester.texts import say
from harvester.transport import BASE_URL, foreign


def serve(path: Path | None, lang: str) -> int:
    """Serve what a file describes until a signal comes; raises `UsageError`."""
    _open_as_many_files_as_may_be()
    for name in ("asyncio", "aiohttp"):
        logging.getLogger(name).addHandler(LibraryLog(logging.WARNING))
    try:  # before anything is sent; this extra brings what the page needs
        import harvester.service.metrics as _metrics
    except ImportError:
        raise UsageError(needs("harvester serve needs more libraries", "serve")) from None
    del _metrics
    template()
    return run(_serve(partial(_loaded, path, lang)))


def _open_as_many_files_as_may_be() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):  # a system may allow less than it reports
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _loaded(path: Path | None, lang: str) -> Setup:
    if path is None:
        read_config(None)  # whether it may be used
    setup = Setup.load(path or Path(DEFAULT_FILE), lang)
    name_accounts(setup.names)
    if where := foreign(str(setup.job.options.get("base_url", BASE_URL))):
        with suppress(OSError):  # the disk of the log may be full
            log(where, level="warning")
    return setup


async def _serve(load: Callable[[], Setup]) -> int:
    from harvester.service.http import Pages
    from harvester.service.metrics import Metrics

    metrics = Metrics()
    lines = Lines()

    def tell(text: str, level: str = "info") -> None:
        with suppress(OSError):  # the disk of the log may be full
            log(text, level=level)

    def observe(event: Event) -> None:
        nonlocal lines
        if isinstance(event, RunStarted):
            lines = Lines()
        metrics.observe(event)
        if not (
            isinstance(event, Notice) and event.code == Code.STOPPING
        ):  # it does not come from a signal
            with suppress(OSError):
                lines(event)

    service = Service(load, log=tell, warn=partial(tell, level="warning"), observe=observe)
    task = asyncio.current_task()
    assert task is not None
    stopping = False

    def stop() -> bool:
        nonlocal stopping
        stopping = True
        tell(say("ending after the current windows are stored; interrupt again to end at once"))
        service.stop()
        return True

    heed_no_more = heed(task, stop)
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, service.reload)
    address = service.setup.options.listen
    try:
        with service.alone():
            async with Pages(service, metrics).served(address) as port:
                tell(say("serving http://{}/", address._replace(port=port)))
                await service.run()
    except asyncio.CancelledError:
        if not stopping:
            raise
    finally:
        heed_no_more()
    tell(say("the service has ended"))
    return COMPLETE
