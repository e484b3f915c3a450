"""Every interface that the package knows: `INTERFACES`, by name.

Rule: data.  An interface is declared here and nowhere else: its name, its fields in a database and
its type in `harvester.wechat.types` derive from its entry.  What an interface does with its entry
is in `harvester.wechat.endpoint` and `harvester.wechat.publisher`.

A field that an answer leaves out is not 0: since 2020, fields vary from row to row.  "Undocumented"
marks what clients report from answers and no page of WeChat's mentions.

Where WeChat's pages are silent or contradict each other, the safe value is declared:

- span: the smaller number (getupstreammsgdist: 15).
- settled_hour: 8 in China.  The pages of the interfaces of 2014 have "after 8".  For mini-programs
  and the publisher no page names an hour; figures were seen to be unready at 09:57, and unready
  figures answer 61503, which is retried.

Not declared: the statistics of cards (unknown whether they still answer), the performance of a
mini-program (``/wxa/business/performance/boot``: another shape of request and answer), and a
platform's statistics of its accounts' ads (``/wxa/operationams``).
"""

from __future__ import annotations

from datetime import date
from typing import Any

from harvester.base.dates import WindowKind
from harvester.model import Code, Field
from harvester.wechat import labels
from harvester.wechat.endpoint import UNIX, JsonEndpoint
from harvester.wechat.publisher import PublisherEndpoint
from harvester.wechat.titles import INTERFACES as LABELS
from harvester.wechat.titles import field_title

Fields = tuple[Field, ...]

_PAGES = "https://developers.weixin.qq.com"
_FIRST_DAY_OFFICIAL = date(2014, 12, 1)
_FIRST_DAY_ARTICLES = date(2025, 11, 1)
_FIRST_DAY_MINI = date(2017, 1, 9)
"""The day mini-programs were introduced; no page names the first day of their figures."""
_FIRST_DAY_PUBLISHER = date(2016, 1, 1)

_FAMILIES = {
    "users": ("2", "user"),
    "articles": ("7", "news"),
    "messages": ("1", "mess"),
    "interface": ("3", "api"),
}
"""Group of an official account's interfaces: its permission set, and the folder of its pages."""

# What an entry is made with


def _official(
    group: str, call: str, title: str, key: str, fields: Fields, **more: Any
) -> JsonEndpoint:
    """An official account's interface; call: its name as WeChat capitalises it."""
    permission_set, folder = _FAMILIES[group]
    name = call.lower()
    values = {
        "first_day": _FIRST_DAY_OFFICIAL,
        "cloud_call": f"officialAccount.datacube.{call}",
        **more,
    }
    return JsonEndpoint(
        name,
        f"/datacube/{name}",
        title=title,
        label=LABELS.get(name, ""),
        group=group,
        key=tuple(key.split()),
        fields=fields,
        record_type=call[0].upper() + call[1:],
        permission_set=permission_set,
        page=f"{_PAGES}/doc/service/api/wedata/{folder}/api_{name}.html",
        **values,
    )


_SUCCESSORS = ("getarticleread", "getarticleshare", "getbizsummary", "getarticletotaldetail")


def _retired(call: str, title: str, key: str, fields: Fields, **more: Any) -> JsonEndpoint:
    """One of the six article interfaces that WeChat took offline in 2026.

    WeChat names the same four successors for all six.  None of the four has hourly figures.
    """
    more = {"retired": True, "successors": _SUCCESSORS, **more}
    return _official("articles", call, title, key, fields, **more)


def _article(call: str, title: str, key: str, fields: Fields, **more: Any) -> JsonEndpoint:
    """An article interface of November 2025; a single client has its cloud call."""
    more = {"first_day": _FIRST_DAY_ARTICLES, "cloud_call": f"datacube.{call.lower()}", **more}
    return _official("articles", call, title, key, fields, **more)


