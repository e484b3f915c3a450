"""The interfaces, laid out as WeChat's own tables are, to be compared with its pages at a glance.

Rule: data; what an interface does with it stands in `harvester.endpoint`, what its records hold in
`harvester.datacube.fields`.

Each stands in a family that shares its first day, permission set and page: users, articles,
messages, interface (the account's own server), publisher (ads), mini-programs and mini-games.

Where the pages do not say it, or contradict each other, the safe reading stands:

- spans: the smaller number where two pages differ (getupstreammsgdist 15).  Weeks and months of
  messages are asked for by their first day alone, since their pages say so and the older table of
  30 days does not hold for certain; the row is dated that day.
- settled hour: 8 in China for all.  The pages of the old interfaces say it ("after 8"); for
  mini-programs and the publisher no page does, and unready figures were seen at 09:57: those
  answer 61503, which is waited for.
- mini-programs, mini-games: no page names a first day; theirs is the day on which mini-programs
  were introduced, 2017-01-09.
- cloud-call names: getusersummary's pages contradict each other on whether there is one; those of
  the four article interfaces of 2025 are seen in one client alone.
- successors of the retired six: WeChat names four interfaces for all of them, and so does
  getarticlesummary here; which ones take the place of the others is as a harvester in use maps
  them.  None of the four has figures by the hour.
- late_days: an article's totals have entries of 7 days, or 30, the day of publishing counted.  Who
  came again is told of the 30th day, the 4th week, the month after the period as well, and of the
  last of those days on the day after it: 31, 29, 32 days.  How far the settling of a month has come
  is told with it, and no page says until when that changes: for 62 days it is asked again.
- getgameanalysisdata gives one metric a call.  Here it is the number of active players (1000001:5)
  of a day; its page of metrics lists the others, and each of them can be an interface of one's own
  with another body.  The page says that the figures of a day are ready at no fixed hour and may be
  asked for every six hours: they are asked for again a day later.
- adpos: rows name their slot only where one was asked for, or before 2024-08-16.
- get_adunit_list tells what there is now: asked each day, it is kept as of yesterday.

What is not here: the statistics of cards (nobody tells whether they still answer), the performance
of a mini-program (``/wxa/business/performance/boot``), whose request and answer have another shape
altogether, and what a platform asks of the ads of its accounts (``/wxa/operationams``).  An
interface of one's own can send other fields and other names of dates.
"""

from __future__ import annotations

from datetime import date
from typing import Any

from harvester.datacube import fields
from harvester.datacube.errors import ERRORS
from harvester.datacube.publisher import PUBLISHER_ERRORS, PublisherEndpoint
from harvester.endpoint import UNIX, Field, JsonEndpoint
from harvester.plan import Cut

FIRST_DAY = date(2014, 12, 1)
ARTICLES_2025 = date(2025, 11, 1)
MINI_PROGRAMS = date(2017, 1, 9)
PUBLISHER = date(2016, 1, 1)

_PAGES = "https://developers.weixin.qq.com/doc/service/api/wedata"
_MINI_PAGES = "https://developers.weixin.qq.com/miniprogram/dev/server/API/data-analysis"
_AD_PAGE = (
    "https://developers.weixin.qq.com/doc/service/guide/product/analysis_data/ad/Ad_Analysis.html"
)

_FAMILIES = {"users": ("2", "user"), "articles": ("7", "news"), "messages": ("1", "mess"),
             "interface": ("3", "api")}  # fmt: skip
"""Group to permission set and folder of pages."""


def _made(
    group: str, name: str, title: str, first_day: date, call: str, key: str, **more: Any
) -> JsonEndpoint:
    permission_set, folder = _FAMILIES[group]
    return JsonEndpoint(
        name,
        f"/datacube/{name}",
        first_day,
        title=title,
        group=group,
        errors=ERRORS,
        cloud_call=call,
        permission_set=permission_set,
        page=f"{_PAGES}/{folder}/api_{name}.html",
        key=tuple(key.split()),
        **more,
    )


