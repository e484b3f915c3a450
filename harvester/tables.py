"""The tables of a harvest, each defined once: those of interfaces, and those that join interfaces.

Rule: data, and how it is read; nothing of a database or of a file.

An interface has its own table, in which an object within a record becomes columns
(``detail_read_user``), and one for each list, ``<interface>_<list>``, with one row per item.

`articles` is the list to join on: one row per article.  WeChat's interfaces share no other key than
``msgid``, the id of the message and the 1-based place of the article in it; both parts are also in
the article's link, as ``mid`` and ``idx``.  getarticletotaldetail is the only interface that lists
all articles that were sent (WeChat's staff, March 2026); the retired getarticletotal does so for
the years before.  An article of which only daily figures were harvested is in ``article_days``
alone: nothing there names the day on which it was published.

Two generations of interfaces overlap from November 2025 on.  A row of a table has for each column
the value of the first of its parts that has one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from harvester.base.dates import WindowKind
from harvester.model import Endpoint, Field
from harvester.wechat import labels
from harvester.wechat.figures import (
    CONSOLE_DAYS,
    DAY,
    FIGURES,
    NO_TITLE,
    SNAPSHOT,
    SOME_PEOPLE,
    SUM,
    TOTAL,
    Facts,
)
from harvester.wechat.interfaces import INTERFACES as _BUILT_IN
from harvester.wechat.titles import INTERFACES, Title, field_title

Path = tuple[str, ...]

KEY = ("_appid", "_begin_date", "_row")
"""What begins each row of a list: the key of its record."""
ITEM = "_item"
SCALARS = ("int", "float", "str", "bool", "date")
_RESERVED = (*KEY, "_endpoint", "_end_date", "_fetched_at", "_extra", "_checksum")


_KINDS = {DAY: NO_TITLE, TOTAL: Title("累计：", "total: "), SNAPSHOT: Title("期末：", "level: ")}
_OF_KIND = {
    TOTAL: Title("累计值，取最后一行，不能相加", "running total: take the last row, do not sum"),
    SNAPSHOT: Title(
        "期末值，取最后一天，跨日不能相加",
        "level at the end of the day: take the last day, do not sum over days",
    ),
}
_WITH_ALL = ("getuserread", "getuserreadhour")
"""Interfaces with a row of all channels together."""
_OF_ALL_CHANNELS = Title(
    "渠道 99999999 是全部，不能与其他渠道相加",
    "channel 99999999 is all channels together: do not add it to the others",
)
_SINCE = {"getarticletotal": 7, "getarticletotaldetail": 30}
"""Interfaces whose lists have running totals, and the days from publishing that they cover."""
_THAT_DAY, _THAT_HOUR = Title("当天", "that day"), Title("当小时", "that hour")
_WINDOWS = {
    WindowKind.WEEK: Title("当周", "that week"),
    WindowKind.MONTH: Title("当月", "that month"),
    WindowKind.RECENT: Title("所请求的时段", "the requested days"),
}
_FROM_THE_BEGINNING = Title("开通起至当日", "from the beginning to that day")
_FIRST_DAYS = Title("当天 (仅发布后 7 天内)", "that day, only in the first 7 days of an article")
_PEOPLE = (
    "visit_uv_new",
    "visit_uv",
    "province",
    "city",
    "genders",
    "platforms",
    "devices",
    "ages",
)
"""Lists whose ``value`` is a number of people."""


class Figure(NamedTuple):
    """What a number means.

    kind: one of the above.  window: the time that it covers.  never: what must not be done with it;
    empty if it may be summed.  of: the denominator of a ratio or a mean.  console: its name in
    WeChat's console, if that is known, and what is other there.
    """

    kind: str
    window: Title
    unit: Title
    never: Title = NO_TITLE
    of: Title = NO_TITLE
    console: Title = NO_TITLE

    @property
    def covers(self) -> Title:
        return _after(_KINDS[self.kind], self.window)


NO_FIGURE = Figure(DAY, NO_TITLE, NO_TITLE)
_AMOUNTS = ("value", "metric_value", "days")
"""Fields that say how many, of more than one kind: they have no unit."""


class Pair(NamedTuple):
    """Two figures, each a table and a column, that differ although both are right; why they do."""

    one: tuple[str, str]
    other: tuple[str, str]
    why: Title


_OF_ARTICLES = Title(
    "一人看多篇文章，在账号里只计一次：各文章之和更大",
    "the account counts each person once: the sum of its articles is larger",
)
_OF_DAYS = Title(
    "一人出现在多天，在累计里只计一次：各日之和更大",
    "the total counts each person once: the sum of the days is larger",
)
_OF_PERIOD = Title(
    "一人出现在多个时段，在整段里只计一次：各段之和更大",
    "the longer period counts each person once: the sum of its parts is larger",
)
_OF_7_DAYS = Title(
    "已下线的接口只有文章发布后 7 天的数据",
    "the retired interface covers only the first 7 days of an article",
)
_OF_30_DAYS = Title("一个累计 30 天，另一个累计 7 天", "one total covers 30 days, the other 7 days")
_DETAIL, _DETAILS = "getarticletotaldetail_detail_list", "getarticletotal_details"
_VISITS = "getweanalysisappid{}visittrend"

PAIRS = (
    Pair(("article_days", "read_user"), ("getbizsummary", "detail_read_user"), _OF_ARTICLES),
    Pair(("article_days", "share_user"), ("getbizsummary", "detail_share_user"), _OF_ARTICLES),
    Pair(("article_days", "read_user"), ("article_totals", "read_user"), _OF_DAYS),
    Pair(("article_days", "share_user"), ("article_totals", "share_user"), _OF_DAYS),
    Pair(
        ("article_days", "read_user"),
        ("article_sources", "read_user"),
        Title(
            "一人可经多个来源阅读：各来源之和更大",
            "one reader can have several sources: the sum of the sources is larger",
        ),
    ),
    Pair(
        ("getarticleread", "detail_read_user"),
        ("getarticlesummary", "int_page_read_user"),
        _OF_7_DAYS,
    ),
    Pair(("getarticleshare", "detail_share_user"), ("getarticlesummary", "share_user"), _OF_7_DAYS),
    Pair((_DETAIL, "read_user"), (_DETAILS, "int_page_read_user"), _OF_30_DAYS),
    Pair((_DETAIL, "share_user"), (_DETAILS, "share_user"), _OF_30_DAYS),
    Pair(
        (_DETAILS, "int_page_read_user"),
        ("getuserread", "int_page_read_user"),
        Title(
            "微信的文章数据与账号数据口径不同，对不上",
            "WeChat counts articles and accounts differently: the figures do not match",
        ),
    ),
    Pair(("getupstreammsghour", "msg_user"), ("getupstreammsg", "msg_user"), _OF_PERIOD),
    Pair(("messages_by_hour", "msg_user"), ("getupstreammsg", "msg_user"), _OF_PERIOD),
    Pair(("getupstreammsg", "msg_user"), ("getupstreammsgweek", "msg_user"), _OF_PERIOD),
    Pair(("getupstreammsg", "msg_user"), ("getupstreammsgmonth", "msg_user"), _OF_PERIOD),
    *[
        Pair((_VISITS.format("daily"), "visit_uv"), (_VISITS.format(each), "visit_uv"), _OF_PERIOD)
        for each in ("weekly", "monthly")
    ],
)


def _apart(table: str, column: str, *, is_nested: bool = False) -> Title:
    """What a column must not be compared with; is_nested: and what the figures within it."""
    found: dict[tuple[str, Title], list[str]] = {}
    for one, other, why in [*PAIRS, *[Pair(each.other, each.one, each.why) for each in PAIRS]]:
        begin, name = f"{table}_{column}_", "_".join(one)
        if one == (table, column):
            found.setdefault(("", why), []).append(".".join(other))
        elif is_nested and name.startswith(begin):
            within = f"{name.removeprefix(begin)}: "
            found.setdefault((within, why), []).append(".".join(other))
    texts = [(within + ", ".join(others), why) for (within, why), others in found.items()]
    return _sentence(*[Title(f"{each} ({why.zh})", f"{each} ({why.en})") for each, why in texts])


class Column(NamedTuple):
    """A column of a table.

    field: its type, its title in Chinese (label) and its meaning in English.  level: what has its
    value: 0 the record, n an item of the table's n-th list.  path: where in that; empty: the item
    itself.  is_number: it is the place of that item in its list, from 0.  figure: None if it is
    no figure.  apart: the figures that it must not be compared with, and why.  retired: the retired
    interfaces that alone fill it; none if another one does.
    """

    name: str
    field: Field
    level: int = 0
    path: Path = ()
    is_number: bool = False
    figure: Figure | None = None
    apart: Title = NO_TITLE
    retired: tuple[str, ...] = ()

    @property
    def is_amount(self) -> bool:
        """Whether a whole number there says how many: it is no code, no id and no place."""
        return self.figure is not None or self.field.name in _AMOUNTS

    @property
    def about(self) -> Title:
        figure = self.figure or NO_FIGURE
        return _sentence(Title(self.field.label, self.field.meaning), self._only, figure.never)

    @property
    def meaning(self) -> Title:
        figure = self.figure or NO_FIGURE
        return _sentence(
            Title(self.field.label, self.field.meaning),
            self._only,
            _after(Title("分母：", "denominator: "), figure.of),
            figure.never,
            _after(Title("公众平台：", "in WeChat's console: "), figure.console),
            _after(Title("不可比较：", "do not compare with: "), self.apart),
        )

    @property
    def _only(self) -> Title:
        names = ", ".join(self.retired)
        return _after(
            Title("仅由已下线的接口提供：", "only retired interfaces provide it: "),
            Title(names, names),
        )


def _after(begin: Title, text: Title) -> Title:
    return Title(begin.zh + text.zh, begin.en + text.en) if text.en else NO_TITLE


def _sentence(*parts: Title) -> Title:
    zh = "；".join(filter(None, [each.zh for each in parts]))
    return Title(zh, "; ".join(filter(None, [each.en for each in parts])))


class Table(NamedTuple):
    """A table of an interface.

    lists: the lists that its rows are items of, the outermost first, each by its path in what the
    one before has; none: its rows are the records.  columns: without `KEY`, and without what is
    beside the fields of a record.
    """

    name: str
    interface: str
    lists: tuple[Path, ...]
    columns: tuple[Column, ...]


def of_label(name: str, column: Title) -> Title:
    """What the column with the labels of a column of codes is."""
    return Title(f"{column.zh}名称", f"the label of {name}")


def tables_of(
    interface: str,
    fields: Sequence[Field],
    key: Sequence[str] = (),
    cut: WindowKind = WindowKind.DAYS,
) -> list[Table]:
    """The tables of an interface with these fields: its own, then those of its lists.

    key: the fields that identify a record; cut: of the interface.  A list has, before its fields,
    those of the key that are no object, and the days and codes of the items that it is within.
    Names differ from each other in more than the case of letters: most databases need that.
    """
    names = _Names(())
    own = [*_scalars(fields, (), 0)]
    key_columns = [Column(each.name, each, 0, (each.name,)) for each in fields if each.name in key]
    identifying = [each for each in key_columns if each.field.type in SCALARS]
    first = Table(names.add(interface), interface, (), _named(own, ()))
    found = [first, *_lists(names, first.name, interface, fields, (), identifying)]
    return [
        each._replace(
            columns=tuple(
                column._replace(
                    figure=_figure(interface, each.lists, column.field, cut),
                    apart=_apart(each.name, column.name),
                )
                for column in each.columns
            )
        )
        for each in found
    ]


class _Names:
    def __init__(self, taken: Iterable[str]) -> None:
        self._taken = {each.lower() for each in taken}

    def add(self, *wanted: str) -> str:
        """The first of these that is free, else the last one with a number."""
        numbered = (f"{wanted[-1]}_{n}" for n in range(2, len(self._taken) + 3))
        name = next(each for each in (*wanted, *numbered) if each.lower() not in self._taken)
        self._taken.add(name.lower())
        return name


def _lists(
    names: _Names,
    table: str,
    interface: str,
    fields: Sequence[Field],
    outer: tuple[Path, ...],
    beside: Sequence[Column],
) -> Iterator[Table]:
    """The tables of the lists within these fields; beside: what their rows have before `ITEM`."""
    for path, field in _lists_within(fields, ()):
        lists = (*outer, path)
        name = names.add("_".join([table, *path]))
        if field.item == "object":
            values = [*_scalars(field.fields, (), len(lists))]
        else:
            values = [Column("value", field._replace(type=field.item), len(lists))]
        if any(each.field.type in SCALARS for each in values):
            numbers = [
                Column(f"{ITEM}_{n}" if n > 1 else ITEM, _NUMBER, n, is_number=True)
                for n in range(1, len(lists) + 1)
            ]
            before = _named([*beside, *numbers], ())
            yield Table(name, interface, lists, (*before, *_named(values, before, path[-1])))
        known = [each for each in values if each.field.type == "date" or each.field.codes]
        known = [each for each in known if len(each.path) == 1]
        yield from _lists(names, name, interface, field.fields, lists, [*beside, *known])


_NUMBER = Field(
    "_item", "int", "the position of the item in its list, from 0", label=field_title("_item", "zh")
)


def _lists_within(fields: Iterable[Field], within: Path) -> Iterator[tuple[Path, Field]]:
    for field in fields:
        path = (*within, field.name)
        if field.type == "list":
            yield path, field
        elif field.type == "object":
            yield from _lists_within(field.fields, path)


def _scalars(fields: Iterable[Field], within: Path, level: int) -> Iterator[Column]:
    for field in fields:
        path = (*within, field.name)
        if field.type == "object":
            yield from _scalars(field.fields, path, level)
        elif field.type in SCALARS:
            yield Column("_".join(path), field, level, path)


def _named(
    columns: Iterable[Column], before: Sequence[Column], within: str = ""
) -> tuple[Column, ...]:
    """The columns with names that differ, also from those before; within: the list's name."""
    names = _Names([*_RESERVED, *[each.name for each in before]])
    return tuple(
        each._replace(name=names.add(each.name, *([f"{within}_{each.name}"] if within else ())))
        for each in columns
    )


