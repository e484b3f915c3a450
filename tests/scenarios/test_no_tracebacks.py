"""What used to end in a traceback is one sentence, with the status that belongs to it."""

from __future__ import annotations

import asyncio
import re
import resource
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import harvester
from tests.own_server import free_port
from tests.support import A, Wechat, command, environment, harvest

pytestmark = pytest.mark.thorough

DAYS = ("--start", "2024-01-01", "--end", "2024-01-02")
RUN = ("run", "getusersummary", "--appid", A, *DAYS)


@pytest.mark.parametrize("files", [6, 7, 8, 10, 16])
@pytest.mark.parametrize("arguments", [RUN, ("status",), ("endpoints",)], ids=lambda one: one[0])
def test_a_process_that_may_open_few_files_is_told_so(
    tmp_path: Path, files: int, arguments: tuple[str, ...]
) -> None:
    done = subprocess.run(
        command(*arguments), capture_output=True, text=True, cwd=tmp_path, check=False,
        env=environment(), timeout=60,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (files, files)),
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"harvester: this process may open {files} files; raise the limit")


def test_files_enough_are_enough(wechat: Callable[..., Wechat], tmp_path: Path) -> None:
    done = subprocess.run(
        command(*RUN, "--base-url", wechat().url, "--rate", "1000/s"), capture_output=True,
        text=True, cwd=tmp_path, check=False, env=environment(), timeout=60,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (32, 32)),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("name", "options"), [("harvester.toml", []), ("accounts.toml", ["--accounts"])]
)
@pytest.mark.parametrize("value", ["[" * 5000 + "]" * 5000, "{a=" * 5000 + "1" + "}" * 5000])
def test_a_file_that_is_nested_too_deeply(
    tmp_path: Path, name: str, options: list[str], value: str
) -> None:
    (tmp_path / name).write_text(f"x = {value}\n")
    chosen = [*options, name] if options else ["--appid", A]
    done = harvest("run", "getusersummary", *chosen, *DAYS, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (f"harvester: {name} cannot be read: its values are nested too deeply\n")


INTERRUPT = "import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(60)\n"


@pytest.mark.usefixtures("_interruptible")
@pytest.mark.parametrize("how", ["in a module", "in code that it executes"])
@pytest.mark.parametrize("module", ["click", "rich", "orjson", "aiohttp"])
def test_an_interrupt_while_a_module_is_imported_ends_with_130(
    tmp_path: Path, module: str, how: str
) -> None:
    (tmp_path / f"{module}.py").write_text(
        INTERRUPT if how == "in a module" else f"exec({INTERRUPT!r})\n"
    )
    done = harvest(*RUN, "--base-url", "http://127.0.0.1:1", cwd=tmp_path, PYTHONPATH=str(tmp_path))
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


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
        with subprocess.Popen(
            command(*RUN, "--base-url", "http://127.0.0.1:1"), stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, cwd=tmp_path,
            env=environment(PYTHONPATH=str(tmp_path)),
        ) as process:  # fmt: skip
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
def test_a_wait_for_a_server_is_told_and_ends_with_the_first_interrupt(tmp_path: Path) -> None:
    with subprocess.Popen(
        command(*RUN, "--sink", f"redis://127.0.0.1:{free_port()}/0"), stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=environment(),
    ) as process:  # fmt: skip
        assert process.stderr is not None
        told = process.stderr.readline()
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
    assert re.match("harvester: redis.* does not answer .*; it is called again for up to", told)
    assert process.returncode == 130, said
    assert said == "harvester: interrupted; run the same command again to go on\n"


class Odd:
    """Nothing that any option takes."""


ACCOUNT = harvester.Account(A, secret="practice")
OPTIONS = (
    "base_url", "session", "ca_file", "rate", "burst", "concurrency", "account_concurrency",
    "attempts", "daily_quota", "ask_quota", "reserve", "order", "wait", "refresh", "token_store",
    "ledger", "on_event", "stop", "sink",
)  # fmt: skip


@pytest.mark.parametrize(
    "value", [Odd(), b"x", [3], {"x": 1}, 1.5j], ids=lambda one: type(one).__name__
)
@pytest.mark.parametrize("name", OPTIONS)
def test_a_value_of_a_wrong_type_is_a_usage_error_that_names_its_option(
    name: str, value: Any
) -> None:
    options = {"sink": "memory:", "base_url": "http://127.0.0.1:1", name: value}
    with pytest.raises(harvester.UsageError) as caught:
        _run(**options)
    said = str(caught.value).lower().replace(" ", "_")
    assert said.startswith((name, f"no_{name}_for"))


@pytest.mark.parametrize(
    ("name", "value"),
    [("ledger", 3), ("session", 1), ("wait", 1), ("wait", "no"), ("refresh", None), ("stop", 1),
     ("on_event", "x"), ("token_store", 3), ("sink", None), ("sink", 3), ("sink", [3]),
     ("sink", []), ("order", None), ("ca_file", 3), ("ask_quota", 0), ("concurrency", True)],
)  # fmt: skip
def test_the_same_of_values_that_are_nearly_right(name: str, value: Any) -> None:
    with pytest.raises(harvester.UsageError):
        _run(**{"sink": "memory:", "base_url": "http://127.0.0.1:1", name: value})


@pytest.mark.parametrize(
    "what",
    [
        {"accounts": 3}, {"accounts": None}, {"accounts": "wx1"}, {"accounts": [3]},
        {"accounts": harvester.Account(3, secret="s")},  # type: ignore[arg-type]
        {"accounts": harvester.Account("wx1", secret=3)},  # type: ignore[arg-type]
        {"accounts": harvester.Account("wx1", token=3)},  # type: ignore[arg-type]
        {"endpoints": 3}, {"endpoints": None}, {"endpoints": [None]}, {"endpoints": b"x"},
        {"start": 3}, {"start": None}, {"end": ["x"]}, {"end": 1.5},
    ],
)  # fmt: skip
def test_the_same_of_what_is_to_be_harvested(what: dict[str, Any]) -> None:
    with pytest.raises(harvester.UsageError):
        _run(sink="memory:", base_url="http://127.0.0.1:1", **what)


def test_an_option_that_is_none_is_a_type_error_as_of_any_function() -> None:
    with pytest.raises(TypeError, match="frobnicate"):
        _run(sink="memory:", frobnicate=1)


def _run(
    accounts: Any = ACCOUNT,
    endpoints: Any = "getusersummary",
    start: Any = "2024-01-01",
    end: Any = "2024-01-02",
    **options: Any,
) -> None:
    asyncio.run(harvester.run(accounts, endpoints, start, end, **options))
