"""The sink in PostgreSQL: what is particular to it; what all share is in `test_base`."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harvester.errors import SinkError, UsageError
from harvester.ledger.postgresql import PostgresLedger
from harvester.model import Field
from harvester.sinks.sql.postgresql import PostgreSQL
from tests.postgres_server import PASSWORD, PostgresServer
from tests.sinks.sql.test_base import CHECKED, Target, batch, part, refused


def test_a_database_that_cannot_be_written_is_refused(pg: Target, postgres: PostgresServer) -> None:
    name = postgres.new_database()
    where = f"the database {name} on 127.0.0.1:{postgres.port} could not be opened:"
    postgres.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    standby = PostgreSQL(postgres.url(name), patience=0.1)  # one that is read-only may be promoted
    with pytest.raises(SinkError, match=r"did not answer for 0\.1 s \(cannot execute .* read-only"):
        asyncio.run(standby.open({}))
    postgres.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
    postgres.execute(f"CREATE ROLE reader{name} LOGIN PASSWORD '{PASSWORD}'")
    postgres.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC", name)
    reader = postgres.url(name, user=f"reader{name}")
    assert refused(reader) == f"{where} permission denied for schema public"
    pg.harvest([part(1, 1)])
    with pytest.raises(UsageError, match="could not be read: permission denied for"):
        list(PostgreSQL(postgres.url(pg.database, user=f"reader{name}")).scan("checked"))
    pg.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader{name}")
    reader = postgres.url(pg.database, user=f"reader{name}")
    assert "permission denied for table" in refused(reader)
    assert len(list(PostgreSQL(reader).scan("checked"))) == 1  # reading is allowed


def test_a_database_that_cannot_hold_every_title_is_refused(postgres: PostgresServer) -> None:
    name = postgres.new_database("ENCODING 'SQL_ASCII' TEMPLATE template0")
    assert "has the encoding SQL_ASCII, which cannot store every title" in refused(
        postgres.url(name)
    )


class Schema(Target):
    """A schema of a database in PostgreSQL."""

    def __init__(self, name: str, database: Target, folder: Path) -> None:
        super().__init__("postgresql", folder, database.server)
        self.database = database.database
        self.schema_name = name

    def url(self, **how: Any) -> str:
        return f"{self.server.url(self.database, **how)}?schema={self.schema_name}"

    def make(self) -> Any:
        return PostgreSQL(self.url())

    def tables(self) -> list[str]:
        sql = "SELECT relname FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace"
        found = self.execute(
            f"{sql} WHERE relkind IN ('r', 'v') AND nspname = '{self.schema_name}' ORDER BY 1"
        )
        return [name for (name,) in found]


def test_two_schemas_of_a_database_are_two_sinks(pg: Target, tmp_path: Path) -> None:
    one, other = (Schema(name, pg, tmp_path) for name in ("one", "Other-题"))
    nested = replace(CHECKED, fields=(Field("parts", "list", fields=(Field("n", "int"),)),))
    one.harvest([batch(1, {"parts": [{"n": 1}]}, endpoint=nested)])
    other.harvest([part(1, 2), part(2, 3)])
    assert one.make().identity.endswith(f"/{pg.database}?schema=one")
    own = [f"_harvester_{name}" for name in ("fence", "interface", "layout", "mark", "state")]
    assert one.tables() == [*own, "checked", "checked_parts"]
    assert other.tables() == [*own, "checked"]
    assert Schema("public", pg, tmp_path).tables() == []
    assert (len(one.scan()), len(other.scan())) == (1, 2)
    other.harvest([part(1, 4)])
    assert [each.records()[0]["n"] for each in other.scan().values()] == [4, 3]
    pg.execute('DROP SCHEMA "Other-题" CASCADE')
    assert other.refused(SinkError).startswith(
        f"the schema Other-题 of the database {pg.database} on 127.0.0.1:{pg.server.port} has"
        " none of the records that the ledger refers to"
    )
    assert len(one.scan()) == 1


def test_a_schema_is_made_only_by_who_may_and_one_that_cannot_be_is_refused(
    pg: Target, postgres: PostgresServer, tmp_path: Path
) -> None:
    role = f"limited{pg.database}"
    pg.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}'")
    made, missing = (Schema(name, pg, tmp_path) for name in ("made", "missing"))
    pg.execute(f"CREATE SCHEMA made AUTHORIZATION {role}")
    assert refused(missing.url(user=role)) == (
        f"the schema missing of the database {pg.database} on 127.0.0.1:{postgres.port} could not"
        f" be opened: permission denied for database {pg.database}"
    )
    made.make = lambda: PostgreSQL(made.url(user=role))  # type: ignore[method-assign]
    made.harvest([part(1, 1)])
    assert len(made.scan()) == 1
    for name in ("", "a%20b", "x" * 64, "a;b"):
        assert "cannot be the name of a schema" in refused(f"{postgres.url('d')}?schema={name}")
    pg.execute("CREATE SCHEMA kept CREATE TABLE open_window (a int) CREATE TABLE wanted (a int)")
    assert "belongs to a ledger; choose another schema" in refused(
        f"{postgres.url(pg.database)}?schema=kept"
    )


def test_a_table_that_a_ledger_of_the_users_name_has_too_is_the_sinks_own(pg: Target) -> None:
    """The user's name is the name of the ledger's schema, which comes first in the search path."""

    async def with_a_ledger() -> None:
        async with PostgresLedger(pg.server.url(pg.database)):
            pass

    asyncio.run(with_a_ledger())
    pg.harvest([part(1, 1, 2, name="span")])
    (found,) = pg.make().scan("span")
    assert [each["n"] for each in found.records()] == [1, 2]
