"""JSON: parses the body of an answer, and encodes a record as one line.

Rule: what WeChat answers and what is stored is read and written here, and only here by orjson; a
value that is read and written stays the same.

orjson reads first, because it is many times faster.  A body that it refuses is read a second time
leniently, since titles with raw control characters, broken UTF-8 and bad escapes have been seen on
WeChat's wire.  Only if that fails as well is an answer read a third time, with the text of each
number that a float cannot hold.  Integers beyond 64 bits, which orjson would silently turn into
floats, are read and written by the standard library.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NoReturn
from zlib import crc32

import orjson

from harvester.texts import say

METADATA = frozenset(("_appid", "_endpoint", "_begin_date", "_end_date", "_fetched_at"))
"""The metadata fields of every record, beside the interface's own."""

_DIGITS = bytes(0x30 if chr(byte).isdigit() and byte < 0x80 else 0x20 for byte in range(256))
_STRIDE = 6
_LONG_INTEGER = b"0" * 19
_LONG_IN_STRIDES = b"0" * (19 // _STRIDE)
"""A run of 19 digits covers every sixth byte: looking only there takes a third of the time."""
_BAD_ESCAPE = re.compile(r"\\(?!u[0-9a-fA-F]{4}|[\"\\/bfnrt])|(\\[\"\\/bfnrt])")


class MalformedError(ValueError):
    """The bytes are not JSON, however leniently they are read; or a value is too deep for it."""


def parse(body: bytes) -> Any:
    """The value of a body; raises `MalformedError` for bytes that are not one JSON value."""
    if has_long_integer(body):
        return parse_leniently(body)
    return parse_small(body)


def parse_small(body: bytes) -> Any:
    """Like `parse`, of a body that has no long integer."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return parse_leniently(body)


def has_long_integer(body: bytes) -> bool:
    """Whether there are 19 digits in a row; without them, all whole numbers fit into 64 bits."""
    return _LONG_IN_STRIDES in body[::_STRIDE].translate(_DIGITS) and (
        _LONG_INTEGER in body.translate(_DIGITS)
    )


def parse_lines(whole: bytes) -> list[Any]:
    """The values of whole lines; many at once are parsed faster than one by one."""
    try:
        found: list[Any] = parse(b"[" + whole[:-1].replace(b"\n", b",") + b"]")
    except MalformedError:
        return [parse(line) for line in whole.splitlines()]
    return found


class AsText(dict[str, Any]):
    """An object in which numbers that JSON or a float cannot hold are strings."""


def parse_answer(body: bytes) -> Any:
    """Like `parse`; an object with ``NaN``, ``Infinity`` or a number as 1e400 is an `AsText`."""
    try:
        return parse(body)
    except MalformedError:
        value = parse_leniently(body, constant=str, number=_finite_or_text)
        return AsText(value) if isinstance(value, dict) else value


def parse_leniently(
    body: bytes,
    *,
    constant: Callable[[str], Any] | None = None,
    number: Callable[[str], Any] | None = None,
) -> Any:
    """Like `parse`, by the standard library, which tolerates what titles are known to contain.

    constant: what ``NaN`` and the like become, number: what one with a point or an exponent
    becomes; without these, numbers that a float cannot hold are refused.
    """
    loads = partial(
        json.loads,
        strict=False,
        parse_constant=constant or _refuse,
        parse_float=number or _finite,
    )
    text = body.decode("utf-8", errors="replace").lstrip("\ufeff")
    try:
        return _sound(loads(text))
    except (ValueError, RecursionError):
        pass
    try:
        return _sound(loads(_BAD_ESCAPE.sub(_mend_escape, text)))
    except (ValueError, RecursionError):
        raise MalformedError(say("the body is not JSON")) from None


def _refuse(constant: str) -> NoReturn:
    raise ValueError(say("{} is not JSON", constant))


def _finite(digits: str) -> float:
    number = float(digits)
    if number in (float("inf"), float("-inf")):
        raise ValueError(say("a number that a float cannot represent"))
    return number


def _finite_or_text(digits: str) -> float | str:
    try:
        return _finite(digits)
    except ValueError:
        return digits


def _mend_escape(match: re.Match[str]) -> str:
    return match[1] or "\\\\"


def _sound(value: Any) -> Any:
    """The value without lone surrogates, which UTF-8 cannot encode."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [_sound(item) for item in value]
    if isinstance(value, dict):
        return {_sound(key): _sound(item) for key, item in value.items()}
    return value


def encode(value: Any) -> bytes:
    """One JSON value as UTF-8 bytes, without a line end.

    Raises `MalformedError` for what JSON cannot hold.  NaN, which no body holds, becomes null where
    orjson can write the value.
    """
    try:
        return orjson.dumps(value)
    except (TypeError, RecursionError):
        pass
    try:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        return text.encode()
    except (ValueError, TypeError, RecursionError) as exc:
        raise MalformedError(
            say("a record cannot be written as JSON ({})", type(exc).__name__)
        ) from None


def own_fields(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The records without fields that are named as the metadata is; mostly the same list."""
    for record in records:
        if not METADATA.isdisjoint(record):
            return [
                {key: record[key] for key in record if key not in METADATA} for record in records
            ]
    return records


def pieces_of(records: Sequence[dict[str, Any]]) -> list[bytes]:
    """Each record as JSON without its closing brace, for metadata; raises `MalformedError`."""
    dumps = orjson.dumps
    try:
        return [dumps(record)[:-1] for record in records]
    except (TypeError, RecursionError):  # something that orjson does not write
        return [encode(record)[:-1] for record in records]


def row_checksum(row: Sequence[Any]) -> int:
    """The checksum of a row of a table."""
    return crc32(encode(row))


def row_checksums(rows: Iterable[Sequence[Any]]) -> list[int]:
    """The `row_checksum` of each row."""
    rows = list(rows)
    try:
        return [*map(crc32, map(orjson.dumps, rows))]
    except (TypeError, RecursionError):  # something that orjson does not write
        return [*map(row_checksum, rows)]


def line_end(metadata: Mapping[str, str]) -> bytes:
    """The metadata as the end of a line."""
    return encode(metadata)[1:] + b"\n"


def lines_of(pieces: Sequence[bytes], beside: bytes) -> bytes:
    """Records as lines, each with its metadata (`line_end`) at its end."""
    if not pieces:
        return b""
    if b"{" in pieces:  # a record without any field except the metadata
        return b"".join([piece + (b"" if piece == b"{" else b",") + beside for piece in pieces])
    suffix = b"," + beside
    return suffix.join(pieces) + suffix


def records_checksum(pieces: Sequence[bytes]) -> int:
    """The checksum of the records of a window in their order: 32 bits."""
    return crc32(b"\n".join(pieces))


TALLY_BITS = (1 << 63) - 1
METADATA_BEGINS = b'"_appid":'
"""The beginning of the metadata, which is at the end of a line."""