def _figure(interface: str, lists: Sequence[Path], field: Field, cut: WindowKind) -> Figure | None:
    name = field.name
    facts = FIGURES.get(name)
    if name == "value" and lists and lists[-1][-1] in _PEOPLE:
        facts = SOME_PEOPLE
    if facts is None or field.type not in ("int", "float") or interface not in INTERFACES:
        return None
    kind, window = facts.kind, _WINDOWS.get(cut, _THAT_DAY)
    if lists and interface in _SINCE:
        kind, window = TOTAL, _since(interface)
    elif kind == TOTAL:
        window = _FROM_THE_BEGINNING
    elif interface == "getarticlesummary":
        window = _FIRST_DAYS
    elif interface.endswith("hour"):
        window = _THAT_HOUR
    return _figure_with(facts, kind, window, interface)


def _figure_with(facts: Facts, kind: str, window: Title, interface: str) -> Figure:
    never, console = _never(facts, kind, interface), _console(facts, kind, interface)
    return Figure(kind, window, facts.unit, never, facts.of, console)


def _console(facts: Facts, kind: str, interface: str) -> Title:
    known = facts.console_total if kind == TOTAL else facts.console
    if not known or kind != TOTAL or _SINCE[interface] == CONSOLE_DAYS:
        return Title(known, known)
    return Title(
        f"{known} (只计发布后 {CONSOLE_DAYS} 天)", f"{known} (only the first {CONSOLE_DAYS} days)"
    )