def _mini(
    name: str, call: str, folder: str, title: str, fields: Fields, **more: Any
) -> JsonEndpoint:
    """A mini-program's interface: days are written without hyphens."""
    record_type = f"GetWeAnalysisAppid{name}"
    pages = f"{_PAGES}/miniprogram/dev/server/API/data-analysis"
    return JsonEndpoint(
        record_type.lower(),
        f"/datacube/{record_type.lower()}",
        _FIRST_DAY_MINI,
        dates="%Y%m%d",
        title=title,
        label=LABELS.get(record_type.lower(), ""),
        group="miniprogram",
        fields=fields,
        record_type=record_type,
        cloud_call=f"analysis.{call}",
        permission_set="18",
        page=f"{pages}/{folder}/api_{call.lower()}.html",
        **{"key": ("ref_date",), **more},
    )


_ADS = "/doc/service/guide/product/analysis_data/ad/Ad_Analysis.html"
_UNITS = "/miniprogram/dev/framework/open-ability/ad/ad-data-interface.html"


def _publisher(
    action: str, title: str, key: str, fields: Fields, page: str = _ADS, **more: Any
) -> PublisherEndpoint:
    """An action of the publisher interface (accounts with the traffic-owner function)."""
    return PublisherEndpoint(
        action,
        "/publisher/stat",
        _FIRST_DAY_PUBLISHER,
        title=title,
        label=LABELS.get(action, ""),
        group="publisher",
        page=f"{_PAGES}{page}",
        key=tuple(key.split()),
        fields=fields,
        record_type="".join(map(str.capitalize, action.split("_"))),
        **more,
    )


def _field(name: str, kind: str, meaning: str, fields: Fields = ()) -> Field:
    return Field(name, kind, meaning, fields, label=field_title(name, "zh"))


def _int(name: str, meaning: str) -> Field:
    return _field(name, "int", meaning)


def _float(name: str, meaning: str) -> Field:
    return _field(name, "float", meaning)


def _str(name: str, meaning: str) -> Field:
    return _field(name, "str", meaning)


def _code(name: str, meaning: str, codes: tuple[Code, ...], more: str = "") -> Field:
    """A field whose values have labels."""
    listed = ", ".join(f"{each.value} {each.en}" for each in codes)
    field = _field(name, "int" if isinstance(codes[0].value, int) else "str", "")
    return field._replace(meaning=f"{meaning}: {listed}{more}", codes=codes)


def _date(meaning: str, name: str = "ref_date") -> Field:
    return _field(name, "date", meaning)


def _list(name: str, meaning: str, *fields: Field) -> Field:
    return _field(name, "list", meaning, fields)


def _object(name: str, meaning: str, *fields: Field) -> Field:
    return _field(name, "object", meaning, fields)


def _both(stem: str, what: str, times: str = "count") -> Fields:
    """People and times."""
    return (
        _int(f"{stem}_user", f"people who {what}"),
        _int(f"{stem}_{times}", f"times that people {what}"),
    )


_DAY = _date("the day")
_HOUR = _int("ref_hour", "the hour from then on: 0, 100, … 2300")
_MSGID = _str("msgid", "message id and 1-based place in the message, as 12003_3")
_CHANNEL = _int("user_source", "is in some answers, on no page of the interface")
_ALWAYS_0 = _int("user_source", "always 0; undocumented")._replace(constant=True)

# Users

_USERS = (
    _official(
        "users",
        "getUserSummary",  # its pages contradict each other on whether there is a cloud call
        "followers who came and went, by channel",
        "ref_date user_source",
        (
            _DAY,
            _code("user_source", "channel", labels.CHANNELS, "; 43, 51, 75 and 78 are older"),
            _int("new_user", "people who followed"),
            _int("cancel_user", "people who unfollowed; the net growth is new_user - cancel_user"),
        ),
        span=7,
    ),
    _official(
        "users",
        "getUserCumulate",
        "followers at the end of the day",
        "ref_date",
        (_DAY, _ALWAYS_0, _int("cumulate_user", "followers at the end of the day")),
        span=7,
        daily=True,
    ),
)

# Articles, retired

