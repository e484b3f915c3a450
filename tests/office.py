"""What LibreOffice makes of a file."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.machine import program

ALL_SHEETS = "csv:Text - txt - csv (StarCalc):44,34,76,1,,0,false,true,true,false,false,-1"
"""As shown, in UTF-8, with a comma, a file a sheet."""


def converted(path: Path, form: str, place: Path) -> Path:
    """Open a file in LibreOffice, and save it in another form; gives the folder that has it."""
    folder = place / "converted"
    subprocess.run(
        [program("soffice"), f"-env:UserInstallation=file://{place}/profile", "--headless",
         "--convert-to", form, "--outdir", str(folder), str(path)],
        check=True, capture_output=True, timeout=300,
    )  # fmt: skip
    return folder
