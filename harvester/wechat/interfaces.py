"""Every interface that the package knows: `INTERFACES`, by name.

Rule: data.  An interface is declared here and nowhere else: its name, its fields in a database and
its type in `harvester.wechat.types` derive from its entry.

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
from functools import partial
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


def _field(kind: str, name: str, meaning: str, *fields: Field) -> Field:
    return Field(name, kind, meaning, fields, label=field_title(name, "zh"))


_int, _float, _str = (partial(_field, kind) for kind in ("int", "float", "str"))
_list, _object = (partial(_field, kind) for kind in ("list", "object"))


def _code(name: str, meaning: str, codes: tuple[Code, ...], more: str = "") -> Field:
    listed = ", ".join(f"{each.value} = {each.en}" for each in codes)
    kind = "int" if isinstance(codes[0].value, int) else "str"
    return _field(kind, name, f"{meaning}: {listed}{more}")._replace(codes=codes)


def _date(meaning: str, name: str = "ref_date") -> Field:
    return _field("date", name, meaning)


def _both(stem: str, people: str, times: str, more: str = "") -> Fields:
    return (
        _int(f"{stem}_user", f"{people}{more}"),
        _int(f"{stem}_count", f"number of {times}{more}"),
    )


def _read_from(stem: str, source: str) -> Fields:
    return _both(f"int_page_from_{stem}_read", "readers from ", "reads from ", source)


def _shared_from(stem: str, source: str) -> Fields:
    people, times = f"feed_share_from_{stem}_user", f"feed_share_from_{stem}_cnt"
    return (
        _int(people, f"people who shared the article to Moments from {source}"),
        _int(times, f"number of shares to Moments from {source}"),
    )


_DAY = _date("the day")
_HOUR = _int("ref_hour", "the start of the hour: 0, 100, … 2300")
_MSGID = _str("msgid", "message id and position in the message (from 1), for example 12003_3")
_CHANNEL = _int("user_source", "undocumented; only some answers have it")
_ALWAYS_0 = _int("user_source", "always 0; undocumented")._replace(constant=True)

_USERS = (
    _official(
        "users",
        "getUserSummary",  # its pages contradict each other on whether there is a cloud call
        "new and lost followers, by channel",
        "ref_date user_source",
        (
            _DAY,
            _code("user_source", "channel", labels.CHANNELS, "; 43, 51, 75 and 78 are older codes"),
            _int("new_user", "people who followed the account"),
            _int(
                "cancel_user",
                "people who unfollowed the account; net growth: new_user - cancel_user",
            ),
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


def _figures(which: str) -> Fields:
    return (
        *_both("int_page_read", "people who read ", "reads of ", which),
        *_both("ori_page_read", "people who opened the original page of ",
               "reads of the original page of ", which),
        *_both("share", "people who shared ", "shares of ", which),
        *_both("add_to_fav", "people who favourited ", "times that people favourited ", which),
    )  # fmt: skip


_OF_ONE, _OF_ALL = _figures("the article"), _figures("articles")
_READ_SOURCE = _code(
    "user_source",
    "channel",
    labels.READ_SOURCES,
    "; do not sum people over channels; channels exist since 2020-02-28",
)
_SHARES = (
    _code("share_scene", "destination of the share", labels.SHARE_SCENES, "; 5 is undocumented"),
    _int("share_count", "number of shares of articles"),
    _int("share_user", "people who shared articles"),
    _CHANNEL,
)

_RETIRED = (
    _retired(
        "getArticleSummary",
        "daily reads and shares of each article, for its first 7 days",
        "ref_date msgid",
        (
            _date("the day on which the article was read"),
            _MSGID,
            _str("title", "title of the article"),
            *_OF_ONE,
            _ALWAYS_0,
        ),
    ),
    _retired(
        "getArticleTotal",
        "running totals of the articles published on a day, for 7 days",
        "ref_date msgid",
        (
            _date("the day on which the article was published"),
            _MSGID,
            _str("title", "title of the article"),
            _ALWAYS_0,
            _str("url", "link of the article; undocumented"),
            _str(
                "content_url",
                "link of the article; some answers send it in place of url; undocumented",
            ),
            _list(
                "details",
                "one entry per day, for up to seven days from publication",
                _date("the figures are running totals until the end of this day", "stat_date"),
                _int("target_user", "people to whom the message was delivered"),
                *_OF_ONE,
                *_read_from("session", "the account's conversation"),
                *_read_from("hist_msg", "the history page"),
                *_read_from("feed", "Moments"),
                *_read_from("friends", "a friend's forward"),
                *_read_from("other", "elsewhere"),
                *_read_from("kanyikan", "Top Stories; often missing"),
                *_read_from("souyisou", "Search; often missing"),
                *_shared_from("session", "the conversation"),
                *_shared_from("feed", "Moments"),
                *_shared_from("other", "elsewhere"),
            ),
        ),
        late_days=7,  # the day of publishing counted
    ),
    _retired(
        "getUserRead",
        "readers of all articles together, by channel",
        "ref_date user_source",
        (_DAY, _READ_SOURCE, *_OF_ALL),
        span=3,
    ),
    _retired(
        "getUserReadHour",
        "readers of all articles together, by hour and channel",
        "ref_date ref_hour user_source",
        (_DAY, _HOUR, _READ_SOURCE, *_OF_ALL),
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

_READERS = (
    _int("read_user", "readers"),
    _list(
        "read_user_source",
        "readers by source, in no fixed order; do not sum the sources",
        _int("user_count", "readers"),
        _code("scene_desc", "source", labels.SCENES),
    ),
)
_SHARERS = _int("share_user", "sharers")
_REACTIONS = (
    _int("zaikan_user", 'people who pressed the heart ("在看")'),
    _int("like_user", "people who gave a thumbs-up"),
    _int("comment_count", "number of comments"),
    _int("collection_user", "people who favourited articles"),
)

_ARTICLES = (
    _article(
        "getArticleRead",
        "daily readers of each article, by source",
        "ref_date msgid",
        (
            _date("the day on which the article was read"),
            _MSGID,
            _object("detail", "the figures of the day", *_READERS),
        ),
    ),
    _article(
        "getArticleShare",
        "daily sharers of each article",
        "ref_date msgid",
        (
            _date("the day on which the article was shared"),
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
                _int("redirect_ori_page_user", "people who opened the original page"),
                _int("send_page_count", "number of published articles"),
            ),
        ),
        span=30,
    ),
    _article(
        "getArticleTotalDetail",
        "running totals of the articles published on a day, for 30 days",
        "ref_date msgid",
        (
            _date("the day on which the article was published"),
            _MSGID,
            _code(
                "publish_type", "kind of publication", labels.PUBLISH_TYPES, "; 2 is undocumented"
            ),
            _str("title", "title of the article; missing in early answers"),
            _str("content_url", "link of the article; present since 2026-03-03"),
            _list(
                "detail_list",
                "one entry per day, for up to thirty days from publication",
                _date("the figures are running totals until the end of this day", "stat_date"),
                *_READERS,
                _SHARERS,
                *_REACTIONS,
                _int("praise_money", "tips, in fen (1/100 yuan)"),
                _int("read_subscribe_user", "people who followed the account after reading"),
                _float(
                    "read_delivery_rate",
                    "share of the recipients who read the article, 0 to 1",
                ),
                _float("read_finish_rate", "share of the readers who read to the end, 0 to 1"),
                _float("read_avg_activetime", "mean reading time in minutes"),
                _list(
                    "read_jump_position",
                    "positions at which readers left the article",
                    _code("position", "fifth of the article", labels.FIFTHS),
                    _float("rate", "share of the readers who left there, 0 to 1"),
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
    _code("msg_type", "kind of message", labels.MESSAGE_TYPES),
    _int("msg_user", "people who sent such messages"),
    _int("msg_count", "number of messages"),
    _CHANNEL,
)
_INTERVALS = (
    _code("count_interval", "number of messages that a person sent", labels.INTERVALS),
    _int("msg_user", "people who sent that many messages"),
    _CHANNEL,
)


def _kinds(call: str, title: str, *period: Field, **more: Any) -> JsonEndpoint:
    key = " ".join([*(each.name for each in period), "msg_type"])
    title = f"messages from followers{title} kind"
    return _official("messages", call, title, key, (*period, *_KINDS), **more)


def _intervals(call: str, period: Field, when: str = "", **more: Any) -> JsonEndpoint:
    title = f"followers by number of messages sent{when}"
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
    _int("callback_count", "number of messages forwarded to the account's server"),
    _int("fail_count", "number of forwarded messages that failed"),
    _int("total_time_cost", "total time in milliseconds; for the mean, divide by callback_count"),
    _int("max_time_cost", "longest time in milliseconds"),
    _int("max_time_count", "the name of max_time_cost in older answers"),
)

_INTERFACE = (
    _official(
        "interface",
        "getInterfaceSummary",
        "messages forwarded to the account's server, and response times",
        "ref_date",
        (_DAY, *_CALLS),
        span=30,
    ),
    _official(
        "interface",
        "getInterfaceSummaryHour",
        "messages forwarded to the account's server, and response times, by hour",
        "ref_date ref_hour",
        (_DAY, _HOUR, *_CALLS),
    ),
)

_MINI_DAY = _date("the day, YYYYMMDD")
_MINI_WEEK = _str("ref_date", "the week, YYYYMMDD-YYYYMMDD")
_MINI_MONTH = _str("ref_date", "the month, YYYYMM")
_VISITS = (
    _int("session_cnt", "number of times the mini-program was opened"),
    _int("visit_pv", "number of page views"),
    _int("visit_uv", "visitors"),
    _int("visit_uv_new", "new visitors"),
    _float("stay_time_uv", "mean time per visitor in seconds"),
    _float("stay_time_session", "mean time per session in seconds"),
    _float("visit_depth", "mean depth per session, in pages"),
)
_PARTS = (
    _int("id", "WeChat's id of the item"),
    _str("name", "name of the item"),
    _int("value", "number of people"),
)
_VISITORS = (
    _list("province", "visitors by province", *_PARTS),
    _list("city", "visitors by city", *_PARTS),
    _list("genders", "visitors by gender", *_PARTS),
    _list("platforms", "visitors by system", *_PARTS),
    _list("devices", "visitors by device; devices have no id", *_PARTS[1:]),
    _list("ages", "visitors by age", *_PARTS),
)


def _visits(name: str, call: str, title: str, period: Field, **more: Any) -> JsonEndpoint:
    return _mini(name, call, "visit-trend", title, (period, *_VISITS), **more)


def _retained(
    name: str, call: str, title: str, period: Field, after: str, **more: Any
) -> JsonEndpoint:
    items = (_int("key", after), _int("value", "people who came back; for key 0: all people"))
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
        "running total of visitors, and daily shares",
        (
            _MINI_DAY,
            _int("visit_total", "number of visitors since the beginning"),
            _int("share_pv", "number of shares"),
            _int("share_uv", "people who shared the mini-program"),
        ),
    ),
    _visits("DailyVisitTrend", "getDailyVisitTrend", "daily visits", _MINI_DAY),
    _visits(
        "WeeklyVisitTrend",
        "getWeeklyVisitTrend",
        "weekly visits",
        _MINI_WEEK,
        cut=WindowKind.WEEK,
    ),
    _visits(
        "MonthlyVisitTrend",
        "getMonthlyVisitTrend",
        "monthly visits",
        _MINI_MONTH,
        cut=WindowKind.MONTH,
    ),
    # The last figures are of the 30th day, the 4th week or the month after the period, and that
    # day's come on the day after it: 31, 29 and 32 days.
    _retained(
        "DailyRetainInfo",
        "getDailyRetain",
        "visitors of a day who came back",
        _MINI_DAY,
        "how many days later the visitors came back: 0 to 7, 14, 30",
        late_days=31,
    ),
    _retained(
        "WeeklyRetainInfo",
        "getWeeklyRetain",
        "visitors of a week who came back",
        _MINI_WEEK,
        "how many weeks later the visitors came back: 0 to 4, or fewer",
        cut=WindowKind.WEEK,
        late_days=29,
    ),
    _retained(
        "MonthlyRetainInfo",
        "getMonthlyRetain",
        "visitors of a month who came back",
        _MINI_MONTH,
        "how many months later the visitors came back: 0, 1",
        cut=WindowKind.MONTH,
        late_days=32,
    ),
    _mini(
        "VisitPage",
        "getVisitPage",
        "others",
        "visits of the most visited pages",
        (
            _MINI_DAY,
            _str("page_path", "path of the page"),
            _int("page_visit_pv", "number of views of the page"),
            _int("page_visit_uv", "visitors of the page"),
            _float("page_staytime_pv", "mean time per page view in seconds"),
            _int("entrypage_pv", "number of times the page was the first one"),
            _int("exitpage_pv", "number of times the page was the last one"),
            _int("page_share_pv", "number of shares of the page"),
            _int("page_share_uv", "people who shared the page"),
        ),
        key=("ref_date", "page_path"),
        lifts=("ref_date",),
    ),
    _mini(
        "VisitDistribution",
        "getVisitDistribution",
        "others",
        "visits by source, duration and depth",
        (
            _MINI_DAY,
            _list(
                "list",
                "one entry per distribution",
                _code("index", "kind of distribution", labels.DISTRIBUTIONS),
                _list(
                    "item_list",
                    "parts of the distribution",
                    _int("key", "the source, or the range of duration or depth")._replace(
                        codes=labels.within(labels.PARTS), codes_by="index"
                    ),
                    _int("value", "number for this part of the distribution"),
                    _int(
                        "access_source_visit_uv",
                        "number of people; only in distributions by source",
                    ),
                ),
            ),
        ),
        rows="",
    ),
    _mini(
        "UserPortrait",
        "getUserPortrait",
        "others",
        "profile of the visitors of 1, 7 or 30 days",
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
                "the group of players that the figure describes; empty unless the request groups"
                " players",
                _str("label", "name of the dimension"),
                _str("value", "value of the dimension"),
            ),
            _float("metric_value", "the value of the metric; missing if there is none"),
        ),
    ),
)

_SHOWN = (
    _int("exposure_count", "number of impressions"),
    _int("click_count", "number of clicks"),
    _float("click_rate", "clicks divided by impressions, 0 to 1"),
)
_EARNED = (
    _int("req_succ_count", "number of ad fetches"),
    *_SHOWN,
    _float("exposure_rate", "impressions divided by fetches, 0 to 1"),
    _int("income", "income in fen (1/100 yuan)"),
    _float("ecpm", "income per thousand impressions, in fen"),
)
_AD_DAY = _date("the day", "date")
_UNIT = (_str("ad_unit_id", "id of the ad unit"), _str("ad_unit_name", "name of the ad unit"))
_UNIT_SLOT = _code("ad_slot", "kind of ad slot", labels.AD_SLOTS)

_PUBLISHER = (
    _publisher(
        "publisher_adpos_general",
        "ad impressions, clicks and income",
        "date",  # no slot is asked for: a row is the sum of all
        (
            _AD_DAY,
            _int("slot_id", "id of the ad slot; since 2024-08-16 only if the request names a slot"),
            _code("ad_slot", "the ad slot", labels.AD_SLOTS, "; missing if slot_id is missing"),
            *_EARNED,
        ),
        span=90,
        day_field="date",
    ),
    _publisher(
        "publisher_adunit_general",
        "ad impressions, clicks and income by ad unit; only for mini-programs",
        "stat_item.date ad_unit_id",
        (*_UNIT, _object("stat_item", "figures of the ad unit", _AD_DAY, _UNIT_SLOT, *_EARNED)),
        page=_UNITS,
        span=90,
        day_field="stat_item.date",
    ),
    _publisher(
        "publisher_cps_general",
        "impressions of goods, orders and commission",
        "date",
        (
            _AD_DAY,
            *_SHOWN,
            _int("order_count", "number of orders"),
            _float("order_rate", "orders divided by clicks, 0 to 1"),
            _int("total_fee", "sales in fen (1/100 yuan)"),
            _int("total_commission", "commission in fen"),
        ),
        span=60,
        day_field="date",
    ),
    _publisher(
        "publisher_settlement",
        "settled income, by half month",
        "month order",
        (
            _date("the day on which the entry last changed", "date"),
            _str("zone", "the settled days, as text"),
            _str("month", "the settled month, YYYYMM"),
            _code("order", "half of the month", labels.HALVES),
            _code("sett_status", "state of the settlement", labels.SETTLEMENTS),
            _int("settled_revenue", "settled income in fen (1/100 yuan)"),
            _str("sett_no", "number of the settlement"),
            _str("mail_send_cnt", "how often the paper statement was requested again, as text"),
            _list(
                "slot_revenue",
                "income by ad slot",
                _code("slot_id", "the ad slot", labels.AD_SLOTS),
                _int("slot_settled_revenue", "settled income of the ad slot in fen"),
            ),
            _str("body", "the recipient of the income"),
            _int("penalty_all", "all deductions, in fen"),
            _int("revenue_all", "all income, in fen"),
            _int("settled_revenue_all", "all settled income, in fen"),
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
        "existing ad units; only for mini-programs",
        "_end_date ad_unit_id",
        (
            *_UNIT,
            _UNIT_SLOT,
            _str("ad_unit_type", "type of the ad unit, for example AD_UNIT_TYPE_BANNER"),
            _code("ad_unit_status", "state of the ad unit", labels.AD_UNIT_STATES),
            _list(
                "ad_unit_size",
                "sizes of the ad unit",
                _int("width", "width in pixels"),
                _int("height", "height in pixels"),
            ),
            _str("appid", "AppID of the mini-program"),
            _int("video_duration_min", "duration of the shortest video in seconds"),
            _int("video_duration_max", "duration of the longest video in seconds"),
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
