"""What the tests need of the machine: programs and libraries.

Rule: a test of what is not here is skipped on a developer's machine, and fails under CI.
"""

from __future__ import annotations

import os
import shutil
from importlib import import_module
from typing import Any, NoReturn

import pytest


def not_here(what: str) -> NoReturn:
    """Skip, or fail under CI; also of a whole module, while it is imported."""
    why = f"there is no {what} on this machine"
    if os.environ.get("CI"):
        pytest.fail(why)
    pytest.skip(why, allow_module_level=True)


def program(*names: str) -> str:
    """Where the first of these programs is that is here."""
    places = f"{os.environ.get('PATH', os.defpath)}{os.pathsep}/usr/sbin"
    for name in names:
        if found := shutil.which(name, path=places):
            return found
    return not_here(names[0])


def library(name: str) -> Any:
    """A module of a library that not every environment has."""
    try:
        return import_module(name)
    except ImportError:
        not_here(name)
