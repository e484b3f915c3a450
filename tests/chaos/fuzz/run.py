"""Fuzz what reads answers: `python tests/chaos/fuzz/run.py --seconds 3600`.

With atheris (`pip install atheris`, not a dependency) the search is led by coverage.  Without it a
plain loop mutates the corpus, which finds less.  Either way an input that breaks something is
written to the working folder (`--work`), and the status is not 0.  Inputs that reach something new
lie there too; those that are worth it go into `tests/chaos/fuzz/corpus`, which every test run
replays.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import sys
import tempfile
import time
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3]))

CORPUS = Path(__file__).parent / "corpus"
TOKENS = [
    b'"errcode":', b'"errmsg":"', b'"list":[', b'"access_token":"', b'"expires_in":', b"rid: ",
    b"hint: [", b"{", b"}", b"[", b"]", b",", b'"', b"\\u", b"\\ud800", b"\\", b"1e400", b"NaN",
    b"-0", b"9" * 25, b"\xed\xa0\x80", b"\xff", b"\x00", b"\n", b"_appid", b"40001", b"null",
]  # fmt: skip


def mutated(draw: random.Random, seeds: list[bytes]) -> bytes:
    """One of the seeds, damaged a few times."""
    data = bytearray(draw.choice(seeds))
    for _ in range(draw.randint(1, 6)):
        at, to = sorted((draw.randint(0, len(data)), draw.randint(0, len(data))))
        match draw.randrange(5):
            case 0:
                data[at:to] = b""
            case 1:
                data[at:at] = draw.choice(TOKENS)
            case 2:
                data[at:at] = data[at : min(to, at + 200)] * draw.randint(1, 4)
            case 3 if data:
                data[at % len(data)] = draw.randrange(256)
            case _:
                other = draw.choice(seeds)
                data[at:to] = other[: draw.randint(0, len(other))]
    return bytes(data[:100_000])


def without_coverage(seconds: float, work: Path, seed: int) -> int:
    """The plain loop."""
    from tests.chaos.fuzz.targets import everything

    draw = random.Random(seed)
    seeds = [path.read_bytes() for path in sorted(CORPUS.iterdir())]
    end, tried = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        data = mutated(draw, seeds)
        try:
            everything(data)
        except Exception:  # noqa: BLE001  (whatever it is, it is a find)
            found = work / f"crash-{hashlib.sha1(data).hexdigest()}"
            found.write_bytes(data)
            traceback.print_exc()
            print(f"written to {found}")
            return 1
        tried += 1
    print(f"{tried} inputs without coverage (atheris is not installed), seed {seed}; none broke")
    return 0


def with_coverage(seconds: int, work: Path, seed: int) -> None:
    """By atheris; it ends the process itself."""
    import atheris

    with atheris.instrument_imports(include=["harvester", "json"]):
        from tests.chaos.fuzz.targets import everything

    words = work.parent / f"{work.name}.dict"
    escaped = ["".join(f"\\x{byte:02x}" for byte in word) for word in TOKENS]
    words.write_text("".join(f'"{word}"\n' for word in escaped))
    arguments = [
        sys.argv[0], f"-max_total_time={seconds}", f"-seed={seed}", "-max_len=4096",
        f"-dict={words}", f"-artifact_prefix={work}/", str(work), str(CORPUS),
    ]  # fmt: skip
    atheris.Setup(arguments, everything)
    atheris.Fuzz()


def main() -> int:
    """Read the arguments and fuzz."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--work", type=Path, help="a folder for finds; a new one by default")
    given = parser.parse_args()
    work = given.work or Path(tempfile.mkdtemp(prefix="fuzz-"))
    work.mkdir(parents=True, exist_ok=True)
    print(f"finds go to {work}", flush=True)
    try:
        import atheris  # noqa: F401
    except ImportError:
        return without_coverage(given.seconds, work, given.seed)
    with_coverage(given.seconds, work, given.seed)
    return 0


if __name__ == "__main__":
    sys.exit(main())