def _old(group: str, call: str, title: str, key: str, **more: Any) -> JsonEndpoint:
    """An interface of 2014."""
    cloud_call = f"officialAccount.datacube.{call}"
    return _made(group, call.lower(), title, FIRST_DAY, cloud_call, key, **more)


def _offline(call: str, title: str, key: str, *successors: str, **more: Any) -> JsonEndpoint:
    """One of the six article interfaces that WeChat took offline in 2026."""
    return _old("articles", call, title, key, retired=True, successors=successors, **more)


def _new(name: str, title: str, key: str, **more: Any) -> JsonEndpoint:
    """An article interface of November 2025."""
    return _made("articles", name, title, ARTICLES_2025, f"datacube.{name}", key, **more)


def _mini(name: str, call: str, folder: str, title: str, **more: Any) -> JsonEndpoint:
    """An interface of a mini-program; its days are written without hyphens."""
    return JsonEndpoint(
        f"getweanalysisappid{name}",
        f"/datacube/getweanalysisappid{name}",
        MINI_PROGRAMS,
        dates="%Y%m%d",
        title=title,
        group="miniprogram",
        errors=ERRORS,
        cloud_call=f"analysis.{call}",
        permission_set="18",
        page=f"{_MINI_PAGES}/{folder}/api_{call.lower()}.html",
        **{"key": ("ref_date",), **more},
    )


def _ads(
    action: str, title: str, key: str, of: tuple[Field, ...], **more: Any
) -> PublisherEndpoint:
    """An action of the publisher interface."""
    return PublisherEndpoint(
        action,
        "/publisher/stat",
        PUBLISHER,
        title=title,
        group="publisher",
        errors=PUBLISHER_ERRORS,
        page=_AD_PAGE,
        key=tuple(key.split()),
        fields=of,
        **more,
    )


# users: permission set 2

GETUSERSUMMARY = _old(
    "users", "getUserSummary", "followers who came and went, by channel",
    "ref_date user_source", span=7, fields=fields.USER_SUMMARY,
)  # fmt: skip
GETUSERCUMULATE = _old(
    "users", "getUserCumulate", "followers at the end of the day",
    "ref_date", span=7, daily=True, fields=fields.USER_CUMULATE,
)  # fmt: skip

# articles, retired: permission set 7

GETARTICLESUMMARY = _offline(
    "getArticleSummary", "reads and shares of each article on the day, for its first 7 days",
    "ref_date msgid", "getarticleread", "getarticleshare", "getbizsummary", "getarticletotaldetail",
    span=1, fields=fields.ARTICLE_SUMMARY,
)  # fmt: skip
GETARTICLETOTAL = _offline(
    "getArticleTotal", "running totals of the articles published on the day, for 7 days",
    "ref_date msgid", "getarticletotaldetail",
    span=1, late_days=7, fields=fields.ARTICLE_TOTAL,
)  # fmt: skip
GETUSERREAD = _offline(
    "getUserRead", "readers of all articles together, by channel",
    "ref_date user_source", "getbizsummary",
    span=3, fields=fields.USER_READ,
)  # fmt: skip
GETUSERREADHOUR = _offline(
    "getUserReadHour", "readers of all articles together, by hour and channel",
    "ref_date ref_hour user_source", "getarticleread", "getbizsummary",
    span=1, fields=fields.USER_READ_HOUR,
)  # fmt: skip
GETUSERSHARE = _offline(
    "getUserShare", "sharers of all articles together, by scene",
    "ref_date share_scene", "getarticleshare", "getbizsummary",
    span=7, fields=fields.USER_SHARE,
)  # fmt: skip
GETUSERSHAREHOUR = _offline(
    "getUserShareHour", "sharers of all articles together, by hour and scene",
    "ref_date ref_hour share_scene", "getarticleshare", "getbizsummary",
    span=1, fields=fields.USER_SHARE_HOUR,
)  # fmt: skip

# articles, since November 2025: permission set 7

