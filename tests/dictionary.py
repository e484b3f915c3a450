"""The data dictionary: ``python -m tests.dictionary > docs/tables.md``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from harvester.base.dates import WindowKind
from harvester.exports.base import TableShape
from harvester.exports.joined import JoinedShape
from harvester.exports.shapes import FLAT, LABEL, Shape
from harvester.model import Field
from harvester.sinks.rows import EXTRA, METADATA, ROW
from harvester.wechat.endpoint import JsonEndpoint
from harvester.wechat.interfaces import INTERFACES
from harvester.wechat.tables import TABLES
from harvester.wechat.titles import FIELDS, UNITS

LEVELS = ("cumulate_user", "visit_total")
"""Figures that are a level at the end of the day."""
PERIODS = {
    WindowKind.WEEK: "周 / week",
    WindowKind.MONTH: "月 / month",
    WindowKind.RECENT: "所请求的天数 / the days asked for",
}
TYPES = {
    "date32[day]": "date",
    "int64": "int",
    "int32": "int",
    "double": "float",
    "string": "text",
    "timestamp[us, tz=UTC]": "time (UTC)",
}
ALWAYS = {field.name: field for field in (*METADATA, ROW, EXTRA)}
HEAD = """# 数据字典 · Tables

<!-- Generated: python -m tests.dictionary > docs/tables.md -->

扁平导出（`?shape=flat`，DuckDB、CSV、XLSX 的默认形状）的所有表；前六张在数据库中是视图。
嵌套导出和数据库里每个接口一张表，字段名相同，列表留在行内。

All tables of flat exports (`?shape=flat`, the default of DuckDB, CSV and XLSX). The first six are
views in databases. Nested exports and databases have one table an interface, with the same names;
lists stay within the rows.

- 先看这几张 / Begin with: {joined}.
- 每张表都有 `_appid` 和 `_begin_date`（该请求的第一天）。文章用 `_appid` 加 `msgid` 关联，主表是
  `articles`。文章链接里的 `mid` 和 `idx` 就是 `msgid` 的两部分。`getarticleread`、
  `getarticleshare` 只有 `msgid`，没有标题；2025-11 以前发布的文章，只有采集过已下线的
  `getarticletotal` 才在 `articles` 里。
- Each table has `_appid` and `_begin_date` (the first day of the request). Articles are joined by
  `_appid` and `msgid`; `articles` is the table to join on. `mid` and `idx` in an article's link
  are the parts of `msgid`. `getarticleread` and `getarticleshare` have a `msgid` and no title. An
  article that was published before November 2025 is in `articles` only if the retired
  `getarticletotal` was harvested. Drafts and freepublish lists share no key with these tables but
  the two parts of the link.
- 数值：**日**是当天的值；人数在一天、一个渠道内去重，跨日或跨渠道相加会重复计人。**累计**是截至
  当天的总数，不能相加，取最后一行。
- Figures: **day** is of that day alone; people are counted once a day and channel, so a sum over
  days or channels counts some of them twice. **total** is a running total: never add these up,
  take the last row.
- `…_label` 是编码的名称，语言由 `?lang=zh|en` 决定；数据库视图中是 `…_zh` 和 `…_en`。微信会不加
  通知地增加编码，未知编码没有名称。
- `…_label` is the label of a code, in the language of `?lang=zh|en`; views in databases have
  `…_zh` and `…_en`. WeChat adds codes without notice; an unknown one has no label.
