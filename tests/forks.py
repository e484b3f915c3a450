"""The command without the time that its imports take: a process that has them forks for each call.

A call gets its own directory, environment, clock, and files for what it prints, and ends as a
process does.  What is decided when Python starts cannot be given to a fork (`STARTS`): such a call
is a process of its own.

Run as a program this is that process.  It ends with the one that started it.
"""

from __future__ import annotations

import atexit
import functools
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

STARTS = ("PYTHON", "LC_", "LANG", "MALLOC", "TZ")
"""Beginnings of the variables that Python reads when it starts."""


class Clock(NamedTuple):
    """A clock that begins at a Unix time and runs so many times as fast as ours."""

    start: float
    factor: float = 1.0


def can_fork(env: dict[str, str]) -> bool:
    """Whether a fork has the same Python as a process that starts with this environment."""
    differ = {
        name
        for name in {*env, *os.environ}
        if name.startswith(STARTS) and env.get(name) != os.environ.get(name)
    }
    return differ <= {"PYTHONPATH"} and not any(
        module.stem == "sitecustomize" or (module.stem.isidentifier() and find_spec(module.stem))
        for each in _paths(env)
        if each not in sys.path
        for module in Path(each).iterdir()  # one of these names is imported in place of ours
    )


def _paths(env: dict[str, str]) -> list[str]:
    return [each for each in env.get("PYTHONPATH", "").split(os.pathsep) if each]


@functools.cache
def _server() -> socket.socket:
    """Start the process; it gets what is sent to this socket."""
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    process = subprocess.Popen(
        [sys.executable, __file__, str(its.fileno())],
        pass_fds=[its.fileno()], stdin=subprocess.DEVNULL,
    )  # fmt: skip
    its.close()
    atexit.register(_end, ours, process)
    return ours


def _end(ours: socket.socket, process: subprocess.Popen[bytes]) -> None:
    ours.close()
    process.wait(10)


def run(
    arguments: list[str], cwd: str | Path | None, env: dict[str, str],
    clock: Clock | None = None, timeout: float = 90,
) -> subprocess.CompletedProcess[str]:  # fmt: skip
    """Run the command to its end."""
    ours, its = socket.socketpair()
    with ours, its, tempfile.TemporaryFile() as call, tempfile.TemporaryFile() as out, \
            tempfile.TemporaryFile() as err:  # fmt: skip
        os.umask(mask := os.umask(0))
        call.write(json.dumps([arguments, str(cwd or Path.cwd()), env, clock, mask]).encode())
        call.flush()
        files = [each.fileno() for each in (call, out, err, its)]
        socket.send_fds(_server(), [b"."], files)
        its.close()
        ours.settimeout(timeout)
        with ours.makefile() as answer:
            process = int(answer.readline())
            try:
                status = int(answer.readline())
            except TimeoutError:
                os.kill(process, signal.SIGKILL)
                raise
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(
            arguments, status, out.read().decode(), err.read().decode()
        )


def _serve(calls: socket.socket) -> None:
    """Return in each child that is to run the command, with everything that its call gives it."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that wait for a command
    while True:
        _, files, _, _ = socket.recv_fds(calls, 1, 4)
        if not files:
            os._exit(0)
        if not os.fork():
            break
        for each in files:
            os.close(each)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    calls.close()
    call, out, err, answer = files
    if child := os.fork():
        os.write(answer, b"%d\n" % child)
        os.write(answer, b"%d\n" % os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        os._exit(0)
    arguments, cwd, env, clock, mask = json.loads(os.pread(call, 1 << 24, 0))
    for number, each in ((1, out), (2, err)):
        os.dup2(each, number)
    for each in files:
        os.close(each)
    os.umask(mask)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    sys.path[:1] = [cwd, *(each for each in _paths(env) if each not in sys.path)]
    sys.argv = ["harvester", *arguments]
    if clock is not None:
        _set(Clock(*clock))


_clock: Any = [0.0, 0.0, 1.0]


def _set(clock: Clock) -> None:
    """Both clocks of the process: the wall clock, and the one of the event loop's timers."""
    import asyncio
    import selectors

    _clock[:] = clock.start, _real(), clock.factor
    if clock.factor == 1:
        return

    class Selector(selectors.DefaultSelector):
        def select(self, timeout: float | None = None) -> Any:
            return super().select(timeout / clock.factor if timeout else timeout)

    class Loop(asyncio.SelectorEventLoop):
        def __init__(self) -> None:
            super().__init__(Selector())

        def time(self) -> float:
            return super().time() * clock.factor

    asyncio.DefaultEventLoopPolicy._loop_factory = Loop  # type: ignore[attr-defined]


if __name__ == "__main__":
    import time

    _real = time.time
    time.time = lambda: _clock[0] + (_real() - _clock[1]) * _clock[2]  # before it is imported from

    for name in ("harvester.cli.commands", "harvester.engine.run"):
        import_module(name)
    from harvester.cli import main

    _serve(socket.socket(fileno=int(sys.argv[1])))
    main()