_FIGURES = (
    *_both("int_page_read", "read the article page"),
    *_both("ori_page_read", "opened its original page"),
    *_both("share", "shared it"),
    *_both("add_to_fav", "favourited it"),
)
_READ_SOURCE = _code(
    "user_source",
    "channel",
    labels.READ_SOURCES,
    "; people do not add up over channels; channels since 2020-02-28",
)
_SHARES = (
    _code("share_scene", "where to", labels.SHARE_SCENES, "; 5 is undocumented"),
    _int("share_count", "times that people shared"),
    _int("share_user", "people who shared"),
    _CHANNEL,
)

_RETIRED = (
    _retired(
        "getArticleSummary",
        "reads and shares of each article on the day, for its first 7 days",
        "ref_date msgid",
        (
            _date("the day it was read on"),
            _MSGID,
            _str("title", "of the article"),
            *_FIGURES,
            _ALWAYS_0,
        ),
    ),
    _retired(
        "getArticleTotal",
        "running totals of the articles published on the day, for 7 days",
        "ref_date msgid",
        (
            _date("the day it was published on"),
            _MSGID,
            _str("title", "of the article"),
            _ALWAYS_0,
            _str("url", "of the article; undocumented"),
            _str("content_url", "of the article; undocumented, in place of url"),
            _list(
                "details",
                "one entry per day, for up to seven days from the publishing on",
                _date("the figures are running totals to the end of this day", "stat_date"),
                _int("target_user", "people whom the message was delivered to"),
                *_FIGURES,
                *_both("int_page_from_session_read", "came from the account's conversation"),
                *_both("int_page_from_hist_msg_read", "came from the history page"),
                *_both("int_page_from_feed_read", "came from Moments"),
                *_both("int_page_from_friends_read", "came from a friend's forward"),
                *_both("int_page_from_other_read", "came from elsewhere"),
                *_both("int_page_from_kanyikan_read", "came from Top Stories; often missing"),
                *_both("int_page_from_souyisou_read", "came from Search; often missing"),
                *_both("feed_share_from_session", "shared to Moments from the conversation", "cnt"),
                *_both("feed_share_from_feed", "shared to Moments from Moments", "cnt"),
                *_both("feed_share_from_other", "shared to Moments from elsewhere", "cnt"),
            ),
        ),
        late_days=7,  # the day of publishing counted
    ),
    _retired(
        "getUserRead",
        "readers of all articles together, by channel",
        "ref_date user_source",
        (_DAY, _READ_SOURCE, *_FIGURES),
        span=3,
    ),
    _retired(
        "getUserReadHour",
        "readers of all articles together, by hour and channel",
        "ref_date ref_hour user_source",
        (_DAY, _HOUR, _READ_SOURCE, *_FIGURES),
    ),
    _retired(
        "getUserShare",
        "sharers of all articles together, by scene",
        "ref_date share_scene",
        (_DAY, *_SHARES),
        span=7,
    ),
    _retired(
        "getUserShareHour",
        "sharers of all articles together, by hour and scene",
        "ref_date ref_hour share_scene",
        (_DAY, _HOUR, *_SHARES),
    ),
)

# Articles, since November 2025

_READERS = (
    _int("read_user", "readers"),
    _list(
        "read_user_source",
        "readers by entrance, in no fixed order; they do not add up to all",
        _int("user_count", "readers"),
        _code("scene_desc", "entrance", labels.SCENES),
    ),
)
_SHARERS = _int("share_user", "sharers")
_REACTIONS = (
    _int("zaikan_user", 'people who pressed the heart ("在看")'),
    _int("like_user", "people who gave a thumbs-up"),
    _int("comment_count", "comments"),
    _int("collection_user", "people who favourited"),
)