- 空值不是 0：接口没有返回这个字段。An empty value is not 0: the interface did not return the field.
"""


def main() -> None:
    print(dictionary(), end="")


def dictionary() -> str:
    """The page."""
    shapes = {name: Shape(name, each, FLAT) for name, each in INTERFACES.items()}
    joined = {name: JoinedShape(table, shapes, "en") for name, table in TABLES.items()}
    parts = [HEAD.format(joined=", ".join(f"[`{name}`](#{name})" for name in TABLES))]
    for name, shape in joined.items():
        parts.append(_joined(name, shape))
    for name, shape in shapes.items():
        parts.append(_interface(INTERFACES[name], shape))
    return "\n".join(parts)


def _joined(name: str, shape: JoinedShape) -> str:
    table = TABLES[name]
    fields = {field.name: field for field in table.columns}
    sources = ", ".join(f"`{each}`" for each in table.interfaces)
    lines = [
        f"## {name}",
        "",
        f"{table.title.zh} / {table.title.en}.",
        f"来源 / from {sources}. 主键 / key: `_appid`, {_named(table.key)}.",
        f"{_finals([INTERFACES[each] for each in table.interfaces])}",
        "",
        *_rows(shape.tables[0], fields, "累计 / total" if name == "article_totals" else "日 / day"),
    ]
    return "\n".join([*lines, ""])


def _interface(endpoint: JsonEndpoint, shape: Shape) -> str:
    retired = " 已下线 / retired." if endpoint.retired else ""
    lines = [
        f"## {endpoint.name}",
        "",
        f"{endpoint.label} / {endpoint.title}.{retired}",
        f"主键 / key: `_appid`, {_named(endpoint.key)}. {_finals([endpoint])}",
        "",
    ]
    for table in shape.tables:
        fields = shape.fields_of(table.name)
        if table.name != endpoint.name:
            lines += [
                f"### {table.name}",
                "",
                "主键 / key: `_appid`, `_begin_date`, `_row`, `_item…`.",
                "",
            ]
        figures = "累计 / total" if "stat_date" in fields or _within_totals(shape, table) else ""
        lines += [*_rows(table, fields, figures or _period(endpoint)), ""]
    return "\n".join(lines)


def _within_totals(shape: Shape, table: TableShape) -> bool:
    """Whether a list is within one of running totals."""
    return any(
        table.name.startswith(f"{each.name}_") and "stat_date" in shape.fields_of(each.name)
        for each in shape.tables
    )


def _period(endpoint: JsonEndpoint) -> str:
    return PERIODS.get(endpoint.cut, "日 / day")


def _named(key: tuple[str, ...]) -> str:
    return ", ".join(f"`{each}`" for each in key)


def _finals(endpoints: list[JsonEndpoint]) -> str:
    """When figures become final."""
    late = {each.late_days for each in endpoints}
    hours = sorted({each.settled_hour for each in endpoints})
    hour = f"{hours[-1]:02}:00"
    if late == {0}:
        return f"终值 / final: 次日 {hour} 起 / from {hour} in China on the day after."
    days = " / ".join(
        f"`{each.name}` {each.late_days or 1}" if len(endpoints) > 1 else f"{each.late_days}"
        for each in endpoints
    )
    return f"终值 / final: 若干天后 / after this number of days: {days}."


def _rows(table: TableShape, fields: Mapping[str, Field], figures: str) -> Iterator[str]:
    yield "| 列 / column | 类型 / type | 单位 / unit | 数值 / figure | 中文 | English |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for column in table.schema:
        yield _row(column, fields, figures)


def _row(column: object, fields: Mapping[str, Field], figures: str) -> str:
    name, kind = column.name, TYPES[str(column.type)]  # type: ignore[attr-defined]
    field = fields.get(name, ALWAYS.get(name))
    of = fields.get(name.removesuffix(LABEL))
    unit = UNITS.get(field.name) if field is not None and field.type in ("int", "float") else None
    if unit is None and field is not None and field.type in ("int", "float") and name == "value":
        unit = UNITS["read_user"] if "people" in field.meaning else None
    figure = ""
    if unit is not None:
        figure = "累计 / total" if field is not None and field.name in LEVELS else figures
    if field is not None:
        zh, en = field.label or FIELDS[field.name].zh, field.meaning
    elif of is not None and name.endswith(LABEL):
        zh, en = f"{of.label}名称", f"the label of `{of.name}`"
    else:
        zh, en = FIELDS[name].zh, FIELDS[name].en
    units = f"{unit.zh} / {unit.en}" if unit is not None else ""
    return f"| `{name}` | {kind} | {units} | {figure} | {zh} | {en} |".replace("\n", " ")


if __name__ == "__main__":
    main()
