"""What the service says, in both languages, and when: from overviews to messages."""

from __future__ import annotations

from datetime import date, time, timedelta
from typing import Any

import pytest

from harvester.report import Overview
from harvester.service.alerts import (
    LONGEST,
    Change,
    Problem,
    alerts_of,
    change,
    digest,
    message_of,
    of_runs,
)
from harvester.service.state import Alerts, parsed, texts_of
from tests.report_data import BEGIN, NOW, YESTERDAY, KnownLedger, agency

AT, STALE = time(8, 5), 26 * 3600.0
USERS, SHARE = "getusersummary", "getarticleshare"
ONE_DAY = timedelta(days=1)
SECRET = "no access token: errcode 40125 (invalid appsecret): the secret is wrong; correct it"


def seen(
    *late: str, code: int = 40125, detail: str = SECRET, behind: int = 1, kind: str = ""
) -> Overview:
    """Three accounts, of which some lack the last days of an interface."""
    ledger = KnownLedger()
    for appid in ("wx1", "wx2", "wx3"):
        ledger.asked_for(appid, USERS, BEGIN, YESTERDAY)
        last = YESTERDAY - (behind * ONE_DAY if appid in late else 0 * ONE_DAY)
        ledger.put(appid, USERS, BEGIN, last, "final")
        if appid in late and code:
            ledger.put(appid, USERS, last + ONE_DAY, YESTERDAY, "failed", code=code, detail=detail,
                       kind=kind)  # fmt: skip
    return ledger.seen(names={"wx1": "甲"})


def words(alerts: Alerts) -> dict[str, tuple[str, ...]]:
    """As text, which is shorter to compare."""
    return {alert: tuple(whom) for alert, whom in texts_of(alerts).items()}


def test_a_cause_is_raised_once_and_again_for_others_and_is_over_once() -> None:
    told: list[Change] = []
    known: Alerts = {}
    for late in (("wx1",), ("wx1",), ("wx1", "wx2"), ("wx2",), ()):
        now = seen(*late)
        told.append(change(known, alerts_of(now, AT, STALE), now))
        known = told[-1].alerts
    assert [(words(each.raised), words(each.over)) for each in told] == [
        ({"secret": ("wx1",)}, {}),
        ({}, {}),
        ({"secret": ("wx2",)}, {}),
        ({}, {"secret": ("wx1",)}),
        ({}, {"secret": ("wx2",)}),
    ]
    assert known == {}


def test_another_cause_of_an_account_is_told_and_the_first_is_over_when_figures_are_there() -> None:
    now = seen("wx1", code=40164, detail="errcode 40164 (invalid ip 203.0.113.7)")
    changed = change(parsed({"secret": ("wx1",)}), alerts_of(now, AT, STALE), now)
    assert words(changed.raised) == {"ip 203.0.113.7": ("wx1",)}
    assert changed.over == {}
    changed = change(changed.alerts, {}, seen())
    assert words(changed.over) == {"ip 203.0.113.7": ("wx1",), "secret": ("wx1",)}


def test_an_interface_without_permission_hides_no_other_cause() -> None:
    """One account: a secret that breaks twice, beside an interface that it may never use."""
    told: list[Change] = []
    known: Alerts = {}
    for broken in (False, True, False, True):
        ledger = KnownLedger()
        for name, bad, code, detail in (
            (USERS, broken, 40125, SECRET),
            (SHARE, True, 48001, "errcode 48001 (api unauthorized)"),
        ):
            ledger.asked_for("wx1", name, BEGIN, YESTERDAY)
            ledger.put("wx1", name, BEGIN, YESTERDAY - bad * ONE_DAY, "final")
            if bad:
                ledger.put("wx1", name, YESTERDAY, YESTERDAY, "failed", code=code, detail=detail)
        now = ledger.seen()
        told.append(change(known, alerts_of(now, AT, STALE), now))
        known = told[-1].alerts
    secret, permission = {"secret": ("wx1",)}, {"permission": (f"wx1 {SHARE}",)}
    assert [(words(each.raised), words(each.over)) for each in told] == [
        (permission, {}), (secret, {}), ({}, secret), (secret, {}),
    ]  # fmt: skip


