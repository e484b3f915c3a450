"""What used to end in a traceback is one sentence, and no library disturbs the end of Python."""

from __future__ import annotations

import asyncio
import re
import resource
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

import harvester
from tests.own_server import free_port
from tests.scenarios.command import Done, Start, begun, program
from tests.scenarios.places import SINKS
from tests.support import ROOT, A, command, environment, harvest

pytestmark = pytest.mark.thorough

DAYS = ("--start", "2024-01-01", "--end", "2024-01-02")
RUN = ("run", "getusersummary", "--appid", A, *DAYS)


def with_files(files: int, *arguments: str, cwd: Path) -> Done:
    """The command, which may open so many files."""
    return subprocess.run(
        command(*arguments), capture_output=True, text=True, cwd=cwd, check=False, timeout=60,
        env=environment(),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (files, files)),
    )  # fmt: skip


@pytest.mark.parametrize("files", [6, 7, 8, 10, 16])
@pytest.mark.parametrize("arguments", [RUN, ("status",), ("endpoints",)], ids=lambda one: one[0])
def test_a_process_that_may_open_few_files_is_told_so(
    tmp_path: Path, files: int, arguments: tuple[str, ...]
) -> None:
    done = with_files(files, *arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"harvester: this process can open only {files} files; raise the limit")


def test_files_enough_are_enough(wechat: Start, tmp_path: Path) -> None:
    done = with_files(32, *RUN, "--base-url", wechat().url, "--rate", "1000/s", cwd=tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("name", "options"), [("harvester.toml", []), ("accounts.toml", ["--accounts"])]
)
@pytest.mark.parametrize("value", ["[" * 5000 + "]" * 5000, "{a=" * 5000 + "1" + "}" * 5000])
def test_a_file_nested_too_deep(tmp_path: Path, name: str, options: list[str], value: str) -> None:
    (tmp_path / name).write_text(f"x = {value}\n")
    chosen = [*options, name] if options else ["--appid", A]
    done = harvest("run", "getusersummary", *chosen, *DAYS, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (f"harvester: {name} cannot be read: its values are nested too deeply\n")


INTERRUPT = "import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(60)\n"
PLACES = {
    "in a module": INTERRUPT,
    "in code that it executes": f"exec({INTERRUPT!r})\n",
    "in a callback": (
        f"import weakref\nclass One: pass\none = One()\n"
        f"weak = weakref.ref(one, lambda _: exec({INTERRUPT!r}))\n"
        "del one\nimport time\ntime.sleep(60)\n"
    ),
}


@pytest.mark.usefixtures("_interruptible")
@pytest.mark.parametrize("where", PLACES)
@pytest.mark.parametrize("module", ["click", "rich", "orjson", "aiohttp", "mmap"])
def test_an_interrupt_of_an_import_ends_with_130(tmp_path: Path, module: str, where: str) -> None:
    (tmp_path / f"{module}.py").write_text(PLACES[where])
    done = harvest(*RUN, "--base-url", "http://127.0.0.1:1", cwd=tmp_path, PYTHONPATH=str(tmp_path))
    called = module == "mmap" and where != "in a callback"
    said = "\n" if called else ""  # click, which has begun the command, ends the line after ^C
    assert (done.returncode, done.stdout, done.stderr) == (130, "", said)


@pytest.mark.usefixtures("_interruptible")
def test_an_interrupt_at_any_moment_after_the_start_shows_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(  # the first module that the command needs
        "import sys\n"
        "class Tells:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'click':\n"
        "            sys.meta_path.remove(self)\n"
        "            print('up', flush=True)\n"
        "sys.meta_path.insert(0, Tells())\n"
    )
    for tenths in range(8):
        nowhere = ("--base-url", "http://127.0.0.1:1")
        with begun(*RUN, *nowhere, cwd=tmp_path, PYTHONPATH=str(tmp_path)) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "up\n"
            try:
                process.wait(tenths / 10)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=30)
        assert process.returncode in (4, 130), said
        assert "Traceback" not in said


