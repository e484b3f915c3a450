"""A table has the same rows in each database, in an export, and in `read`, whatever values came."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import harvester
from harvester.exports.equal import export
from harvester.exports.source import Source
from harvester.exports.targets import open_target
from harvester.model import Batch, Field
from harvester.tables import KEY, TABLES, tables_of
from harvester.wechat.endpoint import JsonEndpoint
from harvester.wechat.interfaces import INTERFACES
from tests.exports.support import harvest
from tests.sinks.sql.test_base import SINKS, Target, batch, target_of

ITEM = (
    Field("day", "date"), Field("n", "int"), Field("rate", "float"), Field("label", "str"),
    Field("open", "bool"), Field("where", "object", fields=(Field("x", "int"),)),
    Field("parts", "list", fields=(Field("part", "int"), Field("msgid", "str"))),
)  # fmt: skip
MINE = JsonEndpoint(
    "mine",
    "/mine",
    datetime.date(2024, 1, 1),
    key=("msgid", "kind", "on"),
    fields=(
        Field("msgid", "str"), Field("kind", "int"), Field("on", "date"),
        Field("rate", "float"), Field("open", "bool"), Field("items", "list", fields=ITEM),
        Field("detail", "object", fields=(Field("ids", "list", item="int"),)),
    ),
)  # fmt: skip
CATALOGUE: dict[str, Any] = {**INTERFACES, "mine": MINE}
WHOLE = [0, 1, -7, 2**53, 2**53 + 1, -(2**53) - 1, 10**17, 10**18, 2**63 - 1, -(2**63), 2**63,
         2**64 - 1, 10**20, -(10**25), 10**400]  # fmt: skip
FRACTIONS = [0.5, 1.5, -2.25, 3.0, 1e16, 1e22, 1e300, -1e-7]
TEXTS = [
    "2024-01-31", "20240131", "2024-02-30", "2023-02-29", "0001-01-01", "00000101", "2024-0131",
    "99991231", "19000229", "20000229", "20240131 ", "20240131\n", "2024-01-31\n",
    "２０２４0101", "", "x", "1", "-0", "true", "null", '"', "\\", "\\u0041", "%s", "全部",
    "7_1", "长" * 300,
]  # fmt: skip
MSGIDS = ["7_1", "7_2", "7", 7, None, "_", "a_b_", "\n_\n"]
PLAIN = st.characters(exclude_categories=["Cs"], exclude_characters="\0")  # PostgreSQL has no NUL
SCALARS = st.one_of(
    st.none(), st.booleans(), st.sampled_from(WHOLE), st.sampled_from(FRACTIONS),
    st.sampled_from(TEXTS), st.text(PLAIN, max_size=5),
)  # fmt: skip
ANYTHING = st.one_of(
    SCALARS, st.lists(SCALARS, max_size=2), st.dictionaries(st.sampled_from("xn"), SCALARS)
)
GOOD = {
    "int": st.integers(-5, 5), "float": st.sampled_from(FRACTIONS), "bool": st.booleans(),
    "str": st.sampled_from(TEXTS), "date": st.sampled_from(["2024-01-31", "20240201"]),
}  # fmt: skip


def value_of(field: Field) -> st.SearchStrategy[Any]:
    """Mostly what the catalogue expects, else anything."""
    if field.name == "msgid":
        good: st.SearchStrategy[Any] = st.sampled_from(MSGIDS)
    elif field.type == "object":
        good = record_of(field.fields)
    elif field.type == "list":
        inner = record_of(field.fields) if field.fields else GOOD[field.item]
        good = st.lists(st.one_of(inner, ANYTHING), max_size=3)
    else:
        good = GOOD[field.type]
    return st.one_of(good, good, ANYTHING)


def record_of(fields: tuple[Field, ...]) -> st.SearchStrategy[dict[str, Any]]:
    """A record with some of these fields."""
    return st.fixed_dictionaries({}, optional={each.name: value_of(each) for each in fields})


def windows(*names: str) -> st.SearchStrategy[list[Batch]]:
    """What these interfaces returned for two days, each at a time of its own."""
    return st.tuples(
        *[
            st.tuples(
                st.lists(record_of(CATALOGUE[name].fields), max_size=6), st.integers(0, 3)
            ).map(
                lambda drawn, name=name, day=day: batch(
                    day, *drawn[0], endpoint=CATALOGUE[name], at=f"2024-06-1{drawn[1]}T04:00:00Z"
                )
            )
            for name in names
            for day in (1, 2)
        ]
    ).map(lambda made: [*made, *[batch(3, {}, endpoint=CATALOGUE[name]) for name in names]])


def plain(value: Any) -> Any:
    """A value as all readers have it: a day or a time as text, a truth value as 0 or 1."""
    if isinstance(value, datetime.datetime):
        moment = value.astimezone(datetime.UTC) if value.tzinfo else value
        return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
    if isinstance(value, datetime.date):
        return value.isoformat()
    return int(value) if isinstance(value, bool) else value


Rows = list[tuple[Any, ...]]


def rows(found: Rows) -> Rows:
    return sorted([tuple(map(plain, row)) for row in found], key=repr)


def asked(names: tuple[str, ...]) -> Iterator[tuple[str, list[str]]]:
    """The tables of interfaces, each with the columns that all readers have."""
    for name in names:
        endpoint = CATALOGUE[name]
        for table in tables_of(name, endpoint.fields, endpoint.key):
            yield (
                table.name,
                [
                    *KEY,
                    *[
                        each.name
                        for each in table.columns
                        if table.lists or len(each.path) == 1  # else in a column of JSON
                    ],
                    "_fetched_at",
                ],
            )
    for joined in TABLES.values():
        if {*joined.interfaces} & {*names}:
            columns = [each.name for each in joined.columns]
            yield joined.name, ["_appid", "_begin_date", *columns, *joined.parsed, "_fetched_at"]


def compared(target: Target, given_batches: list[Batch], *names: str) -> dict[str, Rows]:
    """The rows of each table, which are those of a database, of an export and of `read`."""
    target.harvest(given_batches)
    sink = harvest(*given_batches)
    made = [CATALOGUE[name] for name in names]
    read = [harvester.read(where, made, shape="flat") for where in (sink, target.make())]
    quote = "`" if target.kind == "mysql" else '"'
    found: dict[str, Rows] = {}
    with TemporaryDirectory() as folder:
        path = Path(folder) / "x.duckdb"
        export(Source(sink, lambda: None), open_target(f"duckdb:{path}"), names, CATALOGUE.get)
        with duckdb.connect(str(path), read_only=True) as database:
            for table, columns in asked(names):
                listed = ", ".join(f'"{name}"' for name in columns)
                query = f"SELECT {listed} FROM {table}"
                found[table] = rows(target.execute(query.replace('"', quote)))
                assert rows(database.sql(query).fetchall()) == found[table], table
                for stored in [each[table] for each in read if table in each]:
                    values = stored.read_all().select(columns).to_pylist()
                    assert rows([tuple(row.values()) for row in values]) == found[table], table
    return found


pytestmark = pytest.mark.timeout(600)  # each example is a harvest and an export
FEW = settings(max_examples=10, deadline=None, suppress_health_check=[*HealthCheck])
ARTICLES = ("getarticleread", "getarticleshare", "getarticletotaldetail", "getarticletotal")
OTHERS = ("getarticlesummary", "getusersummary", "getupstreammsghour", "mine")


@pytest.fixture(params=["sqlite", *[
    pytest.param(kind, marks=pytest.mark.thorough) for kind in SINKS if kind != "sqlite"
]])  # fmt: skip
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Target:
    return target_of(request.param, tmp_path, request)


@pytest.mark.sampled
@pytest.mark.thorough
@FEW
@given(windows(*ARTICLES))
def test_tables_of_articles_are_the_same(target: Target, given_batches: list[Batch]) -> None:
    found = compared(target, given_batches, *ARTICLES)
    read = [one for each in given_batches for one in each.records if "read" in each.window.endpoint]
    details = [each["detail"] for each in read if isinstance(each.get("detail"), dict)]
    figures = [each.get("read_user") for each in details]
    assert sum(row[5] or 0 for row in found["article_days"]) == sum(
        each for each in figures if type(each) is int and abs(each) < 2**63
    )


@pytest.mark.sampled
@pytest.mark.thorough
@FEW
@given(windows(*OTHERS))
def test_other_tables_are_the_same(target: Target, given_batches: list[Batch]) -> None:
    compared(target, given_batches, *OTHERS)


@pytest.mark.thorough
def test_each_value_is_the_same_in_a_column_of_each_type(target: Target) -> None:
    values = [*WHOLE, *FRACTIONS, *TEXTS, True, False, None, [], {}, [1], {"x": 1}]
    names = [field.name for field in ITEM]
    items = [dict.fromkeys(names, value) for value in values]
    records = [dict.fromkeys(["msgid", "kind", "on", "rate", "open"], value) for value in values]
    found = compared(target, [batch(1, {"items": items}, *records, endpoint=MINE)], "mine")
    days = {row[7] for row in found["mine_items"]}
    assert days == {
        None, "2024-01-31", "0001-01-01", "9999-12-31", "2000-02-29",
    }  # fmt: skip
    assert {row[8] for row in found["mine_items"]} == {
        None, *[value for value in WHOLE if -(2**63) <= value < 2**63],
    }  # fmt: skip
    assert {row[10] for row in found["mine_items"]} == {None, *TEXTS}


@pytest.mark.thorough
def test_no_figure_is_lost_by_its_key_and_a_number_is_its_text(target: Target) -> None:
    def article(msgid: Any, **detail: Any) -> dict[str, Any]:
        return {"ref_date": "2024-01-01", "msgid": msgid, "detail": detail}

    everyone = {"scene_desc": "全部", "user_count": 40}
    sources = [everyone, {"scene_desc": "朋友圈", "user_count": 40}, {"user_count": 1}]
    growth = [{"stat_date": f"2024-01-0{n}", "read_user": 7 * n} for n in (1, 2)]
    total = {"ref_date": "2024-01-01", "msgid": 7, "title": "早", "detail_list": growth}
    found = compared(
        target,
        [
            batch(1, article(7, read_user=40, read_user_source=sources), article("7", read_user=2),
                  article(None, read_user=3), article([7], read_user=5), article(7.5, read_user=1),
                  article(2**63, read_user=1), article(True), endpoint=CATALOGUE["getarticleread"]),
            batch(1, article(None, share_user=9), article("7", share_user=4),
                  endpoint=CATALOGUE["getarticleshare"]),
            batch(1, total, {**total, "msgid": "7", "title": "again"}, {"title": "none"},
                  endpoint=CATALOGUE["getarticletotaldetail"]),
        ],
        *ARTICLES[:3],
    )  # fmt: skip
    assert sorted([(row[3], row[5], row[7]) for row in found["article_days"]], key=repr) == [
        ("7", 2, None), ("7", 40, 4), (None, 1, None), (None, 1, None), (None, 3, None),
        (None, 5, None), (None, None, 9), (None, None, None),
    ]  # fmt: skip
    assert [row[3:-1] for row in found["article_sources"]] == [("7", "朋友圈", 40), ("7", None, 1)]
    assert [(row[2], row[4]) for row in found["articles"]] == [("7", "早"), (None, "none")]
    assert {(row[2], row[4], row[5]) for row in found["article_totals"]} == {
        ("7", "2024-01-01", 7), ("7", "2024-01-02", 14),
    }  # fmt: skip
