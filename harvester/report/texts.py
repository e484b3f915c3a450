"""The texts of the page, in Chinese and in English.

Rule: tables of titles in both languages, and functions from numbers to texts.
"""

from __future__ import annotations

from calendar import monthrange
from datetime import date, datetime

from harvester.base.chinese import Titled, shown
from harvester.base.dates import CHINA
from harvester.model import Endpoint, many
from harvester.report.causes import Text
from harvester.report.quotas import InterfaceQuota
from harvester.texts import say
from harvester.wechat.titles import INTERFACES

TEXTS: dict[str, Text] = {
    "title": ("公众号数据采集", "WeChat harvest"),
    "made": ("生成于", "Made"),
    "light": ("浅色", "Light"),
    "dark": ("深色", "Dark"),
    "well": ("正常", "All well"),
    "waiting": ("有等待", "Waiting"),
    "needed": ("要处理", "Needs you"),
    "square": ("每格一个账号", "One square an account"),
    "todo": ("要处理", "to do"),
    "late": ("未到齐", "late"),
    "here": ("已到齐", "here"),
    "old": ("不再采", "no longer asked for"),
    "history": ("历史完整度", "History"),
    "finished": ("预计补齐", "Complete by"),
    "person": ("需人工处理", "For a person"),
    "for_you": ("需要你处理", "For you to do"),
    "a_cause": ("同一原因合为一件", "one line a cause"),
    "by_itself": ("无需处理，会自动恢复", "Resolves by itself"),
    "run_on": ("继续运行即可", "just run on"),
    "coverage": ("覆盖", "Coverage"),
    "column": (
        "每格一个月；高度表示各状态天数的占比",
        "one column per month; heights are shares of its days",
    ),
    "final": ("最终", "final"),
    "provisional": ("暂定，仍可能变动", "provisional"),
    "empty": ("空", "empty"),
    "is_waiting": ("等待", "waiting"),
    "failed": ("失败", "failed"),
    "missing": ("缺失", "missing"),
    "is_late": ("迟到，会再次请求", "late, requested again"),
    "never": ("始终没有给出", "never delivered"),
    "together": ("全部账号", "All accounts together"),
    "by_week": (
        "每格一周；斜线＝没有数字、缺少部分日期，或有账号从这一周开始",
        "one bar per week; hatched: no figures, some days are missing, or an account begins",
    ),
    "four_weeks": ("近 4 周", "last 4 weeks"),
    "added_up": ("近 4 周，每日人数相加", "last 4 weeks, daily readers added up"),
    "readers": ("阅读人数", "Readers"),
    "gained": ("用户增减", "Followers gained and lost"),
    "followers": ("用户数", "Followers"),
    "figures": ("数字", "Figures"),
    "by_day_hatched": ("每格一天；斜线＝没有数字", "one bar per day; hatched: no figures"),
    "added_up_mean": (
        "每日人数相加；线：7 天平均",
        "daily readers added up; line: mean of 7 days",
    ),
    "came": ("新增", "gained"),
    "went": ("取消", "lost"),
    "readers_from": ("读者来源", "Where readers come from"),
    "gained_from": ("新增用户来源", "Where followers come from"),
    "no_sum": (
        "近一年；同一人可能来自几处，各天的人数相加",
        "last year; days added up, a person may come from several",
    ),
    "most_read": ("阅读最多的文章", "Most read articles"),
    "quota": ("今日限额", "Quota today"),
    "quota_of": (
        "北京时间今天的调用次数，全部账号相加",
        "calls of today in China, of all accounts together",
    ),
    "quota_used": ("已用", "Used"),
    "quota_left": ("剩余", "Left"),
    "quota_daily": ("每账号每天", "A day, each account"),
    "quota_up": ("已用完", "Used up"),
    "not_known": ("未知", "not known"),
    "no_quota": (
        "今天还没有调用；每天的限额未知（可用 --daily-quota 给出）。",
        "No call was sent today, and the daily quota is not known (--daily-quota N states it).",
    ),
    "by_year": ("按年", "By year"),
    "choose_year": ("选年份", "choose a year"),
    "by_month": ("用户，按月", "Followers by month"),
    "month": ("月", "Month"),
    "month_gained": ("新增", "Gained"),
    "month_lost": ("取消", "Lost"),
    "month_net": ("净增", "Net"),
    "month_end": ("月末用户数", "At month's end"),
    "whole_year": ("全年", "Year"),
    "article": ("文章", "Article"),
    "article_readers": ("阅读人数", "Readers"),
    "article_reads": ("阅读次数", "Times read"),
    "published": ("发表", "published"),
    "first_read": ("最早阅读", "first read"),
    "counted_to": ("截至", "counted to"),
    "no_months": (
        "这一年没有已存的用户数字（getusersummary、getusercumulate）。",
        "Nothing of this year is stored of getusersummary and getusercumulate.",
    ),
    "no_articles": (
        "没有已存的、这一年发表的文章（getarticletotaldetail 等）。",
        "No article published in this year is stored (getarticletotaldetail, …).",
    ),
    "not_in_page": (
        "账号较多，本页只收较新年份的文章。",
        "Of many accounts the page has articles of newer years alone.",
    ),
    "nothing_by_year": (
        "用户和文章的接口都没有已存的数字。",
        "No figures of followers and articles are stored.",
    ),
    "no_curves": ("没有显示数字：", "No figures are shown:"),
    "needs_script": (
        "查看单个账号需要 JavaScript。",
        "To look at one account takes JavaScript.",
    ),
    "reads": ("26 周阅读", "Readers, 26 weeks"),
    "partial": ("灰色＝不完整", "grey: partial"),
    "most": ("最高", "max"),
    "now": ("最近", "latest"),
    "accounts": ("账号", "Accounts"),
    "account": ("账号", "Account"),
    "newest": ("最近一天", "Newest day"),
    "weeks": ("近 12 周", "Last 12 weeks"),
    "interface": ("接口", "Interface"),
    "days": ("天", "days"),
    "from": ("起", "From"),
    "to": ("止", "To"),
    "state": ("状态", "State"),
    "only_all": ("全部", "All"),
    "only_todo": ("要处理", "To do"),
    "only_late": ("未到齐", "Late"),
    "only_incomplete": ("历史不全", "Incomplete"),
    "search": ("名称或 AppID", "Name or AppID"),
    "more": ("再显示 40 个", "Show 40 more"),
    "none_found": ("没有符合的账号。", "No account matches."),
    "copy_ids": ("复制 AppID", "Copy AppIDs"),
    "copy_ip": ("复制 IP", "Copy IP"),
    "back": ("← 全部账号", "← All accounts"),
    "pick": ("点接口看日历", "pick an interface for its calendar"),
    "by_day": ("逐日", "day by day"),
    "as_table": ("表格", "As a table"),
    "all_there": ("数据齐全。", "Everything is there."),
}

