from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from harvester.errors import UsageError
from harvester.sinks.spec import Spec, read_spec

OPTIONS = {"compress": ("gzip", "zstd"), "endpoint": ()}


def read(rest: str) -> Spec:
    return read_spec("jsonl", rest, OPTIONS, "jsonl:DIR")


def test_a_place_alone_is_a_spec() -> None:
    assert read("a/b") == Spec("a/b", {})


def test_options_stand_behind_a_question_mark() -> None:
    assert read("a?compress=zstd&endpoint=http://x/?a") == Spec(
        "a", {"compress": "zstd", "endpoint": "http://x/?a"}
    )


@pytest.mark.parametrize(
    ("rest", "said"),
    [
        ("", "write it as jsonl:DIR"),
        ("a?", "write it as jsonl:DIR"),
        ("?compress=gzip", "write it as jsonl:DIR"),
        ("a?compres=gzip", "no option 'compres'; did you mean compress"),
        ("a?compress=xz", "compress is gzip or zstd"),
        ("a?compress", "compress is gzip or zstd"),
        ("a?endpoint=", "endpoint is not empty"),
        ("a?compress=gzip&compress=zstd", "twice"),
    ],
)
def test_what_a_spec_does_not_know_is_an_error(rest: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        read(rest)
    assert said in str(caught.value).replace(" (", "; ").replace("?)", "")


def test_a_sink_without_options_says_so() -> None:
    with pytest.raises(UsageError, match="it has none"):
        read_spec("x", "y?a=b", {}, "x:Y")


@pytest.mark.parametrize("missing", ["pyiceberg", "pyarrow"])
def test_a_sink_whose_packages_are_not_here_says_how_to_install_them(
    missing: str, tmp_path: Path
) -> None:
    program = (
        f"import sys; sys.modules[{missing!r}] = None\n"
        "from harvester import UsageError, plugins\n"
        "try: plugins.sink('iceberg:' + sys.argv[1])\n"
        "except UsageError as exc: print(exc)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program, tmp_path], capture_output=True, text=True, check=True
    )
    assert "pip install 'wechat-harvester[iceberg]'" in ran.stdout