def test_of_two_permissions_one_is_granted_and_the_other_stays() -> None:
    def ledger(*barred: str) -> Overview:
        made = KnownLedger()
        made.harvested("wx1", "getuserread", BEGIN, YESTERDAY)
        for name in (USERS, SHARE):
            made.asked_for("wx1", name, BEGIN, YESTERDAY)
            made.put("wx1", name, BEGIN, YESTERDAY - (name in barred) * ONE_DAY, "final")
            if name in barred:
                made.put("wx1", name, YESTERDAY, YESTERDAY, "failed", code=48001, detail="x")
        return made.seen()

    before = parsed({"permission": (f"wx1 {USERS}", f"wx1 {SHARE}")})
    now = ledger(SHARE)
    changed = change(before, alerts_of(now, AT, STALE), now)
    assert words(changed.over) == {"permission": (f"wx1 {USERS}",)}
    now = ledger(USERS, SHARE)
    assert words(change(changed.alerts, alerts_of(now, AT, STALE), now).raised) == {
        "permission": (f"wx1 {USERS}",)
    }


def test_an_interface_that_is_stale_is_told_beside_one_without_permission() -> None:
    ledger = KnownLedger()
    for name in (USERS, SHARE):
        ledger.asked_for("wx1", name, BEGIN, YESTERDAY)
        ledger.put("wx1", name, BEGIN, YESTERDAY - ONE_DAY, "final")
    ledger.put("wx1", SHARE, YESTERDAY, YESTERDAY, "failed", code=48001, detail="x")
    assert words(alerts_of(ledger.seen(), AT, STALE)) == {
        "permission": (f"wx1 {SHARE}",), "stale": ("wx1",),
    }  # fmt: skip


@pytest.mark.parametrize(("behind", "stale"), [(0, False), (1, True), (6, True)])
def test_figures_that_wechat_calls_late_are_stale_after_all_of_the_time(
    behind: int, *, stale: bool
) -> None:
    ledger, day = KnownLedger(), YESTERDAY - behind * ONE_DAY
    ledger.harvested("wx1", USERS, BEGIN, YESTERDAY)
    while day <= YESTERDAY:
        ledger.put("wx1", USERS, day, day, "late", due=NOW + 60)
        day += ONE_DAY
    assert words(alerts_of(ledger.seen(), AT, STALE)) == ({"stale": ("wx1",)} if stale else {})


QUOTA = {"code": 45009, "detail": "errcode 45009 (reach max api daily quota limit)"}
TRIED = {"code": -1, "detail": "errcode -1 (system error)"}


@pytest.mark.parametrize(
    ("state", "more", "ever", "reason"),
    [
        ("waiting", QUOTA, True, ("等待限额", "Waiting for quota")),
        ("waiting", QUOTA, False, ("等待限额", "Waiting for quota")),
        ("late", {}, True, ("微信还没有算出这些数据", "WeChat does not have the figures yet")),
        ("failed", TRIED, True, ("多次重试未成功", "No success after several attempts")),
        ("failed", TRIED, False, ("多次重试未成功", "No success after several attempts")),
    ],
)
def test_an_alert_of_figures_that_are_too_old_or_never_came_says_why(
    state: str, more: dict[str, Any], ever: bool, reason: tuple[str, str]
) -> None:
    ledger = KnownLedger()
    ledger.harvested("wx1", SHARE, BEGIN, YESTERDAY)
    ledger.asked_for("wx1", USERS, BEGIN, YESTERDAY)
    begin = YESTERDAY - 2 * ONE_DAY if ever else BEGIN
    if ever:
        ledger.put("wx1", USERS, BEGIN, begin - ONE_DAY, "final")
    ledger.put("wx1", USERS, begin, YESTERDAY, state, due=NOW + 60, **more)
    now = ledger.seen()
    found = alerts_of(now, AT, STALE)
    assert [*words(found)] == ["stale" if ever else "never"]
    for place, lang in enumerate(("zh", "en")):
        said = message_of(change({}, found, now), now, lang)
        assert said is not None
        _, since, why, _ = said.body.splitlines()
        assert (str(begin) in since) == ever
        assert why == f"  {('原因：', 'Reason: ')[place]}{reason[place]}"


