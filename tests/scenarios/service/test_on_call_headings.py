"""Each heading of docs/on-call.md: its trouble is made, its words are followed, and it ends.

A case lets a day pass between the alert and the cure, in which nothing is over: what ends it is the
cure, and not time.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

import harvester
from harvester.events import Event
from harvester.report import Overview
from harvester.service.http import Pages
from harvester.service.metrics import Metrics
from harvester.testing import Faults, Simulator
from tests.scenarios.command import harvest_at
from tests.scenarios.docs.test_monitoring import promtool
from tests.scenarios.service import test_no_message
from tests.service.test_serve import BEGIN, A, B, C, World, _secrets, live
from tests.support import ROOT, Wechat, at

__all__ = ["_secrets"]  # a fixture
pytestmark = [pytest.mark.thorough, pytest.mark.timeout(180)]
USERS, READS, OLD = "getusersummary", "getarticleread", "getarticlesummary"
WRONG = "gh0000000000000000"
PLATFORM = "wx00000000000000ff"
RULES_FILE = ROOT / "examples" / "monitoring" / "alerts.yml"
OVER = "○ Resolved: "


def headings() -> list[str]:
    """Those of the page, less what is above all of them."""
    text = (ROOT / "docs" / "on-call.md").read_text(encoding="utf-8")
    return re.findall(r"(?m)^(?:### |## (?=No message))(.+)$", text)


Steps = Callable[[World], Iterator[None]]


class Case(NamedTuple):
    """A trouble, and what its heading says.

    heading: of the page.  steps: what differs from the start on, the trouble, and the cure, each
    before a yield.  reloads: whether its end is told at once, and else with the next harvest.
    told: whether its end is a message: nothing is said of what is no longer harvested.
    """

    heading: str
    steps: Steps
    reloads: bool = False
    told: bool = True


CASES: list[Case] = []


def case(heading: str, **more: bool) -> Callable[[Steps], Steps]:
    """Add a case."""

    def add(steps: Steps) -> Steps:
        CASES.append(Case(heading, steps, **more))
        return steps

    return add


# what a person does


def edit(world: World, former: str, new: str, file: str = "harvester.toml") -> None:
    """Change a file."""
    path = world.folder / file
    text = path.read_text()
    assert former in text
    path.write_text(text.replace(former, new))


def reload(world: World) -> None:
    """As SIGHUP does."""
    assert world.service is not None
    world.service.reload()
    assert world.lines[-1].startswith("reloaded: ")


def command(world: World, *words: str) -> str:
    """What a command says, typed now in the directory of the configuration."""
    hours = (world.right() - at(str(BEGIN), 0)) / 3600
    done = harvest_at(BEGIN, hours, *words)
    assert done.status in (0, 1, 2), done.err
    return done.out + done.err


def account(world: World, appid: str, **keys: str) -> None:
    """Give an account of the file other keys."""
    lines = "".join(f'\n{key} = "{value}"' for key, value in keys.items())
    path = world.folder / "accounts.toml"
    tables = path.read_text().split("[[account]]")
    path.write_text("[[account]]".join(
        re.sub(r'\nsecret = "[^"]*"', "", each).rstrip() + lines + "\n" if appid in each else each
        for each in tables
    ))  # fmt: skip


def private(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o600)


# the alerts of the service


@case("AppSecret is wrong or frozen", reloads=True)
def _stored_where_the_reference_points(world: World) -> Iterator[None]:
    secret = world.folder / "secret"
    private(secret, "practice")
    account(world, C, secret="file:secret")
    yield
    private(secret, "another account's")
    world.simulator.revoke(C)
    reload(world)
    yield
    private(secret, "practice")
    reload(world)


@case("The AppID is wrong", reloads=True, told=False)
def _corrected_and_the_wrong_one_forgotten(world: World) -> Iterator[None]:
    world.list_accounts(A, B)
    yield
    world.list_accounts(A, B, WRONG)
    reload(world)
    yield
    world.list_accounts(A, B, C)
    reload(world)
    assert "nothing was removed" in command(world, "forget", "--appid", WRONG)
    assert "removed from the ledger" in command(world, "forget", "--appid", WRONG, "--yes")
    assert "knows no account" in command(world, "forget", "--appid", WRONG)


@case("IP is not on the allow list")
def _added_to_the_allow_list(world: World) -> Iterator[None]:
    yield
    world.simulator.refuse_token[C] = 40164
    world.simulator.revoke(C)
    yield
    del world.simulator.refuse_token[C]


@case("No permission for the interface")
def _verified(world: World) -> Iterator[None]:
    yield
    world.simulator.refuse[C, USERS] = 48001
    yield
    del world.simulator.refuse[C, USERS]


@case("No permission for the interface", reloads=True, told=False)
def _left_out(world: World) -> Iterator[None]:
    yield
    world.simulator.refuse[C, USERS] = 48001
    yield
    edit(world, f'"{USERS}", ', "")
    reload(world)


def of_a_platform(world: World) -> dict[str, bool]:
    """Let an account be one of a platform; WeChat pushes tickets as long as ``pushes`` is true."""
    private(world.folder / "refresh", world.simulator.refresh_token(C))
    account(world, C, platform="ours", refresh_token="file:refresh")
    with (world.folder / "accounts.toml").open("a") as file:
        file.write(f'[[platform]]\nname = "ours"\nappid = "{PLATFORM}"\n'
                   'secret = "env:SECRET"\nticket = "file:ticket"\n')  # fmt: skip
    how = {"pushes": True}

    def push() -> None:
        if how["pushes"]:
            private(world.folder / "ticket", world.simulator.ticket())
        world.loop.call_later(600, push)

    push()
    return how


@case("The platform's authorisation is not valid", reloads=True)
def _authorised_again(world: World) -> Iterator[None]:
    of_a_platform(world)
    yield
    world.simulator.deauthorize(C)
    yield
    world.simulator.authorize(C)
    private(world.folder / "refresh", world.simulator.refresh_token(C))
    reload(world)


@case("There is no access token that can be used")
def _a_new_ticket(world: World) -> Iterator[None]:
    how = of_a_platform(world)
    yield
    how["pushes"] = False
    yield
    assert "check whether WeChat's pushes arrive" in world.alerts()[0]
    how["pushes"] = True


@case("The account is limited, frozen or banned")
def _seen_to_in_the_console(world: World) -> Iterator[None]:
    yield
    world.simulator.refuse[C] = 50002
    yield
    del world.simulator.refuse[C]


@case("The account is limited, frozen or banned", reloads=True, told=False)
def _asked_no_more(world: World) -> Iterator[None]:
    yield
    world.simulator.refuse[C] = 50002
    yield
    edit(world, f'appid = "{C}"', f'appid = "{C}"\nenabled = false', "accounts.toml")
    reload(world)


@case("Taken offline by WeChat", reloads=True, told=False)
def _its_successors_in_its_place(world: World) -> Iterator[None]:
    edit(world, f'"{READS}"', f'"{OLD}"')
    yield
    world.simulator.retired = True
    yield
    [line] = [each for each in command_endpoints(OLD) if each.split()[:1] == ["state"]]
    names = line.partition("retired:")[2].replace(",", " ").split()
    assert READS in names
    edit(world, f'"{OLD}"', ", ".join(f'"{name}"' for name in names))
    reload(world)


def command_endpoints(name: str) -> list[str]:
    return harvest_at(BEGIN, 12, "endpoints", name).out.splitlines()


@case("There is no access token that can be used", reloads=True)
def _one_program_or_a_stable_token(world: World) -> Iterator[None]:
    account(world, C, secret="env:SECRET", token="classic")
    yield
    query = {"grant_type": "client_credential", "appid": C, "secret": "practice"}
    send, simulator = world.send, world.simulator

    async def beside_another(request: Any, leave: Any = None) -> Any:
        if "token" not in request.path:  # another program fetches one before each of our requests
            simulator.handle("GET", "/cgi-bin/token", query, b"")
        return await send(request, leave)

    world.send = beside_another  # type: ignore[method-assign]
    yield
    edit(world, 'token = "classic"', 'token = "stable"', "accounts.toml")
    reload(world)


@case("There is no access token that can be used", reloads=True)
def _the_reference_mended(world: World) -> Iterator[None]:
    private(world.folder / "secret", "practice")
    account(world, C, secret="file:secret")
    yield
    (world.folder / "secret").rename(world.folder / "moved")
    reload(world)
    yield
    assert f"{world.folder / 'secret'} cannot be read" in world.alerts()[-1]
    edit(world, "file:secret", "file:moved", "accounts.toml")
    reload(world)


@case("WeChat refused the request")
def _reported_with_the_rid(world: World) -> Iterator[None]:
    yield
    world.simulator.refuse[C, USERS] = 99
    yield
    assert "errcode 99" in world.alerts()[-1]
    assert re.search(r"errcode 99 .*\[rid: \S+\]", command(world, "status"))
    del world.simulator.refuse[C, USERS]


@case("Not asked for", reloads=True)
def _put_back(world: World) -> Iterator[None]:
    edit(world, 'start = "2026-02-26"\nend = "yesterday"',
         'start = "2026-02-22"\nend = "yesterday-3d"')  # fmt: skip
    yield
    run_beside(world, A, USERS)
    yield
    edit(world, 'end = "yesterday-3d"', 'end = "yesterday"')
    reload(world)


def run_beside(world: World, appid: str, endpoint: str) -> None:
    """Another run of the ledger, of the days up to the last that there will be."""
    simulator = Simulator(wall=lambda: at(str(BEGIN + timedelta(days=1)), 9))
    with Wechat(simulator) as wechat:
        done = harvest_at(
            BEGIN + timedelta(days=1), 9, "run", endpoint, "--appid", appid,
            "--start", "2026-02-26", "--end", "yesterday", "--base-url", wechat.url,
            "--ledger", world.folder / "ledger.sqlite", "--sink", f"jsonl:{world.folder / 'data'}",
        )  # fmt: skip
    assert done.status == 0, done.err


@case("Stale figures")
def _the_network_is_back(world: World) -> Iterator[None]:
    yield
    world.simulator.faults_of[C] = Faults(busy=1.0)
    yield
    assert "\n  Reason: No success after several attempts\n" in world.alerts()[-1]
    assert "-1" in command(world, "status", "--missing", "yesterday")
    del world.simulator.faults_of[C]


@case("No figures so far")
def _the_quota_is_back(world: World) -> Iterator[None]:
    edit(world, f', "{READS}"', "")
    yield
    world.simulator.refuse[C, READS] = 45009
    edit(world, f'["{USERS}"', f'["{USERS}", "{READS}"')
    reload(world)
    yield
    assert "\n  Reason: Waiting for quota\n" in world.alerts()[-1]
    del world.simulator.refuse[C, READS]


@case("No figures so far", reloads=True, told=False)
def _of_an_account_that_has_none(world: World) -> Iterator[None]:
    edit(world, f', "{READS}"', "")
    yield
    world.simulator.refuse[C, READS] = 45009
    edit(world, f'["{USERS}"', f'["{USERS}", "{READS}"')
    reload(world)
    yield
    edit(world, f', "{READS}"', "")
    reload(world)


@case("Runs end with an error", reloads=True)  # tried again within an hour
def _the_reason_is_removed(world: World) -> Iterator[None]:
    edit(world, "sink =", 'export = ["csv:tables"]\nsink =')
    yield
    for each in (world.folder / "tables").iterdir():
        each.unlink()
    (world.folder / "tables").rmdir()
    (world.folder / "tables").write_text("in the way")
    yield
    assert "tables" in world.alerts()[-1].splitlines()[0]
    (world.folder / "tables").unlink()


def titles(world: World, begin: str) -> list[str]:
    """The headings of what the alerts said begins, or is over."""
    lines = [line for alert in world.alerts() for line in alert.splitlines()]
    said = [line.removeprefix(begin) for line in lines if line.startswith(begin)]
    known = {each.heading.replace("IP is", r"IP \S+ is"): each.heading for each in CASES}
    return sorted({
        next((name for text, name in known.items() if re.match(text, each, re.IGNORECASE)), each)
        for each in said
    })  # fmt: skip


@pytest.mark.parametrize("each", CASES, ids=lambda each: each.steps.__name__.strip("_"))
def test_what_a_heading_says_ends_its_alert(
    each: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(world: World) -> None:
        edit(world, "2026-02-20", "2026-02-26")
        steps = each.steps(world)
        next(steps)
        world.start()
        await world.until(0, 13)
        assert world.alerts() == []
        next(steps)
        await world.until(1, 12)
        assert each.heading in titles(world, "● ")
        await world.until(2, 12)  # a day does not end it
        raised = titles(world, "● ")
        assert {*raised} <= {each.heading, "Stale figures"}
        assert titles(world, OVER) == []
        assert next(steps, None) is None
        await (world.until(2, 13) if each.reloads else world.until(3, 9))
        assert titles(world, OVER) == (raised if each.told else [])
        assert world.service is not None
        assert world.service.state.alerts == {}
        await world.until(3, 12)
        assert "Yesterday is complete for" in world.digest(3).title
        assert titles(world, "● ") == raised
        await world.stop()

    monkeypatch.chdir(tmp_path)
    how: dict[str, Any] = {"component": (PLATFORM, "practice"), "classic_grace": 0.0}
    live(tmp_path, monkeypatch, story, **how)


DIGEST = "None of the last days was asked for"


def test_the_digest_names_that_nobody_asked_for_the_last_days_until_somebody_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = DIGEST.replace("last days", "last 2 days")

    async def story(world: World) -> None:
        world.start()
        await world.until(0, 13)
        edit(world, 'end = "yesterday"', 'end = "yesterday-2d"')
        reload(world)
        await world.until(2, 12)
        assert f"● {named}: name of a ({A})" in world.digest(2).body
        edit(world, 'end = "yesterday-2d"', 'end = "yesterday"')
        reload(world)
        await world.until(3, 12)
        assert "None of the last" not in world.digest(3).body
        assert "Yesterday is complete for" in world.digest(3).title
        assert world.alerts() == []
        await world.stop()

    live(tmp_path, monkeypatch, story)


# the rules of Prometheus


class Scraped(Pages):
    """The pages of a service, which read its ledger in the same thread."""

    async def _look(self) -> Overview:
        return await self._service.setup.look(self._clock())


class Prometheus:
    """What it would have of a service: each series, by the half hour since `ZERO`.

    Its tests count from 1970 on, so that Unix times are shifted.  build: the version of another
    machine; file: what node_exporter reads.
    """

    STEP = 1800.0
    ZERO = at(str(BEGIN), 8) - 86_400  # midnight in UTC

    def __init__(self, world: World) -> None:
        self._world, self.build, self.file = world, "", Path()
        self._series: dict[str, dict[int, float]] = {}
        self._metrics = Metrics(wall=world.machine)
        self._rules = RULES_FILE.read_text()
        observe = world.observe

        def observed(event: Event) -> None:
            observe(event)
            self._metrics.observe(event)

        world.observe = observed  # type: ignore[method-assign]

    async def scrape(self) -> None:
        """Ask for the metrics again and again."""
        while True:
            text = await self._asked()
            for family in text_string_to_metric_families(text):
                for name, labels, value, *_ in family.samples:
                    if name in self._rules:
                        self._add(name, value, **labels)
            self._add("up", float(text != ""))
            if self.build:
                self._add("harvester_build_info", 1, instance="b", version=self.build)
            if self.file.is_file():
                name = "node_textfile_mtime_seconds"
                self._add(name, self.file.stat().st_mtime, file=str(self.file))
            await asyncio.sleep(self.STEP)

    async def _asked(self) -> str:
        """What the service answers; empty if it does not."""
        service, task = self._world.service, self._world._task
        if service is None or task is None or task.done():
            return ""
        request: Any = SimpleNamespace(path="/metrics", method="GET", headers={"Host": "127.0.0.1"})
        answer: Any = await Scraped(service, self._metrics, self._world.machine)._answer(request)
        return answer.body.decode() if answer.status == 200 else ""

    def _add(self, name: str, value: float, **labels: str) -> None:
        value -= self.ZERO if name.endswith(("timestamp_seconds", "mtime_seconds")) else 0
        more = {"job": "harvester", "instance": "a", **labels}
        key = f"{name}{{{','.join(f'{each}={json.dumps(text)}' for each, text in more.items())}}}"
        self._series.setdefault(key, {})[int((self._world.right() - self.ZERO) / self.STEP)] = value

    def check(self, rule: str, folder: Path, told: list[tuple[float, bool]]) -> None:
        """A rule fires in the minute before each of these moments, or does not."""
        fired = f'max(ALERTS{{alertname="{rule}",alertstate="firing"}})'
        tests, last = [], 0
        for moment, fires in told:
            minute = int((moment - self.ZERO) / 60) - 1
            last = max(last, minute // 30 + 1)
            expected = [{"labels": "{}", "value": 1}] if fires else []
            tests.append({"expr": fired, "eval_time": f"{minute}m", "exp_samples": expected})
        series = [
            {"series": key, "values": " ".join(
                f"{found[each]:.3f}x5" if each in found else "_x6" for each in range(last))}
            for key, found in self._series.items()
        ]  # fmt: skip
        shutil.copy(RULES_FILE, folder)
        test = {"interval": "5m", "input_series": series, "promql_expr_test": tests}
        document = {"rule_files": ["alerts.yml"], "evaluation_interval": "5m", "tests": [test]}
        (folder / "test.yml").write_text(json.dumps(document))
        promtool("test", "rules", folder / "test.yml")


class Rule(NamedTuple):
    """A rule: the heading's words as steps, as of a `Case`.

    fires: the day and the hour of the cure, before which it fires; over: when it no longer does.
    """

    name: str
    steps: Callable[[World, Prometheus], Iterator[None]]
    fires: tuple[int, float]
    over: tuple[int, float]


RULES: list[Rule] = []


def rule(name: str, fires: tuple[int, float], over: tuple[int, float]) -> Callable[..., None]:
    """Add a rule."""
    return lambda steps: RULES.append(Rule(name, steps, fires, over))


@rule("HarvesterDown", (0, 14), (0, 15))
def _started_again(world: World, _: Prometheus) -> Iterator[None]:
    yield
    world.kill()
    yield
    world.start()


@rule("HarvesterRunFailed", (1, 12), (1, 14))
def _as_runs_end_with_an_error(world: World, _: Prometheus) -> Iterator[None]:
    yield from _the_reason_is_removed(world)


@rule("HarvesterRunMissed", (1, 11), (1, 12))
def _the_ledger_answers(world: World, _: Prometheus) -> Iterator[None]:
    yield
    ledger, aside = world.folder / "ledger.sqlite", world.folder / "aside"
    aside.mkdir()
    for each in world.folder.glob("ledger.sqlite*"):
        each.rename(aside / each.name)
    ledger.mkdir()
    yield
    assert world.service is not None
    assert "ledger.sqlite" in world.service.trouble
    ledger.rmdir()
    for each in aside.iterdir():
        each.rename(world.folder / each.name)


@rule("HarvesterMessagesUndelivered", (1, 10), (1, 12))
def _the_target_takes_messages(world: World, _: Prometheus) -> Iterator[None]:
    yield
    world.deaf = True
    yield
    assert world.service is not None
    assert any("env:ALERTS" in each for each in world.service.troubles)
    world.deaf = False


@rule("HarvesterVersionsDiffer", (1, 14), (1, 15))
def _the_upgrade_finished(world: World, prometheus: Prometheus) -> Iterator[None]:
    prometheus.build = harvester.__version__
    yield
    prometheus.build = "0.1"
    yield
    prometheus.build = harvester.__version__


@rule("HarvesterFileOld", (1, 16), (1, 17))
def _the_timer_starts_it(world: World, prometheus: Prometheus) -> Iterator[None]:
    prometheus.file = world.folder / "harvester.prom"
    yield
    written(world, prometheus.file)
    yield
    written(world, prometheus.file)


def written(world: World, path: Path) -> None:
    """As `run --metrics` leaves its file; only its time counts for the rule."""
    path.touch()
    os.utime(path, (world.right(), world.right()))


@rule("HarvesterStale", (1, 12), (1, 14))
def _as_stale_figures(world: World, _: Prometheus) -> Iterator[None]:
    yield
    world.away = True
    yield
    world.away = False


@rule("HarvesterAccountsBroken", (1, 10), (1, 11))
def _by_the_headings_above(world: World, _: Prometheus) -> Iterator[None]:
    yield from _stored_where_the_reference_points(world)


@rule("HarvesterAccountsLate", (1, 15), (1, 17))
def _wechat_is_no_longer_late(world: World, _: Prometheus) -> Iterator[None]:
    yield
    world.simulator.delay_until_hour = 24
    yield
    assert "3 late" in command(world, "status", "--missing", "yesterday")
    world.simulator.delay_until_hour = None


@rule("HarvesterGap", (1, 13), (2, 12))
def _the_quota_suffices(world: World, _: Prometheus) -> Iterator[None]:
    edit(world, "2026-02-26", "2026-02-20")
    world.simulator.daily_quota = {READS: 1}
    yield
    yield
    assert "2026-02-20" in command(world, "status", "--endpoint", READS)
    world.simulator.daily_quota = None


@rule("HarvesterRefused", (1, 10.75), (1, 13.25))
def _what_the_code_asks_for(world: World, _: Prometheus) -> Iterator[None]:
    yield
    world.simulator.faults = Faults(busy=1.0)
    yield
    world.simulator.faults = Faults()


@rule("HarvesterQuotaUsedUp", (0, 15), (1, 0.75))
def _after_midnight(world: World, _: Prometheus) -> Iterator[None]:
    edit(world, "rate =", "daily-quota = 4\nrate =")
    yield
    edit(world, "2026-02-26", "2026-02-24")
    reload(world)
    yield


@pytest.mark.parametrize("each", RULES, ids=lambda each: each.name)
def test_what_a_heading_says_ends_its_rule(
    each: Rule, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(world: World) -> None:
        edit(world, "2026-02-20", "2026-02-26")
        prometheus = Prometheus(world)
        scraping = asyncio.ensure_future(prometheus.scrape())
        steps = each.steps(world, prometheus)
        next(steps)
        world.start()
        await world.until(0, 13)
        next(steps)
        await world.until(*each.fires)
        assert next(steps, None) is None
        await world.until(*each.over)
        scraping.cancel()
        days = [(0, 13), each.fires, each.over]
        first, fires, over = [at(str(BEGIN + timedelta(days=day)), hour) for day, hour in days]
        folder = tmp_path / "rules"
        folder.mkdir()
        prometheus.check(each.name, folder, [(first, False), (fires, True), (over, False)])
        await world.stop()

    monkeypatch.chdir(tmp_path)
    live(tmp_path, monkeypatch, story)


def test_each_heading_has_a_case() -> None:
    rules = {each.name for each in RULES}
    groups = yaml.safe_load(RULES_FILE.read_text())["groups"]
    assert rules == {each["alert"] for group in groups for each in group["rules"]}
    assert callable(test_no_message.test_the_command_shows_which_row_of_the_table_it_is)
    known = {each.heading for each in CASES} | rules | {DIGEST, "No message by 08:15"}
    assert {*headings()} == known
