"""A run's own event loop: uvloop's where it is asked for, and what becomes of the collector."""

from __future__ import annotations

import asyncio
import gc
import signal
from datetime import date
from pathlib import Path

import pytest

from harvester.cli.loop import THRESHOLD, run, uvloop_factory
from tests.scenarios.command import Start, asked, begun, succeeded, until
from tests.support import A, Wechat, assert_exactly_the_truth, harvest, stored

pytestmark = pytest.mark.thorough

BEGIN, END = date(2023, 1, 1), date(2023, 3, 31)


def _job(server: Wechat, home: Path, *more: str) -> list[str]:
    return asked(server.url, "getarticlesummary", BEGIN, END, "--out", home, *more)


async def _seen() -> tuple[str, int, int]:
    """The loop's library, the collector's first threshold, what it leaves alone."""
    loop = asyncio.get_running_loop()
    return type(loop).__module__.partition(".")[0], gc.get_threshold()[0], gc.get_freeze_count()


def test_a_run_has_the_loop_that_was_asked_for_and_the_collector_is_as_it_was_afterwards() -> None:
    former = gc.get_threshold()
    library, threshold, left_alone = run(_seen(), uvloop_factory())
    assert (library, threshold) == ("uvloop", THRESHOLD)
    assert left_alone > 0
    assert run(_seen())[0] == "asyncio"
    assert gc.get_threshold() == former
    assert gc.get_freeze_count() == 0


def test_the_collector_is_as_it_was_after_a_run_that_raises() -> None:
    async def fails() -> None:
        raise LookupError

    former = gc.get_threshold()
    with pytest.raises(LookupError):
        run(fails())
    assert gc.get_threshold() == former


def test_the_command_runs_on_the_loop_that_was_asked_for(wechat: Start, tmp_path: Path) -> None:
    fake = (
        "import asyncio, pathlib\n"
        "class Loop(asyncio.SelectorEventLoop):\n"
        "    async def _mark(self): pathlib.Path(__file__).with_name('ran').touch()\n"
        "    def run_until_complete(self, main):\n"
        "        super().run_until_complete(self._mark())\n"
        "        return super().run_until_complete(main)\n"
        "def new_event_loop(): return Loop()\n"
    )
    (tmp_path / "uvloop.py").write_text(fake, encoding="utf-8")
    job = _job(wechat(), tmp_path / "o")
    succeeded(*job, PYTHONPATH=str(tmp_path))
    assert not (tmp_path / "ran").exists()
    succeeded(*job, "--uvloop", PYTHONPATH=str(tmp_path))
    assert (tmp_path / "ran").exists()


def test_an_interrupted_run_on_uvloop_goes_on_to_the_truth(wechat: Start, tmp_path: Path) -> None:
    server = wechat(latency=0.3)
    process = begun(*_job(server, tmp_path, "--rate", "50/s", "--uvloop"))
    until(lambda: server.simulator.counts["data"] >= 5)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130, err
    assert "in flight are answered and stored" in err
    assert "Traceback" not in err
    server.simulator.latency = 0.0
    (tmp_path / "c.toml").write_text("uvloop = true\n", encoding="utf-8")
    succeeded(*_job(server, tmp_path, "--config", str(tmp_path / "c.toml")))
    assert_exactly_the_truth(stored(tmp_path), server.simulator, (A,), BEGIN, END)
    assert set(server.simulator.served.values()) == {1}


def test_without_the_library_the_line_to_type_is_told(wechat: Start, tmp_path: Path) -> None:
    (tmp_path / "uvloop.py").write_text("raise ImportError", encoding="utf-8")
    server = wechat()
    result = harvest(*_job(server, tmp_path / "o", "--uvloop"), PYTHONPATH=str(tmp_path))
    assert result.returncode == 2
    assert "pip install 'wechat-harvester[uvloop]'" in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not server.simulator.counts["data"]
    assert not (tmp_path / "o").exists()
