"""Any bytes at all as an answer give a verdict, never a crash.

The targets are those of `tests/chaos/fuzz/run.py`, which searches for hours; here they see a few
hundred inputs, always the same, and the corpus of what was found before.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from harvester.model import Response, Verdict
from harvester.wechat.response import code_of, read, refusal
from tests.chaos.fuzz.run import CORPUS, TOKENS, without_coverage
from tests.chaos.fuzz.targets import answer, everything, token, value

BOUNDED = settings(max_examples=120)
DEEP = 100_000
LONG = 9 * "9876543210" * 500

# what JSON's own writer lets through: NaN, infinities, lone surrogates, integers of any size
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(min_value=-(10**60), max_value=10**60)
    | st.floats()
    | st.text(st.characters())
    | st.sampled_from(["\ud800", "\udfff x", "rid: a-b", "hint: [x\x1b]", "40001", "1e3", ""])
)
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=12
)
FIELDS = ("errcode", "errmsg", "list", "access_token", "expires_in", "_appid", "title")
ANSWERS = st.dictionaries(st.sampled_from(FIELDS), VALUES | st.lists(VALUES)) | VALUES


@pytest.mark.thorough
@BOUNDED
@given(st.binary(max_size=300))
def test_bytes_of_any_kind_give_a_verdict(body: bytes) -> None:
    everything(body)


@pytest.mark.thorough
@BOUNDED
@given(st.lists(st.sampled_from(TOKENS) | st.binary(max_size=4), max_size=30).map(b"".join))
def test_bytes_that_look_like_json_give_a_verdict(body: bytes) -> None:
    everything(body)


@pytest.mark.thorough
@BOUNDED
@given(ANSWERS, st.booleans())
def test_json_of_any_shape_gives_a_verdict(answered: Any, ascii_only: bool) -> None:
    everything(json.dumps(answered, ensure_ascii=ascii_only).encode(errors="surrogatepass"))


@pytest.mark.thorough
@BOUNDED
@given(st.data())
def test_a_valid_answer_that_was_damaged_gives_a_verdict(data: st.DataObject) -> None:
    body = data.draw(st.sampled_from([path.read_bytes() for path in sorted(CORPUS.iterdir())]))
    at = data.draw(st.integers(0, len(body)))
    to = data.draw(st.integers(at, min(len(body), at + 20)))
    everything(body[:at] + data.draw(st.binary(max_size=6)) + body[to:])


@pytest.mark.thorough
@BOUNDED
@given(st.lists(st.tuples(st.sampled_from(FIELDS), LEAVES), min_size=2, max_size=8))
@example([("errcode", 1), ("errcode", 0)])
def test_keys_that_stand_twice_give_a_verdict(pairs: list[tuple[str, Any]]) -> None:
    written = ",".join(f"{json.dumps(key)}:{json.dumps(each)}" for key, each in pairs)
    everything(f"{{{written}}}".encode())


@pytest.mark.thorough
@pytest.mark.parametrize(
    "body",
    [
        b"[" * DEEP,
        b'{"a":' * DEEP,
        b'{"list":' + b"[" * DEEP + b"]" * DEEP + b"}",
        b'{"list":[{"a":' + b"[" * 500 + b"]" * 500 + b"}]}",
        b'{"errcode":' + LONG.encode() + b"}",
        b'{"list":[{"n":' + LONG[:4000].encode() + b"}]}",
        b'{"errcode":-1,"errmsg":"' + b"x" * 1_000_000 + b'"}',
        b'{"errcode":-1,"errmsg":"hint: [' + b"x" * 1_000_000 + b']"}',
        b'{"access_token":"' + b"x" * 1_000_000 + b'","expires_in":7200}',
        b'{"access_token":"x","expires_in":1e308}',
        b'{"access_token":"x","expires_in":' + LONG.encode() + b"}",
        b'"' + b"\\" * 200_001,
        b"\xff\xfe" + '{"list":[]}'.encode("utf-16-le"),
    ],
    ids=lambda body: body[:24].decode("ascii", "replace"),
)
def test_too_deep_and_too_long_give_a_verdict(body: bytes) -> None:
    everything(body)


@pytest.mark.parametrize("path", sorted(CORPUS.iterdir()), ids=lambda path: path.name)
def test_what_broke_or_was_new_once_gives_a_verdict(path: Path) -> None:
    everything(path.read_bytes())


def test_the_loop_without_coverage_writes_down_what_it_finds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert without_coverage(0.2, tmp_path, seed=1) == 0
    assert list(tmp_path.iterdir()) == []

    def broken(_: bytes) -> None:
        raise RecursionError

    monkeypatch.setattr("tests.chaos.fuzz.targets.everything", broken)
    assert without_coverage(5, tmp_path, seed=1) == 1
    (found,) = tmp_path.iterdir()
    assert str(found) in capsys.readouterr().out


def test_what_a_server_says_is_bounded_and_on_one_harmless_line() -> None:
    text = "a\nb\x1b]8;;http://x\x07\u202e" + "x" * 2000 + " rid: 1a-2b"
    verdict = refusal({"errcode": 5, "errmsg": text}, {})
    assert verdict.message.startswith("errcode 5 (a b ]8;;http://x  xxx")
    assert verdict.message.isprintable()
    assert len(verdict.message) < 600
    assert verdict.rid == "1a-2b"


def test_an_errcode_of_many_digits_is_no_code() -> None:
    assert code_of({"errcode": 10**18}) is None
    assert code_of({"errcode": 1e300}) is None
    assert code_of({"errcode": 10**18 - 1}) == 10**18 - 1


@pytest.mark.parametrize(
    ("name", "wrong", "target", "body"),
    [
        ("encode", lambda _: b"1\n", value, b"1"),
        ("parse", lambda _: {}, answer, b'{"list":[{"a":1}]}'),
        ("LONGEST_TOKEN", 1, token, b'{"access_token":"xx"}'),
    ],
)
def test_the_targets_can_fail(
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    wrong: Any,
    target: Callable[[bytes], None],
    body: bytes,
) -> None:
    monkeypatch.setattr(f"tests.chaos.fuzz.targets.{name}", wrong)
    with pytest.raises(AssertionError):
        target(body)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 407, 413, 451])
def test_every_refusal_by_http_says_what_to_do(status: int) -> None:
    found = read(Response(status, b""))
    assert isinstance(found, Verdict)
    assert found.message.startswith(f"HTTP {status}: ")
    assert re.search(
        "check the base URL|write user and password|allow WeChat's host", found.message
    )