_NOTE_ZH = (
    "日期都是北京时间（UTC+8）。最终：微信不再改动。暂定：已入库，下次运行会再次请求。"
    "空：微信那天没有数据，不算缺失。接口日＝一个账号一个接口的一天。"
)
_NOTE_EN = (
    "Days are China's (UTC+8). Final: WeChat changes it no more. Provisional: stored, asked for"
    " again by the next run. Empty: WeChat had nothing that day; it is not missing. An"
    " interface-day is one day of one interface of one account."
)
NOTE: Text = _NOTE_ZH, _NOTE_EN

_BY_YEAR_ZH = (
    "文章按发表年份列出；没有存下发表日的，按最早有阅读的一天。"
    "阅读人数是微信给出的最近一次累计值；没有存下累计值的，把已存各天的人数相加（标明“相加”），"
    "同一人在几天里阅读会重复计入。阅读次数只有旧接口给出。"
    "月末用户数取当月最后一个有数字的日子，不是月末那天的注明日期。"
)
_BY_YEAR_EN = (
    "Articles are those published in the year, or first read in it where no day of publishing is"
    " stored. Readers are WeChat's latest running total; where none is stored, the readers of the"
    " stored days added up (marked): who reads on several days counts several times. Old"
    " interfaces alone give times read. Followers are those of the last day of a month that has a"
    " figure, which is named if it is not the month's last day."
)
BY_YEAR_NOTE: Text = _BY_YEAR_ZH, _BY_YEAR_EN