_ARTICLES = (
    _article(
        "getArticleRead",
        "readers of each article on the day, by entrance",
        "ref_date msgid",
        (
            _date("the day it was read on"),
            _MSGID,
            _object("detail", "the figures of the day", *_READERS),
        ),
    ),
    _article(
        "getArticleShare",
        "sharers of each article on the day",
        "ref_date msgid",
        (
            _date("the day it was shared on"),
            _MSGID,
            _object("detail", "the figures of the day", _SHARERS),
        ),
    ),
    _article(
        "getBizSummary",
        "readers, sharers and comments of the whole account",
        "ref_date",
        (
            _DAY,
            _object(
                "detail",
                "the figures of the whole account",
                *_READERS,
                _SHARERS,
                *_REACTIONS,
                _int("redirect_ori_page_user", "people who went on to the original page"),
                _int("send_page_count", "articles published"),
            ),
        ),
        span=30,
    ),
    _article(
        "getArticleTotalDetail",
        "running totals of the articles published on the day, for 30 days",
        "ref_date msgid",
        (
            _date("the day it was published on"),
            _MSGID,
            _code("publish_type", "kind", labels.PUBLISH_TYPES, "; 2 is undocumented"),
            _str("title", "of the article; absent in early answers"),
            _str("content_url", "of the article; since 2026-03-03"),
            _list(
                "detail_list",
                "one entry per day, for up to thirty days from publishing on",
                _date("the figures are running totals to the end of this day", "stat_date"),
                *_READERS,
                _SHARERS,
                *_REACTIONS,
                _int("praise_money", "tips, in fen (1/100 yuan)"),
                _int("read_subscribe_user", "people who followed after reading"),
                _float(
                    "read_delivery_rate",
                    "share of the readers among those it was delivered to, 0 to 1",
                ),
                _float("read_finish_rate", "share of the readers who read it to the end, 0 to 1"),
                _float("read_avg_activetime", "mean time of reading, in minutes"),
                _list(
                    "read_jump_position",
                    "where readers left",
                    _code("position", "fifth of the article", labels.FIFTHS),
                    _float("rate", "of readers, 0 to 1"),
                ),
            ),
        ),
        late_days=30,  # the day of publishing counted
    ),
)

# Messages.  The pages of weeks and months ask for the first day alone, and date the row that day;
# an older table allows 30 days, which may not hold.

_WEEK: dict[str, Any] = {"cut": WindowKind.WEEK, "asks_first_day": True}
_MONTH: dict[str, Any] = {"cut": WindowKind.MONTH, "asks_first_day": True}
_MONDAY, _FIRST = _date("the week's Monday"), _date("the first day of the month")
_KINDS = (
    _code("msg_type", "kind", labels.MESSAGE_TYPES),
    _int("msg_user", "people who sent some"),
    _int("msg_count", "messages"),
    _CHANNEL,
)
_INTERVALS = (
    _code("count_interval", "messages that a person sent", labels.INTERVALS),
    _int("msg_user", "people who sent that number"),
    _CHANNEL,
)


def _kinds(call: str, title: str, *period: Field, **more: Any) -> JsonEndpoint:
    key = " ".join([*(each.name for each in period), "msg_type"])
    title = f"messages from followers{title} kind"
    return _official("messages", call, title, key, (*period, *_KINDS), **more)


def _intervals(call: str, period: Field, when: str = "", **more: Any) -> JsonEndpoint:
    title = f"followers by how many messages they sent{when}"
    key = "ref_date count_interval"
    return _official("messages", call, title, key, (period, *_INTERVALS), **more)


_MESSAGES = (
    _kinds("getUpstreamMsg", ", by", _DAY, span=7),
    _kinds("getUpstreamMsgHour", ", by hour and", _DAY, _HOUR),
    _kinds("getUpstreamMsgWeek", " in a week, by", _MONDAY, **_WEEK),
    _kinds("getUpstreamMsgMonth", " in a month, by", _FIRST, **_MONTH),
    _intervals("getUpstreamMsgDist", _DAY, span=15),
    _intervals("getUpstreamMsgDistWeek", _MONDAY, " in a week", **_WEEK),
    _intervals("getUpstreamMsgDistMonth", _FIRST, " in a month", **_MONTH),
)