@pytest.mark.parametrize(("known", "named"), [(1, False), (2, True)])
def test_the_reason_of_most_accounts_is_named_and_that_of_the_past_is_not(
    known: int, named: bool
) -> None:
    ledger, past = KnownLedger(), BEGIN + 30 * ONE_DAY
    for number in range(3):
        appid = f"wx{number}"
        ledger.asked_for(appid, USERS, BEGIN, YESTERDAY)
        ledger.put(appid, USERS, BEGIN, past, "waiting", due=NOW + 60, **QUOTA)
        ledger.put(appid, USERS, past + ONE_DAY, YESTERDAY - ONE_DAY, "final")
        if number < known:
            ledger.put(appid, USERS, YESTERDAY, YESTERDAY, "failed", **TRIED)
    now = ledger.seen()
    said = message_of(change({}, alerts_of(now, AT, STALE), now), now, "en")
    assert said is not None
    assert "quota" not in said.body
    assert ("\n  Reason: No success after several attempts\n" in said.body) == named


def test_a_late_day_of_the_past_is_named_with_its_interface() -> None:
    ledger, day = KnownLedger(), YESTERDAY - 5 * ONE_DAY
    ledger.harvested("wx1", USERS, BEGIN, YESTERDAY)
    ledger.harvested("wx1", SHARE, BEGIN, YESTERDAY)
    ledger.put("wx1", USERS, day, day, "late", due=NOW + 60)
    now = ledger.seen()
    said = message_of(change({}, alerts_of(now, AT, STALE), now), now, "en")
    assert said is not None
    assert said.body.splitlines()[1:3] == [
        f"  Missing since {day}: Followers gained, lost",
        "  Reason: WeChat does not have the figures yet",
    ]


def test_a_token_that_another_program_ends_is_no_wrong_secret() -> None:
    detail = (
        "wx1: WeChat refused a token that was just fetched (errcode 40001 (invalid"
        " credential)); another program might be fetching tokens for this account [rid:"
        " 6543-21]"
    )
    now = seen("wx1", code=40001, kind="token", detail=detail)
    said = message_of(change({}, alerts_of(now, AT, STALE), now), now, "en")
    assert said is not None
    assert said.body == (
        "● There is no access token that can be used: 甲 (wx1).  WeChat refused a token"
        " that was just fetched (errcode 40001 (invalid credential)); another program"
        " might be fetching tokens for this account\n"
        "  Missing since 2026-11-25: Followers gained, lost\n"
        "  $ harvester check --config harvester.toml --only wx1"
    )


def test_the_digest_names_interfaces_that_have_no_record_so_far() -> None:
    ledger = KnownLedger()
    for appid in ("wx1", "wx2"):
        ledger.harvested(appid, USERS, BEGIN, YESTERDAY)
        ledger.harvested(appid, SHARE, BEGIN, YESTERDAY - ONE_DAY)
        ledger.asked_for(appid, SHARE, BEGIN, YESTERDAY)
        ledger.put(appid, SHARE, YESTERDAY, YESTERDAY, "open")
    lines = [
        digest(ledger.seen(), YESTERDAY, 0.0, lang).body.splitlines()[1] for lang in ("en", "zh")
    ]
    assert lines == [
        "No record yet, will be requested again (number of accounts): Article shares (2)",
        "暂无记录，以后会再请求（账号数）：文章每日分享（2）",
    ]


def test_nothing_is_said_of_an_account_that_is_gone() -> None:
    changed = change(parsed({"secret": ("wx9",)}), {}, seen())
    assert (changed.raised, changed.over, changed.alerts) == ({}, {}, {})


def test_what_is_left_of_a_former_cause_is_none_once_the_newest_figures_are_there() -> None:
    ledger = KnownLedger()
    ledger.harvested("wx1", USERS, BEGIN, YESTERDAY)
    ledger.put("wx1", USERS, BEGIN, BEGIN + ONE_DAY, "failed", code=40125, detail=SECRET)
    assert words(alerts_of(ledger.seen(), AT, STALE)) == {}


