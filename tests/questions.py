"""Twelve questions of an analyst, each with its answer in SQL, in pandas and in a spreadsheet.

Rule: data, and how docs/tables.md shows it.  tests/test_questions.py compares each answer with what
the simulated WeChat has; examples/analysis.ipynb has the same pandas.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from string import ascii_uppercase
from textwrap import dedent
from typing import NamedTuple

from harvester.wechat.titles import Title

ON_SQLITE = (
    (r"([\w.]+_date) - ([\w.]+_date)", r"julianday(\1) - julianday(\2)"),
    (r"date_trunc\('week', (\w+)\)", r"date(\1, 'weekday 0', '-6 days')"),
)
"""What is written otherwise in SQLite, where days are texts."""


class Sheet(NamedTuple):
    """Formulas of a workbook, each for row 2, to be filled down.

    table: the sheet whose first free columns they are in; empty: a new sheet.  typed: what the
    first columns of a new sheet have.  columns: the formula by its heading; ``{table.column}`` is a
    column of a sheet, ``{.column}`` the cell of row 2 in the same sheet, and ``+1`` the first free
    column, ``+2`` the next one.
    """

    columns: Mapping[str, str]
    table: str = ""
    typed: Sequence[Title] = ()

    def filled(self, columns: Mapping[str, Sequence[str]]) -> dict[str, str]:
        """The formulas with the letters of columns; columns: their names, by sheet."""

        def cell(found: re.Match[str]) -> str:
            table, name = found.groups()
            known = columns[table or self.table]
            place = len(known) + int(name) if name[0] == "+" else known.index(name) + 1
            letter = ascii_uppercase[place - 1]
            return f"{table}!{letter}:{letter}" if table else f"{letter}2"

        return {
            heading: re.sub(r"\{(\w*)\.([\w+]+)\}", cell, formula)
            for heading, formula in self.columns.items()
        }

    def first(self, columns: Mapping[str, Sequence[str]]) -> int:
        """The number of the column of the first formula, from 1."""
        return 1 + len(columns[self.table] if self.table else self.typed)


class Question(NamedTuple):
    """A question; note: what to know of the answer.

    sql: of DuckDB.  pandas: with ``tables``, and without the imports of the page's head; its last
    line is the answer.  sheets: none where the workbook's first sheet has it; the last one has the
    answer.
    """

    title: Title
    note: Title
    sql: str
    pandas: str
    sheets: Sequence[Sheet] = ()


def _text(code: str) -> str:
    return dedent(code).strip()


_DAYS = '{{{0}._appid}},$A2,{{{0}.ref_date}},">="&$B2,{{{0}.ref_date}},"<="&{1}'.format
"""Conditions: the account of column A; the days from that of column B on, to another one."""
_MONTH = "EOMONTH($B2,0)"
_APPID, _FIRST, _MONDAY = (
    Title("AppID", "the AppID"),
    Title("当月 1 日", "the first day of the month"),
    Title("星期一的日期", "the Monday"),
)
_LAST = {
    "last": "=MAXIFS({article_totals.stat_date},{article_totals._appid},{._appid},"
    "{article_totals.msgid},{.msgid})"
}
_AT_LAST = (
    "=SUMIFS({{article_totals.{0}}},{{article_totals._appid}},{{._appid}},"
    "{{article_totals.msgid}},{{.msgid}},{{article_totals.stat_date}},{{.+1}})".format
)

_AGE = Sheet({"day": "={.stat_date}-{.publish_date}+1"}, table="article_totals")

QUESTIONS = (
    Question(
        Title("每月增长", "Growth by month"),
        Title(
            "新增和取消可以相加；关注人数是期末值，取当月最后一天。",
            "new_user and cancel_user are sums over the month; followers is the level at the end of"
            " the last day of the month.",
        ),
        _text("""
            WITH months AS (
                SELECT _appid, strftime('%Y-%m', ref_date) AS month, MAX(ref_date) AS last,
                       SUM(new_user) AS new_user, SUM(cancel_user) AS cancel_user
                FROM followers_by_source GROUP BY 1, 2
            )
            SELECT m._appid, month, m.new_user, m.cancel_user, m.new_user - m.cancel_user AS net,
                   cumulate_user AS followers
            FROM months m LEFT JOIN getusercumulate c ON c._appid = m._appid AND ref_date = last
            ORDER BY 1, 2
        """),
        _text("""
            flows = tables["followers_by_source"].to_pandas()
            levels = tables["getusercumulate"].to_pandas()
            months = ["_appid", flows["ref_date"].dt.strftime("%Y-%m").rename("month")]
            growth = flows.groupby(months)[["new_user", "cancel_user"]].sum()
            growth["net"] = growth["new_user"] - growth["cancel_user"]
            months = ["_appid", levels["ref_date"].dt.strftime("%Y-%m").rename("month")]
            levels = levels.sort_values("ref_date").groupby(months)["cumulate_user"]
            growth["followers"] = levels.last()
            growth
        """),
        (
            Sheet(
                {
                    "new_user": "=SUMIFS({getusersummary.new_user},"
                    + _DAYS("getusersummary", _MONTH)
                    + ")",
                    "cancel_user": "=SUMIFS({getusersummary.cancel_user},"
                    + _DAYS("getusersummary", _MONTH)
                    + ")",
                    "net": "=C2-D2",
                    "followers": "=SUMIFS({getusercumulate.cumulate_user},"
                    "{getusercumulate._appid},$A2,{getusercumulate.ref_date},MAXIFS({getusercumulate.ref_date},"
                    + _DAYS("getusercumulate", _MONTH)
                    + "))",
                },
                typed=(_APPID, _FIRST),
            ),
        ),
    ),
    Question(
        Title("最好的文章", "The best articles"),
        Title(
            "累计值取最后一行，不能相加。days 小于 30 的文章还在增长。",
            "Take the last row of a running total; do not sum. The figures of an article with"
            " fewer than 30 days can still grow.",
        ),
        _text("""
            WITH totals AS (
                SELECT *, ROW_NUMBER() OVER (
                    PARTITION BY _appid, msgid ORDER BY stat_date DESC
                ) AS nth
                FROM article_totals
            )
            SELECT _appid, msgid, articles.title, stat_date - totals.publish_date + 1 AS days,
                   read_user, share_user
            FROM totals JOIN articles USING (_appid, msgid)
            WHERE nth = 1
            ORDER BY read_user DESC, 1, 2 LIMIT 20
        """),
        _text("""
            totals = tables["article_totals"].to_pandas().sort_values("stat_date")
            last = totals.drop_duplicates(["_appid", "msgid"], keep="last")
            titles = tables["articles"].to_pandas()[["_appid", "msgid", "title"]]
            last = last.merge(titles, on=["_appid", "msgid"])
            last["days"] = (last["stat_date"] - last["publish_date"]).dt.days + 1
            order = {"read_user": False, "_appid": True, "msgid": True}
            best = last.sort_values([*order], ascending=[*order.values()]).head(20)
            best[["_appid", "msgid", "title", "days", "read_user", "share_user"]]
        """),
        (
            Sheet(
                {
                    **_LAST,
                    "days": "={.+1}-{.publish_date}+1",
                    "read_user": _AT_LAST("read_user"),
                    "share_user": _AT_LAST("share_user"),
                },
                table="articles",
            ),
        ),
    ),
    Question(
        Title("阅读来源", "Sources of readers"),
        Title(
            "单位是人·篇·天·来源：同一人每篇、每天、每个来源各计一次，各来源之和大于读者数。",
            "Each person counts once per article, day and source, so the sum of the sources is"
            " larger than the number of readers.",
        ),
        _text("""
            SELECT scene_desc, SUM(read_user) AS reader_days,
                   ROUND(100.0 * SUM(read_user) / SUM(SUM(read_user)) OVER (), 2) AS percent
            FROM article_sources GROUP BY 1 ORDER BY 2 DESC, 1
        """),
        _text("""
            sources = tables["article_sources"].to_pandas()
            by_source = sources.groupby("scene_desc")["read_user"].sum().to_frame("reader_days")
            total = by_source["reader_days"].sum()
            by_source["percent"] = (100 * by_source["reader_days"] / total).round(2)
            by_source.sort_values("reader_days", ascending=False)
        """),
        (
            Sheet(
                {
                    "reader_days": "=SUMIFS({article_sources.read_user},"
                    "{article_sources.scene_desc},$A2)",
                    "percent": "=100*B2/SUM({article_sources.read_user})",
                },
                typed=(Title("scene_desc 的值，各一行", "the values of scene_desc, one per row"),),
            ),
        ),
    ),
    Question(
        Title("留存", "Retention"),
        Title(
            "上月末的关注者中，当月没有取消的比例；当月关注又取消的人也计入取消。",
            "percent is the share of the followers at the end of the previous month who did not"
            " unfollow. cancel_user also counts people who followed and unfollowed within the"
            " month.",
        ),
        _text("""
            WITH months AS (
                SELECT _appid, strftime('%Y-%m', ref_date) AS month, MAX(ref_date) AS last,
                       SUM(cancel_user) AS cancel_user
                FROM followers_by_source GROUP BY 1, 2
            ), levels AS (
                SELECT m._appid, month, m.cancel_user,
                       LAG(cumulate_user) OVER (PARTITION BY m._appid ORDER BY month) AS before
                FROM months m JOIN getusercumulate c ON c._appid = m._appid AND ref_date = last
            )
            SELECT _appid, month, before, cancel_user,
                   ROUND(100 - 100.0 * cancel_user / before, 2) AS percent
            FROM levels WHERE before IS NOT NULL ORDER BY 1, 2
        """),
        _text("""
            flows = tables["followers_by_source"].to_pandas()
            levels = tables["getusercumulate"].to_pandas().sort_values("ref_date")
            months = ["_appid", levels["ref_date"].dt.strftime("%Y-%m").rename("month")]
            kept = levels.groupby(months)["cumulate_user"].last().to_frame("before")
            kept["before"] = kept.groupby("_appid")["before"].shift()
            months = ["_appid", flows["ref_date"].dt.strftime("%Y-%m").rename("month")]
            kept["cancel_user"] = flows.groupby(months)["cancel_user"].sum()
            kept["percent"] = (100 - 100 * kept["cancel_user"] / kept["before"]).round(2)
            kept.dropna().astype({"before": int})
        """),
        (
            Sheet(
                {
                    "before": "=SUMIFS({getusercumulate.cumulate_user},"
                    "{getusercumulate._appid},$A2,{getusercumulate.ref_date},$B2-1)",
                    "cancel_user": "=SUMIFS({getusersummary.cancel_user},"
                    + _DAYS("getusersummary", _MONTH)
                    + ")",
                    "percent": "=100-100*D2/C2",
                },
                typed=(_APPID, _FIRST),
            ),
        ),
    ),
    Question(
        Title("第 1 至 30 天", "Days 1 to 30"),
        Title(
            "只算满 30 天的文章：各文章同一天龄的累计值相加，第 30 天为 100%。",
            "Only articles with 30 days count. For each age in days, the running totals of all"
            " articles are summed; day 30 is 100 %.",
        ),
        _text("""
            WITH totals AS (
                SELECT read_user, stat_date - publish_date + 1 AS day,
                       MAX(stat_date - publish_date + 1) OVER (PARTITION BY _appid, msgid) AS days
                FROM article_totals
            )
            SELECT day, SUM(read_user) AS read_user,
                   ROUND(100.0 * SUM(read_user) / MAX(SUM(read_user)) OVER (), 2) AS percent
            FROM totals WHERE days >= 30 GROUP BY 1 ORDER BY 1
        """),
        _text("""
            totals = tables["article_totals"].to_pandas()
            totals["day"] = (totals["stat_date"] - totals["publish_date"]).dt.days + 1
            days = totals.groupby(["_appid", "msgid"])["day"].transform("max")
            curve = totals[days >= 30].groupby("day")[["read_user"]].sum()
            curve["percent"] = (100 * curve["read_user"] / curve["read_user"].max()).round(2)
            curve
        """),
        (
            _AGE,
            Sheet(
                {
                    "read_user": "=SUMIFS({article_totals.read_user},{article_totals.+1},$A2,"
                    '{article_totals.publish_date},">="&DATE(2025,11,1),{article_totals.publish_date},'
                    '"<="&MAX({article_totals.stat_date})-29)',
                    "percent": "=100*B2/MAX(B:B)",
                },
                typed=(Title("1 至 30", "1 to 30"),),
            ),
        ),
    ),
    Question(
        Title("从送达到分享", "From delivery to share"),
        Title(
            "送达阅读率、完读率是比例，每篇各看，不能相加或求平均；少于 100 位读者的文章不列。",
            "Each rate describes one article: do not sum or average it. Articles with fewer than"
            " 100 readers are left out.",
        ),
        _text("""
            WITH totals AS (
                SELECT *, ROW_NUMBER() OVER (
                    PARTITION BY _appid, msgid ORDER BY stat_date DESC
                ) AS nth
                FROM article_totals
            )
            SELECT _appid, msgid, articles.title, read_delivery_rate, read_user, read_finish_rate,
                   share_user, ROUND(100.0 * share_user / read_user, 2) AS percent
            FROM totals JOIN articles USING (_appid, msgid)
            WHERE nth = 1 AND read_user >= 100
            ORDER BY 1.0 * share_user / read_user DESC, 1, 2 LIMIT 20
        """),
        _text("""
            totals = tables["article_totals"].to_pandas().sort_values("stat_date")
            last = totals.drop_duplicates(["_appid", "msgid"], keep="last")
            titles = tables["articles"].to_pandas()[["_appid", "msgid", "title"]]
            last = last[last["read_user"] >= 100].merge(titles, on=["_appid", "msgid"])
            last["percent"] = 100 * last["share_user"] / last["read_user"]
            order = {"percent": False, "_appid": True, "msgid": True}
            best = last.sort_values([*order], ascending=[*order.values()]).head(20)
            steps = ["read_delivery_rate", "read_user", "read_finish_rate", "share_user", "percent"]
            best[["_appid", "msgid", "title", *steps]].round({"percent": 2})
        """),
        (
            Sheet(
                {
                    **_LAST,
                    "read_delivery_rate": _AT_LAST("read_delivery_rate"),
                    "read_user": _AT_LAST("read_user"),
                    "read_finish_rate": _AT_LAST("read_finish_rate"),
                    "share_user": _AT_LAST("share_user"),
                    "percent": '=IF({.+3}<100,"",100*{.+5}/{.+3})',
                },
                table="articles",
            ),
        ),
    ),
    Question(
        Title("两个公众号对比", "Two accounts compared"),
        Title(
            "文章在同一天龄（第 7 天）比较，新旧文章才可比；按每百名关注者计，大小账号才可比。",
            "Articles are compared at the same age (day 7), so new and old articles are comparable;"
            " readers are divided by followers, so large and small accounts are comparable.",
        ),
        _text("""
            WITH levels AS (
                SELECT _appid, cumulate_user,
                       ROW_NUMBER() OVER (PARTITION BY _appid ORDER BY ref_date DESC) AS nth
                FROM getusercumulate
            )
            SELECT COALESCE(account, _appid) AS account, cumulate_user AS followers,
                   COUNT(*) AS articles, ROUND(AVG(read_user), 2) AS readers,
                   ROUND(100.0 * AVG(read_user) / cumulate_user, 2) AS percent
            FROM article_totals JOIN levels USING (_appid)
            WHERE nth = 1 AND stat_date - publish_date + 1 = 7
            GROUP BY _appid, account, cumulate_user ORDER BY _appid
        """),
        _text("""
            totals = tables["article_totals"].to_pandas()
            levels = tables["getusercumulate"].to_pandas().sort_values("ref_date")
            totals["account"] = totals["account"].fillna(totals["_appid"])
            age = (totals["stat_date"] - totals["publish_date"]).dt.days + 1
            readers = totals[age == 7].groupby(["_appid", "account"])["read_user"]
            compared = readers.agg(articles="count", readers="mean").reset_index("account")
            compared.insert(1, "followers", levels.groupby("_appid")["cumulate_user"].last())
            compared["percent"] = 100 * compared["readers"] / compared["followers"]
            compared.set_index("account").round(2)
        """),
        (
            _AGE,
            Sheet(
                {
                    "followers": "=SUMIFS({getusercumulate.cumulate_user},"
                    "{getusercumulate._appid},$A2,{getusercumulate.ref_date},"
                    "MAXIFS({getusercumulate.ref_date},{getusercumulate._appid},$A2))",
                    "articles": "=COUNTIFS({article_totals._appid},$A2,{article_totals.+1},7)",
                    "readers": "=SUMIFS({article_totals.read_user},{article_totals._appid},$A2,"
                    "{article_totals.+1},7)/C2",
                    "percent": "=100*D2/B2",
                },
                typed=(_APPID,),
            ),
        ),
    ),
    Question(
        Title("小时", "Hours"),
        Title(
            "消息条数可以相加，发消息的人数 (msg_user) 不能。",
            "You can sum messages, but not the people who sent them (msg_user).",
        ),
        _text("""
            SELECT ref_hour, SUM(msg_count) AS messages,
                   ROUND(100.0 * SUM(msg_count) / SUM(SUM(msg_count)) OVER (), 2) AS percent
            FROM messages_by_hour GROUP BY 1 ORDER BY 1
        """),
        _text("""
            messages = tables["messages_by_hour"].to_pandas()
            hours = messages.groupby("ref_hour")["msg_count"].sum().to_frame("messages")
            hours["percent"] = (100 * hours["messages"] / hours["messages"].sum()).round(2)
            hours
        """),
        (
            Sheet(
                {
                    "messages": "=SUMIFS({getupstreammsghour.msg_count},"
                    "{getupstreammsghour.ref_hour},$A2)",
                    "percent": "=100*B2/SUM({getupstreammsghour.msg_count})",
                },
                typed=(Title("0、100、…、2300", "0, 100, … 2300"),),
            ),
        ),
    ),
    Question(
        Title("周", "Weeks"),
        Title(
            "单位是人·篇·天，与 `harvester report --week` 相同；days 小于 7 的周不完整。",
            "Each person counts once per article and day, as in `harvester report --week`. A week"
            " with fewer than 7 days is incomplete.",
        ),
        _text("""
            WITH weeks AS (
                SELECT _appid, date_trunc('week', ref_date) AS week, COUNT(*) AS days
                FROM getusercumulate GROUP BY 1, 2
            ), figures AS (
                SELECT _appid, date_trunc('week', ref_date) AS week,
                       SUM(read_user) AS reader_days, SUM(share_user) AS sharer_days
                FROM article_days GROUP BY 1, 2
            )
            SELECT _appid, week, days, COALESCE(reader_days, 0) AS reader_days,
                   COALESCE(sharer_days, 0) AS sharer_days
            FROM weeks LEFT JOIN figures USING (_appid, week) ORDER BY 1, 2
        """),
        _text("""
            levels = tables["getusercumulate"].to_pandas()
            days = tables["article_days"].to_pandas()
            for each in (levels, days):
                weekday = pd.to_timedelta(each["ref_date"].dt.day_of_week, unit="D")
                each["week"] = each["ref_date"] - weekday
            weeks = levels.groupby(["_appid", "week"]).size().to_frame("days")
            sums = days.groupby(["_appid", "week"])[["read_user", "share_user"]].sum()
            weeks[["reader_days", "sharer_days"]] = sums
            weeks.fillna(0).astype(int)
        """),
        (
            Sheet(
                {
                    "days": "=COUNTIFS(" + _DAYS("getusercumulate", "$B2+6") + ")",
                    "reader_days": "=SUMIFS({article_days.read_user},"
                    + _DAYS("article_days", "$B2+6")
                    + ")",
                    "sharer_days": "=SUMIFS({article_days.share_user},"
                    + _DAYS("article_days", "$B2+6")
                    + ")",
                },
                typed=(_APPID, _MONDAY),
            ),
        ),
    ),
    Question(
        Title("缺什么", "What is missing"),
        Title(
            "没有行不等于缺失：要问台账。先执行 `harvester status --json > status.json`"
            "（`--out` 为采集的位置）；provisional 的日子已入库，还会变动。",
            "A day without a row is not always missing: the ledger has the answer. First run"
            " `harvester status --json > status.json` (`--out` names the directory of the harvest)."
            " The figures of provisional days are stored, but can still change.",
        ),
        _text("""
            WITH streams AS (
                SELECT unnest(from_json(content, '{"streams": [{
                    "appid": "VARCHAR", "endpoint": "VARCHAR", "ranges": [{
                        "state": "VARCHAR", "begin_date": "DATE", "end_date": "DATE"
                    }]
                }]}').streams) AS s FROM read_text('status.json')
            ), ranges AS (SELECT s.appid, s.endpoint, unnest(s.ranges) AS r FROM streams)
            SELECT appid, endpoint, r.begin_date, r.end_date, r.state
            FROM ranges WHERE r.state IN ('missing', 'late', 'waiting', 'failed')
            ORDER BY 1, 2, 3
        """),
        _text("""
            streams = json.loads(Path("status.json").read_text())["streams"]
            ranges = [{**stream, **each} for stream in streams for each in stream["ranges"]]
            columns = ["appid", "endpoint", "begin_date", "end_date", "state"]
            lacking = ["missing", "late", "waiting", "failed"]
            missing = pd.DataFrame(ranges, columns=columns).query("state in @lacking")
            missing.sort_values(columns)
        """),
    ),
    Question(
        Title("零是不是零", "Is a zero a zero?"),
        Title(
            "没有行的日子，已是终值才是 0，否则未知：表 `coverage` 写明哪些天是终值。known 是分享"
            "人数已知的行数，mean 是它们的平均；单位是人·篇·天。",
            "A day without a row means 0 if the day is final; otherwise the value is unknown. The"
            " table `coverage` says which days are final. known is the number of rows whose number"
            " of sharers is known; mean is their mean. A person counts once per article and day.",
        ),
        _text("""
            WITH shares AS (
                SELECT d._appid, CASE WHEN c.state IN ('final', 'empty')
                       THEN COALESCE(share_user, 0) ELSE share_user END AS share_user
                FROM article_days d
                LEFT JOIN coverage c ON c._appid = d._appid AND interface = 'getarticleshare'
                                    AND ref_date BETWEEN first_day AND last_day
            )
            SELECT _appid, COUNT(*) AS article_days, COUNT(share_user) AS known,
                   SUM(share_user) AS sharer_days, ROUND(AVG(share_user), 2) AS mean
            FROM shares GROUP BY 1 ORDER BY 1
        """),
        _text("""
            days = tables["article_days"].to_pandas()
            runs = tables["coverage"].to_pandas()
            runs = runs.query("interface == 'getarticleshare' and state in ['final', 'empty']")
            runs = days.reset_index().merge(runs, on="_appid")
            final = runs["index"][runs["ref_date"].between(runs["first_day"], runs["last_day"])]
            days.loc[final, "share_user"] = days.loc[final, "share_user"].fillna(0)
            shares = days.groupby("_appid")["share_user"]
            known = {"known": "count", "sharer_days": "sum", "mean": "mean"}
            shares.agg(article_days="size", **known).round(2)
        """),
        (
            Sheet(
                {
                    "is_final": '=IF(AND({.interface}="getarticleshare",'
                    'OR({.state}="final",{.state}="empty")),1,0)'
                },
                table="coverage",
            ),
            Sheet(
                {
                    "share_user": '=IF({.share_user}<>"",{.share_user},IF(SUMIFS({coverage.+1},'
                    '{coverage._appid},{._appid},{coverage.first_day},"<="&{.ref_date},'
                    '{coverage.last_day},">="&{.ref_date})>0,0,""))'
                },
                table="article_days",
            ),
            Sheet(
                {
                    "article_days": "=COUNTIFS({article_days._appid},$A2)",
                    "known": '=COUNTIFS({article_days._appid},$A2,{article_days.+1},">=0")',
                    "sharer_days": "=SUMIFS({article_days.+1},{article_days._appid},$A2)",
                    "mean": "=D2/C2",
                },
                typed=(_APPID,),
            ),
        ),
    ),
    Question(
        Title("上个月谁缺什么", "What each account lacks for last month"),
        Title(
            "上个月：表 `coverage` 的末日次日所在月份的前一个月。没有列出的已经齐全，或者没有请求"
            "过、无法再请求、始终没有给出。",
            "Take the day after the last day in the table `coverage`: last month is the month"
            " before the month of that day. If an interface is not listed, it is complete, was not"
            " requested, cannot be requested, or was never delivered.",
        ),
        _text("""
            WITH months AS (
                SELECT CAST(date_trunc('month', MAX(last_day) + 1) AS DATE) AS next FROM coverage
            ), bounds AS (
                SELECT CAST(next - INTERVAL 1 MONTH AS DATE) AS begins, next - 1 AS ends FROM months
            )
            SELECT _appid, interface, state,
                   SUM(LEAST(last_day, ends) - GREATEST(first_day, begins) + 1) AS days
            FROM coverage, bounds
            WHERE state IN ('missing', 'late', 'waiting', 'failed')
              AND last_day >= begins AND first_day <= ends
            GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
        """),
        _text("""
            runs = tables["coverage"].to_pandas()
            after = (runs["last_day"].max() + pd.Timedelta(days=1)).replace(day=1)
            ends = after - pd.Timedelta(days=1)
            runs = runs.query("state in ['missing', 'late', 'waiting', 'failed']").copy()
            first = runs["first_day"].clip(lower=ends.replace(day=1))
            runs["days"] = (runs["last_day"].clip(upper=ends) - first).dt.days + 1
            runs[runs["days"] > 0].groupby(["_appid", "interface", "state"])[["days"]].sum()
        """),
        (
            Sheet(
                {
                    "last_month": "=MAX(0,MIN({.last_day},EOMONTH(MAX({coverage.last_day})+1,-1))"
                    "-MAX({.first_day},EOMONTH(MAX({coverage.last_day})+1,-2)+1)+1)"
                },
                table="coverage",
            ),
            Sheet(
                {
                    "days": "=SUMIFS({coverage.+1},{coverage._appid},$A2,"
                    "{coverage.interface},$B2,{coverage.state},$C2)"
                },
                typed=(
                    _APPID,
                    Title("接口", "the interface"),
                    Title("missing、late、waiting 或 failed", "missing, late, waiting or failed"),
                ),
            ),
        ),
    ),
)

READ = """import json
from pathlib import Path

