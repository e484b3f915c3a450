"""One turn of a peer, in an environment of its own.

What cannot be installed, cannot be driven, takes too long or did not do the work is left out, with
the reason in a line.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from benchmarks.server import RECORDS
from benchmarks.throughput import IN_FLIGHT

ROOT = Path(__file__).resolve().parents[1]
FOLDER = Path(__file__).resolve().parent / "peer"
TURN_S = 120.0
"""A turn that takes longer is given up."""


@dataclass(frozen=True)
class Peer:
    """What others would use, and how it is driven here.

    driver: a file in `peer/`.  distribution: the one whose version is told.  requirements: what pip
    installs.  lacks: what a backfill needs and it does not do.  written: where its records lie.
    """

    name: str
    driver: str
    distribution: str
    requirements: tuple[str, ...]
    lacks: str
    in_flight: int = IN_FLIGHT
    written: str = "**/*.jsonl"


class LeftOutError(Exception):
    """A peer cannot be installed, cannot be driven, or did not do the work; says why in a line."""


def _last_line(text: str) -> str:
    """The last line that says something."""
    lines = [line.strip() for line in text.splitlines() if any(map(str.isalnum, line))]
    return lines[-1] if lines else "it said nothing"


def _run(command: Sequence[str], **how: Any) -> str:
    """What a command printed; LeftOutError, with the last line of what it complained of."""
    try:
        done: subprocess.CompletedProcess[str] = subprocess.run(
            command, capture_output=True, text=True, check=False, **how
        )
    except subprocess.TimeoutExpired as exc:
        raise LeftOutError(f"took longer than {TURN_S:.0f} s") from exc
    if done.returncode:
        raise LeftOutError(f"status {done.returncode}: {_last_line(done.stderr)}")
    return done.stdout


def _text(requirement: str) -> str:
    """What a requirement says, and the file that it names, or the project in the folder."""
    path = Path(requirement)
    path = path / "pyproject.toml" if path.is_dir() else path
    return requirement + (path.read_text(encoding="utf-8") if path.is_file() else "")


def environment(peer: Peer, home: Path) -> Path:
    """The Python of a peer's environment, which is made if it is not there, or not finished."""
    wanted = "\n".join((sys.version, *map(_text, peer.requirements)))
    folder = home / f"{peer.distribution}-{hashlib.sha256(wanted.encode()).hexdigest()[:12]}"
    python, finished = folder / "bin" / "python", folder / "finished"
    if not finished.exists():
        pip = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        try:
            _run([sys.executable, "-m", "venv", "--clear", str(folder)])
            _run([*pip, *peer.requirements])
        except LeftOutError as exc:
            raise LeftOutError(f"cannot be installed: {exc}") from exc
        finished.touch()
    return python


def _stored(line: bytes) -> tuple[str, str] | None:
    """Account and day of the record in a line; None if the line is something else.

    In a line of Airbyte's the record lies deeper, and dlt calls the account after its parent.
    """
    told = orjson.loads(line)
    if "type" in told:
        told = told["record"]["data"] if told["type"] == "RECORD" else {}
    appid = told.get("_appid") or told.get("_windows_appid")
    return (appid, told["ref_date"]) if appid else None


def check(peer: Peer, folder: Path, job: dict[str, Any]) -> None:
    """LeftOutError unless all records of each day of each account stand there, once."""
    expected = {(appid, day): RECORDS for appid in job["tokens"] for day in job["days"]}
    stored: Counter[tuple[str, str]] = Counter()
    for path in folder.glob(peer.written):
        with path.open("rb") as file:
            stored.update(found for line in file if (found := _stored(line)))
    if stored != expected:
        wanted = sum(expected.values())
        kind = "other records" if stored.total() == wanted else f"{stored.total():,} records"
        raise LeftOutError(f"wrote {kind} where there are {wanted:,}")


def turn(peer: Peer, python: Path, job: dict[str, Any], *, here: bool = False) -> dict[str, Any]:
    """One turn of a peer: what it tells, after what it wrote was checked."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    if here:
        env["PYTHONPATH"] = str(ROOT)
    command = [str(python), str(FOLDER / "turn.py"), str(FOLDER / peer.driver)]
    with tempfile.TemporaryDirectory() as folder:
        own = {"folder": folder, "in_flight": peer.in_flight, "distribution": peer.distribution}
        asked = json.dumps(job | own)
        told = _run(command, input=asked, env=env, cwd=folder, timeout=TURN_S)
        check(peer, Path(folder) / "harvest", job)
    found: dict[str, Any] = json.loads(_last_line(told))
    return found