# Interface: the account's own server

_CALLS = (
    _int("callback_count", "messages that were passed on to the account's server"),
    _int("fail_count", "of them, those that failed"),
    _int("total_time_cost", "milliseconds altogether; divide by callback_count for the mean"),
    _int("max_time_cost", "milliseconds of the slowest"),
    _int("max_time_count", "max_time_cost, as older answers spell it"),
)

_INTERFACE = (
    _official(
        "interface",
        "getInterfaceSummary",
        "messages passed on to the account's server, and how fast",
        "ref_date",
        (_DAY, *_CALLS),
        span=30,
    ),
    _official(
        "interface",
        "getInterfaceSummaryHour",
        "the same by hour",
        "ref_date ref_hour",
        (_DAY, _HOUR, *_CALLS),
    ),
)

# Mini-programs

_MINI_DAY = _date("the day, YYYYMMDD")
_MINI_WEEK = _str("ref_date", "the week, YYYYMMDD-YYYYMMDD")
_MINI_MONTH = _str("ref_date", "the month, YYYYMM")
_VISITS = (
    _int("session_cnt", "times it was opened"),
    _int("visit_pv", "pages visited"),
    _int("visit_uv", "visitors"),
    _int("visit_uv_new", "new visitors"),
    _float("stay_time_uv", "mean stay of a visitor, in seconds"),
    _float("stay_time_session", "mean stay of a session, in seconds"),
    _float("visit_depth", "mean depth"),
)
_PARTS = (_int("id", "WeChat's number of it"), _str("name", "its name"), _int("value", "people"))
_VISITORS = (
    _list("province", "by province", *_PARTS),
    _list("city", "by city", *_PARTS),
    _list("genders", "by gender", *_PARTS),
    _list("platforms", "by system", *_PARTS),
    _list("devices", "by device, which has no id", *_PARTS[1:]),
    _list("ages", "by age", *_PARTS),
)


def _visits(name: str, call: str, title: str, period: Field, **more: Any) -> JsonEndpoint:
    return _mini(name, call, "visit-trend", title, (period, *_VISITS), **more)


def _retained(
    name: str, call: str, title: str, period: Field, after: str, **more: Any
) -> JsonEndpoint:
    items = (_int("key", after), _int("value", "people: at key 0 all of them, then who came again"))
    fields = (
        period,
        _list("visit_uv_new", "new visitors of the period", *items),
        _list("visit_uv", "all visitors of the period", *items),
    )
    return _mini(name, call, "visit-retain", title, fields, rows="", **more)