import harvester
import pandas as pd

names = ["articles", "users", "messages", "coverage"]
tables = harvester.read("sqlite:wechat.db", names, shape="flat")"""
"""What comes before the pandas of each question."""

_HEAD = f"""## 十二个问题 · Twelve questions

“我的文章有多少读者？”一篇：问题 2。一个公众号的一天：`getbizsummary` 的 `detail_read_user`。
一周、一个月的去重读者数微信不提供：各篇、各天相加会重复计人，所以下面写明单位。

“How many readers did my articles have?” For one article, see question 2. For an account on a day,
see `detail_read_user` of `getbizsummary`. For a week or a month, WeChat does not give the number of
different readers. A sum over articles or days counts some people several times, so each answer
below says what it counts.

- SQL: `harvester export duckdb:wechat.duckdb`. SQLite 库的视图中日期是文本 / In the views of a
  SQLite sink, days are text: `julianday(a) - julianday(b)` 代替 / replaces `a - b`,
  `date(d, 'weekday 0', '-6 days')` 代替 / replaces `date_trunc('week', d)`.
- 表格 / Sheet: `harvester export xlsx:wechat.xlsx`. 公式写在第 2 行，向下填充；`MAXIFS` 需要 Excel
  2019、WPS 或 LibreOffice；`?header=zh` 时工作表名是中文；存有已下线接口的数据时，文章各表多几列，
  列号后移。Write the formulas into row 2 and fill down. `MAXIFS` needs Excel 2019, WPS or
  LibreOffice. With `?header=zh` the sheets have Chinese names. If data of a retired interface are
  stored, the sheets of articles have more columns, and the column letters change.
