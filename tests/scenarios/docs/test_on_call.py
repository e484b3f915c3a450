"""Each alert is fired: it says what, since when, why and what to do, and docs/on-call.md has it."""

from __future__ import annotations

import re
import shlex
from datetime import time, timedelta
from pathlib import Path

import pytest
import yaml

from harvester.base.chinese import shown
from harvester.cli.commands import invoke
from harvester.report.causes import KINDS
from harvester.report.missing import NOT_ASKED
from harvester.report.texts import title_of
from harvester.service.alerts import (
    NEVER,
    STALE,
    Notification,
    Problem,
    Where,
    alerts_of,
    change,
    digest,
    message_of,
    of_runs,
)
from harvester.service.state import OF_RUNS, Alert, Subject
from tests.report_data import BEGIN, YESTERDAY, KnownLedger
from tests.support import ROOT

URL = "https://harvester.example"
USERS, SHARE = "getusersummary", "getarticleshare"
APPID = "wx00000000000000aa"
AT, STALE_AFTER = time(8, 5), 26 * 3600.0
CODES = {
    "secret": (40125, "errcode 40125 (invalid appsecret): the secret is wrong"),
    "appid": (40013, "errcode 40013 (invalid appid): the appid is wrong"),
    "ip": (40164, "errcode 40164 (invalid ip 203.0.113.7): not on the account's allow list"),
    "permission": (
        48001,
        "errcode 48001 (api unauthorized): the account is not allowed to use it",
    ),
    "authorisation": (61003, "errcode 61003 (component is not authorized by this account)"),
    "frozen": (50002, "errcode 50002 (user limited): the account is limited"),
    "retired": (47009, "errcode 47009 (this api is offline)"),
    "token": (40001, "WeChat refused a token that was just fetched (errcode 40001)"),
    "refused": (99, "errcode 99 (strange)"),
}
"""A code of each kind for which a person must act, and its reason."""
IN_THE_DIGEST = {"ended"}
ALERTS = [*CODES, NOT_ASKED, STALE, NEVER, OF_RUNS]
CHECK = ("check", "--config", "CONFIG", "--only", APPID)
MISSING = ("status", "--config", "CONFIG", "--missing", "yesterday")
COMMANDS = {
    **dict.fromkeys(CODES, CHECK),
    "retired": ("endpoints", SHARE),
    **dict.fromkeys((NOT_ASKED, STALE, NEVER), MISSING),
    OF_RUNS: ("run", "--config", "CONFIG"),
}
"""What a person types after each alert."""
LACKS = {**dict.fromkeys(CODES, 3), NOT_ASKED: 5, STALE: 1}
"""The newest days that the interface lacks; it never had any, or runs fail, where there is none."""
SAID_AT_ONCE = {"token", "refused", OF_RUNS}
"""Alerts whose reason is in their first line, in the place of advice."""


def headings() -> list[str]:
    text = (ROOT / "docs" / "on-call.md").read_text()
    return re.findall(r"(?m)^### (.+)$", text)