_ENGLISH_TITLES = {
    "getusersummary": "Followers gained, lost",
    "getusercumulate": "Followers",
    "getarticlesummary": "Articles by day (old)",
    "getarticletotal": "Article totals (old)",
    "getuserread": "Readers (old)",
    "getuserreadhour": "Readers by hour (old)",
    "getusershare": "Sharers (old)",
    "getusersharehour": "Sharers by hour (old)",
    "getarticleread": "Article reads",
    "getarticleshare": "Article shares",
    "getbizsummary": "Account summary",
    "getarticletotaldetail": "Article totals",
    "getupstreammsg": "Messages",
    "getupstreammsghour": "Messages by hour",
    "getupstreammsgweek": "Messages by week",
    "getupstreammsgmonth": "Messages by month",
    "getupstreammsgdist": "Message counts",
    "getupstreammsgdistweek": "Message counts by week",
    "getupstreammsgdistmonth": "Message counts by month",
    "getinterfacesummary": "Server calls",
    "getinterfacesummaryhour": "Server calls by hour",
    "getweanalysisappiddailysummarytrend": "Mini-program summary",
    "getweanalysisappiddailyvisittrend": "Visits by day",
    "getweanalysisappidweeklyvisittrend": "Visits by week",
    "getweanalysisappidmonthlyvisittrend": "Visits by month",
    "getweanalysisappiddailyretaininfo": "Retention by day",
    "getweanalysisappidweeklyretaininfo": "Retention by week",
    "getweanalysisappidmonthlyretaininfo": "Retention by month",
    "getweanalysisappidvisitpage": "Pages visited",
    "getweanalysisappidvisitdistribution": "Visits by source",
    "getweanalysisappiduserportrait": "Who visits",
    "getgameanalysisdata": "Mini-game players",
    "publisher_adpos_general": "Ads",
    "publisher_adunit_general": "Ads by unit",
    "publisher_cps_general": "Goods sold",
    "publisher_settlement": "Settlements",
    "get_adunit_list": "Ad units",
}
INTERFACE_TITLES: dict[str, Text] = {
    name: (INTERFACES[name], title) for name, title in _ENGLISH_TITLES.items()
}


SOURCES: dict[str, Text] = {
    "公众号消息": ("公众号消息", "account message"),
    "聊天会话": ("聊天会话", "chat"),
    "朋友圈": ("朋友圈", "Moments"),
    "公众号主页": ("公众号主页", "account page"),
    "推荐": ("推荐", "recommended"),
    "搜一搜": ("搜一搜", "search"),
    "其他": ("其他", "other"),
    "0": ("其他", "other"),
    "1": ("搜索", "search"),
    "17": ("名片分享", "name card"),
    "30": ("扫二维码", "QR code"),
    "51": ("支付后关注", "after payment"),
    "57": ("文章内账号名称", "name in article"),
    "100": ("微信广告", "WeChat ads"),
    "149": ("小程序关注", "mini-program"),
    "161": ("他人转载", "reprint"),
    "176": ("专辑内账号名称", "name in album"),
    "200": ("视频号", "Channels"),
    "201": ("直播", "live"),
}
"""Short names of sources: ``scene_desc`` of readers, ``user_source`` of followers."""


def title_of(name: str, endpoint: Endpoint | None = None) -> str:
    """The short name of an interface; the full name if it is not built in."""
    own = str(getattr(endpoint, "title", "") or name)
    return Titled(*INTERFACE_TITLES[name]) if name in INTERFACE_TITLES else own


def number(value: int) -> str:
    """With the separators that both languages use."""
    return f"{value:,}"