- pandas:

```python
{READ}
```
"""


def page(columns: Mapping[str, Sequence[str]]) -> str:
    """The questions as docs/tables.md has them; columns: those of each sheet."""
    parts = [_HEAD]
    for number, each in enumerate(QUESTIONS, 1):
        parts += [
            f"### {number}. {each.title.zh} · {each.title.en}",
            "",
            each.note.zh,
            "",
            each.note.en,
            "",
            f"```sql\n{each.sql}\n```",
            "",
            f"```python\n{each.pandas}\n```",
            "",
            *_sheets(each.sheets, columns),
            "",
        ]
    return "\n".join(parts)


def _sheets(sheets: Sequence[Sheet], columns: Mapping[str, Sequence[str]]) -> Iterator[str]:
    if not sheets:
        yield "表格：第一张工作表，各表之下。Sheet: the first sheet, below the list of sheets."
        return
    yield "```text"
    for sheet in sheets:
        typed = [
            f"{letter} = {title.zh} / {title.en}"
            for letter, title in zip(ascii_uppercase, sheet.typed, strict=False)
        ]
        where = f"工作表 / sheet {sheet.table}" if sheet.table else "新工作表 / new sheet"
        yield ": ".join(filter(None, [where, "; ".join(typed)]))
        formulas = sheet.filled(columns).items()
        for letter, (name, formula) in zip(
            ascii_uppercase[sheet.first(columns) - 1 :], formulas, strict=False
        ):
            yield f"  {letter} {name}: {formula}"
    yield "```"