def fired(kind: str, lang: str, where: Where) -> tuple[Notification, str]:
    """The alert of a kind, and the reason that it must name."""
    ledger = KnownLedger()
    for name in (USERS, SHARE):
        ledger.asked_for(APPID, name, BEGIN, YESTERDAY)
        ledger.put(APPID, name, BEGIN, YESTERDAY, "final")
    code, reason = CODES.get(kind, (0, ""))
    if kind != OF_RUNS:
        ledger.known.pop((APPID, SHARE))
        last = YESTERDAY - timedelta(days=LACKS.get(kind, 0))
        if kind == NOT_ASKED:
            ledger.asked_for(APPID, SHARE, BEGIN, last)
        if kind != NEVER:
            ledger.put(APPID, SHARE, BEGIN, last, "final")
        if code:
            first = last + timedelta(days=1)
            ledger.put(
                APPID,
                SHARE,
                first,
                YESTERDAY,
                "failed",
                code=code,
                detail=reason,
                kind="token" if kind == "token" else "",
            )
    seen = ledger.seen(names={APPID: "Café"})
    alerts = alerts_of(seen, AT, STALE_AFTER)
    if kind == OF_RUNS:
        reason = "the disk is full"
        alerts = {**alerts, **of_runs({}, "host", Problem("SinkError", reason))}
    assert [alert.kind for alert in alerts] == [kind]
    said = message_of(change({}, alerts, seen), seen, lang, where)
    assert said is not None
    return said, reason


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize("kind", ALERTS)
def test_an_alert_says_what_since_when_why_and_what_to_do(
    kind: str, lang: str, tmp_path: Path
) -> None:
    config = tmp_path / "h v" / "harvester.toml"
    config.parent.mkdir()
    config.touch()
    said, reason = fired(kind, lang, Where(URL, str(config)))
    first, *lines, typed, url = said.body.splitlines()
    assert url == URL
    assert said.level == ("warning" if kind in (STALE, NEVER) else "failure")
    title = shown(title_of(SHARE), lang)
    since = YESTERDAY - timedelta(days=LACKS.get(kind, 0) - 1)
    lacking = {"en": f"  Missing since {since}: {title}", "zh": f"  自 {since} 起缺失：{title}"}
    never = {"en": f"  Never arrived: {title}", "zh": f"  从未取到：{title}"}
    if kind == OF_RUNS:
        assert lines == []
    else:
        assert f"Café ({APPID})" in first
        own_line = [f"  {reason}"] if kind in CODES and kind not in SAID_AT_ONCE else []
        assert lines == [(never if kind == NEVER else lacking)[lang], *own_line]
    assert first.endswith(reason) or kind not in SAID_AT_ONCE
    command = shlex.split(typed.removeprefix("  $ "))
    given = [str(config) if each == "CONFIG" else each for each in COMMANDS[kind]]
    assert command == ["harvester", *given]
    assert invoke([*given, "--help"]) == 0  # its options are parsed before that


def test_a_command_names_no_account_where_there_is_no_file_of_accounts() -> None:
    said, _ = fired("secret", "en", Where(lists=False))
    assert said.body.endswith("\n  $ harvester check --config harvester.toml")


def test_a_message_is_failure_warning_or_success() -> None:
    here, late = KnownLedger(), KnownLedger()
    for ledger, last in ((here, YESTERDAY), (late, YESTERDAY - timedelta(days=1))):
        ledger.asked_for(APPID, USERS, BEGIN, YESTERDAY)
        ledger.put(APPID, USERS, BEGIN, last, "final")
    assert digest(here.seen(), YESTERDAY, 0.0, "en", Where(URL)).level == "success"
    told = digest(late.seen(), YESTERDAY, 0.0, "en", Where(URL))
    assert told.level == "warning"
    assert told.body.endswith(f"\n{URL}")
    ended = change({Alert("secret"): (Subject(APPID),)}, {}, here.seen())
    over = message_of(ended, here.seen(), "en", Where(URL))
    assert over is not None
    assert over.level == "success"


def test_the_page_has_a_heading_for_each_alert_and_each_rule() -> None:
    own = {kind: fired(kind, "en", Where())[0].body[2:].partition(":")[0] for kind in ALERTS}
    own |= {kind: KINDS[kind].title[1] for kind in IN_THE_DIGEST}
    # a heading has neither the values of an alert nor the machine
    own = {kind: re.sub(r" 203\.0\.113\.7| \(host\)| \{days\}| since \S+", "", text)
           for kind, text in own.items()}  # fmt: skip
    assert own.keys() - {STALE, NEVER, OF_RUNS} == {kind for kind in KINDS if KINDS[kind].mine}
    text = (ROOT / "examples" / "monitoring" / "alerts.yml").read_text()
    rules = [rule["alert"] for group in yaml.safe_load(text)["groups"] for rule in group["rules"]]
    assert sorted(headings()) == sorted([*own.values(), *rules])