GETARTICLEREAD = _new(
    "getarticleread", "readers of each article on the day, by entrance",
    "ref_date msgid", span=1, fields=fields.ARTICLE_READ,
)  # fmt: skip
GETARTICLESHARE = _new(
    "getarticleshare", "sharers of each article on the day",
    "ref_date msgid", span=1, fields=fields.ARTICLE_SHARE,
)  # fmt: skip
GETBIZSUMMARY = _new(
    "getbizsummary", "readers, sharers and comments of the whole account",
    "ref_date", span=30, fields=fields.BIZ_SUMMARY,
)  # fmt: skip
GETARTICLETOTALDETAIL = _new(
    "getarticletotaldetail", "running totals of the articles published on the day, for 30 days",
    "ref_date msgid", span=1, late_days=30, fields=fields.ARTICLE_TOTAL_DETAIL,
)  # fmt: skip

# messages: permission set 1

_WEEK: dict[str, Any] = {"cut": Cut.WEEK, "asks_first_day": True}
_MONTH: dict[str, Any] = {"cut": Cut.MONTH, "asks_first_day": True}

GETUPSTREAMMSG = _old(
    "messages", "getUpstreamMsg", "messages from followers, by kind",
    "ref_date msg_type", span=7, fields=fields.UPSTREAM,
)  # fmt: skip
GETUPSTREAMMSGHOUR = _old(
    "messages", "getUpstreamMsgHour", "messages from followers, by hour and kind",
    "ref_date ref_hour msg_type", span=1, fields=fields.UPSTREAM_HOUR,
)  # fmt: skip
GETUPSTREAMMSGWEEK = _old(
    "messages", "getUpstreamMsgWeek", "messages from followers in a week, by kind",
    "ref_date msg_type", **_WEEK, fields=fields.UPSTREAM_WEEK,
)  # fmt: skip
GETUPSTREAMMSGMONTH = _old(
    "messages", "getUpstreamMsgMonth", "messages from followers in a month, by kind",
    "ref_date msg_type", **_MONTH, fields=fields.UPSTREAM_MONTH,
)  # fmt: skip
GETUPSTREAMMSGDIST = _old(
    "messages", "getUpstreamMsgDist", "followers by how many messages they sent",
    "ref_date count_interval", span=15, fields=fields.UPSTREAM_DIST,
)  # fmt: skip
GETUPSTREAMMSGDISTWEEK = _old(
    "messages", "getUpstreamMsgDistWeek", "followers by how many messages they sent in a week",
    "ref_date count_interval", **_WEEK, fields=fields.UPSTREAM_DIST_WEEK,
)  # fmt: skip
GETUPSTREAMMSGDISTMONTH = _old(
    "messages", "getUpstreamMsgDistMonth", "followers by how many messages they sent in a month",
    "ref_date count_interval", **_MONTH, fields=fields.UPSTREAM_DIST_MONTH,
)  # fmt: skip

# interface, the account's own server: permission set 3

GETINTERFACESUMMARY = _old(
    "interface", "getInterfaceSummary", "messages passed on to the account's server, and how fast",
    "ref_date", span=30, fields=fields.INTERFACE,
)  # fmt: skip
GETINTERFACESUMMARYHOUR = _old(
    "interface", "getInterfaceSummaryHour", "the same by hour",
    "ref_date ref_hour", span=1, fields=fields.INTERFACE_HOUR,
)  # fmt: skip

# mini-programs: permission set 18

