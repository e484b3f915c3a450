"""The shared ledger on a real PostgreSQL: the checks of ledgers, and faults that they find."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from harvester.ledger import PostgresLedger, statements
from harvester.ledger import leases as shared
from harvester.ledger.base import Unfinished
from harvester.ledger.leases import give_back, join, release, unfinished
from harvester.testing import BrokenPromiseError
from tests.ledger.checks import LEDGER_CHECKS, check_ledger
from tests.ledger.shared_checks import SHARED_CHECKS
from tests.postgres_server import PostgresServer

Make = Callable[..., PostgresLedger]


@pytest.fixture
def make(postgres: PostgresServer) -> Make:
    url = postgres.url(postgres.new_database())

    def made(name: str, *, readonly: bool = False) -> PostgresLedger:
        return PostgresLedger(f"{url}?schema=of_{name}", readonly=readonly)

    return made


def tried(make: Make, name: str) -> None:
    asyncio.run(check_ledger(name, make, reader=lambda name: make(name, readonly=True)))


@pytest.mark.parametrize(
    "name", [*[name for name in LEDGER_CHECKS if name != "crash"], *SHARED_CHECKS]
)
def test_it_keeps_what_a_ledger_promises(name: str, make: Make) -> None:
    tried(make, name)


FAULTS: list[tuple[str, str, str, str]] = [
    ("claim", "_CLAIM", "seen.holder IS NULL OR", "true OR"),
    ("claim", "_CLAIM", "LIMIT %s", "LIMIT %s + 1"),
    ("epochs", "_CLAIM", "epoch = greatest(epoch + 1,", "epoch = least(epoch,"),
    ("takeover", "_ENDED", "until < clock_timestamp()", "false"),
    ("takeover", "_ENDED", "until < clock_timestamp()", "true"),
]


@pytest.mark.parametrize(("check", "name", "code", "fault"), FAULTS)
def test_a_fault_in_a_statement_is_found(
    check: str, name: str, code: str, fault: str, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    statement: str = getattr(shared, name)
    assert code in statement
    monkeypatch.setattr(shared, name, statement.replace(code, fault))
    with pytest.raises(BrokenPromiseError, match=rf"^{check}: "):
        tried(make, check)


def nothing_is_lost(*_: object) -> set[str]:
    return set()


def does_nothing(*_: Any) -> None:
    return None


def finished_for_all(tables: Any, worker: int, held: Any, later: Any) -> None:
    release(tables, worker, held, ())


def waits_for_all(tables: Any, worker: int) -> Unfinished | None:
    found = unfinished(tables, worker)
    return found and Unfinished(sum(found), 0)


def left_to_all(tables: Any, worker: int, appids: list[str]) -> None:
    give_back(tables, worker, appids)
    tables.run("UPDATE wanted SET refused = false")


def finished_here(tables: Any, worker: int, appids: list[str]) -> None:
    give_back(tables, worker, appids)
    tables.run("DELETE FROM wanted WHERE worker = %s AND refused", worker)


def marks_and_takes_nothing(tables: Any, job: Any) -> None:
    statements.mark_refresh(tables, job.marks)


def only_looks(tables: Any) -> bool:
    return not [each for each in shared.workers(tables) if each.alive]


def joins_as_the_first(tables: Any, name: str, job: Any) -> tuple[int, float]:
    tables.run("UPDATE worker SET refreshes = false")
    return join(tables, name, job)


def keeps_the_mark(tables: Any, key: Any, how: Any, *arguments: Any) -> None:
    statements._change(tables, [key], lambda _, calendar: how(calendar, *arguments))


async def at_once(self: object, limit: float) -> int:
    return 0


RULES: list[tuple[str, object, str, object]] = [
    ("lost", shared, "lost", nothing_is_lost),
    ("former_claim", shared, "lost", nothing_is_lost),
    ("renewal", shared, "renew", does_nothing),
    ("renewal", shared, "_IF_NOT_ENDED", " WHERE id = %s"),
    ("finished", shared, "release", does_nothing),
    ("later", shared, "release", finished_for_all),
    ("later", shared, "unfinished", waits_for_all),
    ("anew", shared, "leave", does_nothing),
    ("given_back", shared, "give_back", left_to_all),
    ("given_back", shared, "give_back", finished_here),
    ("refresh", shared, "_mark", marks_and_takes_nothing),
    ("refresh", shared, "join", joins_as_the_first),
    ("refresh", statements, "change", keeps_the_mark),
    ("departure", shared, "leave", does_nothing),
    ("dismissed", PostgresLedger, "dismiss", statements.writes(only_looks)),
    ("joining", shared, "CLOCKS", 1e9),
    ("alone", PostgresLedger, "_until_alone", at_once),
]


@pytest.mark.parametrize(("check", "owner", "name", "fault"), RULES)
def test_a_rule_that_is_left_out_is_found(
    check: str, owner: object, name: str, fault: object, make: Make,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(owner, name, fault)
    with pytest.raises(BrokenPromiseError, match=rf"^{check}: "):
        tried(make, check)


def test_for_each_check_there_is_a_fault_that_it_finds() -> None:
    assert {each[0] for each in (*FAULTS, *RULES)} == set(SHARED_CHECKS)


def test_the_repr_names_the_database_and_no_password(make: Make) -> None:
    shown = repr(make("x"))
    assert re.fullmatch(
        r"<PostgresLedger postgresql://harvester@127\.0\.0\.1:\d+/d\d+\?schema=of_x,"
        r" 0 accounts held>",
        shown,
    )


class Text(str):
    """As a caller's library may give an appid."""

    __slots__ = ()


TEXTS = [
    "", "NULL", "null", " a ", 'a"b', '"', "a\\", "\\\\", "a,b", "{a}", "é 公众号", "'", "%s",
    "a\nb",
]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("text", TEXTS),
        ("text", [*TEXTS, None]),
        ("text", ["a", "b"]),
        ("text", ['"', "a"]),
        ("text", [Text("a,b"), Text("NULL")]),
        ("text", [Text("a"), "b"]),
        ("int8", [0, -1, 2**63 - 1, None]),
        ("float8", [0.1, 1e300, float("inf"), None]),
    ],
)
def test_values_reach_the_server_as_they_are(
    kind: str, values: list[Any], postgres: PostgresServer
) -> None:
    with psycopg.connect(postgres.url("postgres"), cursor_factory=psycopg.ClientCursor) as opened:
        rows = shared.Tables(opened).rows(f"SELECT unnest(%s::{kind}[])", shared._array(values))
    assert [value for (value,) in rows] == values
