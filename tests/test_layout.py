"""The tests of each module are in the folder of its package, in a file of its name."""

from __future__ import annotations

import ast
from pathlib import Path

import harvester

PACKAGE = Path(harvester.__file__).parent
TESTS = Path(__file__).parent

ELSEWHERE = {
    "cli": "the entry of the command, tested as a user types it",
    "cli.arguments": "a part of each command, tested by tests/scenarios/commands/test_messages.py",
    "cli.check": "a command, tested by tests/scenarios/commands/test_check.py",
    "cli.commands": "commands, tested as a user types them",
    "cli.export": "a command, tested by tests/scenarios/exports/test_exports.py",
    "cli.forget": "a command, tested by tests/scenarios/commands/test_forget.py",
    "cli.mcp": "a command, tested by tests/mcp/test_server.py",
    "cli.metrics": "an option of a run, tested by tests/scenarios/reports/test_metrics_file.py",
    "cli.missing": "a command, tested with report.missing",
    "cli.options": "decorators of commands, tested by tests/config/test_settings.py and scenarios",
    "cli.plan": "a command, tested by tests/scenarios/commands/test_harvests.py",
    "cli.rebuild": "a command, tested with upkeep.rebuild",
    "cli.serve": "a command, tested by tests/scenarios/service/test_daily_service.py",
    "cli.signals": "signals, tested by tests/chaos/test_signals.py",
    "cli.sink": "a command, tested by tests/scenarios/sinks/test_sink_list.py",
    "cli.verify": "a command, tested with upkeep.verify",
    "base.postgresql": "connections, tested by tests/sinks/sql/test_frozen.py on a server",
    "engine.worker": "the run that it works for, tested by tests/engine/test_run.py",
    "engine.options": "values; a round is tested by tests/service/test_serve.py",
    "exports.arrow": "a part of each export, tested by tests/exports/test_exports.py",
    "exports.base": "what every target has, tested by tests/exports/test_exports.py",
    "exports.charts": "a part of a workbook, tested by tests/exports/test_xlsx.py",
    "exports.coverage": "a part of each export, tested by tests/exports/test_xlsx.py",
    "exports.equal": "a part of each export, tested by tests/exports/test_exports.py",
    "exports.run": "a part of each export, tested by tests/exports/test_sinks.py",
    "exports.shapes": "a part of each export, tested by tests/exports/test_hostile.py",
    "exports.source": "a part of each export, tested by tests/exports/test_exports.py",
    "ledger.base": "what both ledgers share, tested by the tests of each",
    "ledger.sqlite_tables": "SQL, tested by tests/ledger/test_sqlite.py",
    "mcp.flat_copy": "what a query runs on, tested by tests/mcp/test_query.py",
    "service.week": "the message of a week, tested by tests/service/test_serve.py",
    "sinks.jsonl.stored": "a part of the sink, tested by tests/sinks/jsonl/test_sink.py",
    "sinks.sql.driver": "an interface, whose functions are tested by tests/sinks/sql/test_base.py",
    "sinks.sql.schema": "SQL, tested on each database by tests/sinks/sql/test_base.py",
    "sinks.sql.state": "SQL, tested on each database by tests/sinks/sql/test_base.py",
    "sinks.sql.stored": "SQL, tested on each database by tests/sinks/sql/test_base.py",
    "testing.answers": "a part of the simulator",
    "testing.callers": "a part of the simulator",
    "testing.contract": "a part of the checks of sinks",
    "testing.faults": "a part of the simulator",
    "testing.management": "a part of the simulator, tested by tests/testing/test_quotas.py",
    "testing.replies": "a part of the simulator",
    "testing.sink_bench": "a part of the checks of sinks",
    "testing.tokens": "a part of the simulator",
    "tokens.stores": "from a spec to a store, tested by tests/tokens/stores/test_base.py",
    "tokens.stores.memory": "one of the stores that tests/tokens/stores/test_base.py tests",
    "wechat.titles": "data, tested by tests/test_tables.py",
    "wechat.types": "types, checked by mypy with tests/typing",
}
"""Modules that have no test file of their name, and why."""


def modules() -> set[str]:
    """The modules that define a function, without those of the simulator's figures."""
    found = set()
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(part for part in parts if part != "__init__") or "harvester"
        if defines_a_function(path) and not name.startswith("testing.data"):
            found.add(name)
    return found


def defines_a_function(path: Path) -> bool:
    """Whether a function has a body, which those of a protocol have not."""
    return any(
        isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and not all(isinstance(getattr(one, "value", None), ast.Constant) for one in node.body)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    )


def file_of(module: str) -> Path:
    """The test file of a module; a package itself has that of its name in its own folder."""
    parts = module.split(".")
    folder = parts if (PACKAGE / Path(*parts)).is_dir() else parts[:-1]
    return TESTS.joinpath(*folder, f"test_{parts[-1]}.py")


def test_a_module_has_a_test_file_or_a_reason() -> None:
    found = modules()
    without = {module for module in found if not file_of(module).exists()}
    assert without == ELSEWHERE.keys() & found
    assert ELSEWHERE.keys() <= found
