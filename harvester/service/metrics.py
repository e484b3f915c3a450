"""The metrics of runs and of their ledger, as Prometheus reads them.

Rule: a label has few values, whatever WeChat answers and however many accounts there are, unless a
label for each account is asked for.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from datetime import date, datetime
from itertools import accumulate

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

import harvester
from harvester import events
from harvester.base.dates import china, settles_at
from harvester.events import Code, Event
from harvester.model import Action
from harvester.report import Overview
from harvester.wechat.codes import ERRORS

BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Upper bounds of the histogram of durations, seconds."""

ACCOUNT_STATES = {"todo": "failed", "late": "late", "here": "fresh", "old": "resting"}
"""The states of accounts in an `Overview`, as the label has them."""

REASONS = {
    Action.QUOTA: "quota",
    Action.SLOW_DOWN: "rate",
    Action.NOT_READY: "not_ready",
    Action.RETRY: "retry",
    Action.RENEW_TOKEN: "token",
}
NETWORK = "network"

_WINDOWS = "harvester_windows_total"
_REQUESTS = "harvester_requests_total"
_WAITING = "harvester_waiting_seconds_total"
_DURATION = "harvester_request_duration_seconds"
_SUCCESS = "harvester_last_success_timestamp_seconds"
_GAP = "harvester_oldest_gap_seconds"
_BUDGET = "harvester_budget_remaining"
_CALENDAR = "harvester_calendar"
_ACCOUNTS = "harvester_accounts"
_BROKEN = "harvester_account_broken_timestamp_seconds"
_REFUSED = "harvester_accounts_refused"
_BUILD = "harvester_build_info"
_LAST_RUN = "harvester_service_last_run_timestamp_seconds"
_RUN_FAILED = "harvester_service_last_run_failed"
_NEXT_RUN = "harvester_service_next_run_timestamp_seconds"
_UNDELIVERED = "harvester_service_undelivered_targets"
_MAIL = "harvester_service_messages_waiting"
_GIVEN_UP = "harvester_service_messages_given_up_total"

HELP = {
    _SUCCESS: "Unix time at which figures of an interface were last stored, as far as is known.",
    _GAP: "Seconds, in whole days, since the oldest day asked for that is missing, late, waits or"
    " failed; 0 if there is none.  Accounts that are not harvested any more are left out.",
    _WINDOWS: "Windows that were stored (done), wait for a later run, or failed.",
    _REQUESTS: "Data requests by WeChat's errcode; none: no answer, or none that is JSON; other: a"
    " code that WeChat does not document.",
    _DURATION: "Seconds from a data request to the end of its answer.",
    _WAITING: "Seconds for which an account, an interface, a token, a window or, without a"
    " network, the run was held back.",
    _BUDGET: "Calls of an interface that all accounts together have left today (in China); absent"
    " if it is not known: give --daily-quota.",
    _CALENDAR: "Days by state, over all accounts, as status --json has them: final (also the empty"
    " ones), provisional (stored, can still change), late (not there, though they must be),"
    " missing, waiting, failed, never_delivered, cannot_be_asked, not_asked, not_due.",
    _ACCOUNTS: "Accounts by state: fresh, late, failed (a person must act), resting (not harvested"
    " any more), never (not harvested yet).",
    _BROKEN: "Unix time from which on the account that broke last has needed a person.",
    _REFUSED: "Accounts of which a data request of the last hour had no figures as its answer.",
    _BUILD: "1, with the version of harvester.",
    _LAST_RUN: "Unix time at which the last run of the service ended, other than by an error.",
    _RUN_FAILED: "1 if an error ended the last run of the service, else 0.",
    _NEXT_RUN: "Unix time of the next run of the service; absent while one goes on.",
    _UNDELIVERED: "Targets of alerts and of the ping that did not take the last message.",
    _MAIL: "Messages that are to be sent, or sent again, to a target of the configuration.",
    _GIVEN_UP: "Messages that their target has not taken for days, since the service was started.",
}
NAMES = frozenset(HELP)
"""The names of all metrics; the histogram has the usual three suffixes besides."""

Key = tuple[str, ...]
"""The values of the labels of a series."""