def _since(interface: str) -> Title:
    days = _SINCE[interface]
    return Title(f"发布起至当日 (最多 {days} 天)", f"from publication, up to {days} days")


def _never(facts: Facts, kind: str, interface: str) -> Title:
    if kind != DAY:
        return _OF_KIND[kind]
    return _OF_ALL_CHANNELS if facts.never == SUM and interface in _WITH_ALL else facts.never


def built_in(name: str) -> Endpoint | None:
    """The interface of the package that has a name."""
    return _BUILT_IN.get(name)


def views_of(endpoint: Endpoint) -> Iterator[str]:
    """The names of the tables of its lists, and of those that join it with others."""
    yield from (each.name for each in tables_of(endpoint.name, endpoint.fields)[1:])
    yield from (name for name, table in TABLES.items() if endpoint.name in table.interfaces)


def columns_of(
    interface: str, fields: Sequence[Field], cut: WindowKind = WindowKind.DAYS
) -> dict[str, Column]:
    """The fields of an interface as columns of its table, by name: nothing is taken apart."""
    found = {}
    for field in fields:
        figure = _figure(interface, (), field, cut)
        if field.type == "list" and interface in _SINCE:
            figure = Figure(TOTAL, _since(interface), NO_TITLE, _OF_KIND[TOTAL])
        apart = _apart(interface, field.name, is_nested=True)
        found[field.name] = Column(field.name, field, figure=figure, apart=apart)
    return found