_MINI_PROGRAMS = (
    _mini(
        "DailySummaryTrend",
        "getDailySummary",
        "others",
        "visitors so far, and shares",
        (
            _MINI_DAY,
            _int("visit_total", "visitors since the beginning"),
            _int("share_pv", "times it was shared"),
            _int("share_uv", "people who shared it"),
        ),
    ),
    _visits("DailyVisitTrend", "getDailyVisitTrend", "visits of a day", _MINI_DAY),
    _visits(
        "WeeklyVisitTrend",
        "getWeeklyVisitTrend",
        "visits of a week",
        _MINI_WEEK,
        cut=WindowKind.WEEK,
    ),
    _visits(
        "MonthlyVisitTrend",
        "getMonthlyVisitTrend",
        "visits of a month",
        _MINI_MONTH,
        cut=WindowKind.MONTH,
    ),
    # The last figures are of the 30th day, the 4th week or the month after the period, and that
    # day's come on the day after it: 31, 29 and 32 days.
    _retained(
        "DailyRetainInfo",
        "getDailyRetain",
        "a day's visitors who came again",
        _MINI_DAY,
        "days later: 0 to 7, 14, 30",
        late_days=31,
    ),
    _retained(
        "WeeklyRetainInfo",
        "getWeeklyRetain",
        "a week's visitors who came again",
        _MINI_WEEK,
        "weeks later: 0 to 4, or fewer",
        cut=WindowKind.WEEK,
        late_days=29,
    ),
    _retained(
        "MonthlyRetainInfo",
        "getMonthlyRetain",
        "a month's visitors who came again",
        _MINI_MONTH,
        "months later: 0, 1",
        cut=WindowKind.MONTH,
        late_days=32,
    ),
    _mini(
        "VisitPage",
        "getVisitPage",
        "others",
        "visits of each page, the most visited ones",
        (
            _MINI_DAY,
            _str("page_path", "the page"),
            _int("page_visit_pv", "times it was visited"),
            _int("page_visit_uv", "its visitors"),
            _float("page_staytime_pv", "mean stay, in seconds"),
            _int("entrypage_pv", "times it was the first page"),
            _int("exitpage_pv", "times it was the last page"),
            _int("page_share_pv", "times it was shared"),
            _int("page_share_uv", "people who shared it"),
        ),
        key=("ref_date", "page_path"),
        lifts=("ref_date",),
    ),
    _mini(
        "VisitDistribution",
        "getVisitDistribution",
        "others",
        "visits by source, time and depth",
        (
            _MINI_DAY,
            _list(
                "list",
                "a distribution each",
                _code("index", "which", labels.DISTRIBUTIONS),
                _list(
                    "item_list",
                    "its parts",
                    _field("key", "int", "the source, or the class of time or depth")._replace(
                        codes=labels.within(labels.PARTS), codes_by="index"
                    ),
                    _int("value", "how many"),
                    _int("access_source_visit_uv", "people; of sources alone"),
                ),
            ),
        ),
        rows="",
    ),
    _mini(
        "UserPortrait",
        "getUserPortrait",
        "others",
        "who the visitors of 1, 7 or 30 days are",
        (
            _str("ref_date", "the day, YYYYMMDD, or the days, YYYYMMDD-YYYYMMDD"),
            _object("visit_uv_new", "new visitors", *_VISITORS),
            _object("visit_uv", "all visitors", *_VISITORS),
        ),
        cut=WindowKind.RECENT,
        span=30,
        rows="",
    ),
)

# Mini-games.  A call returns one metric; declared is the number of active players (1000001:5) of a
# day.  WeChat's page lists the other metrics: each can be an interface of the user's own with
# another body.  By the page, figures are collected every six hours, so a day's are ready at no
# fixed hour: they are requested again a day later.  Neither cloud functions nor platforms may.

_MINI_GAMES = (
    JsonEndpoint(
        "getgameanalysisdata",
        "/datacube/getgameanalysisdata",
        _FIRST_DAY_MINI,
        title="active players of a mini-game",
        label=LABELS["getgameanalysisdata"],
        group="minigame",
        dates=UNIX,
        begin_key="start_time",
        end_key="end_time",
        body={"metric": "1000001:5", "granularity": 24},
        rows="data_list",
        day_field="time_label",
        late_days=2,
        key=("time_label",),
        record_type="GetGameAnalysisData",
        page=f"{_PAGES}/minigame/dev/guide/open-ability/data-analysis.html",
        fields=(
            _int("timestamp", "the Unix time at which the day begins"),
            _date("the day", "time_label"),
            _list(
                "group_dimension_list",
                "the part of the players that the figure is of; empty unless the request groups"
                " them",
                _str("label", "the dimension"),
                _str("value", "its value"),
            ),
            _float("metric_value", "the figure; absent if there is none"),
        ),
    ),
)

# Publisher

_SHOWN = (
    _int("exposure_count", "times that ads were shown"),
    _int("click_count", "clicks"),
    _float("click_rate", "clicks of times shown, 0 to 1"),
)
_EARNED = (
    _int("req_succ_count", "times that ads were fetched"),
    *_SHOWN,
    _float("exposure_rate", "times shown of times fetched, 0 to 1"),
    _int("income", "in fen (1/100 yuan)"),
    _float("ecpm", "income of a thousand times shown, in fen"),
)
_AD_DAY = _date("the day", "date")
_UNIT = (_str("ad_unit_id", "the ad unit"), _str("ad_unit_name", "as it was named"))
_UNIT_SLOT = _code("ad_slot", "its kind of slot", labels.AD_SLOTS)