def signed(value: int | None) -> str:
    """The same with its sign; – if there is none."""
    return "–" if value is None else f"{value:+,}" if value else "0"


def month_name(number_of_month: int) -> str:
    """The name of a month since the year 0."""
    return Titled(f"{number_of_month % 12 + 1}月", _MONTHS[number_of_month % 12])


def month_ends(number_of_month: int, days: tuple[int, int]) -> str:
    """On which days of a month the last figures were; nothing if all were on its last one."""
    year, at = divmod(number_of_month, 12)
    if days[0] in (0, monthrange(year, at + 1)[1]):
        return ""
    span = "–".join(map(str, sorted({*days})))
    return Titled(f"{at + 1}月{span}日", f"{_MONTHS[at]} {span}")


def with_title(named: int, count: int) -> str:
    """How many articles have a title, and which harvest names the others; if all have: nothing."""
    if named == count:
        return ""
    return say(
        "{:,} of {} with reader figures have a title. A harvest of getarticletotaldetail from"
        " 2025-11-01 on gives the titles of articles published since then; for older articles see"
        " the page tables.md of the documentation.",
        named,
        many(count, "article"),
    )


def compact(value: int | None) -> str:
    """A large number in a few characters: 31.7万, 317k; – if there is none."""
    if value is None:
        return "–"
    english = _scaled(value, ((10**9, "B"), (10**6, "M"), (10**4, "k")))
    return Titled(_scaled(value, ((10**8, "亿"), (10**4, "万"))), english)


def _scaled(value: int, units: tuple[tuple[int, str], ...]) -> str:
    for size, unit in units:
        if abs(value) >= size:
            size = 1000 if unit == "k" else size
            return f"{value / size:,.{0 if abs(value) >= 100 * size else 1}f}{unit}"
    return f"{value:,}"


def share(part: int, whole: int) -> str:
    """A percentage that is 100 or 0 only if that is exact; – if the whole is 0."""
    if not whole:
        return "–"
    if part in (0, whole):
        return f"{100 * part // whole}%"
    return f"{min(max(100 * part / whole, 0.1), 99.9):.1f}%"


_MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
_WEEKDAYS_ZH = "一二三四五六日"


def short_day(day: date, *, year: bool = False) -> str:
    """A day without its year, or with it."""
    chinese, english = f"{day.month}月{day.day}日", f"{_MONTHS[day.month - 1]} {day.day}"
    return (
        Titled(f"{day.year}年{chinese}", f"{english}, {day.year},")
        if year
        else Titled(chinese, english)
    )


def long_day(day: date) -> str:
    """A day with its year and its weekday."""
    return Titled(
        f"{day.year}年{day.month}月{day.day}日 周{_WEEKDAYS_ZH[day.weekday()]}",
        f"{day:%A}, {_MONTHS[day.month - 1]} {day.day}, {day.year}",
    )


def month(number_of_month: int) -> str:
    """A month since the year 0, as 2024-01."""
    return f"{number_of_month // 12}-{number_of_month % 12 + 1:02}"


def moment(unix: float, now: float) -> str:
    """A time that is waited for, as China's clocks show it; midnight as the end of the day."""
    when, today = datetime.fromtimestamp(unix, CHINA), datetime.fromtimestamp(now, CHINA)
    if unix <= now:
        return say("now")
    clock = f"{when:%H:%M}"
    days = (when.date() - today.date()).days
    if days == 1 and when.hour == 0:
        return say("midnight in China")
    if days == 0:
        return say("{} today", clock)
    day = short_day(when.date())
    return Titled(f"{shown(day, 'zh')} {clock}", f"{day}, {clock}")


def used_up(quota: InterfaceQuota, now: float) -> str:
    """For how many accounts the quota of an interface is used up, and until when."""
    until = say("until {}", moment(quota.until, now))
    if quota.accounts == 1:
        return until
    return say("{:,} of {:,} accounts, {}", quota.used_up, quota.accounts, until)
