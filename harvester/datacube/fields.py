"""The fields of every interface's records, as WeChat's pages and real answers have them.

Rule: data; what a field means stands here once, however many interfaces have it.

A field that is missing in an answer is not 0: fields have varied from row to row since 2020.  What
is marked "undocumented" stands in answers, as several clients report, and on no page.
"""

from __future__ import annotations

from harvester.endpoint import Field

Fields = tuple[Field, ...]


def _int(name: str, meaning: str) -> Field:
    return Field(name, "int", meaning)


def _float(name: str, meaning: str) -> Field:
    return Field(name, "float", meaning)


def _str(name: str, meaning: str) -> Field:
    return Field(name, "str", meaning)


def _date(meaning: str, name: str = "ref_date") -> Field:
    return Field(name, "date", meaning)


def _list(name: str, meaning: str, fields: Fields) -> Field:
    return Field(name, "list", meaning, fields)


def _object(name: str, meaning: str, fields: Fields) -> Field:
    return Field(name, "object", meaning, fields)


def _both(stem: str, what: str, times: str = "count") -> Fields:
    """People and times."""
    return (
        _int(f"{stem}_user", f"people who {what}"),
        _int(f"{stem}_{times}", f"times that people {what}"),
    )


_DAY = _date("the day")
_HOUR = _int("ref_hour", "the hour from then on: 0, 100, … 2300")
_MSGID = _str("msgid", "message id and 1-based place in the message, as 12003_3")

_CHANNEL = _int("user_source", "stands in some answers, on no page of the interface")

# users

USER_SUMMARY = (
    _DAY,
    _int(
        "user_source",
        "channel: 0 all others, 1 search, 17 name card, 30 QR code, 57 name in an article, 100 ads,"
        " 149 mini-program, 161 reprint, 176 name in an album, 200 Channels, 201 live broadcast;"
        " older 43, 51, 75, 78; open",
    ),
    _int("new_user", "people who followed"),
    _int("cancel_user", "people who unfollowed; the net growth is new_user - cancel_user"),
)
USER_CUMULATE = (
    _DAY,
    _int("user_source", "always 0; undocumented"),
    _int("cumulate_user", "followers at the end of the day"),
)

# articles, the interfaces of 2014

_FIGURES = (
    *_both("int_page_read", "read the article page"),
    *_both("ori_page_read", "opened its original page"),
    *_both("share", "shared it"),
    *_both("add_to_fav", "favourited it"),
)
ARTICLE_SUMMARY = (
    _date("the day it was read on"),
    _MSGID,
    _str("title", "of the article"),
    *_FIGURES,
    _int("user_source", "always 0; undocumented"),
)
_TOTAL = (
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
)
ARTICLE_TOTAL = (
    _date("the day it was published on"),
    _MSGID,
    _str("title", "of the article"),
    _int("user_source", "always 0; undocumented"),
    _str("url", "of the article; undocumented"),
    _str("content_url", "of the article; undocumented, in place of url"),
    _list("details", "an entry a day, for up to seven days from the publishing on", _TOTAL),
)
_READ_SOURCE = _int(
    "user_source",
    "99999999 all channels, 0 conversation, 1 friends, 2 Moments, 3 Tencent Weibo, 4 history page,"
    " 5 other, 6 Top Stories, 7 Search; people do not add up over channels; channels since"
    " 2020-02-28",
)
USER_READ = (_DAY, _READ_SOURCE, *_FIGURES)
USER_READ_HOUR = (_DAY, _HOUR, _READ_SOURCE, *_FIGURES)
_SHARE = (
    _int("share_scene", "1 friend, 2 Moments, 3 Tencent Weibo, 255 other; 5 is undocumented"),
    _int("share_count", "times that people shared"),
    _int("share_user", "people who shared"),
    _CHANNEL,
)
USER_SHARE = (_DAY, *_SHARE)
USER_SHARE_HOUR = (_DAY, _HOUR, *_SHARE)

# articles, the interfaces of 2025