@pytest.mark.usefixtures("_interruptible")
@pytest.mark.parametrize("command", [RUN, ("status",), ("verify",), ("plan", *RUN[1:])])
def test_an_interrupt_before_the_loop_runs_says_nothing_of_coroutines(
    command: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text(  # twice, as soon as a loop is to be made
        "import asyncio, os, signal\n"
        "class Runner(asyncio.Runner):\n"
        "    def __enter__(self):\n"
        "        for _ in range(2):\n"
        "            os.kill(os.getpid(), signal.SIGINT)\n"
        "asyncio.Runner = asyncio.runners.Runner = Runner\n"
    )
    done = harvest(
        *command,
        "--out",
        "o",
        cwd=tmp_path,
        PYTHONPATH=f"{tmp_path}:{ROOT}",
        PYTHONWARNINGS="always",
    )
    assert done.returncode == 130
    assert "never awaited" not in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.usefixtures("_interruptible")
def test_a_wait_for_a_server_is_told_and_ends_with_the_first_interrupt(tmp_path: Path) -> None:
    with begun(*RUN, "--sink", f"mysql://u@127.0.0.1:{free_port()}/db", cwd=tmp_path) as process:
        assert process.stderr is not None
        told = process.stderr.readline()
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
    assert re.match(
        "harvester: the database .* does not answer .*; it will be called again for up to", told
    )
    assert process.returncode == 130, said
    assert said == "harvester: interrupted; run the same command again to resume\n"


class Odd:
    """Nothing that any option takes."""


ACCOUNT = harvester.Account(A, secret="practice")
OPTIONS = (
    "base_url", "session", "ca_file", "rate", "burst", "concurrency", "account_concurrency",
    "attempts", "daily_quota", "ask_quota", "order", "wait", "refresh", "token_store",
    "ledger", "on_event", "stop", "sink", "transport",
)  # fmt: skip


@pytest.mark.parametrize(
    "value", [Odd(), b"x", [3], {"x": 1}, 1.5j], ids=lambda one: type(one).__name__
)
@pytest.mark.parametrize("name", OPTIONS)
def test_a_value_of_a_wrong_type_is_an_error_with_its_option(name: str, value: Any) -> None:
    with pytest.raises(harvester.UsageError) as caught:
        _run(**{name: value})
    said = str(caught.value).lower().replace(" ", "_")
    assert said.startswith((name, f"no_{name}_for"))


NEARLY_RIGHT = [
    ("ledger", 3), ("session", 1), ("wait", 1), ("wait", "no"), ("refresh", None), ("stop", 1),
    ("on_event", "x"), ("token_store", 3), ("sink", None), ("sink", 3), ("sink", [3]),
    ("sink", []), ("order", None), ("ca_file", 3), ("ask_quota", 0), ("concurrency", True),
    ("accounts", 3), ("accounts", None), ("accounts", "wx1"), ("accounts", [3]),
    ("accounts", harvester.Account(3, secret="s")),  # type: ignore[arg-type]
    ("accounts", harvester.Account("wx1", secret=3)),  # type: ignore[arg-type]
    ("accounts", harvester.Account("wx1", token=3)),  # type: ignore[arg-type]
    ("endpoints", 3), ("endpoints", None), ("endpoints", [None]), ("endpoints", b"x"),
    ("start", 3), ("start", None), ("end", ["x"]), ("end", 1.5),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), NEARLY_RIGHT)
def test_the_same_of_values_that_are_nearly_right(name: str, value: Any) -> None:
    with pytest.raises(harvester.UsageError):
        _run(**{name: value})


def _run(
    accounts: Any = ACCOUNT, endpoints: Any = "getusersummary", start: Any = "2024-01-01",
    end: Any = "2024-01-02", **options: Any,
) -> None:  # fmt: skip
    options = {"sink": "memory:", "base_url": "http://127.0.0.1:1", **options}
    asyncio.run(harvester.run(accounts, endpoints, start, end, **options))


# No library that a sink uses disturbs the end of the interpreter.


REPEATS = 3
PROGRAM = """
import asyncio, atexit, sys
import harvester
appid, spec, url = sys.argv[1:]
atexit.register(print, "the handlers of atexit have run")
account = harvester.Account(appid, secret="practice")
report = asyncio.run(
    harvester.run(account, "getusersummary", "2025-01-01", "2025-01-20", sink=spec,
                  base_url=url, rate="1000/s", ledger=None)
)
print(report.state)
"""


@pytest.mark.sampled
@pytest.mark.parametrize("kind", SINKS)
def test_a_script_that_harvests_ends_with_status_0(spec: str, wechat: Start) -> None:
    server, said = wechat(), "complete\nthe handlers of atexit have"
    for _ in range(REPEATS):
        done = program(PROGRAM, A, spec, server.url)
        assert (done.returncode, done.stdout, done.stderr) == (0, f"{said} run\n", "")