_PUBLISHER = (
    _publisher(
        "publisher_adpos_general",
        "ads shown, clicks and income",
        "date",  # no slot is asked for: a row is the sum of all
        (
            _AD_DAY,
            _int("slot_id", "the slot; since 2024-08-16 absent if no slot is asked for"),
            _code("ad_slot", "the slot", labels.AD_SLOTS, "; absent as slot_id is"),
            *_EARNED,
        ),
        span=90,
        day_field="date",
    ),
    _publisher(
        "publisher_adunit_general",
        "the same by ad unit; of mini-programs alone",
        "stat_item.date ad_unit_id",
        (*_UNIT, _object("stat_item", "its figures", _AD_DAY, _UNIT_SLOT, *_EARNED)),
        page=_UNITS,
        span=90,
        day_field="stat_item.date",
    ),
    _publisher(
        "publisher_cps_general",
        "goods shown, orders and commission",
        "date",
        (
            _AD_DAY,
            *_SHOWN,
            _int("order_count", "orders"),
            _float("order_rate", "orders of clicks, 0 to 1"),
            _int("total_fee", "what was sold, in fen (1/100 yuan)"),
            _int("total_commission", "in fen"),
        ),
        span=60,
        day_field="date",
    ),
    _publisher(
        "publisher_settlement",
        "income settled, by half months",
        "month order",
        (
            _date("the day on which the entry last changed", "date"),
            _str("zone", "the days that are settled, in words"),
            _str("month", "the month that is settled, YYYYMM"),
            _code("order", "of the month", labels.HALVES),
            _code("sett_status", "state", labels.SETTLEMENTS),
            _int("settled_revenue", "in fen (1/100 yuan)"),
            _str("sett_no", "the settlement's number"),
            _str("mail_send_cnt", "times that its paper was asked for again, as text"),
            _list(
                "slot_revenue",
                "by slot",
                _code("slot_id", "the slot", labels.AD_SLOTS),
                _int("slot_settled_revenue", "in fen"),
            ),
            _str("body", "of the answer: whom it is paid to"),
            _int("penalty_all", "of the answer: deductions, in fen"),
            _int("revenue_all", "of the answer: income, in fen"),
            _int("settled_revenue_all", "of the answer: settled income, in fen"),
        ),
        cut=WindowKind.MONTH,
        rows="settlement_list",
        lifts=("body", "penalty_all", "revenue_all", "settled_revenue_all"),
        day_field="",
        late_days=62,  # entries carry the status of the payment; no page has until when it changes
        grows=True,
    ),
    _publisher(
        "get_adunit_list",  # what there is now: asked each day, it is stored as of yesterday
        "the ad units that there are; of mini-programs alone",
        "_end_date ad_unit_id",
        (
            *_UNIT,
            _UNIT_SLOT,
            _str("ad_unit_type", "as AD_UNIT_TYPE_BANNER"),
            _code("ad_unit_status", "state", labels.AD_UNIT_STATES),
            _list(
                "ad_unit_size", "its sizes", _int("width", "in pixels"), _int("height", "in pixels")
            ),
            _str("appid", "the mini-program's"),
            _int("video_duration_min", "seconds of the shortest video"),
            _int("video_duration_max", "seconds of the longest video"),
        ),
        page=_UNITS,
        cut=WindowKind.RECENT,
        dated=False,
        rows="ad_unit",
        day_field="",
    ),
)

INTERFACES: dict[str, JsonEndpoint] = {
    each.name: each
    for each in (
        *_USERS,
        *_RETIRED,
        *_ARTICLES,
        *_MESSAGES,
        *_INTERFACE,
        *_MINI_PROGRAMS,
        *_MINI_GAMES,
        *_PUBLISHER,
    )
}
"""The built-in interfaces by name; an interface that is added here is known everywhere."""