_SCENES = _list(
    "read_user_source",
    "readers by entrance, in no fixed order; they do not add up to all",
    (
        _int("user_count", "readers"),
        _str(
            "scene_desc",
            "全部 all, 公众号消息 message, 聊天会话 chat, 朋友圈 Moments, 公众号主页 account page,"
            " 推荐 recommended, 搜一搜 search, 其他 other",
        ),
    ),
)
_READERS = (_int("read_user", "readers"), _SCENES)
_SHARERS = _int("share_user", "sharers")
_APPLAUSE = (
    _int("zaikan_user", 'people who pressed the heart ("在看")'),
    _int("like_user", "people who gave a thumbs-up"),
    _int("comment_count", "comments"),
    _int("collection_user", "people who favourited"),
)
ARTICLE_READ = (
    _date("the day it was read on"),
    _MSGID,
    _object("detail", "the figures of the day", _READERS),
)
ARTICLE_SHARE = (
    _date("the day it was shared on"),
    _MSGID,
    _object("detail", "the figures of the day", (_SHARERS,)),
)
BIZ_SUMMARY = (
    _DAY,
    _object(
        "detail",
        "the figures of the whole account",
        (
            *_READERS,
            _SHARERS,
            *_APPLAUSE,
            _int("redirect_ori_page_user", "people who went on to the original page"),
            _int("send_page_count", "articles published"),
        ),
    ),
)
_SNAPSHOT = (
    _date("the figures are running totals to the end of this day", "stat_date"),
    *_READERS,
    _SHARERS,
    *_APPLAUSE,
    _int("praise_money", "tips, in fen (1/100 yuan)"),
    _int("read_subscribe_user", "people who followed after reading"),
    _float("read_delivery_rate", "share of the readers among those it was delivered to, 0 to 1"),
    _float("read_finish_rate", "share of the readers who read it to the end, 0 to 1"),
    _float("read_avg_activetime", "mean time of reading, in minutes"),
    _list(
        "read_jump_position",
        "where readers left",
        (_int("position", "fifth of the article, 1 to 5"), _float("rate", "of readers, 0 to 1")),
    ),
)
ARTICLE_TOTAL_DETAIL = (
    _date("the day it was published on"),
    _MSGID,
    _int("publish_type", "0 with notice, 1 without; 2 is undocumented"),
    _str("title", "of the article; absent in early answers"),
    _str("content_url", "of the article; since 2026-03-03"),
    _list("detail_list", "an entry a day, for up to thirty days from publishing on", _SNAPSHOT),
)

# messages

_MESSAGES = (
    _int("msg_type", "1 text, 2 picture, 3 voice, 4 video, 6 link or other app"),
    _int("msg_user", "people who sent some"),
    _int("msg_count", "messages"),
    _CHANNEL,
)
_INTERVALS = (
    _int("count_interval", "messages a person sent: 0 none, 1 1 to 5, 2 6 to 10, 3 more than 10"),
    _int("msg_user", "people who sent so many"),
    _CHANNEL,
)
_MONDAY, _FIRST = _date("the week's Monday"), _date("the first day of the month")
UPSTREAM = (_DAY, *_MESSAGES)
UPSTREAM_HOUR = (_DAY, _HOUR, *_MESSAGES)
UPSTREAM_WEEK = (_MONDAY, *_MESSAGES)
UPSTREAM_MONTH = (_FIRST, *_MESSAGES)
UPSTREAM_DIST = (_DAY, *_INTERVALS)
UPSTREAM_DIST_WEEK = (_MONDAY, *_INTERVALS)
UPSTREAM_DIST_MONTH = (_FIRST, *_INTERVALS)

# the account's own server

_CALLS = (
    _int("callback_count", "messages that were passed on to the account's server"),
    _int("fail_count", "of them, those that failed"),
    _int("total_time_cost", "milliseconds altogether; divide by callback_count for the mean"),
    _int("max_time_cost", "milliseconds of the slowest"),
    _int("max_time_count", "max_time_cost, as older answers spell it"),
)
INTERFACE = (_DAY, *_CALLS)
INTERFACE_HOUR = (_DAY, _HOUR, *_CALLS)

# mini-programs

_COMPACT = _date("the day, YYYYMMDD")
_WEEK = _str("ref_date", "the week, YYYYMMDD-YYYYMMDD")
_MONTH = _str("ref_date", "the month, YYYYMM")
MINI_SUMMARY = (
    _COMPACT,
    _int("visit_total", "visitors since the beginning"),
    _int("share_pv", "times it was shared"),
    _int("share_uv", "people who shared it"),
)
_VISITS = (
    _int("session_cnt", "times it was opened"),
    _int("visit_pv", "pages visited"),
    _int("visit_uv", "visitors"),
    _int("visit_uv_new", "new visitors"),
    _float("stay_time_uv", "mean stay of a visitor, in seconds"),
    _float("stay_time_session", "mean stay of a session, in seconds"),
    _float("visit_depth", "mean depth"),
)
MINI_DAILY_VISITS = (_COMPACT, *_VISITS)
MINI_WEEKLY_VISITS = (_WEEK, *_VISITS)
MINI_MONTHLY_VISITS = (_MONTH, *_VISITS)


def _retained(period: Field, after: str) -> Fields:
    items = (_int("key", after), _int("value", "people: at key 0 all of them, then who came again"))
    return (
        period,
        _list("visit_uv_new", "new visitors of the period", items),
        _list("visit_uv", "all visitors of the period", items),
    )


