"""What each figure of the catalogue is: its unit, and what must not be done with it.

Rule: data, by the name of a field: interfaces that have the same field mean the same by it.  A
number without an entry is a code, an id, a place, or of more than one kind.

Sources of the names in WeChat's console: the heads of its downloads of 用户分析 and 内容分析
(全部, a row a day and channel), as clients that read these files quote them; WeChat's help on
消息分析 and 接口分析; for mini-programs developers.weixin.qq.com/miniprogram/analysis.  The names
of totals: the download 已通知内容 of 内容分析, a row an article.  The retired interfaces of
articles have the names of the fields that took the place of theirs.
"""

from __future__ import annotations

from typing import NamedTuple

from harvester.wechat.titles import Title

DAY, TOTAL, SNAPSHOT = "day", "total", "snapshot"
"""Kinds of figures: of a day (an hour, a week, a month) alone; a running total; a level."""
NO_TITLE = Title("", "")


class Facts(NamedTuple):
    """What a figure is, wherever it occurs.

    never: what must not be done with the figure of a day, `SUM` if it may be summed; a total or a
    level is never summed.  of: the denominator of a ratio or a mean, where a source names it.
    console: its name in WeChat's console, empty if no source has it; console_total: the same of the
    total of an article.  kind: `DAY` if it depends on the interface.
    """

    unit: Title
    never: Title
    of: Title = NO_TITLE
    console: str = ""
    console_total: str = ""
    kind: str = DAY


CONSOLE_DAYS = 7
"""The days from publishing that the console's totals of an article have, by the same clients."""

PEOPLE, TIMES = Title("人", "people"), Title("次", "times")
FEN, SHARE = Title("分", "fen (1/100 yuan)"), Title("0–1", "0 to 1")
MS, SECONDS = Title("毫秒", "ms"), Title("秒", "s")
PIXELS = Title("像素", "pixels")

SUM = NO_TITLE
_TWICE = Title(
    "人数按日去重，跨日、跨渠道相加会重复计人",
    "each person is counted once per day and channel, so a sum counts some people twice",
)
_SOURCES = Title(
    "来源“全部”是总人数，同一人可有多个来源，不能相加",
    "the source 全部 is all readers; one reader can have several sources: do not sum",
)
_RATIO = Title("比例，不能相加，也不能求平均", "a ratio: do not sum or average it")
_MEAN = Title("平均值，不能相加", "a mean: do not sum it")
_SIZE = Title("规格，不能相加", "a property: do not sum it")
_REPEATED = Title(
    "整个返回的合计，每行重复，不能相加",
    "for the whole answer, repeated in each of its rows: do not sum",
)
_SESSIONS = Title("打开次数 session_cnt", "session_cnt")
_MAXIMUM = Title("最大值，取其中最大的，不能相加", "a maximum: take the greatest value, do not sum")

