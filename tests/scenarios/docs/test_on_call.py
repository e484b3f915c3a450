"""Each alert is fired: it says what, since when, why and what to do, and docs/on-call.md has it."""

from __future__ import annotations

import re
import shlex
from datetime import time, timedelta
from pathlib import Path

import pytest
import yaml

from harvester.cli.commands import invoke
from harvester.report.causes import KINDS
from harvester.report.texts import title_of
from harvester.service.alerts import (
    NEVER,
    NOT_ASKED,
    RUN,
    STALE,
    Notification,
    Problem,
    Where,
    alert,
    causes_of,
    change,
    digest,
    run_causes,
)
from tests.report_data import BEGIN, YESTERDAY, KnownLedger

ROOT = Path(__file__).parents[3]
URL = "https://harvester.example"
USERS, SHARE = "getusersummary", "getarticleshare"
APPID = "wx00000000000000aa"
AT, STALE_AFTER = time(8, 5), 26 * 3600.0
CODES = {
    "secret": (40125, "errcode 40125 (invalid appsecret): the secret is wrong"),
    "appid": (40013, "errcode 40013 (invalid appid): the appid is wrong"),
    "ip": (40164, "errcode 40164 (invalid ip 203.0.113.7): not on the account's white list"),
    "permission": (48001, "errcode 48001 (api unauthorized): the account may not use it"),
    "authorisation": (61003, "errcode 61003 (component is not authorized by this account)"),
    "frozen": (50002, "errcode 50002 (user limited): the account is limited"),
    "retired": (47009, "errcode 47009 (this api is offline)"),
    "token": (40001, "WeChat refused a token that was just fetched (errcode 40001)"),
    "refused": (99, "errcode 99 (strange)"),
}
"""A code of each kind for which a person must act, and its reason."""
IN_THE_DIGEST = {"ended"}
ALERTS = [*CODES, NOT_ASKED, STALE, NEVER, RUN]


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
    if kind != RUN:
        ledger.known.pop((APPID, SHARE))
        if kind == NOT_ASKED:
            ledger.asked_for(APPID, SHARE, BEGIN, YESTERDAY - timedelta(days=5))
            ledger.put(APPID, SHARE, BEGIN, YESTERDAY - timedelta(days=5), "final")
        elif kind != NEVER:
            ledger.put(APPID, SHARE, BEGIN, YESTERDAY - timedelta(days=1), "final")
        if code:
            ledger.put(APPID, SHARE, YESTERDAY, YESTERDAY, "failed", code=code, detail=reason)
    seen = ledger.seen(names={APPID: "Café"})
    causes = causes_of(seen, AT, STALE_AFTER)
    if kind == RUN:
        reason = "the disk is full"
        causes |= run_causes({}, "host", Problem("SinkError", reason))
    assert [each.partition(" ")[0] for each in causes] == [kind]
    said = alert(change({}, causes, seen), seen, lang, where)
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
    *lines, url = said.body.splitlines()
    assert url == URL
    assert reason in said.body
    assert said.level == ("warning" if kind in (STALE, NEVER) else "failure")
    if kind != RUN:
        title = title_of(SHARE)[lang == "en"]
        assert f"Café ({APPID})" in lines[0]
        [lacking] = [line for line in lines[1:] if title in line]
        since = YESTERDAY - timedelta(days=4) if kind == NOT_ASKED else YESTERDAY
        assert kind == NEVER or str(since) in lacking
    command = shlex.split(lines[-1].removeprefix("  $ "))
    assert command[0] == "harvester"
    assert invoke([*command[1:], "--help"]) == 0  # its options are parsed before that


def test_a_message_is_failure_warning_or_success() -> None:
    here, late = KnownLedger(), KnownLedger()
    for ledger, last in ((here, YESTERDAY), (late, YESTERDAY - timedelta(days=1))):
        ledger.asked_for(APPID, USERS, BEGIN, YESTERDAY)
        ledger.put(APPID, USERS, BEGIN, last, "final")
    assert digest(here.seen(), YESTERDAY, 0.0, "en", Where(URL)).level == "success"
    told = digest(late.seen(), YESTERDAY, 0.0, "en", Where(URL))
    assert told.level == "warning"
    assert told.body.endswith(f"\n{URL}")
    over = alert(change({"secret": (APPID,)}, {}, here.seen()), here.seen(), "en", Where(URL))
    assert over is not None
    assert over.level == "success"


def test_the_page_has_a_heading_for_each_alert_and_each_rule() -> None:
    own = {kind: fired(kind, "en", Where())[0].body[2:].partition(":")[0] for kind in ALERTS}
    own |= {kind: KINDS[kind].title[1] for kind in IN_THE_DIGEST}
    # a heading has neither the values of an alert nor the machine
    own = {kind: re.sub(r" 203\.0\.113\.7| \(host\)| \{days\}| since \S+", "", text)
           for kind, text in own.items()}  # fmt: skip
    assert own.keys() - {STALE, NEVER, RUN} == {kind for kind in KINDS if KINDS[kind].mine}
    text = (ROOT / "examples" / "monitoring" / "alerts.yml").read_text()
    rules = [rule["alert"] for group in yaml.safe_load(text)["groups"] for rule in group["rules"]]
    assert sorted(headings()) == sorted([*own.values(), *rules])