MINI_DAILY_RETAIN = _retained(_COMPACT, "days later: 0 to 7, 14, 30")
MINI_WEEKLY_RETAIN = _retained(_WEEK, "weeks later: 0 to 4, or fewer")
MINI_MONTHLY_RETAIN = _retained(_MONTH, "months later: 0, 1")
MINI_PAGES = (
    _COMPACT,
    _str("page_path", "the page"),
    _int("page_visit_pv", "times it was visited"),
    _int("page_visit_uv", "its visitors"),
    _float("page_staytime_pv", "mean stay, in seconds"),
    _int("entrypage_pv", "times it was the first page"),
    _int("exitpage_pv", "times it was the last page"),
    _int("page_share_pv", "times it was shared"),
    _int("page_share_uv", "people who shared it"),
)
MINI_DISTRIBUTION = (
    _COMPACT,
    _list(
        "list",
        "a distribution each",
        (
            _str(
                "index",
                "access_source_session_cnt, access_source_visit_uv, access_staytime_info or"
                " access_depth_info",
            ),
            _list(
                "item_list",
                "its parts",
                (
                    _int("key", "the source, or the class of time or depth"),
                    _int("value", "how many"),
                    _int("access_source_visit_uv", "people; of sources alone"),
                ),
            ),
        ),
    ),
)
_PARTS = (_int("id", "WeChat's number of it"), _str("name", "its name"), _int("value", "people"))
_WHO = (
    _list("province", "by province", _PARTS),
    _list("city", "by city", _PARTS),
    _list("genders", "by gender", _PARTS),
    _list("platforms", "by system", _PARTS),
    _list("devices", "by device, which has no id", _PARTS[1:]),
    _list("ages", "by age", _PARTS),
)
MINI_PORTRAIT = (
    _str("ref_date", "the day, YYYYMMDD, or the days, YYYYMMDD-YYYYMMDD"),
    _object("visit_uv_new", "new visitors", _WHO),
    _object("visit_uv", "all visitors", _WHO),
)

# mini-games

GAME = (
    _int("timestamp", "the Unix time at which the day begins"),
    _date("the day", "time_label"),
    _list(
        "group_dimension_list",
        "the part of the players that the figure is of; empty unless the request groups them",
        (_str("label", "the dimension"), _str("value", "its value")),
    ),
    _float("metric_value", "the figure; absent if there is none"),
)

# the publisher (traffic owner)

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
PUBLISHER_ADPOS = (
    _date("the day", "date"),
    _int("slot_id", "the slot; since 2024-08-16 absent if no slot is asked for"),
    _str("ad_slot", "the slot's name, as SLOT_ID_BIZ_BOTTOM; absent as slot_id is"),
    *_EARNED,
)
_UNIT = (
    _str("ad_unit_id", "the ad unit"),
    _str("ad_unit_name", "as it was named"),
)
_UNIT_SLOT = _str("ad_slot", "the name of its kind of slot, as SLOT_ID_WEAPP_BANNER")
PUBLISHER_ADUNIT = (
    *_UNIT,
    _object("stat_item", "its figures", (_date("the day", "date"), _UNIT_SLOT, *_EARNED)),
)
AD_UNITS = (
    *_UNIT,
    _UNIT_SLOT,
    _str("ad_unit_type", "as AD_UNIT_TYPE_BANNER"),
    _str("ad_unit_status", "AD_UNIT_STATUS_ON or AD_UNIT_STATUS_OFF"),
    _list("ad_unit_size", "its sizes", (_int("width", "in pixels"), _int("height", "in pixels"))),
    _str("appid", "the mini-program's"),
    _int("video_duration_min", "seconds of the shortest video"),
    _int("video_duration_max", "seconds of the longest video"),
)
PUBLISHER_CPS = (
    _date("the day", "date"),
    *_SHOWN,
    _int("order_count", "orders"),
    _float("order_rate", "orders of clicks, 0 to 1"),
    _int("total_fee", "what was sold, in fen (1/100 yuan)"),
    _int("total_commission", "in fen"),
)
PUBLISHER_SETTLEMENT = (
    _date("the day on which the entry last changed", "date"),
    _str("zone", "the days that are settled, in words"),
    _str("month", "the month that is settled, YYYYMM"),
    _int("order", "1 its first half, 2 its second"),
    _int("sett_status", "1 being settled, 2 and 3 settled, 4 being paid, 5 paid"),
    _int("settled_revenue", "in fen (1/100 yuan)"),
    _str("sett_no", "the settlement's number"),
    _str("mail_send_cnt", "times that its paper was asked for again, as text"),
    _list(
        "slot_revenue",
        "by slot",
        (_str("slot_id", "the slot's name"), _int("slot_settled_revenue", "in fen")),
    ),
    _str("body", "of the answer: whom it is paid to"),
    _int("penalty_all", "of the answer: deductions, in fen"),
    _int("revenue_all", "of the answer: income, in fen"),
    _int("settled_revenue_all", "of the answer: settled income, in fen"),
)