@pytest.mark.parametrize(
    ("behind", "hours", "stale"),
    [(1, 26, True), (1, 40, False), (2, 40, True), (1, 25, True)],
)
def test_figures_are_stale_once_they_were_due_for_too_long(
    behind: int, hours: float, *, stale: bool
) -> None:
    """It is 16:30; yesterday's figures were due at 08:05."""
    found = alerts_of(seen("wx1", code=0, behind=behind), AT, hours * 3600)
    assert words(found) == ({"stale": ("wx1",)} if stale else {})


def test_a_week_that_is_not_due_yet_is_not_stale() -> None:
    ledger = KnownLedger()
    ledger.harvested("wx1", USERS, BEGIN, YESTERDAY - ONE_DAY)
    ledger.asked_for("wx1", USERS, BEGIN, YESTERDAY)
    ledger.harvested("wx1", "getupstreammsgweek", date(2026, 1, 5), date(2026, 11, 22))
    assert words(alerts_of(ledger.seen(), AT, 40 * 3600)) == {}
    assert words(alerts_of(ledger.seen(NOW + 7 * 86_400), AT, 40 * 3600)) == {"stale": ("wx1",)}


def test_runs_that_stop_are_a_cause_of_their_machine_whatever_the_wording() -> None:
    others = parsed({"run b Disk": ("disk full",), "secret": ("wx1",)})
    found = of_runs(others, "a", Problem("Network", "no answer for 600 s"))
    first = {"run a Network": ("no answer for 600 s",), "run b Disk": ("disk full",)}
    assert words(found) == first
    assert of_runs(found, "a", Problem("Network", "host api.example is not known")) == found
    assert of_runs(found, "a", None) == found
    both = of_runs(found, "a", Problem("Sink", "the sink is away"))
    assert words(both) == first | {"run a Sink": ("the sink is away",)}
    assert of_runs(both, "a", Problem("Network", "connection refused")) == both
    assert words(of_runs(both, "a", Problem())) == {"run b Disk": ("disk full",)}


def test_another_error_of_a_machine_is_told_alone_and_the_end_of_all_once() -> None:
    now, said = seen(), []
    known: Alerts = {}
    for problem in (
        Problem("Network", "no answer"),
        Problem("Network", "no such host"),
        Problem("Sink", "the disk is full"),
        Problem("Network", "refused"),
        Problem(),
        Problem(),
    ):
        changed = change(known, of_runs(known, "a", problem), now)
        known = changed.alerts
        message = message_of(changed, now, "en")
        said.append(message and message.body)
    assert said == [
        "● Runs end with an error (a): no answer\n  $ harvester run --config harvester.toml",
        None,
        "● Runs end with an error (a): the disk is full\n  $ harvester run --config harvester.toml",
        None,
        "○ Resolved: Runs end with an error (a)",
        None,
    ]


def test_an_interface_that_never_had_figures_is_told_once_and_over_when_it_has() -> None:
    """Its calls are refused day after day, as by a quota that is used up."""
    ledger = KnownLedger()
    known: Alerts = {}
    said = list[tuple[str, str]]()
    for number in range(4):
        day = YESTERDAY + number * ONE_DAY
        for name in (USERS, SHARE):
            ledger.asked_for("wx1", name, BEGIN, day)
        ledger.put("wx1", USERS, BEGIN, day, "final")
        if number == 3:
            ledger.put("wx1", SHARE, day, day, "final")
        for hour in (8.1, 10.2, 16.5):
            now = ledger.seen(NOW + number * 86_400 + (hour - 16.5) * 3600)
            changed = change(known, alerts_of(now, AT, STALE), now)
            known = changed.alerts
            if (message := message_of(changed, now, "en")) is not None:
                said.append((f"{number} {hour}", message.body))
    advice = "None came for longer than allowed; see the page."
    assert said == [
        (
            "0 10.2",
            (
                f"● No figures so far: Article shares: wx1.  {advice}\n"
                "  Never arrived: Article shares\n"
                "  $ harvester status --config harvester.toml --missing yesterday"
            ),
        ),
        ("3 8.1", "○ Resolved: No figures so far: Article shares, wx1"),
    ]