class Part(NamedTuple):
    """What an interface adds to a table.

    lists: where the rows come from, if not from the records: a list within them.  columns: by
    column of the table the field of the interface, ``detail.read_user`` within an object; of
    several, separated by blanks, the first that has a value.  without: a column of the table, and
    its value in the rows that are left out.
    """

    interface: str
    lists: tuple[str, ...]
    columns: Mapping[str, str]
    without: tuple[str, str] = ("", "")

    @property
    def table(self) -> str:
        """The table of the interface, or of the list, that has the rows."""
        return "_".join([self.interface, *self.lists])


class JoinedTable(NamedTuple):
    """A table.

    key: what identifies a row, beside the account and the first day of the window; a whole number
    given for a text is read as its text, and a row that lacks a part of its key is not joined.
    columns: with those of the key.  once: of several rows of an interface with one key the first
    alone is there; else the second is joined with the second of the others, so that no figure is
    lost.  parsed: columns that are parts of the msgid: ``mid`` and ``idx``.
    """

    name: str
    title: Title
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    parts: tuple[Part, ...]
    once: bool = False
    parsed: tuple[str, ...] = ()

    @property
    def interfaces(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(part.interface for part in self.parts))

    @property
    def fields(self) -> tuple[Field, ...]:
        return tuple(each.field for each in self.columns)


