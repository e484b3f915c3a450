"""From a spec to a sink, of all kinds; `sql` has the URLs of servers."""

from __future__ import annotations

import subprocess
import sys

import pytest

from harvester.config import plugins
from harvester.errors import UsageError
from harvester.sinks.spec import Spec, read_spec


def test_options_stand_behind_a_question_mark() -> None:
    options = {"compress": ("gzip", "zstd"), "endpoint": ()}
    for rest, spec in (
        ("a/b", Spec("a/b", {})),
        ("a?compress=zstd&endpoint=http://x/?a",
         Spec("a", {"compress": "zstd", "endpoint": "http://x/?a"})),
    ):  # fmt: skip
        assert read_spec("jsonl", rest, options, "jsonl:DIR") == spec


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("jsonl:", "write it as jsonl:DIR"),
        ("jsonl:a?", "write it as jsonl:DIR"),
        ("jsonl:?compress=gzip", "write it as jsonl:DIR"),
        ("jsonl:a?compres=gzip", r"no option 'compres' \(did you mean compress\?\)"),
        ("jsonl:a?y", "no option 'y'; its options are compress"),
        ("jsonl:a?compress=xz", "expected gzip or zstd"),
        ("jsonl:a?compress=", "expected gzip or zstd"),
        ("jsonl:a?compress", "expected gzip or zstd"),
        ("jsonl:a?compress=gzip&compress=zstd", "twice"),
        ("sqlite:", "write it as sqlite:FILE"),
        ("sqlite:?", "write it as sqlite:FILE"),
        ("sqlite:x.db?", "write it as sqlite:FILE"),
        ("sqlite:x.db?wal=0", "sqlite has no option 'wal'"),
        ("-:", "the sinks are: -, "),
    ],
)
def test_a_spec_that_is_none_is_told_in_one_sentence_without_its_keys(spec: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        plugins.sink(spec)
    assert "\n" not in str(caught.value)
    assert "zq" not in str(caught.value)


@pytest.mark.parametrize(
    ("spec", "missing", "extra"),
    [
        ("jsonl:x?compress=zstd", "backports compression", "zstd"),
        ("postgresql://h/db", "psycopg", "postgres"),
        ("mysql://h/db", "pymysql", "mysql"),
    ],
)
def test_a_sink_whose_package_is_not_here_says_how_to_install_it(
    spec: str, missing: str, extra: str
) -> None:
    program = (
        "import sys; sys.modules.update(dict.fromkeys(sys.argv[2].split()))\n"
        "from harvester import UsageError\nfrom harvester.config import plugins\n"
        "try: plugins.sink(sys.argv[1])\n"
        "except UsageError as exc: print(exc)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program, spec, missing], capture_output=True, text=True, check=True
    )
    package = f"'wechat-harvester[{extra}]'"
    said = f": pip install {package}, or pipx inject wechat-harvester {package}\n"
    assert ran.stdout.endswith(said)