GETWEANALYSISAPPIDDAILYSUMMARYTREND = _mini(
    "dailysummarytrend", "getDailySummary", "others", "visitors so far, and shares",
    span=1, fields=fields.MINI_SUMMARY,
)  # fmt: skip
GETWEANALYSISAPPIDDAILYVISITTREND = _mini(
    "dailyvisittrend", "getDailyVisitTrend", "visit-trend", "visits of a day",
    span=1, fields=fields.MINI_DAILY_VISITS,
)  # fmt: skip
GETWEANALYSISAPPIDWEEKLYVISITTREND = _mini(
    "weeklyvisittrend", "getWeeklyVisitTrend", "visit-trend", "visits of a week",
    cut=Cut.WEEK, fields=fields.MINI_WEEKLY_VISITS,
)  # fmt: skip
GETWEANALYSISAPPIDMONTHLYVISITTREND = _mini(
    "monthlyvisittrend", "getMonthlyVisitTrend", "visit-trend", "visits of a month",
    cut=Cut.MONTH, fields=fields.MINI_MONTHLY_VISITS,
)  # fmt: skip
GETWEANALYSISAPPIDDAILYRETAININFO = _mini(
    "dailyretaininfo", "getDailyRetain", "visit-retain", "a day's visitors who came again",
    span=1, rows="", late_days=31, fields=fields.MINI_DAILY_RETAIN,
)  # fmt: skip
GETWEANALYSISAPPIDWEEKLYRETAININFO = _mini(
    "weeklyretaininfo", "getWeeklyRetain", "visit-retain", "a week's visitors who came again",
    cut=Cut.WEEK, rows="", late_days=29, fields=fields.MINI_WEEKLY_RETAIN,
)  # fmt: skip
GETWEANALYSISAPPIDMONTHLYRETAININFO = _mini(
    "monthlyretaininfo", "getMonthlyRetain", "visit-retain", "a month's visitors who came again",
    cut=Cut.MONTH, rows="", late_days=32, fields=fields.MINI_MONTHLY_RETAIN,
)  # fmt: skip
GETWEANALYSISAPPIDVISITPAGE = _mini(
    "visitpage", "getVisitPage", "others", "visits of each page, the most visited ones",
    span=1, lifts=("ref_date",), key=("ref_date", "page_path"), fields=fields.MINI_PAGES,
)  # fmt: skip
GETWEANALYSISAPPIDVISITDISTRIBUTION = _mini(
    "visitdistribution", "getVisitDistribution", "others", "visits by source, time and depth",
    span=1, rows="", fields=fields.MINI_DISTRIBUTION,
)  # fmt: skip
GETWEANALYSISAPPIDUSERPORTRAIT = _mini(
    "userportrait", "getUserPortrait", "others", "who the visitors of 1, 7 or 30 days are",
    cut=Cut.RECENT, span=30, rows="", fields=fields.MINI_PORTRAIT,
)  # fmt: skip

# mini-games

GETGAMEANALYSISDATA = JsonEndpoint(
    "getgameanalysisdata", "/datacube/getgameanalysisdata", MINI_PROGRAMS,
    title="active players of a mini-game", group="minigame", errors=ERRORS,
    dates=UNIX, begin_key="start_time", end_key="end_time",
    body={"metric": "1000001:5", "granularity": 24},
    rows="data_list", day_field="time_label", late_days=2, key=("time_label",),
    page="https://developers.weixin.qq.com/minigame/dev/api-backend/data-analysis"
    "/api_analysis.getgameanalysisdata.html",
    fields=fields.GAME,
)  # fmt: skip

# publisher: accounts with the traffic-owner function

PUBLISHER_ADPOS_GENERAL = _ads(
    "publisher_adpos_general", "ads shown, clicks and income",
    "date ad_slot", fields.PUBLISHER_ADPOS, span=90, day_field="date",
)  # fmt: skip
PUBLISHER_ADUNIT_GENERAL = _ads(
    "publisher_adunit_general", "the same by ad unit; of mini-programs alone",
    "stat_item.date ad_unit_id", fields.PUBLISHER_ADUNIT, span=90, day_field="stat_item.date",
)  # fmt: skip
PUBLISHER_CPS_GENERAL = _ads(
    "publisher_cps_general", "goods shown, orders and commission",
    "date", fields.PUBLISHER_CPS, span=60, day_field="date",
)  # fmt: skip
PUBLISHER_SETTLEMENT = _ads(
    "publisher_settlement", "income settled, by half months",
    "month order", fields.PUBLISHER_SETTLEMENT, cut=Cut.MONTH, rows="settlement_list",
    late_days=62, day_field="",
    lifts=("body", "penalty_all", "revenue_all", "settled_revenue_all"),
)  # fmt: skip
GET_ADUNIT_LIST = _ads(
    "get_adunit_list", "the ad units that there are; of mini-programs alone",
    "_end_date ad_unit_id", fields.AD_UNITS, cut=Cut.RECENT, span=1, dated=False, rows="ad_unit",
    day_field="",
)  # fmt: skip
