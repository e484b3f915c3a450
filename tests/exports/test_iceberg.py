"""Tables of Iceberg in a directory that was moved."""

from __future__ import annotations

from pathlib import Path

import pytest

from harvester.errors import UsageError
from tests.exports.support import do, few

pytestmark = pytest.mark.thorough


def test_a_moved_directory_of_iceberg_is_refused(tmp_path: Path) -> None:
    do(few(), f"iceberg:{tmp_path}/ice")
    (tmp_path / "ice").rename(tmp_path / "moved")
    with pytest.raises(UsageError, match=r"was moved from .* move it back, or remove it"):
        do(few(), f"iceberg:{tmp_path}/moved")
