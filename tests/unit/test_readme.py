from __future__ import annotations

import re
from pathlib import Path

import harvester

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
MODULES = (ROOT / "docs" / "modules.md").read_text(encoding="utf-8")
PACKAGE = Path(harvester.__file__).parent


def test_the_map_of_the_modules_matches_the_tree() -> None:
    rows = re.findall(r"^\| \d+ \| (.+?) \|", MODULES, flags=re.MULTILINE)
    listed = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    there = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or path.is_dir()}
    assert listed == {name for name in there if not name.startswith("__")}


def test_every_file_that_is_named_is_there() -> None:
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        text = page.read_text(encoding="utf-8")
        for name in re.findall(r"(?:tests|benchmarks|examples|docs)/[\w/]+\.(?:py|md)", text):
            assert (ROOT / name).exists(), name


def test_the_first_harvest_in_python_stands_at_the_begin() -> None:
    head = "\n".join(README.splitlines()[:30])
    assert "await harvester.run(" in head
    assert "asyncio.run(main())" in head
