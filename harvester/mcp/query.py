"""A separate program that runs one SELECT over a DuckDB file and prints its rows as JSON.

Rule: only DuckDB and the standard library; the limits are set before anything is read.

Only a separate process bounds a query in every case: DuckDB's own limit leaves out what a function
allocates (a long text), and an interrupt waits for the end of one call.  It has no environment, and
its memory holds the copy and nothing else, so there is no secret to be found.
"""

from __future__ import annotations

import contextlib
import json
import math
import resource
import sys
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

SETTINGS: dict[str, Any] = {
    "enable_external_access": "false",
    "allow_persistent_secrets": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "python_enable_replacements": "false",
    "temp_directory": "",
    "threads": "2",
    "lock_configuration": "true",
}


def main() -> None:
    """Read a request from standard input, and print the answer to it, both JSON.

    The request: ``file``, ``sql``, ``parameters``, and the bounds ``rows``, ``bytes`` (of columns
    and rows as JSON), ``memory`` (bytes for DuckDB), ``space`` (bytes of addresses), ``seconds``
    (of CPU).  The answer: as of `Copy.query`, or an ``error``, which is empty if it was the memory.
    """
    request = json.load(sys.stdin)
    _limit(request)
    try:
        answer = answer_to(request)
    except MemoryError:
        answer = {"error": ""}
    json.dump(answer, sys.stdout, ensure_ascii=False, separators=(",", ":"))


def _limit(request: dict[str, Any]) -> None:
    for limit, most in (
        (resource.RLIMIT_AS, request["space"]),
        (resource.RLIMIT_CPU, request["seconds"]),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        with contextlib.suppress(ValueError, OSError):  # a system that does not know it
            resource.setrlimit(limit, (most, most))


def answer_to(request: dict[str, Any]) -> dict[str, Any]:
    """The answer to a request, without the limits of the process."""
    import duckdb

    config: dict[str, Any] = {**SETTINGS, "memory_limit": f"{request['memory']}B"}
    sql, parameters, most = request["sql"], request["parameters"] or None, request["rows"]
    try:
        sql.encode()  # text that cannot be encoded is refused with a reason
        with duckdb.connect(request["file"], read_only=True, config=config) as database:
            kinds = [each.type.name for each in database.extract_statements(sql)]
            if kinds != ["SELECT"]:
                return {"error": _refusal(kinds)}
            found = database.sql(sql, params=parameters)
            columns, rows = found.columns, found.limit(most + 1).fetchall()
        used = _used(request, config)
    except duckdb.OutOfMemoryException:
        return {"error": ""}
    except (duckdb.Error, UnicodeError, ValueError) as exc:
        return {"error": _sentence(str(exc))}
    size = request["bytes"] - _bytes_of(columns)
    if size < 0:
        return {"error": "the names of its columns are too long; select fewer, or name them (AS)"}
    return {"columns": columns, **_bounded(rows, most, size), "used": used}


def _used(request: dict[str, Any], config: dict[str, Any]) -> dict[str, list[str]] | None:
    """The columns that a SELECT reads, by table; None if that is not known.

    From its plan: so ``*``, ``COLUMNS()`` and new names of columns are resolved, and what is in a
    text or a comment does not count.  Of the steps of DuckDB's optimizer only the one that drops
    unused columns is wanted: others move columns into filters, or answer from statistics.
    """
    import duckdb

    others = "SELECT string_agg(name, ',') FROM duckdb_optimizers() WHERE name <> 'unused_columns'"
    try:
        with duckdb.connect(config=SETTINGS) as database:
            [(disabled,)] = database.sql(others).fetchall()
        config = {**config, "disabled_optimizers": disabled}
        with duckdb.connect(request["file"], read_only=True, config=config) as database:
            explain = f"EXPLAIN (FORMAT JSON) {request['sql']}"
            [(_, plan)] = database.execute(explain, request["parameters"] or None).fetchall()
    except (duckdb.Error, MemoryError):
        return None
    found: dict[str, list[str]] = {}
    steps: list[dict[str, Any]] = json.loads(plan)
    while steps:
        step = steps.pop()
        steps += step["children"]
        about = step["extra_info"]
        if "Table" in about:  # quoted and with its schema, but in DuckDB 1.4
            table = about["Table"].rpartition(".main.")[2].strip('"')
            columns = about.get("Projections", [])
            found.setdefault(table, []).extend([columns] if isinstance(columns, str) else columns)
    return found


def _refusal(kinds: list[str]) -> str:
    if not kinds:
        return "there is no statement in it; write one SELECT"
    if len(kinds) > 1:
        return f"it has {len(kinds)} statements; write one SELECT"
    hint = "; write PIVOT with the values (IN), or sums with FILTER" if kinds == ["MULTI"] else ""
    return f"it is no SELECT; only one SELECT is run{hint}"


def _sentence(text: str) -> str:
    return " ".join(text.partition("\nLINE ")[0].split())


def _bounded(rows: list[tuple[Any, ...]], most: int, size: int) -> dict[str, Any]:
    kept: list[list[Any]] = []
    for row in rows[:most]:
        plain = [_plain(value) for value in row]
        size -= _bytes_of(plain)
        if size < 0:
            if not kept:
                return {"error": "its first row is too long; select fewer columns, or left(x, 500)"}
            break
        kept.append(plain)
    return {"rows": kept, "more": len(kept) < len(rows)}


def _bytes_of(values: list[Any]) -> int:
    """The bytes of values as JSON, and of the comma after them."""
    return len(json.dumps(values, ensure_ascii=False, separators=(",", ":")).encode()) + 1


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, Decimal):
        number = float(value)
        return number if math.isfinite(number) and Decimal(repr(number)) == value else str(value)
    if isinstance(value, date | datetime | time):
        return value.isoformat()
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, dict):
        return {str(name): _plain(each) for name, each in value.items()}
    return value.hex() if isinstance(value, bytes) else str(value)


if __name__ == "__main__":
    main()
