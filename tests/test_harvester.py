"""The names that the package gives, and what it takes to import it."""

import ast
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import harvester


@pytest.mark.parametrize("name", harvester.__all__)
def test_a_public_name_is_the_one_of_its_room(name: str) -> None:
    home = harvester._HOMES[name]
    assert getattr(harvester, name) is getattr(import_module(home), name)
    assert name in dir(harvester)


def test_type_checkers_are_told_of_the_same_names_in_the_same_modules() -> None:
    tree = ast.parse(Path(harvester.__file__).read_text(encoding="utf-8"))
    told = {
        each.asname: node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module != "importlib"
        for each in node.names
        if each.asname == each.name  # else it is not exported
    }
    assert told == harvester._HOMES


def fresh(program: str) -> str:
    """What a new interpreter prints, one that nobody watches: a watcher has imports of its own."""
    command = [sys.executable, "-c", program]
    env = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    return subprocess.run(
        command, check=True, capture_output=True, text=True, env=env
    ).stdout.strip()


def test_importing_the_package_imports_none_of_what_a_run_needs() -> None:
    heavy = ("aiohttp", "anyio", "asyncio", "sqlite3", "orjson")
    program = f"import harvester, sys; print([n for n in {heavy} if n in sys.modules])"
    assert fresh(program) == "[]"


@pytest.mark.thorough
def test_a_job_needs_neither_the_library_of_the_command_nor_that_of_dask() -> None:
    program = (
        "import harvester.job, harvester.distributed, sys\n"
        "print([n for n in ('click', 'rich', 'distributed') if n in sys.modules])"
    )
    assert fresh(program) == "[]"


def test_a_room_of_the_package_is_there_without_an_import_of_its_own() -> None:
    assert fresh("import harvester; print(harvester.events.Committed.__name__)") == "Committed"


@pytest.mark.thorough
def test_a_star_brings_the_public_names() -> None:
    assert fresh("from harvester import *; print(run.__name__, Account.__name__)") == "run Account"


@pytest.mark.parametrize("name", ["nothing", "_private", "__wrapped__"])
def test_any_other_name_is_an_attribute_error(name: str) -> None:
    with pytest.raises(AttributeError, match=f"^module 'harvester' has no attribute '{name}'$"):
        getattr(harvester, name)


def test_a_library_that_a_room_misses_is_told_as_it_is() -> None:
    program = (
        "import harvester, sys\nsys.modules['aiohttp'] = None\n"
        "try: harvester.transport\nexcept ModuleNotFoundError as exc: print(exc.name)"
    )
    assert fresh(program) == "aiohttp"
