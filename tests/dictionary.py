"""The data dictionary: ``python -m tests.dictionary > docs/tables.md``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from harvester.exports.base import TableShape
from harvester.exports.equal import in_workbook
from harvester.exports.joined import JoinedShape
from harvester.exports.listed import COVERAGE, AccountsShape, CoverageShape, ListedShape
from harvester.exports.shapes import FLAT, Shape
from harvester.ledger.reach import STATES
from harvester.tables import ACCOUNTS, KEY, NO_FIGURE, PAIRS, TABLES, JoinedTable
from harvester.wechat import labels
from harvester.wechat.endpoint import JsonEndpoint
from harvester.wechat.interfaces import INTERFACES
from tests.questions import page

TYPES = {
    "date32[day]": "date",
    "int64": "int",
    "int32": "int",
    "double": "float",
    "string": "text",
    "timestamp[us, tz=UTC]": "time (UTC)",
}
HEAD = """# 数据字典 · Tables

<!-- Generated: python -m tests.dictionary > docs/tables.md -->

{questions}
## 各表 · All tables

扁平导出（`?shape=flat`，DuckDB、CSV、XLSX 的默认形状）的所有表；前六张在数据库中是视图。
嵌套导出和数据库里每个接口一张表，字段名相同，列表留在行内。数据库没有 `accounts` 和 `coverage`。

These are all tables of flat exports (`?shape=flat`, the default of DuckDB, CSV and XLSX). In
databases the first six tables are views. Nested exports and databases have one table for each
interface, with the same column names; lists stay within the rows. Databases do not have the tables
`accounts` and `coverage`.

- 先看这几张 / Begin with: {joined}.
- 每张表都有 `_appid` 和 `_begin_date`（该请求的第一天）。`msgid` 只在一个公众号内唯一：文章按
  `USING (_appid, msgid)` 关联，主表是 `articles`。文章链接里的 `mid` 和 `idx` 就是 `msgid` 的两
  部分。`getarticleread`、`getarticleshare` 只有 `msgid`，没有标题；2025-11 以前发布的文章，只有采集
  过已下线的 `getarticletotal` 才在 `articles` 里。
- Each table has `_appid` and `_begin_date` (the first day of the request). A `msgid` is unique only
  within an account. To join articles, write `USING (_appid, msgid)`, with `articles` as the main
  table. The `mid` and `idx` in an article's link are the parts of `msgid`. `getarticleread` and
  `getarticleshare` have a `msgid` but no title. An article that was published before November 2025
  is in `articles` only if the retired interface `getarticletotal` was harvested. The lists of
  drafts and of `freepublish` share no key with these tables, except the two parts of the link.
- 主键各列唯一，从不为空；例外：没有任何结算时 `publisher_settlement` 只有一行合计，`month` 和
  `order` 为空；微信也可能返回同键的几条记录，或缺少键的记录。接口表的 `_appid`、`_begin_date`、
  `_row` 没有例外。除 `accounts` 和 `coverage` 外每张表都有 `_fetched_at`，按它和主键增量加载：
  [exports.md](zh/exports.md)。
