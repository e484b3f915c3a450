"""How many tokens eight processes fetch that share an account whose token is revoked.

Eight real processes harvest the same two months of one account, each into a folder of its own, with
classic tokens: each fetch kills the former token at once.  Every fortieth accepted request revokes
them all, and is refused.  So there is one fetch to begin with, and one for each revocation, if no
process ever fetches what another one has fetched already; once with each token store.

    python -m benchmarks processes
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks import servers
from benchmarks.figures import Figure, show
from harvester.testing import Faults, Simulator, serve

PROCESSES = 8
REVOKED_AFTER = 40
APPID, SECRET = "wx0000000000000001", "practice"
WHAT = ("getarticlesummary", "--start", "2024-01-01", "--end", "2024-02-29", "--rate", "40/s")
ACCOUNTS = f"[[account]]\nappid = '{APPID}'\nsecret = 'env:HARVESTER_SECRET'\ntoken = 'classic'\n"


class Counting(Simulator):
    """A WeChat that counts how often it revoked all tokens."""

    def revoke(self, appid: str) -> None:
        """As of `Simulator`."""
        self.counts["revoked"] += 1
        super().revoke(appid)


async def _together(spec: str, folder: Path) -> Counter[str]:
    """Run all of them to their ends; gives what was counted."""
    simulator = Counting(classic_grace=0, faults=Faults(revoke_every=REVOKED_AFTER))
    (folder / "accounts.toml").write_text(ACCOUNTS)
    began = time.perf_counter()
    async with serve(simulator) as server:
        processes = [
            await asyncio.create_subprocess_exec(
                sys.executable, "-m", "harvester", "run", *WHAT,
                "--accounts", str(folder / "accounts.toml"), "--base-url", server.url,
                "--token-store", spec, "--out", str(folder / f"out{number}"), "--json",
                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                env={**os.environ, "HARVESTER_SECRET": SECRET},
            )
            for number in range(PROCESSES)
        ]  # fmt: skip
        said = await asyncio.gather(*[process.communicate() for process in processes])
    reports: list[dict[str, Any]] = [json.loads(out.splitlines()[-1]) for out, _ in said]
    return Counter(
        {
            "fetches": simulator.counts["token"],
            "revocations": simulator.counts["revoked"],
            "done": sum(report["windows"]["done"] for report in reports),
            "failures": sum(report["windows"]["failed"] for report in reports)
            + sum(process.returncode != 0 for process in processes),
            "milliseconds": int((time.perf_counter() - began) * 1000),
        }
    )


@contextmanager
def _stores(folder: Path) -> Iterator[dict[str, str]]:
    """A spec of each store, by the name of its kind."""
    specs = {"a file": f"file:{folder / 'tokens'}", "a directory": f"file:{folder / 'many'}/"}
    try:
        if find_spec("redis") is None:
            raise servers.Missing("the library is not installed")
        with servers.redis() as url:
            yield {**specs, "Redis": url}
    except servers.Missing as exc:
        print(f"not measured: processes with Redis: {exc}")
        yield specs


def measure() -> list[Figure]:
    """The figures."""
    found = []
    with tempfile.TemporaryDirectory() as name, _stores(Path(name)) as specs:
        for number, (kind, spec) in enumerate(specs.items()):
            folder = Path(name) / f"{number}"
            folder.mkdir()
            counts = asyncio.run(_together(spec, folder))
            beyond = counts["fetches"] - counts["revocations"] - 1
            what = f"processes: {PROCESSES} with {kind}"
            found += [
                Figure(f"{what}, fetches too many", beyond,
                       goal=0, gate=0, more_is_better=False),
                Figure(f"{what}, failures", counts["failures"],
                       goal=0, gate=0, more_is_better=False),
                Figure(f"{what}, fetches", counts["fetches"]),
                Figure(f"{what}, revocations", counts["revocations"]),
                Figure(f"{what}, windows", counts["done"]),
                Figure(f"{what}", counts["milliseconds"] / 1000, "s"),
            ]  # fmt: skip
    return found


if __name__ == "__main__":
    show(measure())
