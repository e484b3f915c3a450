"""Tables for readers that join what several interfaces return: `TABLES`, by name.

Rule: data.  Exports of the flat shape and the views of databases are both made from these entries.

`articles` is the list to join on: one row an article.  WeChat's interfaces share no other key than
``msgid``, the id of the message and the 1-based place of the article in it; both parts are also in
the article's link, as ``mid`` and ``idx``.  getarticletotaldetail is the only interface that lists
all articles that were sent (WeChat's staff, March 2026); the retired getarticletotal does so for
the years before.  An article of which only daily figures were harvested is in ``article_days``
alone: nothing there names the day on which it was published.

Two generations of interfaces overlap from November 2025 on.  A row of a table has for each column
the value of the first of its parts that has one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from harvester.model import Field
from harvester.wechat import labels
from harvester.wechat.titles import Title, field_title


class Part(NamedTuple):
    """What an interface adds to a table.

    lists: where the rows come from, if not from the records: a list within them.  columns: by
    column of the table the field of the interface, ``detail.read_user`` within an object.
    """

    interface: str
    lists: tuple[str, ...]
    columns: Mapping[str, str]

    @property
    def table(self) -> str:
        """The table of the interface, or of the list, that has the rows."""
        return "_".join([self.interface, *self.lists])


class JoinedTable(NamedTuple):
    """A table.

    key: what identifies a row, beside the account and the first day of the window.  columns: with
    those of the key.  parsed: columns that are parts of the msgid: ``mid`` and ``idx``.
    """

    name: str
    title: Title
    key: tuple[str, ...]
    columns: tuple[Field, ...]
    parts: tuple[Part, ...]
    parsed: tuple[str, ...] = ()

    @property
    def interfaces(self) -> tuple[str, ...]:
        """The interfaces that it is made from, each once."""
        return tuple(dict.fromkeys(part.interface for part in self.parts))


def _column(name: str, kind: str, meaning: str, codes: labels.Codes = ()) -> Field:
    return Field(name, kind, meaning, label=field_title(name, "zh"), codes=codes)


_MSGID = _column("msgid", "str", "message id and 1-based place in the message, as 12003_3")
_READERS = _column("read_user", "int", "readers")
_READS = _column("read_count", "int", "reads; of the retired interfaces alone")
_SHARERS = _column("share_user", "int", "sharers")
_SHARES = _column("share_count", "int", "shares; of the retired interfaces alone")
_FAVOURITES = _column("collection_user", "int", "people who favourited")
_RETIRED_FIGURES = {
    "read_user": "int_page_read_user",
    "read_count": "int_page_read_count",
    "share_user": "share_user",
    "share_count": "share_count",
    "collection_user": "add_to_fav_user",
}
_DETAIL_FIGURES = (
    "read_user", "share_user", "collection_user", "zaikan_user", "like_user", "comment_count",
    "praise_money", "read_subscribe_user", "read_delivery_rate", "read_finish_rate",
    "read_avg_activetime",
)  # fmt: skip
_PUBLISHED = _column("publish_date", "date", "the day on which it was published")

TABLES = {
    each.name: each
    for each in (
        JoinedTable(
            "articles",
            Title("文章", "Articles"),
            ("msgid",),
            (
                _MSGID,
                _PUBLISHED,
                _column("title", "str", "of the article"),
                _column("url", "str", "its link"),
                _column("publish_type", "int", "kind of publishing", labels.PUBLISH_TYPES),
            ),
            (
                Part(
                    "getarticletotaldetail",
                    (),
                    {
                        "msgid": "msgid",
                        "publish_date": "ref_date",
                        "title": "title",
                        "url": "content_url",
                        "publish_type": "publish_type",
                    },
                ),
                Part(
                    "getarticletotal",
                    (),
                    {"msgid": "msgid", "publish_date": "ref_date", "title": "title", "url": "url"},
                ),
                Part("getarticletotal", (), {"msgid": "msgid", "url": "content_url"}),
            ),
            parsed=("mid", "idx"),
        ),
        JoinedTable(
            "article_days",
            Title("文章每日数据", "Articles by day"),
            ("ref_date", "msgid"),
            (
                _column("ref_date", "date", "the figures are those of this day"),
                _MSGID,
                _column("title", "str", "of the article; of the retired interface alone"),
                _READERS,
                _READS,
                _SHARERS,
                _SHARES,
                _FAVOURITES,
            ),
            (
                Part(
                    "getarticleread",
                    (),
                    {"ref_date": "ref_date", "msgid": "msgid", "read_user": "detail.read_user"},
                ),
                Part(
                    "getarticleshare",
                    (),
                    {"ref_date": "ref_date", "msgid": "msgid", "share_user": "detail.share_user"},
                ),
                Part(
                    "getarticlesummary",
                    (),
                    {
                        "ref_date": "ref_date",
                        "msgid": "msgid",
                        "title": "title",
                        **_RETIRED_FIGURES,
                    },
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
                _column("stat_date", "date", "the figures are totals to the end of this day"),
                _READERS,
                _READS,
                _SHARERS,
                _SHARES,
                _FAVOURITES,
                _column("zaikan_user", "int", "people who pressed the heart (在看)"),
                _column("like_user", "int", "people who gave a thumbs-up"),
                _column("comment_count", "int", "comments"),
                _column("praise_money", "int", "tips, in fen (1/100 yuan)"),
                _column("read_subscribe_user", "int", "people who followed after reading"),
                _column("read_delivery_rate", "float", "readers of those reached, 0 to 1"),
                _column("read_finish_rate", "float", "readers who read it to the end, 0 to 1"),
                _column("read_avg_activetime", "float", "mean time of reading, in minutes"),
                _column("target_user", "int", "people reached; of the retired interface alone"),
            ),
            (
                Part(
                    "getarticletotaldetail",
                    ("detail_list",),
                    {
                        "msgid": "msgid",
                        "publish_date": "ref_date",
                        "stat_date": "stat_date",
                        **{name: name for name in _DETAIL_FIGURES},
                    },
                ),
                Part(
                    "getarticletotal",
                    ("details",),
                    {
                        "msgid": "msgid",
                        "publish_date": "ref_date",
                        "stat_date": "stat_date",
                        "target_user": "target_user",
                        **_RETIRED_FIGURES,
                    },
                ),
            ),
        ),
        JoinedTable(
            "article_sources",
            Title("文章阅读来源", "Readers of articles by entrance"),
            ("ref_date", "msgid", "scene_desc"),
            (
                _column("ref_date", "date", "the figures are those of this day"),
                _MSGID,
                _column("scene_desc", "str", "entrance; they do not add up to 全部", labels.SCENES),
                _READERS,
            ),
            (
                Part(
                    "getarticleread",
                    ("detail", "read_user_source"),
                    {
                        "ref_date": "ref_date",
                        "msgid": "msgid",
                        "scene_desc": "scene_desc",
                        "read_user": "user_count",
                    },
                ),
            ),
        ),
        JoinedTable(
            "followers_by_source",
            Title("关注人数按渠道", "Followers by channel"),
            ("ref_date", "user_source"),
            (
                _column("ref_date", "date", "the figures are those of this day"),
                _column("user_source", "int", "channel", labels.CHANNELS),
                _column("new_user", "int", "people who followed"),
                _column("cancel_user", "int", "people who unfollowed"),
            ),
            (
                Part(
                    "getusersummary",
                    (),
                    {n: n for n in ("ref_date", "user_source", "new_user", "cancel_user")},
                ),
            ),
        ),
        JoinedTable(
            "messages_by_hour",
            Title("消息分时", "Messages by hour"),
            ("ref_date", "ref_hour", "msg_type"),
            (
                _column("ref_date", "date", "the figures are those of this day"),
                _column("ref_hour", "int", "the hour from then on: 0, 100, … 2300"),
                _column("msg_type", "int", "kind of message", labels.MESSAGE_TYPES),
                _column("msg_user", "int", "people who sent some"),
                _column("msg_count", "int", "messages"),
            ),
            (
                Part(
                    "getupstreammsghour",
                    (),
                    {n: n for n in ("ref_date", "ref_hour", "msg_type", "msg_user", "msg_count")},
                ),
            ),
        ),
    )
}
"""The tables by name."""