- A key is unique, and its columns are never empty. There are two exceptions. While nothing is
  settled, `publisher_settlement` has one row of sums, without `month` and `order`. And WeChat can
  return several records with the same key, or a record without its key. In the table of an
  interface, the key `_appid`, `_begin_date` and `_row` has no exceptions. All tables except
  `accounts` and `coverage` have `_fetched_at`: use it and the key to load increments
  ([exports.md](exports.md#increments)).
- 数值一列是该值覆盖的时段。**累计**是从开始到当天的总数，取最后一行，不能相加；**期末**是当天结束时
  的存量。含义里写明什么不能相加：人数在一天、一个渠道内去重，跨日或跨渠道相加会重复计人。
- The column *figure* says which time a value covers. **total** is a running total: take the last
  row, do not sum. **level** is the value at the end of the day. The meaning says what must not be
  summed: each person is counted once per day and channel, so a sum over days or channels counts
  some people several times.
- `article_sources` 不含来源“全部”：全部读者是 `article_days` 的 `read_user`。同一读者可有多个来源，
  各来源相加会超过它。
- `article_sources` has no row for the source 全部 (all): the number of all readers is `read_user`
  of `article_days`. One reader can arrive through several sources, so the sum of the sources is
  larger.
- 值的类型与列不同时为空，原值在 `_extra` 里；各数据库、导出和 `harvester.read` 都一样。应为文本的键
  如果是整数 (`msgid`)，在列表和联表中按文本读取。联表中缺少键的记录各成一行，同键的几条记录也各成
  一行，所以合计不会丢失；只有 `articles` 是一篇文章一行。
- If the type of a value is not the type of its column, the column is null, and `_extra` has the
  value. This is the same in databases, in exports and in `harvester.read`. If a key that should be
  text (`msgid`) is a whole number, lists and joined tables read it as text. In a joined table, each
  record without a key has a row of its own, and so has each further record with the same key. So no
  figure is lost. Only `articles` always has one row for each article.
- `…_label` 是编码的名称，语言由 `?lang=zh|en` 决定；数据库视图中是 `…_zh` 和 `…_en`。微信会不加
  通知地增加编码，未知编码没有名称。
- `…_label` is the label of a code, in the language of `?lang=zh|en`. Views in databases have `…_zh`
  and `…_en` instead. WeChat adds codes without notice; an unknown code has no label.
- 空值不是 0：接口没有返回这个字段，或没有返回这一行。只有 `getarticleshare` 的页面写明何时没有行：
  当天没有文章的数据变化，列表就为空；同一处也写明数据可能延迟。其他页面没有说明（已下线的接口不返回
  合计不足 3 的文章）。数据库视图不知道哪一天已是终值，而视图、导出和 `harvester.read` 的值都相同，
  所以联表中缺少的一方为空；对表 `coverage` 中为终值的日子可以写 `COALESCE(share_user, 0)`：
  问题 11。
- An empty value is not 0: the interface did not return the field or the row. Only WeChat's page
  about `getarticleshare` says when there is no row: when no figure of an article changed on that
  day. The same page says that figures can be late. The other pages do not say when there is no row
  (retired interfaces left out articles with a total below 3). A view in a database does not know
  which days are final, and views, exports and `harvester.read` must have the same values. So if an
  interface has no value for a row of a joined table, the value is empty. For days that are final in
  the table `coverage` you can write `COALESCE(share_user, 0)`: see question 11.
- `articles` 里没有采集范围之前发布的文章：用 `LEFT JOIN` 关联才不会丢掉它们的数值。
- `articles` does not have articles that were published before the harvested days: use `LEFT JOIN`
  to keep their figures.

### 标题 · Titles

- 2025-11-01 起发布的：`getarticletotaldetail`。
- Published since 2025-11-01: `getarticletotaldetail`.
- 2021-12 至 2025-10：不通知粉丝的发布在列表 `freepublish/batchget` 里；群发的没有官方来源。
- Articles published from December 2021 to October 2025: those that were published without a
  notification to followers are in the list `freepublish/batchget`; mass-sent articles have no
  official source.
- 2021-11 及以前：永久素材列表 `material/batchget_material`，如果素材没有删除。素材链接里的 `mid`
  是否就是群发后的 `mid`，不确定。
- Articles published until November 2021: the titles are in the list of permanent materials,
  `material/batchget_material`, unless the material was deleted. It is not known whether the `mid`
  in the link of the material is the `mid` of the message.
- 在微信下线之前采集过 `getarticletotal` 或 `getarticlesummary` 的日子，标题已在库中。
- If `getarticletotal` or `getarticlesummary` was harvested before WeChat took these interfaces
  offline, the titles of the harvested days are stored.
- 两个列表不是统计接口：[article_lists.py](../examples/article_lists.py) 把它们写成自己的接口。
  `harvester report` 写明有阅读数据的文章中多少篇有标题。
- The two lists are not statistics interfaces: [article_lists.py](../examples/article_lists.py)
  defines them as interfaces of its own. `harvester report` says how many of the articles with
  readers have a title.
"""


def main() -> None:
    print(dictionary(), end="")


def dictionary() -> str:
    """The page."""
    shapes = {name: Shape(name, each, FLAT) for name, each in INTERFACES.items()}
    joined = {name: JoinedShape(table, shapes, "en") for name, table in TABLES.items()}
    covering = CoverageShape((), "en")
    every = (*joined.values(), covering, *shapes.values())
    flat = [table for each in every for table in each.tables]
    questions = page({table.name: table.schema.names for table in map(in_workbook, flat)})
    names = ", ".join(f"[`{name}`](#{name})" for name in TABLES)
    parts = [HEAD.format(questions=questions, joined=names)]
    for name, shape in joined.items():
        parts.append(_joined(name, shape))
    parts += [_accounts(), _coverage(covering), _pairs()]
    for name, shape in shapes.items():
        parts.append(_interface(INTERFACES[name], shape))
    return "\n".join(parts)


def _joined(name: str, shape: JoinedShape) -> str:
    table = TABLES[name]
    sources = ", ".join(f"`{each}`" for each in table.interfaces)
    lines = [
        f"## {name}",
        "",
        f"{table.title.zh} / {table.title.en}.",
        f"来源接口 / made from {sources}. 主键 / key: `_appid`, {_named(table.key)}.",
        f"{_finals([INTERFACES[each] for each in table.interfaces])}",
        "",
        *_rows(shape.tables[0]),
    ]
    return "\n".join([*lines, ""])


def _accounts() -> str:
    return _listed(
        ACCOUNTS,
        AccountsShape(()),
        "仅在导出时给出账号 (`export --accounts FILE`) 才有；名称不在已入库的数据里。",
        "This table exists only if the export has `--accounts FILE`; stored records have no names.",
    )


def _coverage(shape: ListedShape) -> str:
    states = "; ".join(f"`{each.name}` {each.zh} / {each.en}" for each in STATES)
    return _listed(
        COVERAGE,
        shape,
        "每个账号每个接口的日期，连续而状态相同的为一行；取自台账，没有台账就没有这张表。",
        "The days of each interface of each account: one row for each series of days with the"
        " same state. The table is made from the ledger; without a ledger it does not exist.",
        f"{states}.",
    )


def _listed(table: JoinedTable, shape: ListedShape, *texts: str) -> str:
    lines = [
        f"## {table.name}",
        "",
        f"{table.title.zh} / {table.title.en}.",
        *texts,
        f"主键 / key: {_named(('_appid', *table.key))}.",
        "",
        *_rows(shape.tables[0]),
    ]
    return "\n".join([*lines, ""])


def _pairs() -> str:
    lines = [
        "## 不可直接比较 / Figures that must not be compared",
        "",
        "| 数值 / figure | 数值 / figure | 原因 | why |",
        "| --- | --- | --- | --- |",
    ]
    for pair in PAIRS:
        one, other = (".".join(each) for each in (pair.one, pair.other))
        lines.append(f"| `{one}` | `{other}` | {pair.why.zh} | {pair.why.en} |")
    return "\n".join([*lines, ""])


def _interface(endpoint: JsonEndpoint, shape: Shape) -> str:
    retired = " 已下线 / retired." if endpoint.retired else ""
    lines = [
        f"## {endpoint.name}",
        "",
        f"{endpoint.label} / {endpoint.title}.{retired}",
        f"主键 / key: `_appid`, {_named(_key(endpoint, shape))}. {_finals([endpoint])}",
        "",
    ]
    for table in shape.tables:
        if table.name != endpoint.name:
            lines += [
                f"### {table.name}",
                "",
                f"主键 / key: {_named((*KEY, *_numbers(table)))}.",
                "",
            ]
        lines += [*_rows(table), "", *_lists(table)]
    return "\n".join(lines)


def _key(endpoint: JsonEndpoint, shape: Shape) -> list[str]:
    """The columns that identify a record: of a field within an object that of its path."""
    names = {".".join(column.path): column.name for column in shape.tables[0].columns}
    return [names.get(each, each) for each in endpoint.key]


def _numbers(table: TableShape) -> list[str]:
    """The columns with the numbers of an item."""
    return [column.name for column in table.columns if column.is_number]


def _lists(table: TableShape) -> Iterator[str]:
    """The labels of codes that another column decides."""
    for column in table.columns:
        if column.field.codes_by:
            for codes, names in labels.listed(column.field.codes).items():
                each = "; ".join(f"{code.value} = {code.zh} / {code.en}" for code in codes)
                yield f"- `{column.name}` ({', '.join(names)}): {each}."
            yield ""


def _named(key: Iterable[str]) -> str:
    return ", ".join(f"`{each}`" for each in key)


def _finals(endpoints: list[JsonEndpoint]) -> str:
    """When figures become final."""
    late = {each.late_days for each in endpoints}
    hours = sorted({each.settled_hour for each in endpoints})
    hour = f"{hours[-1]:02}:00"
    if late == {0}:
        return f"终值 / final: 次日 {hour} 起 / from {hour} in China on the next day."
    days = " / ".join(
        f"`{each.name}` {each.late_days or 1}" if len(endpoints) > 1 else f"{each.late_days}"
        for each in endpoints
    )
    return f"终值：以下天数后 / final after this number of days: {days}."


def _rows(table: TableShape) -> Iterator[str]:
    yield "| 列 / column | 类型 / type | 单位 / unit | 数值 / figure | 中文 | English |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for field, column in zip(table.schema, table.columns, strict=True):
        figure = column.figure or NO_FIGURE
        unit, covers = (" / ".join(filter(None, each)) for each in (figure.unit, figure.covers))
        name, kind, (zh, en) = column.name, TYPES[str(field.type)], column.meaning
        yield f"| `{name}` | {kind} | {unit} | {covers} | {zh} | {en} |"


if __name__ == "__main__":
    main()