SOME_PEOPLE = Facts(PEOPLE, _TWICE)
"""A ``value`` of a list of people."""
FIGURES = {
    name: facts
    for names, facts in (
        ("new_user", Facts(PEOPLE, SUM, console="新关注人数")),
        ("cancel_user", Facts(PEOPLE, SUM, console="取消关注人数")),
        ("cumulate_user", Facts(PEOPLE, SUM, console="累积关注人数", kind=SNAPSHOT)),
        ("target_user", Facts(PEOPLE, SUM, console_total="送达人数")),
        ("int_page_read_user read_user",
         Facts(PEOPLE, _TWICE, console="阅读人数", console_total="总阅读人数")),
        ("int_page_read_count read_count",
         Facts(TIMES, SUM, console="阅读次数", console_total="总阅读次数")),
        ("ori_page_read_user redirect_ori_page_user",
         Facts(PEOPLE, _TWICE, console="阅读原文人数")),
        ("ori_page_read_count", Facts(TIMES, SUM, console="阅读原文次数")),
        ("share_user", Facts(PEOPLE, _TWICE, console="分享人数", console_total="总分享人数")),
        ("share_count", Facts(TIMES, SUM, console="分享次数", console_total="总分享次数")),
        ("add_to_fav_user collection_user", Facts(PEOPLE, _TWICE, console="收藏人数")),
        ("add_to_fav_count", Facts(TIMES, SUM, console="收藏次数")),
        (("int_page_from_session_read_user int_page_from_hist_msg_read_user"
         " int_page_from_feed_read_user int_page_from_friends_read_user"
         " int_page_from_other_read_user int_page_from_kanyikan_read_user"
         " int_page_from_souyisou_read_user feed_share_from_session_user"
         " feed_share_from_feed_user feed_share_from_other_user zaikan_user like_user"
         " share_uv page_visit_uv page_share_uv access_source_visit_uv"),
         Facts(PEOPLE, _TWICE)),
        (("int_page_from_session_read_count int_page_from_hist_msg_read_count"
         " int_page_from_feed_read_count int_page_from_friends_read_count"
         " int_page_from_other_read_count int_page_from_kanyikan_read_count"
         " int_page_from_souyisou_read_count feed_share_from_session_cnt"
         " feed_share_from_feed_cnt feed_share_from_other_cnt fail_count share_pv"
         " page_visit_pv entrypage_pv exitpage_pv page_share_pv req_succ_count"
         " exposure_count click_count"),
         Facts(TIMES, SUM)),
        ("user_count", Facts(PEOPLE, _SOURCES, console="阅读人数")),
        ("comment_count", Facts(Title("条", "comments"), SUM)),
        ("send_page_count", Facts(Title("篇", "articles"), SUM, console="群发篇数")),
        (("praise_money income total_fee total_commission settled_revenue"
         " slot_settled_revenue"),
         Facts(FEN, SUM)),
        ("penalty_all revenue_all settled_revenue_all", Facts(FEN, _REPEATED)),
        ("read_subscribe_user", Facts(PEOPLE, SUM, console_total="阅读后关注人数")),
        ("read_delivery_rate",
         Facts(SHARE, _RATIO, of=Title("送达人数", "recipients"),
               console_total="送达阅读率")),
        ("read_finish_rate",
         Facts(SHARE, _RATIO, of=Title("阅读人数", "readers"), console_total="阅读完成率")),
        ("read_avg_activetime", Facts(Title("分钟", "minutes"), _MEAN)),
        ("rate", Facts(SHARE, _RATIO, of=Title("阅读人数", "readers"))),
        ("msg_user", Facts(PEOPLE, _TWICE, console="消息发送人数")),
        ("msg_count", Facts(Title("条", "messages"), SUM, console="消息发送次数")),
        ("callback_count", Facts(TIMES, SUM, console="调用次数")),
        ("total_time_cost", Facts(MS, SUM)),
        ("max_time_cost max_time_count", Facts(MS, _MAXIMUM, console="最大耗时")),
        ("visit_total", Facts(PEOPLE, SUM, kind=TOTAL)),
        ("session_cnt", Facts(TIMES, SUM, console="打开次数")),
        ("visit_pv", Facts(TIMES, SUM, console="访问次数")),
        ("visit_uv", Facts(PEOPLE, _TWICE, console="访问人数")),
        ("visit_uv_new", Facts(PEOPLE, SUM)),
        ("stay_time_uv",
         Facts(SECONDS, _MEAN, of=Title("访问人数 visit_uv", "visit_uv"), console="人均停留时长")),
        ("stay_time_session",
         Facts(SECONDS, _MEAN, of=_SESSIONS, console="次均停留时长")),
        ("visit_depth",
         Facts(Title("层", "pages"), _MEAN, of=_SESSIONS, console="平均访问深度")),
        ("page_staytime_pv",
         Facts(SECONDS, _MEAN, of=Title("页面访问次数 page_visit_pv", "page_visit_pv"))),
        ("exposure_rate",
         Facts(SHARE, _RATIO, of=Title("拉取量 req_succ_count", "req_succ_count"))),
        ("click_rate", Facts(SHARE, _RATIO, of=Title("曝光量 exposure_count", "exposure_count"))),
        ("ecpm",
         Facts(FEN, _MEAN, of=Title("曝光量 exposure_count / 1,000", "exposure_count / 1,000"))),
        ("width height", Facts(PIXELS, _SIZE)),
        ("video_duration_min video_duration_max", Facts(SECONDS, _SIZE)),
        ("order_count", Facts(Title("单", "orders"), SUM)),
        ("order_rate", Facts(SHARE, _RATIO, of=Title("点击量 click_count", "click_count"))),
    )
    for name in names.split()
}  # fmt: skip