def _column(name: str, kind: str, meaning: str, codes: labels.Codes = ()) -> Column:
    return Column(name, Field(name, kind, meaning, label=field_title(name, "zh"), codes=codes))


def _figure_of(
    kind: str, name: str, meaning: str, *, window: Title = _THAT_DAY, type_: str = "int"
) -> Column:
    interface = "getarticletotaldetail" if kind == TOTAL else ""
    window = _since(interface) if interface else window
    figure = _figure_with(FIGURES[name], kind, window, interface)
    return _column(name, type_, meaning)._replace(figure=figure)


def _articles(kind: str) -> tuple[Column, ...]:
    return (
        _figure_of(kind, "read_user", "readers"),
        _figure_of(kind, "read_count", "number of reads"),
        _figure_of(kind, "share_user", "sharers"),
        _figure_of(kind, "share_count", "number of shares"),
        _figure_of(kind, "collection_user", "people who favourited the article"),
    )


def _same(names: str) -> dict[str, str]:
    return {name: name for name in names.split()}


def _retired(parts: Sequence[Part], column: str) -> tuple[str, ...]:
    names = [part.interface for part in parts if column in part.columns]
    return tuple(names) if all(_BUILT_IN[name].retired for name in names) else ()


_OF_DAY = _column("ref_date", "date", "the figures are those of this day")
_MSGID = _column(
    "msgid", "str", "message id and position in the message (from 1), for example 12003_3"
)
_PUBLISHED = _column("publish_date", "date", "the day on which the article was published")
_RETIRED_FIGURES = {
    "read_user": "int_page_read_user",
    "read_count": "int_page_read_count",
    "share_user": "share_user",
    "share_count": "share_count",
    "collection_user": "add_to_fav_user",
}

