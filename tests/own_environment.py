"""A virtual environment of a test's own, for programs whose dependencies are not ours."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path


class OwnEnvironment:
    """One that is made in a folder; packages come from the index."""

    def __init__(self, folder: Path) -> None:
        self._bin = folder / "bin"
        self._uv = shutil.which("uv")  # takes a tenth of the time of pip
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)

    def install(self, *what: str | Path) -> None:
        python = self._bin / "python"
        installer = (
            [python, "-m", "pip", "install"] if self._uv is None
            else [self._uv, "pip", "install", "--python", python]
        )  # fmt: skip
        subprocess.run([*installer, "-q", *what], check=True, timeout=540)

    def run(
        self, program: str, *arguments: str, cwd: Path | None = None, given: str = "", **env: str
    ) -> str:
        """What one of its programs prints, run to a good end; given: its standard input."""
        mine = {name: text for name, text in os.environ.items() if not name.startswith("COVERAGE_")}
        result = subprocess.run(
            [self._bin / program, *arguments],
            env={**mine, "PATH": f"{self._bin}:{os.environ['PATH']}", **env},
            input=given,
            cwd=cwd,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-4000:]
        return result.stdout
