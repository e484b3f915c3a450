"""The views of the lists within records, the comments, and the index of a table in a database."""

from __future__ import annotations

import asyncio
import datetime
from dataclasses import replace
from typing import Any

import psycopg
import pytest

import harvester.base.postgresql
from harvester.model import Batch, Field
from harvester.tables import TABLES
from harvester.wechat.interfaces import INTERFACES
from tests.sinks.sql.test_base import CHECKED, STAMP, Target, batch
from tests.support import ROOT

ITEM = (
    Field("day", "date"), Field("n", "int"), Field("rate", "float"), Field("label", "str"),
    Field("open", "bool"), Field("where", "object", fields=(Field("x", "int"),)),
    Field("parts", "list", fields=(Field("part", "int"),)),
)  # fmt: skip
NESTED = replace(
    CHECKED,
    key=("ref_date", "msgid"),
    fields=(
        Field("ref_date", "date", "the day", label="日期"),
        Field("msgid", "str", "'); DROP TABLE x; -- */ \\ %s"),
        Field("items", "list", fields=ITEM),
        Field("detail", "object", fields=(Field("ids", "list", item="int"),)),
    ),
)  # fmt: skip
KEY = ("wx1", "2024-01-01", 0, "2024-01-31", "m")


def plain(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Rows with days as text, as SQLite has them."""
    return [
        tuple([str(each) if isinstance(each, datetime.date) else each for each in row])
        for row in rows
    ]


MOMENT = STAMP[:-1].replace("T", " ")


def moments(rows: list[tuple[Any, ...]]) -> list[str]:
    """The last column of rows, in UTC."""
    return [str(row[-1])[:19].replace("T", " ") for row in rows]


def shown(target: Target, view: str, columns: str = "*") -> list[tuple[Any, ...]]:
    order = "ORDER BY _appid, _begin_date, _row, _item"
    return plain(target.execute(f"SELECT {columns} FROM checked_{view} {order}"))


def test_a_view_has_a_row_for_each_item_with_the_key_of_its_record(target: Target) -> None:
    items = [
        {"day": "20240131", "n": 1, "rate": 0.5, "label": "题 '\"\\", "open": True,
         "where": {"x": 7}, "parts": [{"part": 5}, {"part": 6}]},
        {"day": "2024-02-29", "n": -(10**17), "rate": 2, "label": "", "open": False, "parts": []},
    ]  # fmt: skip
    record = {"ref_date": "20240131", "msgid": "m", "items": items, "detail": {"ids": [3, 4]}}
    target.harvest([batch(1, record, {**record, "items": []}, endpoint=NESTED)])
    found = shown(target, "items")
    assert [row[:-1] for row in found] == [
        (*KEY, 0, "2024-01-31", 1, 0.5, "题 '\"\\", 1, 7),
        (*KEY, 1, "2024-02-29", -(10**17), 2.0, "", 0, None),
    ]
    day = "2024-01-31"  # of the item that the list is within
    columns = "_appid, _begin_date, _row, ref_date, msgid, day, _item, _item_2, part"
    assert shown(target, "items_parts", columns) == [(*KEY, day, 0, 0, 5), (*KEY, day, 0, 1, 6)]
    assert moments([*found, *shown(target, "items_parts")]) == [MOMENT] * 4
    assert shown(target, "detail_ids", "_row, _item, value") == [
        (0, 0, 3), (0, 1, 4), (1, 0, 3), (1, 1, 4),
    ]  # fmt: skip


ODD = [None, "", "x", "2024-02-30", "2023-02-29", "99999999", "20240131 ", [], {}, [1], {"x": 1},
       10**30, 10**400, 1e300, 1.5, "nul \0", "\\u0000", "%s"]  # fmt: skip


@pytest.mark.sampled
@pytest.mark.thorough
@pytest.mark.parametrize("name", ["n", "rate", "label", "open", "day", "where", "parts"])
def test_no_value_makes_a_view_fail_and_its_other_columns_are_shown(
    name: str, target: Target
) -> None:
    other = "label" if name == "n" else "n"
    good: dict[str, Any] = {"n": 1, "label": "good"}
    records = [
        {"items": [{other: good[other], name: odd}, odd, good], "detail": {"ids": odd}}
        for odd in ODD
    ]
    target.harvest([batch(1, *records, {"items": "x", "detail": 5}, endpoint=NESTED)])
    found = shown(target, "items", f"_row, _item, {other}")
    assert [row for row in found if row[1] != 1] == [
        (number, item, good[other]) for number in range(len(ODD)) for item in (0, 2)
    ]
    assert len(found) == 3 * len(ODD)
    if name in ("n", "rate", "day"):
        assert {type(value) for (value,) in shown(target, "items", name)} <= {
            type(None), {"n": int, "rate": float, "day": str}[name]
        }  # fmt: skip
    shown(target, "items_parts")
    assert [row[0] for row in shown(target, "detail_ids", "_row")] == [ODD.index([1])]


def test_a_list_that_gets_another_field_gets_another_view(target: Target) -> None:
    items = [{"n": 1, "new": 2}]
    target.harvest([batch(1, {"items": items}, endpoint=NESTED)])
    fields = [*NESTED.fields]
    fields[2] = Field("items", "list", fields=(Field("new", "int"), *ITEM))
    grown = replace(NESTED, fields=(Field("first", "int"), *fields))
    target.harvest([batch(2, {"items": items, "first": 1}, endpoint=grown)])
    assert shown(target, "items", "new, n") == [(2, 1), (2, 1)]
    assert len(target.scan()) == 2
    assert {one.records()[0]["items"][0]["new"] for one in target.scan().values()} == {2}


def test_a_view_that_was_dropped_is_made_again_and_one_that_cannot_be_is_reported(
    target: Target,
) -> None:
    one = batch(1, {"items": [{"n": 1}]}, endpoint=NESTED)
    target.harvest([one])
    target.execute("DROP VIEW checked_items")
    target.harvest([one])
    assert shown(target, "items", "n") == [(1,)]
    target.execute("DROP VIEW checked_items")
    target.execute("CREATE TABLE checked_items (a INTEGER)")
    [said] = asyncio.run(drift(target, one))
    assert said.startswith("checked: the views of its lists could not be created: ")
    assert "checked_items" in said
    assert [each.tally for each in target.scan().values()] == [one.tally]


@pytest.mark.parametrize("how", ["a view on it", "a reader of it"])
def test_a_view_that_others_use_stays_and_the_records_are_stored(
    how: str, pg: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(harvester.base.postgresql, "LIMITS", [(0, "lock_timeout", "200ms")])
    pg.harvest([batch(1, {"items": [{"n": 1}]}, endpoint=NESTED)])
    pg.execute("CREATE VIEW own AS SELECT n FROM checked_items")
    fields = [*NESTED.fields]
    fields[2] = Field("items", "list", fields=(Field("new", "int"), *ITEM))
    grown = batch(2, {"items": [{"n": 2}]}, endpoint=replace(NESTED, fields=tuple(fields)))
    with psycopg.connect(pg.server.url(pg.database)) as reader:
        if how == "a reader of it":
            pg.execute("DROP VIEW own")
            reader.execute("SELECT * FROM checked_items")
        [said] = asyncio.run(drift(pg, grown))
    why = "cannot drop view" if how == "a view on it" else "canceling statement due to lock timeout"
    assert why in said
    assert "could not be created" in said
    assert [row[0] for row in shown(pg, "items", "n")] == [1, 2]
    assert len(pg.scan()) == 2


async def drift(target: Target, *batches: Any) -> Any:
    """What a write reports."""
    sink = await target.open()
    written = await target.write(sink, *batches)
    await sink.close()
    return written.drift


@pytest.mark.thorough
def test_every_interface_is_a_table_with_comments_and_its_views_can_be_read(
    target: Target,
) -> None:
    windows = [
        batch(1, {"ref_date": "2024-01-01"}, endpoint=endpoint) for endpoint in INTERFACES.values()
    ]
    target.harvest(windows)
    views = {
        "sqlite": "SELECT name FROM sqlite_master WHERE type = 'view'",
        "postgresql": "SELECT relname FROM pg_class WHERE relkind = 'v' AND relname LIKE 'get%'",
        "mysql": "SELECT table_name FROM information_schema.views"
        f" WHERE table_schema = '{target.database}'",
    }[target.kind]
    names = [name for (name,) in target.execute(views)]
    assert "getbizsummary_detail_read_user_source" in names
    assert target.kind == "postgresql" or {*TABLES} < {*names}
    for name in {*names, *TABLES}:
        found = target.execute(f"SELECT * FROM {name}")
        assert found == [] or name in ("followers_by_source", "messages_by_hour", *JOINED)


JOINED = ("articles", "article_days")
DOCS = ROOT / "docs" / "sinks.md"


def of(name: str, number: int, *records: dict[str, Any]) -> Batch:
    """What an interface returned for a day of January 2024."""
    made = [{"ref_date": f"2024-01-{number:02}", **record} for record in records]
    return batch(number, *made, endpoint=INTERFACES[name])


def rows(target: Target, view: str, columns: str) -> list[tuple[Any, ...]]:
    return plain(target.execute(f"SELECT {columns} FROM {view} ORDER BY {columns}"))


@pytest.mark.thorough
def test_the_views_that_join_interfaces_have_a_row_a_key(target: Target) -> None:
    sources = [{"scene_desc": "朋友圈", "user_count": 3}, {"scene_desc": "新"}]
    read = {"msgid": "7_1", "detail": {"read_user": 10, "read_user_source": sources}}
    odd = {"msgid": "7_3", "detail": {"read_user": "many"}}
    growth = [{"stat_date": "2024-01-05", "read_user": 4}, {"stat_date": "2024-01-06"}]
    target.harvest([
        of("getarticleread", 4, read, odd, {"msgid": "7_4", "detail": []}, {"msgid": "7_5"}),
        of("getarticletotaldetail", 4, {"msgid": "7_1", "title": "it's", "publish_type": 0,
                                        "detail_list": growth}, {"msgid": "none"}),
        of("getusersummary", 4, {"user_source": 1, "new_user": 5}, {"user_source": 9}),
    ])  # fmt: skip
    target.harvest([  # by another process: the views know what came later
        of("getarticleshare", 4, {"msgid": "7_1", "detail": {"share_user": 2}}),
        of("getarticletotal", 4, {"msgid": "7_1", "title": "late", "url": "http://o",
                                  "details": [{"stat_date": "2024-01-05", "share_count": 8}]}),
    ])  # fmt: skip
    assert rows(target, "article_days", "msgid, read_user, share_user") == [
        ("7_1", 10, 2), ("7_3", None, None), ("7_4", None, None), ("7_5", None, None),
    ]  # fmt: skip
    columns = "scene_desc, scene_desc_zh, scene_desc_en, read_user"
    assert {*rows(target, "article_sources", columns)} == {
        ("新", None, None, None), ("朋友圈", "朋友圈", "Moments", 3),
    }  # fmt: skip
    columns = "msgid, mid, idx, publish_date, title, url, publish_type_en"
    assert rows(target, "articles", columns) == [
        ("7_1", "7", "1", "2024-01-04", "it's", "http://o", "with notification"),
        ("none", None, None, "2024-01-04", None, None, None),
    ]
    assert rows(target, "article_totals", "msgid, stat_date, read_user, share_count") == [
        ("7_1", "2024-01-05", 4, 8), ("7_1", "2024-01-06", None, None),
    ]  # fmt: skip
    documented = DOCS.read_text().partition("```sql\nSELECT title")[2].partition("```")[0]
    assert plain(target.execute(f"SELECT title{documented}")) == [("it's", "http://o", 4)]
    assert rows(target, "followers_by_source", "user_source, user_source_zh, new_user") == [
        (1, "搜索公众号", 5), (9, None, None),
    ]  # fmt: skip


@pytest.mark.parametrize("what", ["TABLE articles (a INTEGER)", "VIEW articles AS SELECT 1 AS a"])
def test_somebody_elses_table_of_such_a_name_stays(what: str, target: Target) -> None:
    target.execute(f"CREATE {what}")
    one = of("getarticletotaldetail", 4, {"msgid": "7_1", "title": "x", "detail_list": []})
    [note] = asyncio.run(drift(target, one))
    assert note.startswith("articles: the view could not be created: ")
    assert len(target.scan(INTERFACES["getarticletotaldetail"].name)) == 1
    assert target.execute("SELECT a FROM articles") == ([] if what[0] == "T" else [(1,)])
    assert rows(target, "article_totals", "msgid") == []


def test_views_of_a_former_version_are_made_again_as_the_sink_is_opened(target: Target) -> None:
    growth = [{"stat_date": "2024-01-05"}]
    mine = batch(1, {"items": [{"n": 1}]}, endpoint=NESTED)
    target.harvest([
        mine,
        of("getarticletotaldetail", 4, {"msgid": "7_1", "detail_list": growth}),
        of("getarticletotal", 4, {"msgid": "7_2", "details": growth}),
    ])  # fmt: skip
    former = {
        "checked_items": "checked", "articles": "getarticletotal",
        "article_totals": "getarticletotal_details",
        "getarticletotal_details": "getarticletotal",
    }  # fmt: skip
    for view in former:
        target.execute(f"DROP VIEW {view}")
    for view, table in reversed(former.items()):
        target.execute(f"CREATE VIEW {view} AS SELECT _appid FROM {table}")
    target.execute("CREATE VIEW own AS SELECT _appid FROM checked")
    target.harvest()  # nothing is written
    for view, number in (("articles", 2), ("article_totals", 2), ("getarticletotal_details", 1)):
        found = target.execute(f"SELECT _fetched_at FROM {view}")
        assert moments(found) == [MOMENT] * number
    assert target.execute("SELECT * FROM checked_items") == [("wx1",)]  # nobody knows its fields
    target.harvest([mine])
    assert moments(shown(target, "items")) == [MOMENT]
    assert target.execute("SELECT * FROM own") == [("wx1",)]


def test_a_former_view_that_others_use_stays_as_a_part_and_is_reported(pg: Target) -> None:
    growth = [{"stat_date": "2024-01-05"}]
    pg.harvest([
        of("getarticletotaldetail", 4, {"msgid": "7_1", "detail_list": growth}),
        of("getarticletotal", 4, {"msgid": "7_2", "details": growth}),
    ])  # fmt: skip
    pg.execute("DROP VIEW article_totals")
    pg.execute("DROP VIEW getarticletotal_details")
    columns = "_appid, _begin_date, _row, 0 AS _item, ref_date, msgid, ref_date AS stat_date"
    pg.execute(f"CREATE VIEW getarticletotal_details AS SELECT {columns} FROM getarticletotal")
    pg.execute("CREATE VIEW own AS SELECT _appid FROM getarticletotal_details")
    one = of("getarticletotaldetail", 5, {"msgid": "7_3", "detail_list": growth})
    [said, *_] = asyncio.run(drift(pg, one))
    assert said.startswith(
        "getarticletotal: the views of its lists could not be created: cannot drop"
    )
    assert pg.execute("SELECT * FROM own") == [("wx1",)]


TEXTS = {
    "sqlite": "SELECT sql FROM sqlite_master WHERE name = 'checked'",
    "postgresql": "SELECT obj_description('checked'::regclass) || col_description('checked'"
    "::regclass, 1) || col_description('checked'::regclass, 2)",
    "mysql": "SHOW CREATE TABLE checked",
}


def test_a_comment_holds_what_the_catalogue_says_and_does_nothing(target: Target) -> None:
    record = {"items": [{"n": 1}]}
    target.harvest([batch(1, record, endpoint=replace(NESTED, title="it's the title */ %s"))])
    more = (*NESTED.fields, Field("added", "int", "added */ ' later"))
    target.harvest([batch(2, record, endpoint=replace(NESTED, fields=more))])
    [row] = target.execute(TEXTS[target.kind])
    assert "it’s the title * / %s" in row[-1]
    assert "日期 · the day" in row[-1]
    assert "’); DROP TABLE x; -- * / / %s" in row[-1]
    assert target.kind == "postgresql" or "added * / ’ later" in row[-1]
    assert len(target.scan()) == 2


SHOWN = {  # MySQL keeps no comment of a view
    "sqlite": "SELECT group_concat(sql) FROM sqlite_master",
    "postgresql": "SELECT string_agg(description, ',') FROM pg_description"
    " JOIN pg_class ON pg_class.oid = objoid WHERE relname ~ 'article_totals|getusercumulate'",
    "mysql": "SELECT group_concat(column_comment) FROM information_schema.columns",
}


def test_a_comment_says_what_must_not_be_summed(target: Target) -> None:
    detail = of("getarticletotaldetail", 4, {"msgid": "7_1", "detail_list": []})
    target.harvest([detail, of("getusercumulate", 4, {"cumulate_user": 5})])
    [(text,)] = target.execute(SHOWN[target.kind])
    assert (
        "累计关注人数；期末值，取最后一天，跨日不能相加；公众平台：累积关注人数"
        " · followers at the end of the day; " in text
    )
    other = "article_days.read_user ("
    if target.kind != "postgresql":  # the comments of a table that has the list as a column
        other = "read_user: getarticletotal_details.int_page_read_user (one total covers 30 days"
    assert f"; do not compare with: {other}" in text
    assert "level at the end of the day: take the last day, do not sum" in text
    assert target.kind == "mysql" or "readers; running total: take the last row, do not sum" in text


def test_days_of_an_account_are_found_by_an_index(lite: Target, pg: Target) -> None:
    for target in (lite, pg):
        target.harvest([batch(1, {"ref_date": "2024-01-01"}, endpoint=NESTED)])
    plan = lite.execute(
        "EXPLAIN QUERY PLAN SELECT * FROM checked WHERE _appid = 'wx1' AND ref_date > '2024-01-05'"
    )
    assert "checked_by_day (_appid=? AND ref_date>?)" in plan[0][-1]
    [(index,)] = pg.execute("SELECT indexdef FROM pg_indexes WHERE indexname = 'checked_by_day'")
    assert index.endswith("(_appid, ref_date)")
