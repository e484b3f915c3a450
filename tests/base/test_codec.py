"""Bytes and objects: what came in is what comes back, and nothing else gets through."""

import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harvester.base import codec
from harvester.base.codec import (
    AsText,
    MalformedError,
    encode,
    line_end,
    lines_of,
    own_fields,
    parse,
    parse_answer,
    pieces_of,
)

PROPERTY = settings(max_examples=120)

LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=-(10**40), max_value=10**40)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20
)
NAMES = st.sampled_from(["a", "_appid", "_endpoint", "标题", "\n"])
RECORDS = st.lists(st.dictionaries(NAMES, LEAVES, max_size=3), max_size=3)
METADATA = {"_appid": "wx1", "_endpoint": "e", "_begin_date": "2020-01-01"}


def lines(records: list[dict[str, Any]], metadata: dict[str, str]) -> list[bytes]:
    whole = lines_of(pieces_of(own_fields(records)), line_end(metadata))
    return whole.splitlines(keepends=True)


def alike(one: Any, other: Any) -> bool:
    """Equality that also tells 1 from 1.0 and from True, and 0.0 from -0.0."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return list(one) == list(other) and all(alike(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(alike, one, other))
    if isinstance(one, float):
        return one == other and math.copysign(1, one) == math.copysign(1, other)
    return bool(one == other)


@pytest.mark.thorough
@PROPERTY
@given(VALUES)
def test_a_value_comes_back_on_one_line_that_the_standard_library_understands(value: Any) -> None:
    written = encode(value)
    assert b"\n" not in written
    assert alike(parse(written), value)
    assert alike(json.loads(written), value)
    assert alike(parse(json.dumps(value).encode()), value)


@pytest.mark.thorough
@PROPERTY
@given(st.text(alphabet=st.characters(max_codepoint=0x1F)))
def test_raw_control_characters_in_a_title_are_kept(title: str) -> None:
    assert parse(b'{"title":"' + title.encode() + b'"}') == {"title": title}


@PROPERTY
@given(st.text(alphabet=st.characters(min_codepoint=0xD800, max_codepoint=0xDFFF), min_size=1))
def test_surrogates_come_out_as_text_that_can_be_written(title: str) -> None:
    value = parse(json.dumps({"title": title}).encode())
    assert parse(encode(value)) == value


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b'{"n":9223372036854775807}', {"n": 2**63 - 1}),
        (b'{"n":18446744073709551615}', {"n": 2**64 - 1}),
        (b'{"n":18446744073709551616}', {"n": 2**64}),
        (b'{"n":-9223372036854775809}', {"n": -(2**63) - 1}),
        (b'{"n":123456789012345678901234567890}', {"n": 123456789012345678901234567890}),
        (b'["1234567890123456789012"]', ["1234567890123456789012"]),
        (b'{"t":"a\tb\x07c\n"}', {"t": "a\tb\x07c\n"}),
        (b'{"t":"\\ud83c\\udf38"}', {"t": "🌸"}),
        (b'{"t":"a\\ud83c"}', {"t": "a\ufffd"}),
        (b'{"\\udc00":1}', {"\ufffd": 1}),
        (b'{"t":"50\\% off"}', {"t": "50\\% off"}),
        (b'{"t":"C:\\users\\new"}', {"t": "C:\\users\new"}),
        (b'{"t":"\\x41\\\\\\"\\/\\u0041"}', {"t": '\\x41\\"/A'}),
        (b'{"t":"\\u12"}', {"t": "\\u12"}),
        (b'{"t":"\xff\xe6\x97\xa9"}', {"t": "\ufffd早"}),
        (b'\xef\xbb\xbf{"list":[]}', {"list": []}),
        (b' \r\n{"list": [ ] }\n', {"list": []}),
        (b'{"a":1,"a":2}', {"a": 2}),
        (b"null", None),
        (b"1", 1),
    ],
)
def test_a_body_is_read_as_leniently_as_the_wire_needs(body: bytes, value: Any) -> None:
    assert alike(parse(body), value)


@pytest.mark.parametrize(
    "body",
    [
        b"", b" ", b"<html></html>", b'{"list":[', b'{"list":[]} trailing', b'{"a":1}{"b":2}',
        b"{'a':1}", b"[1,]", b"NaN", b"[Infinity]", b"-Infinity", b"1e999",
        b'{"n":123456789012345678901234567890,"x":1e999}', b"01", b"\x00", "{}".encode("utf-16"),
        b"[" * 100_000, b"[" * 5000 + b"]" * 5000, b"1" * 5000,
    ],
)  # fmt: skip
def test_what_is_not_one_json_value_is_malformed(body: bytes) -> None:
    with pytest.raises(MalformedError, match=r"^the body is not JSON$"):
        parse(body)


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b'{"n":NaN,"m":[Infinity,-Infinity]}', {"n": "NaN", "m": ["Infinity", "-Infinity"]}),
        (b'{"n":1e400,"m":-1.5E+999,"k":1.5}', {"n": "1e400", "m": "-1.5E+999", "k": 1.5}),
        (b'{"n":1e400,"t":"50\\% off"}', {"n": "1e400", "t": "50\\% off"}),
        (b'{"n":1e400,"m":%d}' % 10**30, {"n": "1e400", "m": 10**30}),
    ],
)
def test_a_number_of_an_answer_that_no_float_holds_is_its_text(body: bytes, value: Any) -> None:
    found = parse_answer(body)
    assert isinstance(found, AsText)
    assert alike(dict(found), value)
    with pytest.raises(MalformedError):
        parse(body)


def test_an_answer_is_read_slowly_only_after_the_fast_way_has_failed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = parse_answer(b'{"n":1e308,"t":"NaN"}')
    assert type(found) is dict
    monkeypatch.setattr(codec, "parse_leniently", lambda *_, **__: pytest.fail("read slowly"))
    assert parse_answer(b'{"n":1e308,"t":"NaN"}') == found


@pytest.mark.parametrize("body", [b"", b"nan", b'{"n":+1e400}', b'{"n":1e}', b'{"list":[NaN'])
def test_what_is_no_json_otherwise_either_is_malformed_as_an_answer(body: bytes) -> None:
    with pytest.raises(MalformedError, match=r"^the body is not JSON$"):
        parse_answer(body)


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def test_a_value_nested_as_deep_as_no_answer_is_comes_back() -> None:
    assert parse(encode(nested(500))) == nested(500)


def test_an_integer_beyond_64_bits_is_written_with_all_its_digits() -> None:
    assert encode({"n": 10**30, "t": "早"}) == b'{"n":1' + b"0" * 30 + ',"t":"早"}'.encode()


def test_text_is_written_as_utf_8_without_escapes() -> None:
    assert encode({"t": "早🌸"}) == '{"t":"早🌸"}'.encode()


@pytest.mark.parametrize(
    "value", [nested(100_000), {"t": "\ud83c"}, {"t": b"x"}, {1, 2}, [1e999, 10**30]]
)
def test_what_json_cannot_hold_is_malformed(value: Any) -> None:
    with pytest.raises(MalformedError, match=r"^a record cannot be written as JSON \(\w+\)$"):
        encode(value)


@pytest.mark.parametrize(
    ("records", "written"),
    [
        ([], []),
        ([{}], [b'{"_appid":"wx1"}\n']),
        ([{"_appid": "forged", "a": 1}], [b'{"a":1,"_appid":"wx1"}\n']),
        (
            [{"a": 1}, {"a": 10**30}, {"a": 2}],
            [b'{"a":%d,"_appid":"wx1"}\n' % a for a in (1, 10**30, 2)],
        ),
    ],
)
def test_a_line_is_the_record_with_its_metadata_last(
    records: list[dict[str, Any]], written: list[bytes]
) -> None:
    assert lines(records, {"_appid": "wx1"}) == written


@pytest.mark.parametrize("name", sorted(codec.METADATA))
def test_metadata_of_every_name_stands_in_a_line_once(name: str) -> None:
    whole = dict.fromkeys(codec.METADATA, "x")
    found = lines([{"a": 1}, {name: "forged"}], whole)
    assert [json.loads(line) for line in found] == [{"a": 1, **whole}, whole]
    assert [line.count(name.encode()) for line in found] == [1, 1]


def test_a_record_that_cannot_be_written_is_malformed() -> None:
    with pytest.raises(MalformedError, match=r"^a record cannot be written as JSON \(\w+\)$"):
        lines([{"a": 1}, {"a": nested(100_000)}], METADATA)


@pytest.mark.thorough
@PROPERTY
@given(RECORDS)
def test_each_line_is_one_record_and_its_metadata(records: list[dict[str, Any]]) -> None:
    encoded = lines(records, METADATA)
    assert [line.count(b"\n") for line in encoded] == [1] * len(records)
    found = [json.loads(line) for line in encoded]
    own = [{name: record[name] for name in record.keys() - METADATA.keys()} for record in records]
    ordered = [{name: each[name] for name in record if name in each}
               for record, each in zip(records, own, strict=True)]  # fmt: skip
    assert all(map(alike, found, [{**record, **METADATA} for record in ordered]))
