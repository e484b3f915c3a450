"""Run mutmut on a copy of the tree, and find which mutants of a module survive."""

from __future__ import annotations

import ast
import difflib
import json
import os
import random
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

ROOT = Path(__file__).parents[3]

MODULES = {
    "base/dates": ["tests/base/test_dates.py"],
    "base/retry": ["tests/base/test_retry.py"],
    "wechat/response": ["tests/wechat/test_endpoint.py"],
    "wechat/endpoint": ["tests/wechat/test_endpoint.py"],
    "ledger/coverage": ["tests/ledger/test_coverage.py"],
    "engine/planner": ["tests/engine/test_planner.py"],
    "engine/limiter": ["tests/engine/test_limiter.py"],
    "tokens/shared": [
        "tests/tokens/test_shared.py",
        "tests/tokens/test_stored_token.py",
        "tests/tokens/test_external.py",
    ],
    "engine/attempt": ["tests/engine/test_attempt.py"],
    "engine/parts": ["tests/engine/test_parts.py"],
    "wechat/late": ["tests/wechat/test_late.py"],
}
"""The modules, and the tests that must kill their mutants: in process, on the virtual loop."""

MOST_MEMORY = 4 << 30
"""Bytes of address space: a mutant may create days without end."""

_SETTINGS = """
[tool.mutmut]
source_paths = ["harvester"]
only_mutate = ["harvester/{module}.py"]
pytest_add_cli_args = [
  "-m", "not nightly", "-p", "tests.chaos.mutants.quick", "-p", "no:cacheprovider",
]
pytest_add_cli_args_test_selection = {tests}
timeout_multiplier = 4.0
timeout_constant = 2.0
"""
_SURVIVED = {0, 5, 33}
"""mutmut's codes for a mutant that no test noticed, or that no test reached."""
_NOTICED = {1, 3}
"""A test failed.  Other codes mean that the mutant ran out of time or memory, or crashed: it counts
as noticed, but on a busy machine it may be one that survives."""


class Mutant(NamedTuple):
    """A change to one function: the lines removed and added, without their indentation."""

    function: str
    change: tuple[str, ...]


class Found(NamedTuple):
    """The results of the mutants of one module.

    survived: no test noticed it; killed: a test failed; slow: stopped after a long time.
    """

    module: str
    tried: int
    survived: list[Mutant]
    killed: set[Mutant]
    slow: set[Mutant]

    @property
    def share(self) -> float:
        """The share that was noticed."""
        return 1 - len(self.survived) / self.tried


def try_module(module: str, sample: int | None, seed: int) -> Found:
    """Try all mutants of a module; or the first one of each function and ``sample`` more."""
    with _copy(module) as folder:
        if sample is None:
            _mutmut(folder)
        else:
            _mutmut(folder, f"harvester.{module.replace('/', '.')}.x*__mutmut_1")
            left = [name for name, code in _codes(folder, module).items() if code is None]
            drawn = random.Random(f"{seed} {module}").sample(left, min(sample, len(left)))
            if drawn:
                _mutmut(folder, *drawn)
        return _found(folder, module)


@contextmanager
def _copy(module: str) -> Iterator[Path]:
    with TemporaryDirectory() as name:
        folder = Path(name)
        for part in ("harvester", "tests"):
            ignored = shutil.ignore_patterns("__pycache__", "corpus")
            shutil.copytree(ROOT / part, folder / part, ignore=ignored)
        asked = _SETTINGS.format(module=module, tests=json.dumps(MODULES[module]))
        given = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
        (folder / "pyproject.toml").write_text(given + asked, encoding="utf-8")
        yield folder


def _mutmut(folder: Path, *names: str) -> None:
    def bounded() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))

    said = subprocess.run(
        [Path(sys.executable).with_name("mutmut"), "run", "--max-children", "1", *names],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": ""},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=bounded,
        check=False,
    )
    if said.returncode:
        raise SystemExit(f"mutmut failed:\n{said.stdout[-3000:]}")


def _codes(folder: Path, module: str) -> dict[str, int | None]:
    told = json.loads((folder / f"mutants/harvester/{module}.py.meta").read_text(encoding="utf-8"))
    codes: dict[str, int | None] = told["exit_code_by_key"]
    return codes


def _found(folder: Path, module: str) -> Found:
    changes = _changes((folder / f"mutants/harvester/{module}.py").read_text(encoding="utf-8"))
    found = Found(module, 0, [], set(), set())
    codes = {name: code for name, code in _codes(folder, module).items() if code is not None}
    for name, code in codes.items():
        mutant = changes[name.rpartition(".")[2]]
        if code in _SURVIVED:
            found.survived.append(mutant)
        else:
            (found.killed if code in _NOTICED else found.slow).add(mutant)
    return found._replace(tried=len(codes))


def _changes(text: str) -> dict[str, Mutant]:
    """The mutants of a file that holds each function as it was, and once for each mutant."""
    lines = text.splitlines()
    bodies = {
        node.name: _body(node, lines)
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and "__mutmut_" in node.name
    }
    changes = {}
    for name, body in bodies.items():
        function, _, number = name.rpartition("__mutmut_")
        if number != "orig":
            change = _diff(bodies[f"{function}__mutmut_orig"], body)
            changes[name] = Mutant(function[2:].replace("ǁ", "."), change)
    return changes


def _body(node: ast.FunctionDef | ast.AsyncFunctionDef, lines: Sequence[str]) -> list[str]:
    """A function's lines, without the name of its mutant."""
    found = [line.strip() for line in lines[node.lineno - 1 : node.end_lineno]]
    return [found[0].replace(node.name, "f"), *found[1:]]


def _diff(before: Sequence[str], after: Sequence[str]) -> tuple[str, ...]:
    marked = difflib.ndiff(before, after)
    return tuple(line for line in marked if line[:1] in "-+")
