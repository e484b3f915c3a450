from __future__ import annotations

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
