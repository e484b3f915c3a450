"""The tables that join interfaces, as a reader of an export finds them."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest

import harvester
from harvester.exports import source
from harvester.model import Batch, Window
from harvester.wechat.interfaces import INTERFACES
from harvester.wechat.labels import PARTS
from tests.exports.support import STAMP, TARGETS, do, equal, harvest, tables

DAY = date(2026, 1, 30)
FLAT = [
    target if target[:3] in ("csv", "duc", "xls") else f"{target}?shape=flat" for target in TARGETS
]


def window(
    name: str, *records: dict[str, Any], day: date = DAY, appid: str = "wx1", at: str = STAMP
) -> Batch:
    """What an interface returned for a day."""
    made = [{"ref_date": str(day), **record} for record in records]
    return Batch(Window(appid, name, day, day), made, at, endpoint=INTERFACES[name], replaces=True)


def rows(spec: str, table: str, *names: str) -> list[tuple[str, ...]]:
    """The columns of a table as text; an empty one where there is none."""
    found = [
        tuple(
            [
                "" if row.get(name) is None else str(row[name]).removesuffix(" 00:00:00")
                for name in names
            ]
        )
        for row in tables(spec)[table]
    ]
    return sorted(found)


def read(msgid: str, readers: int) -> dict[str, Any]:
    sources = [{"scene_desc": "朋友圈", "user_count": 1}, {"scene_desc": "新", "user_count": 2}]
    return {"msgid": msgid, "detail": {"read_user": readers, "read_user_source": sources}}


@pytest.mark.parametrize("target", FLAT)
def test_an_article_is_a_row_whichever_interface_lists_it(target: str, tmp_path: Path) -> None:
    spec = target.format(tmp_path)
    new = {"msgid": "7_2", "title": "新", "content_url": "http://n", "publish_type": 1}
    both = {"msgid": "7_1", "title": "早", "publish_type": 9}  # its link is in the other alone
    old = {"msgid": "7_1", "title": "晚", "url": "http://o"}
    plain = {"msgid": "nothing", "title": "x", "content_url": "http://c"}
    sink = harvest(
        window("getarticletotaldetail", both, new),
        window("getarticletotal", old, plain),
        window("getarticletotal", {"msgid": "7_1", "title": "another account"}, appid="wx0"),
    )
    do(sink, spec)
    columns = (
        "_appid",
        "msgid",
        "mid",
        "idx",
        "publish_date",
        "title",
        "url",
        "publish_type_label",
    )
    assert rows(spec, "articles", *columns) == [
        ("wx0", "7_1", "7", "1", "2026-01-30", "another account", "", ""),
        ("wx1", "7_1", "7", "1", "2026-01-30", "早", "http://o", ""),
        ("wx1", "7_2", "7", "2", "2026-01-30", "新", "http://n", "without notification"),
        ("wx1", "nothing", "", "", "2026-01-30", "x", "http://c", ""),
    ]


@pytest.mark.thorough
def test_reads_and_shares_of_a_day_are_one_row(tmp_path: Path) -> None:
    spec = f"duckdb:{tmp_path}/d"
    retired = {"msgid": "8_1", "title": "旧", "int_page_read_user": 5, "int_page_read_count": 6,
               "share_user": 3, "share_count": 4, "add_to_fav_user": 2}  # fmt: skip
    sink = harvest(
        window("getarticleread", read("7_1", 10), read("7_2", 20)),
        window("getarticleshare", {"msgid": "7_2", "detail": {"share_user": 9}},
               {"msgid": "7_3", "detail": {"share_user": 1}}),
        window("getarticlesummary", retired),
    )  # fmt: skip
    do(sink, spec)
    columns = (
        "msgid",
        "title",
        "read_user",
        "read_count",
        "share_user",
        "share_count",
        "collection_user",
    )
    assert rows(spec, "article_days", *columns) == [
        ("7_1", "", "10", "", "", "", ""),
        ("7_2", "", "20", "", "9", "", ""),
        ("7_3", "", "", "", "1", "", ""),
        ("8_1", "旧", "5", "6", "3", "4", "2"),
    ]
    assert rows(
        spec, "article_sources", "msgid", "scene_desc", "scene_desc_label", "read_user"
    ) == [
        ("7_1", "新", "", "2"),
        ("7_1", "朋友圈", "Moments", "1"),
        ("7_2", "新", "", "2"),
        ("7_2", "朋友圈", "Moments", "1"),
    ]


@pytest.mark.parametrize("target", FLAT[:-1])
def test_a_row_has_the_time_of_the_newest_of_its_parts(target: str, tmp_path: Path) -> None:
    spec, early, late = target.format(tmp_path), "2026-02-01T09:00:00Z", "2026-02-02T08:00:00Z"
    sink = harvest(
        window("getarticleread", read("7_1", 10), read("7_2", 20), at=early),
        window("getarticleshare", {"msgid": "7_2"}, {"msgid": "7_3"}, {"msgid": None}, at=late),
        window("getarticlesummary", {"msgid": "7_3"}, at=early),
    )
    do(sink, spec)
    names = ("msgid", "_fetched_at")
    first, second = "2026-02-01 09:00:00", "2026-02-02 08:00:00"
    assert [(row[0], row[1][:19]) for row in rows(spec, "article_days", *names)] == [
        ("", second), ("7_1", first), ("7_2", second), ("7_3", second),
    ]  # fmt: skip
    for table in ("article_sources", "getarticleread_detail_read_user_source"):
        assert {row[1][:19] for row in rows(spec, table, *names)} == {first}
    harvest(window("getarticleread", read("7_1", 11), at=late), sink=sink)
    do(sink, spec)
    assert {row[1][:19] for row in rows(spec, "article_days", *names)} == {second}


@pytest.mark.thorough
def test_an_account_in_several_chunks_is_joined_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "ROWS", 2 << 3)  # the records have one list
    days = [date(2026, 1, n) for n in range(1, 6)]
    made = [
        window(name, record, day=day, appid=appid)
        for n, day in enumerate(days)
        for appid in ("wx2", "wx1")
        for name, record in (
            ("getarticleread", read("7_1", n)),
            ("getarticleshare", {"msgid": "7_1", "detail": {"share_user": n}}),
        )
    ]
    sink = harvest(*made)
    spec = f"duckdb:{tmp_path}/d"
    do(sink, spec)
    assert rows(spec, "article_days", "_appid", "ref_date", "read_user", "share_user") == [
        (appid, str(day), str(n), str(n)) for appid in ("wx1", "wx2") for n, day in enumerate(days)
    ]


def test_an_interface_that_is_exported_alone_brings_whole_tables(tmp_path: Path) -> None:
    spec = f"csv:{tmp_path}/c"
    sink = harvest(
        window("getarticleread", read("7_1", 10)),
        window("getarticleshare", {"msgid": "7_1", "detail": {"share_user": 9}}),
        window("getusersummary", {"user_source": 0, "new_user": 1}),
    )
    do(sink, spec, "getarticleread")
    found = tables(spec)
    assert {*found} == {"getarticleread", "getarticleread_detail_read_user_source", "article_days",
                        "article_sources"}  # fmt: skip
    assert rows(spec, "article_days", "read_user", "share_user") == [("10", "9")]
    assert equal(sink, spec, "getarticleread")
    assert equal(sink, spec)  # it judges what the target holds
    do(sink, spec)
    assert equal(sink, spec)
    assert {"followers_by_source", "getarticleshare"} < {*tables(spec)}


@pytest.mark.thorough
def test_a_table_goes_with_the_last_month_of_its_interfaces(tmp_path: Path) -> None:
    spec = f"duckdb:{tmp_path}/d"
    do(harvest(window("getarticleread", read("7_1", 10))), spec)
    done = do(harvest(window("getusersummary", {"user_source": 0})), spec)
    assert {*tables(spec)} == {"getusersummary", "followers_by_source"}
    assert (done.written, done.removed, done.rows) == (1, 1, 1)


def test_read_gives_them_in_the_order_of_account_and_day(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(source, "ROWS", 2 << 3)
    made = [
        window(name, record, day=date(2026, month, 3), appid=appid)
        for month in (1, 2, 3)
        for appid in ("wx2", "wx1")
        for name, record in (
            ("getarticleread", read("7_1", month)),
            ("getarticleshare", {"msgid": "7_1", "detail": {"share_user": 2 * month}}),
            ("getarticletotal", {"msgid": "7_1", "title": "old", "details": []}),
        )
    ]
    sink = harvest(*made)

    def found(**how: Any) -> list[tuple[Any, ...]]:
        stored = harvester.read(sink, "article_days", **how)
        names = ["_appid", "ref_date", "read_user", "share_user"]
        listed = stored.read_all().select(names).to_pylist()
        return [(row["_appid"], row["ref_date"].month, *list(row.values())[2:]) for row in listed]

    months = [(month, month, 2 * month) for month in (1, 2, 3)]
    assert found() == [(appid, *each) for appid in ("wx1", "wx2") for each in months]
    assert found(appids="wx2", start="2026-02-01", end="2026-02-28") == [("wx2", 2, 2, 4)]
    assert found(appids="wx3") == []
    both = harvester.read(sink, ["article_days", "getarticleread"])
    assert [*both] == ["getarticleread", "article_days"]
    assert both["article_days"].read_all().num_rows == 6
    flat = harvester.read(sink, "articles", shape="flat")
    assert {"article_days", "article_totals", "getarticleread"} < {*flat}
    assert {*flat["articles"].read_all()["title"].to_pylist()} == {"old"}  # of a retired interface
    assert [*harvester.read(sink, "article_days", shape="flat")] == ["article_days"]


LABELS = {
    "": ("search", "user_source_label"),
    "?lang=zh": ("搜索公众号", "user_source_label"),
    "?header=zh": ("搜索公众号", "渠道名称"),
    "?header=zh&lang=en": ("search", "渠道名称"),
}


@pytest.mark.parametrize("options", LABELS)
def test_a_code_has_its_label_beside_it(options: str, tmp_path: Path) -> None:
    spec = f"csv:{tmp_path}/c{options}"
    records = [{"user_source": source, "new_user": 1} for source in (1, 12345, None)]
    do(harvest(window("getusersummary", *records)), spec)
    label, title = LABELS[options]
    [row, unknown, missing] = tables(spec)["getusersummary"]
    names = [*row]
    assert names.index(title) == names.index("渠道" if "header" in options else "user_source") + 1
    assert (row[title], unknown[title], missing[title]) == (label, "", "")


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_a_code_that_another_field_decides_has_its_label(lang: str, tmp_path: Path) -> None:
    name, spec = "getweanalysisappidvisitdistribution", f"csv:{tmp_path}/c?lang={lang}"
    indexes = [*PARTS, "new", None]
    items = [{"key": key, "value": 1} for key in (1, 7, 57, 58, None)]
    lists = [{"index": index, "item_list": items} for index in indexes]
    do(harvest(window(name, {"ref_date": "20260101", "list": lists})), spec)
    rows = tables(spec)[f"{name}_list_item_list"]
    labels = {
        (index, str(code.value)): getattr(code, lang)
        for index, codes in PARTS.items()
        for code in codes
    }
    assert len(rows) == len(indexes) * len(items)
    for row in rows:
        assert row["key_label"] == labels.get((row["index"], row["key"]), "")
    assert len({row["key_label"] for row in rows}) == 3 + 2 + 2 + 1


def test_another_language_of_labels_is_another_table(tmp_path: Path) -> None:
    sink = harvest(window("getusersummary", {"user_source": 1}))
    do(sink, f"parquet:{tmp_path}/p")
    assert equal(sink, f"parquet:{tmp_path}/p?lang=en")
    assert not equal(sink, f"parquet:{tmp_path}/p?lang=zh")
    assert do(sink, f"parquet:{tmp_path}/p?lang=zh").written == 1
    assert [
        row["user_source_label"] for row in tables(f"parquet:{tmp_path}/p")["getusersummary"]
    ] == ["搜索公众号"]


def test_columns_have_comments_in_both_languages(tmp_path: Path) -> None:
    sink = harvest(window("getusersummary", {"user_source": 1}))
    do(sink, f"parquet:{tmp_path}/p?shape=flat")
    do(sink, f"duckdb:{tmp_path}/d")
    text = (
        "新增关注人数；公众平台：新关注人数"
        " · people who followed the account; in WeChat's console: 新关注人数"
    )
    for table in ("getusersummary", "followers_by_source"):
        schema = pq.read_schema(tmp_path / "p" / table / "2026-01.parquet")
        assert schema.field("new_user").metadata[b"comment"].decode() == text
        with duckdb.connect(f"{tmp_path}/d", read_only=True) as database:
            found = database.execute(
                "SELECT comment FROM duckdb_columns()"
                " WHERE table_name = ? AND column_name = 'new_user'",
                [table],
            )
            assert found.fetchall() == [(text,)]
