"""A target that is one file: beside it nothing is left."""

from __future__ import annotations

from pathlib import Path

import pytest

from harvester.errors import ExportError, UsageError
from harvester.exports.targets import open_target
from tests.exports.support import do, equal, few, tables


@pytest.mark.thorough
@pytest.mark.parametrize("kind", ["duckdb", "xlsx"])
def test_beside_the_file_nothing_is_left(tmp_path: Path, kind: str) -> None:
    spec, sink = f"{kind}:{tmp_path}/x.{kind}", few()

    def fails() -> None:
        raise ExportError("interrupted")

    with pytest.raises(ExportError, match="interrupted"):
        do(sink, spec, stopped=fails)
    assert [*tmp_path.iterdir()] == []
    do(sink, spec)
    equal(sink, spec)
    assert [path.name for path in tmp_path.iterdir()] == [f"x.{kind}"]


@pytest.mark.thorough
@pytest.mark.parametrize("kind", ["duckdb", "xlsx"])
def test_a_file_that_another_export_has_is_refused(tmp_path: Path, kind: str) -> None:
    spec, sink = f"{kind}:{tmp_path}/x.{kind}", few()
    first = open_target(spec)
    first.open(create=True)
    with pytest.raises(UsageError, match="in use by another"):
        do(sink, spec)
    assert not equal(sink, spec)
    first.close()
    do(sink, spec)
    assert tables(spec)
