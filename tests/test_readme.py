from __future__ import annotations

import re
from pathlib import Path

import harvester

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
PACKAGE = Path(harvester.__file__).parent


def test_the_map_of_the_rooms_matches_the_tree() -> None:
    rows = re.findall(r"^\| \d+ \| (.+?) \|", README, flags=re.MULTILINE)
    listed = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    there = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or path.is_dir()}
    assert listed == {name for name in there if not name.startswith("__")}


def test_every_file_that_the_readme_names_is_there() -> None:
    root = Path(__file__).parents[1]
    for name in re.findall(r"(?:tests|benchmarks|examples)/[\w/]+\.py", README):
        assert (root / name).exists(), name