def test_figures_that_came_once_are_stale_beside_those_that_never_did() -> None:
    ledger = KnownLedger()
    for name in (USERS, SHARE):
        ledger.asked_for("wx1", name, BEGIN, YESTERDAY)
    ledger.put("wx1", USERS, BEGIN, YESTERDAY - ONE_DAY, "final")
    now = ledger.seen()
    found = alerts_of(now, AT, STALE)
    assert words(found) == {"never": (f"wx1 {SHARE}",), "stale": ("wx1",)}
    said = message_of(change({}, found, now), now, "zh")
    assert said is not None
    assert said.body == (
        "● 从未取到数据：文章每日分享：wx1。超过规定时间仍没有任何数据，请查看状态页。\n"
        "  从未取到：文章每日分享\n"
        "  $ harvester status --config harvester.toml --missing yesterday\n"
        "● 数据未更新：wx1。超过规定时间没有新数据，请查看状态页。\n"
        "  自 2026-11-25 起缺失：用户增减\n"
        "  $ harvester status --config harvester.toml --missing yesterday"
    )


def test_a_message_about_runs_shows_no_password() -> None:
    raised = parsed({"run a LedgerError": ("postgresql://me:p4ss@host/db does not answer",)})
    said = message_of(Change(raised, {}, raised), seen(), "en")
    assert said is not None
    assert said.title == "harvester: Runs end with an error"
    assert "p4ss" not in said.body


def test_a_refusal_comes_with_what_wechat_said() -> None:
    now = seen("wx1", code=99, detail="errcode 99 (strange): no such thing")
    said = message_of(change({}, alerts_of(now, AT, STALE), now), now, "en")
    assert said is not None
    assert said.body.splitlines()[0] == (
        "● WeChat refused the request: 甲 (wx1).  errcode 99 (strange): no such thing"
    )


def test_the_alert_and_its_end_in_chinese() -> None:
    now = seen("wx1", "wx2")
    said = message_of(change({}, alerts_of(now, AT, STALE), now), now, "zh")
    assert said is not None
    assert said.title == "harvester: 需要处理：2 个账号"
    assert said.body.startswith("● AppSecret 不正确或已冻结：甲 (wx1)、wx2。在公众平台")
    said = message_of(change(parsed({"secret": ("wx1", "wx2")}), {}, seen()), seen(), "zh")
    assert said == (
        "harvester: 已恢复：2 个账号",
        "○ 已恢复：AppSecret 不正确或已冻结，甲 (wx1)、wx2",
        "success",
    )


def test_the_digest_in_both_languages() -> None:
    now, day = seen("wx1"), date(2026, 11, 26)
    english = digest(now, day, NOW + 1800, "en")
    assert english.title == "harvester: 2026-11-26: Yesterday is incomplete for 1 of 3 accounts"
    assert english.body.splitlines() == [
        "Arrived: 2 of 3 accounts",
        "● AppSecret is wrong or frozen: 甲 (wx1) (1 interface-day missing)",
        "Next automatic attempt: 17:00 today",
        "Calls today: 0; how many are left is not known",
        "History: 99.9% (1 of 987 interface-days missing)",
        "Complete by: — first remove the causes (then 1 call)",
    ]
    chinese = digest(seen(), day, 0.0, "zh")
    assert chinese.title == "harvester: 11月26日：3 个账号昨天的数据全部到齐"
    assert chinese.body.splitlines() == [
        "到齐：3 / 3 个账号",
        "今天调用 0 次，剩余限额未知",
        "历史完整度：100%（987 个接口日）",
        "预计补齐：已补齐（无需再调用）",
    ]


@pytest.mark.thorough
@pytest.mark.parametrize("lang", ["zh", "en"])
def test_messages_about_many_accounts_fit_into_a_robots_message(lang: str) -> None:
    ledger, names = agency(1500)
    now = ledger.seen(names=names)
    changed = change({}, alerts_of(now, AT, STALE), now)
    said = message_of(changed, now, lang), digest(now, date(2026, 11, 26), 0.0, lang)
    for each in said:
        assert each is not None
        assert len(each.body.encode()) <= LONGEST
    many = parsed({f"ip 203.0.113.{n}": ("wx1",) for n in range(99)})
    cut = message_of(Change(many, {}, many), now, lang)
    assert cut is not None
    assert len(cut.body.encode()) <= LONGEST
    assert cut.body.splitlines()[-1].startswith("…")