TABLES = {
    each.name: each._replace(
        columns=tuple(
            column._replace(
                apart=_apart(each.name, column.name), retired=_retired(each.parts, column.name)
            )
            for column in each.columns
        )
    )
    for each in (
        JoinedTable(
            "articles",
            Title("文章", "Articles"),
            ("msgid",),
            (
                _MSGID,
                _PUBLISHED,
                _column("title", "str", "title of the article"),
                _column("url", "str", "link of the article"),
                _column("publish_type", "int", "kind of publication", labels.PUBLISH_TYPES),
            ),
            (
                Part(
                    "getarticletotaldetail",
                    (),
                    {
                        **_same("msgid title publish_type"),
                        "publish_date": "ref_date",
                        "url": "content_url",
                    },
                ),
                Part(
                    "getarticletotal",
                    (),
                    {**_same("msgid title"), "publish_date": "ref_date", "url": "url content_url"},
                ),
            ),
            once=True,
            parsed=("mid", "idx"),
        ),
        JoinedTable(
            "article_days",
            Title("文章每日数据", "Articles by day"),
            ("ref_date", "msgid"),
            (
                _OF_DAY,
                _MSGID,
                _column("title", "str", "title of the article"),
                *_articles(DAY),
            ),
            (
                Part(
                    "getarticleread",
                    (),
                    {**_same("ref_date msgid"), "read_user": "detail.read_user"},
                ),
                Part(
                    "getarticleshare",
                    (),
                    {**_same("ref_date msgid"), "share_user": "detail.share_user"},
                ),
                Part(
                    "getarticlesummary", (), {**_same("ref_date msgid title"), **_RETIRED_FIGURES}
                ),
            ),
        ),
        JoinedTable(
            "article_totals",
            Title("文章累计数据", "Running totals of articles"),
            ("msgid", "stat_date"),
            (
                _MSGID,
                _PUBLISHED,
                _column(
                    "stat_date", "date", "the figures are running totals until the end of this day"
                ),
                *_articles(TOTAL),
                _figure_of(TOTAL, "zaikan_user", "people who pressed the heart (在看)"),
                _figure_of(TOTAL, "like_user", "people who gave a thumbs-up"),
                _figure_of(TOTAL, "comment_count", "number of comments"),
                _figure_of(TOTAL, "praise_money", "tips, in fen (1/100 yuan)"),
                _figure_of(
                    TOTAL, "read_subscribe_user", "people who followed the account after reading"
                ),
                _figure_of(
                    TOTAL,
                    "read_delivery_rate",
                    "share of the recipients who read the article, 0 to 1",
                    type_="float",
                ),
                _figure_of(
                    TOTAL,
                    "read_finish_rate",
                    "share of the readers who read to the end, 0 to 1",
                    type_="float",
                ),
                _figure_of(
                    TOTAL,
                    "read_avg_activetime",
                    "mean reading time in minutes",
                    type_="float",
                ),
                _figure_of(TOTAL, "target_user", "people to whom the message was delivered"),
            ),
            (
                Part(
                    "getarticletotaldetail",
                    ("detail_list",),
                    {
                        "publish_date": "ref_date",
                        **_same(
                            "msgid stat_date read_user share_user collection_user zaikan_user"
                            " like_user comment_count praise_money read_subscribe_user"
                            " read_delivery_rate read_finish_rate read_avg_activetime"
                        ),
                    },
                ),
                Part(
                    "getarticletotal",
                    ("details",),
                    {
                        "publish_date": "ref_date",
                        **_same("msgid stat_date target_user"),
                        **_RETIRED_FIGURES,
                    },
                ),
            ),
        ),
        JoinedTable(
            "article_sources",
            Title("文章阅读来源", "Readers of articles by source"),
            ("ref_date", "msgid", "scene_desc"),
            (
                _OF_DAY,
                _MSGID,
                _column(
                    "scene_desc",
                    "str",
                    "source; the number of all readers (全部) is read_user of article_days",
                    labels.SCENES[1:],
                ),
                _figure_of(
                    DAY,
                    "read_user",
                    "readers from this source; one reader can have several sources",
                ),
            ),
            (
                Part(
                    "getarticleread",
                    ("detail", "read_user_source"),
                    {**_same("ref_date msgid scene_desc"), "read_user": "user_count"},
                    without=("scene_desc", str(labels.SCENES[0].value)),
                ),
            ),
        ),
        JoinedTable(
            "followers_by_source",
            Title("关注人数按渠道", "Followers by channel"),
            ("ref_date", "user_source"),
            (
                _OF_DAY,
                _column("user_source", "int", "channel", labels.CHANNELS),
                _figure_of(DAY, "new_user", "people who followed the account"),
                _figure_of(DAY, "cancel_user", "people who unfollowed the account"),
            ),
            (Part("getusersummary", (), _same("ref_date user_source new_user cancel_user")),),
        ),
        JoinedTable(
            "messages_by_hour",
            Title("消息分时", "Messages by hour"),
            ("ref_date", "ref_hour", "msg_type"),
            (
                _OF_DAY,
                _column("ref_hour", "int", "the start of the hour: 0, 100, … 2300"),
                _column("msg_type", "int", "kind of message", labels.MESSAGE_TYPES),
                _figure_of(DAY, "msg_user", "people who sent such messages", window=_THAT_HOUR),
                _figure_of(DAY, "msg_count", "number of messages", window=_THAT_HOUR),
            ),
            (
                Part(
                    "getupstreammsghour",
                    (),
                    _same("ref_date ref_hour msg_type msg_user msg_count"),
                ),
            ),
        ),
    )
}

FETCHED = _column("_fetched_at", "timestamp", "when the newest part of the row was fetched")
"""The last column of the tables that join interfaces."""

ACCOUNT = _column("account", "str", "name of the account; empty if it is not known")
"""The column of the tables that join interfaces that is beside ``_appid``."""

COVERED = "coverage"
"""The table of what is there of each interface of each account (`harvester.exports.listed`)."""

ACCOUNTS = JoinedTable(
    "accounts",
    Title("公众号", "Accounts"),
    (),
    (
        _column("name", "str", "name of the account in the configuration"),
        _column("group", "str", "group of the account in the configuration"),
    ),
    (),
)
"""The names of the accounts, for exports that know them, with one row per account."""