class Metrics(Collector):
    """The metrics of all runs that it observes, and of the last `Overview`.

    by_account: whether what an interface has is given for each account, with the label ``appid``.
    former: what `render` gave before, in another process: the counters go on from there.  Raises
    `ValueError` if it is no such text.
    wall: the wall clock, as `time.time`.
    """

    def __init__(
        self,
        *,
        by_account: bool = False,
        former: str = "",
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._wall = wall
        self._by_account = by_account
        self._of_interface = ("appid", "endpoint") if by_account else ("endpoint",)
        self._labels: dict[str, tuple[str, ...]] = {
            _SUCCESS: self._of_interface,
            _GAP: self._of_interface,
            _WINDOWS: (*self._of_interface, "state"),
            _REQUESTS: (*self._of_interface, "errcode"),
            _WAITING: ("reason",),
            _BUDGET: ("endpoint",),
            _CALENDAR: ("endpoint", "state"),
            _ACCOUNTS: ("state",),
            _BROKEN: (),
            _REFUSED: (),
            _BUILD: ("version",),
            _LAST_RUN: (),
            _RUN_FAILED: (),
            _NEXT_RUN: (),
            _UNDELIVERED: (),
            _MAIL: (),
            _GIVEN_UP: (),
        }
        self._values: dict[str, dict[Key, float]] = {name: {} for name in self._labels}
        self._counted: dict[str, defaultdict[Key, float]] = {
            name: defaultdict(float) for name in (_WINDOWS, _REQUESTS, _WAITING, _GIVEN_UP)
        }
        self._values[_BUILD][harvester.__version__,] = 1
        self._counted[_WAITING].update({(reason,): 0.0 for reason in (*REASONS.values(), NETWORK)})
        self._continued = set[Key]()  # the interfaces of the former process
        self._refused: dict[str, float] = {}  # when it last was, by account
        self._durations = [0] * (len(BUCKETS) + 1)
        self._seconds = 0.0
        self._lost_since: float | None = None
        self._registry = CollectorRegistry()
        self._registry.register(self)
        self._continue(former)

    def __repr__(self) -> str:
        return f"<Metrics of {sum(self._durations):,} requests>"

    def render(self) -> bytes:
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        hour = self._wall() - 3600.0 if self._refused else 0.0
        self._values[_REFUSED] = {(): sum(when > hour for when in self._refused.values())}
        for name, labels in self._labels.items():
            counted = self._counted.get(name)
            kind = GaugeMetricFamily if counted is None else CounterMetricFamily
            family = kind(name, HELP[name], labels=labels)
            for key, value in (self._values[name] if counted is None else counted).items():
                family.add_metric(key, value)
            yield family
        bounds = [*map(str, BUCKETS), "+Inf"]
        buckets = list(zip(bounds, accumulate(self._durations), strict=True))
        yield HistogramMetricFamily(_DURATION, HELP[_DURATION], buckets, self._seconds)

    def observe(self, event: Event) -> None:
        """Count an event of a run; may be its ``on_event``, or called by it."""
        match event:
            case events.Requested():
                self._add_requests(event.answers)
            case events.Committed():
                self._add_windows(event)
            case events.Deferred():
                self._count(_WINDOWS, event.appid, event.endpoint, "waiting", event.windows)
            case events.Failed():
                self._count(_WINDOWS, event.appid, event.endpoint, "failed", event.windows)
            case events.Paused():
                self._wait(event.action, event.seconds)
            case events.Retrying():
                self._add_retry(event)
            case events.Notice(code=Code.UNREACHABLE) if self._lost_since is None:
                self._lost_since = self._wall()
            case events.Notice(code=Code.REACHABLE) | events.Ended() if (
                self._lost_since is not None
            ):
                self._counted[_WAITING][NETWORK,] += max(self._wall() - self._lost_since, 0.0)
                self._lost_since = None

    def _add_requests(self, answers: Iterable[events.Answer]) -> None:
        for appid, endpoint, code, seconds in answers:
            self._count(_REQUESTS, appid, endpoint, _errcode(code), 1)
            if code != 0:
                self._refused[appid] = self._wall()
            self._durations[bisect_left(BUCKETS, seconds)] += 1
            self._seconds += seconds

    def _add_windows(self, event: events.Committed) -> None:
        now = self._wall()
        counted = Counter([(window.appid, window.endpoint) for window in event.windows])
        for (appid, endpoint), windows in counted.items():
            self._count(_WINDOWS, appid, endpoint, "done", windows)
            self._succeeded(appid, endpoint, now)

    def _add_retry(self, event: events.Retrying) -> None:
        if event.window is None:
            self._wait(Action.RENEW_TOKEN, event.delay)
        elif event.action is not Action.SLOW_DOWN:  # then the account's pause is counted
            self._wait(event.action, event.delay)

    def _wait(self, action: Action, seconds: float) -> None:
        self._counted[_WAITING][REASONS.get(action, "retry"),] += seconds

    def _count(self, name: str, appid: str, endpoint: str, label: str, number: int) -> None:
        self._counted[name][*self._key(appid, endpoint), label] += number

    def _key(self, appid: str, endpoint: str) -> Key:
        return (appid, endpoint) if self._by_account else (endpoint,)

    def _succeeded(self, appid: str, endpoint: str, when: float) -> None:
        _keep_most(self._values[_SUCCESS], self._key(appid, endpoint), when)

    def _continue(self, former: str) -> None:
        below = 0
        for family in text_string_to_metric_families(former):
            for sample in family.samples:
                name, labels, value = sample.name, sample.labels, sample.value
                if name == f"{_DURATION}_bucket":
                    bound = float(labels["le"])
                    self._durations[bisect_left(BUCKETS, bound)] += int(value) - below
                    below = int(value)
                elif name == f"{_DURATION}_sum":
                    self._seconds += value
                elif name in self._labels and {*labels} == {*self._labels[name]}:
                    key = tuple([labels[label] for label in self._labels[name]])
                    if name in (_WINDOWS, _REQUESTS):
                        self._continued.add(key[:-1])
                    if name in self._counted:
                        self._counted[name][key] += value
                    elif name == _SUCCESS:
                        self._values[name][key] = value

    def update(self, overview: Overview) -> None:
        self._update_interfaces(overview)
        self._values[_BUDGET] = {
            (quota.endpoint,): quota.left for quota in overview.quotas if quota.left is not None
        }
        self._values[_CALENDAR] = {
            (view.name, state): number
            for view in overview.interfaces
            for state, number in view.counts.to_dict().items()
            if state != "empty"
        }
        states = Counter([ACCOUNT_STATES[account.state] for account in overview.accounts])
        self._values[_ACCOUNTS] = {(name,): states[name] for name in ACCOUNT_STATES.values()}
        self._values[_ACCOUNTS]["never",] = len(overview.never)
        broke = [each.broke for account in overview.accounts for each in account.reasons
                 if account.state == "todo" and each.mine and each.broke]  # fmt: skip
        self._values[_BROKEN] = (
            {(): datetime.fromisoformat(max(broke)).timestamp()} if broke else {}
        )

    def update_service(
        self,
        *,
        last_run: float,
        failed: bool,
        next_run: float,
        undelivered: int,
        waiting: int,
        given_up: int,
    ) -> None:
        """Set what a service has; last_run, next_run: 0 if there is none."""
        for name, moment in ((_LAST_RUN, last_run), (_NEXT_RUN, next_run)):
            self._values[name] = {(): moment} if moment else {}
        self._values[_RUN_FAILED] = {(): failed}
        self._values[_UNDELIVERED] = {(): undelivered}
        self._values[_MAIL] = {(): waiting}
        self._counted[_GIVEN_UP][()] = given_up

    def _update_interfaces(self, made: Overview) -> None:
        """The oldest gaps, and when figures came at the earliest, if no event has shown it."""
        today, gaps = china(made.made).date(), dict[Key, float]()
        newest: dict[tuple[str, str], date] = {}
        for account in made.accounts:
            for row in account.rows:
                name, gap, stored = row.endpoint, row.reach.gap, row.reach.newest
                if stored is not None:
                    newest[account.appid, name] = stored
                if account.state != "old":
                    days = 0 if gap is None else max((today - gap).days, 0)
                    _keep_most(gaps, self._key(account.appid, name), 86_400 * days)
        self._values[_GAP] = gaps
        self._drop_forgotten(made)
        hours = {view.name: view.endpoint.settled_hour for view in made.interfaces if view.endpoint}
        for (appid, name), day in newest.items():
            if name in hours:
                self._succeeded(appid, name, min(settles_at(day, hours[name]), made.made))

    def _drop_forgotten(self, made: Overview) -> None:
        """Drop what was removed from the ledger.

        Of the counters only those of a former process: an overview may be older than an event.
        """
        known = {
            self._key(account.appid, row.endpoint)
            for account in made.accounts
            for row in account.rows
        }
        for key in self._values[_SUCCESS].keys() - known:
            del self._values[_SUCCESS][key]
        gone = self._continued - known
        for name in (_WINDOWS, _REQUESTS):
            for key in [key for key in self._counted[name] if key[:-1] in gone]:
                del self._counted[name][key]


def _keep_most(values: dict[Key, float], key: Key, value: float) -> None:
    values[key] = max(values.get(key, value), value)


def _errcode(code: int | None) -> str:
    """The value of the label: of what a server makes up there is one."""
    if code is None:
        return "none"
    return str(code) if code == 0 or code in ERRORS else "other"
