"""From a name to what it stands for, through entry points."""

import subprocess
import sys
from pathlib import Path

import pytest

from harvester import plugins
from harvester.datacube import GETARTICLESUMMARY
from harvester.errors import UsageError
from harvester.sinks.jsonl import JsonLines

PACKAGE = """
from dataclasses import replace
from harvester.datacube import GETARTICLESUMMARY
from harvester.testing import MemorySink

READ = replace(GETARTICLESUMMARY, name="getarticleread", path="/datacube/getarticleread")


class Kept(MemorySink):
    @classmethod
    def from_spec(cls, rest):
        return cls(f"kept:{rest}")
"""
ENTRY_POINTS = """
[harvester.endpoints]
getarticleread = somebodys:READ

[harvester.sinks]
kept = somebodys:Kept
"""
PROGRAM = """
from harvester import plugins
print(plugins.endpoint_names())
print(plugins.endpoint("getarticleread").path)
print(plugins.sink_schemes())
print(plugins.sink("kept:a:b").identity)
"""


def test_the_built_in_interface_is_known_by_its_name() -> None:
    assert "getarticlesummary" in plugins.endpoint_names()
    assert plugins.endpoint("getarticlesummary") is GETARTICLESUMMARY


def test_a_name_that_is_nearly_right_is_hinted_at() -> None:
    with pytest.raises(UsageError, match=r"^there is no interface 'getarticlesumary'.*did you me"):
        plugins.endpoint("getarticlesumary")


def test_a_name_that_is_like_no_other_is_refused_all_the_same() -> None:
    with pytest.raises(UsageError, match=r"^there is no interface 'zzz'; harvester endpoints l"):
        plugins.endpoint("zzz")


def test_the_built_in_sink_is_made_from_its_spec(tmp_path: Path) -> None:
    made = plugins.sink(f"jsonl:{tmp_path}/a:b")
    assert isinstance(made, JsonLines)
    assert made.directory == tmp_path / "a:b"


@pytest.mark.parametrize("spec", ["", "jsonl", "parquet:x", ":x", "JSONL:x"])
def test_what_names_no_sink_is_refused_and_the_known_ones_are_told(spec: str) -> None:
    with pytest.raises(UsageError, match=r" is not one; these are known: .*jsonl:…"):
        plugins.sink(spec)


def test_somebodys_interface_and_sink_come_in_by_the_same_door(tmp_path: Path) -> None:
    (tmp_path / "somebodys.py").write_text(PACKAGE)
    info = tmp_path / "somebodys-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: somebodys\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    program = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{PROGRAM}"
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert (ran.stdout.splitlines(), ran.stderr) == (
        [
            "['getarticleread', 'getarticlesummary']",
            "/datacube/getarticleread",
            "['jsonl', 'kept']",
            "kept:a:b",
        ],
        "",
    )
