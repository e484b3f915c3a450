"""Finds the target of a spec, as ``parquet:DIR?shape=flat``.

Rule: a spec is parsed completely before anything is opened; libraries are imported here, late.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, NamedTuple

from harvester.base.dates import nearest
from harvester.base.secrets import Secret
from harvester.errors import UsageError, needs
from harvester.sinks.spec import read_spec

if TYPE_CHECKING:
    from harvester.exports.base import Target

_LANGUAGES = ("zh", "en")
_SHAPE: Mapping[str, Sequence[str]] = {
    "shape": ("nested", "flat"), "lang": _LANGUAGES, "tables": ()
}  # fmt: skip
_OF_A_BUCKET = ("endpoint", "region", "access_key", "secret_key")
_SHEET: Mapping[str, Sequence[str]] = {**_SHAPE, "header": _LANGUAGES, "raw": ("0", "1")}


class _Kind(NamedTuple):
    module: str
    name: str
    form: str
    shape: str
    options: Mapping[str, Sequence[str]] = _SHAPE


KINDS = {
    "parquet": _Kind(
        "files",
        "Parquet",
        "parquet:DIR or parquet:s3://BUCKET/PREFIX",
        "nested",
        {**_SHAPE, **dict.fromkeys(_OF_A_BUCKET, ())},
    ),
    "duckdb": _Kind("duckdb", "DuckDB", "duckdb:FILE", "flat"),
    "csv": _Kind("files", "Csv", "csv:DIR", "flat", _SHEET),
    "xlsx": _Kind("xlsx", "Xlsx", "xlsx:FILE", "flat", _SHEET),
}


_ENDINGS = {".xlsx": "xlsx", ".duckdb": "duckdb", ".csv": "csv", ".parquet": "parquet"}


def _meant(spec: str) -> str:
    """What to write in place of a file without its kind, or a kind without its place."""
    path = PurePath(spec)
    scheme = spec if spec in KINDS else _ENDINGS.get(path.suffix.lower())
    if scheme is None or ":" in spec:
        return ""
    if path.suffix:  # CSV and Parquet have a file for each table, in a directory
        return f"{scheme}:{path if KINDS[scheme].form.endswith('FILE') else path.with_suffix('')}"
    return KINDS[scheme].form


def open_target(given: str | Secret) -> Target:
    """The target that a spec names, not open yet; raises `UsageError`."""
    if not isinstance(given, str | Secret):
        raise UsageError("export: a target is text such as csv:DIR, not a {}", type(given).__name__)
    spec = Secret(given).value
    scheme, colon, rest = spec.partition(":")
    kind = KINDS.get(scheme)
    if written := _meant(spec):
        raise UsageError("export: a target begins with its kind; write {}", written)
    if kind is None or not colon:
        shown = scheme if colon else "that"
        hint = nearest(scheme, list(KINDS)) if colon else ""
        known = ", ".join(each.form for each in KINDS.values())
        raise UsageError(
            "export: {!r} is not a kind of export{}; write {}", shown[:20], hint, known
        )
    parsed = read_spec(scheme, rest, kind.options, kind.form, what="export")
    ending = PurePath(parsed.place).suffix.lower()
    if kind.form.endswith("FILE") and _ENDINGS.get(ending, scheme) != scheme:
        raise UsageError(
            "export: {}:{} has the ending of another kind; write {}:{}",
            scheme,
            parsed.place,
            scheme,
            PurePath(parsed.place).with_suffix(f".{scheme}"),
        )
    if "://" in parsed.place and not parsed.place.startswith("s3://"):
        raise UsageError(
            "export: {}:{} is a URL of another kind; write it as {}",
            scheme,
            parsed.place,
            kind.form,
        )
    options = dict(parsed.options)
    local = [name for name in _OF_A_BUCKET if name in options and "://" not in parsed.place]
    if local:
        raise UsageError(
            "export: parquet:DIR has no option {!r}; only a bucket has this option", local[0]
        )
    tables = frozenset(filter(None, options.pop("tables", "").split(",")))
    language = options.pop("lang", options.get("header", "en"))
    try:
        module: Any = import_module(f"harvester.exports.{kind.module}")
    except (ModuleNotFoundError, UsageError):
        extra = "xlsx" if scheme == "xlsx" else "export"
        raise UsageError(needs("tables need a library", extra)) from None
    target: Target = getattr(module, kind.name)(parsed._replace(options=options), kind.shape)
    target.language = language
    target.tables = tables
    return target
