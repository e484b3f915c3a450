"""Each module has a test file of its name."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest

import harvester

PACKAGE = Path(harvester.__file__).parent
TESTS = Path(__file__).parents[1]
SCENARIOS = ("scenarios", "chaos", "benchmarks", "typing")
"""Folders of tests/ that have no test files of modules."""

ELSEWHERE = {
    "harvester": "the public names, tested by tests/unit/test_public_names.py",
    "cli.arguments": "a part of each command, tested by tests/unit/test_messages.py and scenarios",
    "cli.check": "a command, tested by tests/scenarios/test_check.py",
    "cli.commands": "commands, tested as a user types them",
    "cli.export": "a command, tested by tests/scenarios/test_exports.py",
    "cli.forget": "a command, tested by tests/scenarios/test_forget.py",
    "cli.inspect": "commands, tested as a user types them",
    "cli.ledger_sinks": "a part of the commands, tested by tests/scenarios/test_sink_list.py",
    "cli.mcp": "a command, tested by tests/mcp/test_server.py",
    "cli.metrics": "an option of a run, tested by tests/scenarios/test_metrics_file.py",
    "cli.missing": "a command, tested with report.missing",
    "cli.options": "decorators of commands, tested by tests/unit/test_settings.py and scenarios",
    "cli.rebuild": "a command, tested with upkeep.rebuild",
    "cli.serve": "a command, tested by tests/scenarios/test_daily_service.py",
    "cli.sink": "a command, tested by tests/scenarios/test_sink_list.py",
    "base.postgresql": "connections, tested by tests/sinks/test_frozen.py on a server",
    "engine.worker": "the run that it works for, tested by tests/unit/test_engine_run.py",
    "exports.arrow": "a part of each export, tested by tests/exports/test_exports.py",
    "exports.coverage": "a part of each export, tested by tests/exports/test_xlsx.py",
    "exports.run": "a part of each export, tested by tests/exports/test_sinks.py",
    "exports.shapes": "a part of each export, tested by tests/exports/test_hostile.py",
    "exports.source": "a part of each export, tested by tests/exports/test_exports.py",
    "ledger.sqlite_tables": "SQL, tested by tests/unit/test_ledger_sqlite.py",
    "mcp.flat_copy": "what a query runs on, tested by tests/mcp/test_query.py",
    "sinks.sql.schema": "SQL, tested on each database by tests/sinks/test_sql.py",
    "testing.answers": "a part of the simulator",
    "testing.callers": "a part of the simulator",
    "testing.check_shared": "checks, tried with planted faults by tests/unit/test_leases.py",
    "testing.contract": "a part of the checks of sinks and ledgers",
    "testing.faults": "a part of the simulator",
    "testing.ledger_bench": "a part of the checks of ledgers",
    "testing.management": "a part of the simulator, tested by tests/testing/test_quotas.py",
    "testing.replies": "a part of the simulator",
    "testing.sink_bench": "a part of the checks of sinks",
    "testing.tokens": "a part of the simulator",
    "tokens.stores.memory": "one of the stores that tests/stores/test_base.py tests",
    "wechat.tables": "data, tested by tests/unit/test_dictionary.py",
    "wechat.titles": "data, tested by tests/unit/test_dictionary.py",
    "wechat.types": "types, checked by mypy with tests/typing",
}
"""Modules that have no test file of their name, and why."""


def modules() -> set[str]:
    """The modules that define a function; a package is one too, together with its ``base``."""
    found = set()
    for path in PACKAGE.rglob("*.py"):
        name, _, last = ".".join(path.relative_to(PACKAGE).with_suffix("").parts).rpartition(".")
        if defines_a_function(path) and not name.startswith("testing.data"):
            own = last not in {"__init__", "base"}
            found.add(f"{name}.{last}".lstrip(".") if own else name or "harvester")
    return found


def defines_a_function(path: Path) -> bool:
    """Whether a function has a body, which those of a protocol have not."""
    return any(
        isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and not all(isinstance(getattr(one, "value", None), ast.Constant) for one in node.body)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    )


def files() -> set[str]:
    """The test files of modules, below tests/, without their suffix."""
    found = (path.relative_to(TESTS).with_suffix("") for path in TESTS.rglob("test_*.py"))
    return {str(path) for path in found if path.parts[0] not in SCENARIOS}


def without_a_file(modules: Iterable[str], files: Iterable[str]) -> set[str]:
    """The modules without a test file of their name.

    Where several modules have one name, the file has that of the package before it
    (``test_jsonl_sink``), or is in a folder of the package's name.  The tests of
    ``harvester.testing`` are in tests/testing, and no others are.
    """
    modules, files = set(modules), set(files)
    missing = set()
    for testing in (False, True):
        own = {one for one in modules if one.startswith("testing") is testing}
        paths = [path.split("/") for path in files if path.startswith("testing/") is testing]
        names = {path[-1] for path in paths}
        placed = {"/".join(path[-2:]) for path in paths}
        alike = Counter(one.rpartition(".")[2] for one in own)
        for one in own:
            package, last = ["", *one.split(".")][-2:]
            accepted = {f"test_{package}_{last}"} | (
                {f"test_{last}"} if alike[last] == 1 else set()
            )
            in_folder = {f"{package}/test_{last}", f"{last}/test_base"}
            if not (accepted & names or in_folder & placed):
                missing.add(one)
    return missing


def test_each_module_has_a_test_file_of_its_name() -> None:
    assert without_a_file(modules(), files()) == ELSEWHERE.keys()


@pytest.mark.parametrize(
    ("module", "file", "is_its_own"),
    [
        ("engine.planner", "unit/test_planner", True),
        ("engine.planner", "unit/test_planners", False),
        ("engine.run", "unit/test_run", False),
        ("engine.run", "unit/test_engine_run", True),
        ("exports.run", "exports/test_run", True),
        ("sinks", "sinks/test_base", True),
        ("testing.simulator", "unit/test_simulator", False),
        ("testing.run", "testing/test_run", True),
    ],
)
def test_the_rule_finds_what_is_missing(module: str, file: str, is_its_own: bool) -> None:
    known = {
        "engine.planner",
        "engine.run",
        "exports.run",
        "sinks",
        "testing.simulator",
        "testing.run",
    }
    assert (module not in without_a_file(known, [file])) is is_its_own
