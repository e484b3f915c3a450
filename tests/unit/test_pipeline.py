"""One attempt at one window: a batch, or when to come again, or how far the failure reaches."""

import asyncio
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from harvester.account import AccountQueue
from harvester.auth import Send, SharedToken
from harvester.budget import Budget
from harvester.coverage import Outcome
from harvester.datacube import INTERFACES
from harvester.endpoint import Endpoint, JsonEndpoint
from harvester.errors import (
    AccountError,
    AttemptError,
    EndpointError,
    HarvestError,
    NetworkError,
    WindowError,
)
from harvester.limiter import Limiter, Rate
from harvester.model import (
    HELD,
    Action,
    Batch,
    Request,
    Response,
    Tally,
    Token,
    Verdict,
    Window,
)  # fmt: skip
from harvester.network import Network, Silence
from harvester.pipeline import (
    PAGES,
    REFUSALS,
    Defer,
    NextPage,
    Pipeline,
    Result,
    Retry,
    TooLong,
    explain,
    late_until,
)
from harvester.plan import Cut, next_quota_day, settles_at
from harvester.policy import AFTER_THE_MINUTE, NOT_READY_AGAIN
from harvester.queues import Attempt, Harvested, InterfaceQueue, Page, WindowQueue
from harvester.testing import VirtualTimeLoop, run_virtual

DAY = date(2020, 1, 1)
WINDOW = Window("wx1", "getarticlesummary", DAY, DAY)
STAMP = "2023-11-14T22:13:21Z"
NEW = Attempt(WINDOW)
START = 1_700_000_000.0
BUSY = {"errcode": -1, "errmsg": "system error rid: 1-2-3"}


LONG = "t0ken/of+WeChats-length"


class Provider:
    def __init__(self, token: Token) -> None:
        self.token = token

    async def fetch(self, send: Send) -> Token:
        return self.token


class Paged(JsonEndpoint):
    """An interface with pages, whose answers say whether another one follows."""

    def request(self, window: Window, token: Token, page: int = 1) -> Request:
        return Request("GET", f"/{token.value}/{window.begin}/{window.end}/{page}")

    def verdict(self, response: Response, window: Window) -> Verdict:
        verdict = super().verdict(response, window)
        return verdict._replace(more=b'"more": true' in response.body)


class Other(JsonEndpoint):
    """An interface whose verdict on any answer was given beforehand."""

    def verdict(self, response: Response, window: Window) -> Verdict:
        return Verdict(Action.DONE, records=[{"a": {1, 2}}])


class Answering:
    """A transport that gives what it was given; it takes a second."""

    def __init__(self, *answers: object) -> None:
        self.answers = list(answers)
        self.sent: list[Request] = []
        self.counted: list[bool] = []

    async def send(self, request: Request, leave: Any = None) -> Response:
        self.sent.append(request)
        self.counted.append(leave is not None)
        answer = self.answers.pop(0)
        await asyncio.sleep(1.0)
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, Response):
            return answer
        return Response(200, json.dumps(answer).encode())


class Scene:
    """A pipeline with a lane of one track, its token at hand."""

    def __init__(
        self,
        loop: VirtualTimeLoop,
        *answers: object,
        attempts: int = 8,
        encode: bool = True,
        pack: bool = False,
        network: Network | None = None,
        token: Token = Token("t0ken"),  # noqa: B008  (it is never changed)
        endpoint: Endpoint = INTERFACES["getarticlesummary"],
        wall: float | None = None,
    ) -> None:
        self.transport = Answering(*answers)
        self.pipeline = Pipeline(
            self.transport,
            attempts=attempts,
            encode=encode,
            pack=pack,
            network=network,
            wall=lambda: loop.wall() if wall is None else wall,
        )
        shared = SharedToken("wx1", Provider(token), self.transport.send)
        budget = Budget(None, 0, loop.wall())
        windows = WindowQueue("wx1", endpoint.name, iter([]))
        self.queue = InterfaceQueue(endpoint, windows, budget)
        self.account = AccountQueue(shared, Limiter(Rate(100, 1.0)), [self.queue])

    async def run(self, attempt: Attempt = NEW) -> Result:
        await self.account.token.get()
        return await self.pipeline.run(self.account, self.queue, attempt)


def outcome(
    *answers: object,
    attempt: Attempt = NEW,
    attempts: int = 8,
    token: Token = Token("t0ken"),  # noqa: B008
    endpoint: Endpoint = INTERFACES["getarticlesummary"],
    wall: float | None = None,
) -> Result:
    async def main(loop: VirtualTimeLoop) -> Result:
        scene = Scene(loop, *answers, attempts=attempts, token=token, endpoint=endpoint, wall=wall)
        return await scene.run(attempt)

    return run_virtual(main, START)


def harvested(*answers: object, **how: Any) -> Harvested:
    found = outcome(*answers, **how)
    assert isinstance(found, Harvested)
    return found


def batch(*answers: object, **how: Any) -> Batch:
    return harvested(*answers, **how).batch


def again(answer: object, attempt: Attempt = NEW, attempts: int = 8) -> Retry:
    found = outcome(answer, attempt=attempt, attempts=attempts)
    assert isinstance(found, Retry)
    return found


def later(answer: object, attempt: Attempt = NEW) -> Defer:
    found = outcome(answer, attempt=attempt)
    assert isinstance(found, Defer)
    return found


# tokens


def test_an_interface_that_refuses_what_others_accept_is_stopped() -> None:
    async def main(loop: VirtualTimeLoop) -> None:
        refused = {"errcode": 40001, "errmsg": "invalid credential"}
        scene = Scene(loop, refused, refused, refused)
        for _ in range(2):
            assert isinstance(await scene.run(), Retry)
            scene.account.token.accept(await scene.account.token.get())  # another interface took it
        with pytest.raises(EndpointError, match="refused 3 tokens in a row that others accepted"):
            await scene.run()

    run_virtual(main, START)


# done


def test_an_answer_with_records_becomes_a_batch() -> None:
    line = (
        b'{"a":1,"_appid":"wx1","_endpoint":"getarticlesummary","_begin_date":"2020-01-01",'
        b'"_end_date":"2020-01-01","_fetched_at":"2023-11-14T22:13:21Z"}\n'
    )
    found = batch({"list": [{"a": 1}]})
    assert (found.window, found.records, found.fetched_at) == (WINDOW, [{"a": 1}], STAMP)
    assert found.lines() == line
    twice = batch({"list": [{"a": 1}, {"a": 1}]})
    assert (twice.tally, twice.lines()) == (found.tally.plus(found.tally), line * 2)


def test_the_outcome_has_the_tally_of_the_records() -> None:
    final = harvested({"list": [{"a": 1}, {"a": 2}]})
    assert final.outcome == Outcome(WINDOW, "final", final.batch.tally)
    late = harvested({"list": [{"a": 1}, {"a": 2}], "is_delay": True})
    assert late.outcome[:3] == (WINDOW, "late", final.batch.tally)
    assert late.outcome[3:5] == (0, 0.0)
    assert late.outcome.fetched_at == STAMP


def test_a_window_keeps_what_its_answer_took_and_what_it_was_asked_under() -> None:
    answer = json.dumps({"list": [{"a": 1}]}).encode()

    async def main(loop: VirtualTimeLoop) -> Harvested:
        scene = Scene(loop, Response(200, answer), wall=START + 0.25, endpoint=DAYS)
        scene.queue.epoch = 7
        found = await scene.run(Attempt(FOUR, former=Tally(5, 6)))
        assert isinstance(found, Harvested)
        return found

    found = run_virtual(main, START)
    assert (found.size, found.epoch, found.former) == (len(answer), 7, Tally(5, 6))
    assert found.batch.endpoint is DAYS
    assert found.batch.version == int((START + 0.25) * 1000)


@pytest.mark.parametrize("encode", [True, False])
@pytest.mark.parametrize("pack", [True, False])
def test_a_window_counts_its_records_however_they_are_kept(encode: bool, pack: bool) -> None:
    async def main(loop: VirtualTimeLoop) -> Harvested:
        found = await Scene(loop, {"list": [{"a": 1}, {"a": 2}]}, encode=encode, pack=pack).run()
        assert isinstance(found, Harvested)
        return found

    found = run_virtual(main, START)
    assert found.outcome.tally == (found.batch.tally if encode else Tally(2))
    assert found.batch.records == [{"a": 1}, {"a": 2}]
    assert (found.batch._lines is not None) is pack


def test_an_interface_is_proven_by_an_answer_that_only_one_that_works_gives() -> None:
    async def main(loop: VirtualTimeLoop) -> list[bool]:
        scene = Scene(loop, {"errcode": 48001}, {"list": []}, {"errcode": 48001})
        proven = []
        for _ in range(3):
            with suppress(HarvestError):
                await scene.run()
            proven.append(scene.queue.proven)
        return proven

    assert run_virtual(main, START) == [False, True, True]


def test_an_empty_day_becomes_an_empty_batch() -> None:
    found = harvested({"list": []})
    assert (found.batch.window, found.batch.records, found.batch.lines(), found.outcome.empty) == (
        WINDOW,
        [],
        b"",
        1,
    )


def test_the_request_is_the_interfaces_with_the_token_of_the_account() -> None:
    async def main(loop: VirtualTimeLoop) -> list[Request]:
        scene = Scene(loop, {"list": []})
        await scene.run()
        return scene.transport.sent

    assert run_virtual(main) == [INTERFACES["getarticlesummary"].request(WINDOW, Token("t0ken"))]


def test_lines_are_not_made_where_nobody_wants_them() -> None:
    async def main(loop: VirtualTimeLoop) -> Result:
        return await Scene(loop, {"list": [{"a": 1}]}, encode=False).run()

    found = run_virtual(main, START)
    assert isinstance(found, Harvested)
    assert found.batch._pieces is None


def test_a_batch_says_that_it_replaces_if_its_attempt_does() -> None:
    async def main(loop: VirtualTimeLoop) -> Result:
        return await Scene(loop, {"list": []}).run(NEW._replace(replaces=True))

    found = run_virtual(main)
    assert isinstance(found, Harvested)
    assert (found.batch.replaces, found.former) == (True, None)


def test_a_batch_says_that_it_was_stored_before_if_its_attempt_does() -> None:
    former = Tally(2, 3)
    assert harvested({"list": []}, attempt=NEW._replace(former=former)).former == former
    assert harvested({"list": []}).former is None


def test_rows_of_other_days_are_counted() -> None:
    other = {"ref_date": "2020-01-02"}
    for rows in (1, 2):
        assert harvested({"list": [other] * rows + [{"a": 1}]}).out_of_range == rows


def test_two_batches_of_one_second_have_one_stamp_and_those_of_the_next_another() -> None:
    async def main(loop: VirtualTimeLoop) -> list[str]:
        scene = Scene(loop, *[{"list": []}] * 3)
        found = await asyncio.gather(scene.run(), scene.run())
        return [
            one.batch.fetched_at
            for one in [*found, await scene.run()]
            if isinstance(one, Harvested)
        ]

    seconds = [one[-3:] for one in run_virtual(main, START)]
    assert seconds == ["21Z", "21Z", "22Z"]


# figures that can still change


def test_figures_that_wechat_calls_late_are_provisional() -> None:
    found = harvested({"list": [{"a": 1}], "is_delay": True})
    assert (found.outcome.detail, found.batch.late) == (
        "WeChat says that its figures are late",
        True,
    )
    found = harvested({"list": [{"a": 1}]})
    assert (found.outcome.detail, found.batch.late) == ("", False)


@pytest.mark.parametrize(
    ("early", "why"),
    [(0.1, "its last day has no record yet, and may be late"), (0.0, ""), (-0.1, "")],
)
def test_a_day_that_is_empty_is_provisional_for_three_days(early: float, why: str) -> None:
    wall = settles_at(DAY) + 3 * 86_400 - early
    assert harvested({"list": []}, wall=wall).outcome.detail == why
    assert harvested({"list": [{"a": 1}]}, wall=wall).outcome.detail == ""


SURE = 3 * 24 + 9.0
"""An hour at which a day without a record is not late any more."""
DAYS = JsonEndpoint("days", "/x", date(2014, 12, 1), span=4)
FOUR = Window("wx1", "days", date(2020, 1, 1), date(2020, 1, 4))


def of_days(*named: int, endpoint: JsonEndpoint = DAYS, hour: float = 13.0) -> Harvested:
    """The window of 1 to 4 January with records of these days, at an hour of the 5th."""
    rows = [{"ref_date": f"2020-01-{number:02}"} for number in named]

    async def main(loop: VirtualTimeLoop) -> Harvested:
        wall = settles_at(FOUR.end, 0) + 3600.0 * hour
        scene = Scene(loop, {"list": rows}, endpoint=endpoint, wall=wall)
        found = await scene.run(Attempt(FOUR))
        assert isinstance(found, Harvested)
        return found

    return run_virtual(main, START)


@pytest.mark.parametrize(
    ("named", "gaps"),
    [((1, 2, 3, 4), 0), ((4, 3, 2, 1, 1), 0), ((1, 4), 0b0110), ((2, 3), 0b1001), ((3,), 0b1011)],
)
def test_the_days_that_no_record_names_are_empty(named: tuple[int, ...], gaps: int) -> None:
    assert of_days(*named, hour=SURE).outcome.empty == gaps


def test_no_day_is_empty_where_no_day_is_named() -> None:
    assert of_days(hour=SURE).outcome.empty == 0b1111
    for other in (
        replace(DAYS, day_field=""), replace(DAYS, day_field="date"), replace(DAYS, cut=Cut.WEEK)
    ):  # fmt: skip
        found = of_days(1, endpoint=other, hour=SURE).outcome
        assert (found.state, found.empty) == ("final", 0)


@pytest.mark.parametrize("named", [(1, 2, 3), ()])
def test_a_last_day_that_no_record_names_is_provisional(named: tuple[int, ...]) -> None:
    assert of_days(*named, hour=12.1).outcome.detail != ""
    assert of_days(*named, hour=3 * 24 + 7.9).outcome.detail != ""
    assert of_days(*named, hour=3 * 24 + 8.1).outcome.detail == ""
    assert of_days(*named, 4, hour=12.1).outcome.detail == ""


def test_an_interface_that_has_a_row_for_every_day_is_late_without_one() -> None:
    daily = replace(DAYS, daily=True)
    assert (of_days(1, 2, 3, endpoint=daily).batch.late, of_days(4, endpoint=daily).batch.late) == (
        True,
        False,
    )
    assert not of_days(1, 2, 3, endpoint=daily, hour=3 * 24 + 8.1).batch.late
    found = of_days(1, 2, 3, endpoint=daily).outcome
    assert found.detail == "its last day has no row yet, and every day has one"
    assert found.due == 0.0


def test_a_last_day_may_be_late_until_its_interface_s_own_hour() -> None:
    assert late_until(replace(DAYS, settled_hour=13), DAY) == settles_at(date(2020, 1, 4), 13)


def test_refusals_without_an_errcode_are_told_apart_by_their_words() -> None:
    class Refusing(JsonEndpoint):
        def verdict(self, response: Response, window: Window) -> Verdict:
            return Verdict(Action.FAIL_WINDOW, response.body.decode())

    async def main(loop: VirtualTimeLoop) -> None:
        answers = [Response(200, b"no %d" % (number % 2)) for number in range(12)]
        scene = Scene(loop, *answers, endpoint=Refusing("refusing", "/x", DAY))
        for number in range(12):
            with pytest.raises(WindowError, match=f"^no {number % 2}$"):
                await scene.run()

    run_virtual(main, START)


def test_an_interface_of_somebodys_own_may_not_say_whether_it_is_daily() -> None:
    class Plain:
        """What an `Endpoint` must have, and nothing else."""

        def __getattr__(self, name: str) -> object:
            if name == "daily":
                raise AttributeError(name)
            return getattr(DAYS, name)

    assert not of_days(1, 2, 3, endpoint=Plain()).batch.late  # type: ignore[arg-type]


def test_a_window_with_all_its_days_that_still_grows_is_due_hours_later() -> None:
    growing = replace(DAYS, late_days=7)
    found = of_days(4, endpoint=growing)
    assert found.outcome.due == settles_at(FOUR.end, 13) + HELD
    assert of_days(3, endpoint=growing).outcome.due == 0.0


def test_records_that_name_no_day_are_of_every_day() -> None:
    assert of_days(1, endpoint=replace(DAYS, day_field="")).outcome.detail == ""
    assert of_days(1, endpoint=replace(DAYS, day_field=""), hour=11.0).outcome.detail == ""
    assert of_days(1, endpoint=replace(DAYS, cut=Cut.MONTH), hour=11.0).outcome.detail == ""
    assert of_days(1, endpoint=replace(DAYS, day_field="date"), hour=11.0).outcome.detail == ""


@pytest.mark.parametrize(
    ("early", "why"), [(0.1, "its figures can change until 2020-01-08"), (0.0, ""), (-0.1, "")]
)
def test_figures_that_grow_for_days_are_provisional_until_the_last_is_settled(
    early: float, why: str
) -> None:
    grows = JsonEndpoint("grows", "/x", date(2014, 12, 1), late_days=7, settled_hour=10)
    wall = settles_at(date(2020, 1, 7), 10) - early
    for answer in ({"list": [{"a": 1}]}, {"list": []}):
        found = harvested(answer, endpoint=grows, wall=wall)
        assert (found.outcome.detail, found.batch.late) == (why, False)
        assert found.outcome.state == ("open" if why else "final")


# pages, and windows in parts

PAGED = Paged("paged", "/x", date(2014, 12, 1), span=7)
FOUR = Window("wx1", "paged", DAY, date(2020, 1, 4))


def answered_in_turn(answers: Sequence[object], attempt: Attempt) -> tuple[list[str], Harvested]:
    """What was asked for, and what became of it."""

    async def main(loop: VirtualTimeLoop) -> tuple[list[str], Harvested]:
        scene = Scene(loop, *answers, endpoint=PAGED)
        found = await scene.run(attempt)
        while isinstance(found, NextPage):
            assert found.attempt.failures == 0
            found = await scene.run(found.attempt._replace(failures=3))
        assert isinstance(found, Harvested)
        return [request.path for request in scene.transport.sent], found

    return run_virtual(main, START)


def test_pages_are_asked_for_until_there_is_no_more_and_are_one_batch() -> None:
    rows = [{"list": [{"n": n}, {"ref_date": "2020-02-01"}], "more": n < 3} for n in (1, 2, 3)]
    asked, found = answered_in_turn(rows, Attempt(FOUR, replaces=True))
    assert asked == [f"/t0ken/2020-01-01/2020-01-04/{page}" for page in (1, 2, 3)]
    assert isinstance(found, Harvested)
    assert (found.batch.window, len(found.batch.records), found.batch.replaces) == (FOUR, 3, True)
    assert [row["n"] for row in found.batch.documents()] == [1, 2, 3]
    assert found.out_of_range == 3
    assert found.size == sum(len(json.dumps(each)) for each in rows)


@pytest.mark.parametrize("late", [0, 1])
def test_a_window_of_which_any_part_is_late_is_late(late: int) -> None:
    answers = [{"list": [], "more": n == 0, "is_delay": n == late} for n in range(2)]
    _, found = answered_in_turn(answers, Attempt(FOUR))
    assert isinstance(found, Harvested)
    assert found.batch.late is True


def test_an_answer_that_always_promises_another_page_comes_to_an_end() -> None:
    almost = Attempt(FOUR, page=Page(PAGES - 1))
    _, found = answered_in_turn([{"list": [], "more": True}, {"list": []}], almost)
    assert isinstance(found, Harvested)
    with pytest.raises(WindowError, match=r"^it has more than 1000 pages$"):
        answered_in_turn([{"list": [], "more": True}, {"list": [], "more": True}], almost)


def test_a_window_that_is_too_long_is_told_apart() -> None:
    attempt = Attempt(Window("wx1", "paged", DAY, date(2020, 1, 4)), failures=2)
    refused = {"errcode": 61501, "errmsg": "date range error"}
    assert outcome(refused, attempt=attempt, endpoint=PAGED) == TooLong(attempt)


# the token in an answer, and in another parameter


def test_a_token_that_an_answer_echoes_is_not_stored() -> None:
    answer = {"list": [{"title": f"?access_token={LONG}&x=1"}]}
    [record] = batch(answer, token=Token(LONG)).documents()
    assert record["title"] == "?access_token=…&x=1"


def test_half_of_a_token_that_stands_where_a_long_text_is_cut_is_not_carried_on() -> None:
    for echoed in (LONG, "t0ken%2Fof%2BWeChats-length"):
        answer = {"errcode": 61500, "errmsg": "x" * 490 + echoed}
        with pytest.raises(WindowError) as caught:
            outcome(answer, token=Token(LONG))
        assert "t0ken" not in str(caught.value)


def test_a_request_id_that_is_the_token_is_not_carried_on() -> None:
    found = again({"errcode": -1, "errmsg": "busy rid: t0ken"})
    assert found.reason == "errcode -1 (busy): WeChat is busy [rid: …]"


@pytest.mark.parametrize(
    ("parameter", "query"),
    [
        ("access_token", (("access_token", "t"),)),
        ("cloudbase_access_token", (("cloudbase_access_token", "t"),)),
        ("", ()),
    ],
)
def test_a_token_is_sent_in_its_own_parameter(
    parameter: str, query: tuple[tuple[str, str], ...]
) -> None:
    async def main(loop: VirtualTimeLoop) -> list[tuple[tuple[str, str], ...]]:
        scene = Scene(loop, {"list": []}, {}, token=Token("t", parameter=parameter))
        await scene.run()
        await scene.pipeline.quota(scene.account, scene.queue)
        return [request.query for request in scene.transport.sent]

    assert run_virtual(main) == [query, query]


def test_where_no_token_is_needed_the_empty_one_will_do() -> None:
    async def main(loop: VirtualTimeLoop) -> object:
        scene = Scene(loop, {"list": []}, token=Token("", parameter=""))
        outcome = await scene.run()
        return isinstance(outcome, Harvested), [request.query for request in scene.transport.sent]

    assert run_virtual(main) == (True, [()])


# the quota


def told(answer: object, *, token: Token = Token("t0ken")) -> object:  # noqa: B008
    """What was asked for, and what was learned of it."""

    async def main(loop: VirtualTimeLoop) -> object:
        scene = Scene(loop, answer, token=token)
        await scene.account.token.get()
        return await scene.pipeline.quota(scene.account, scene.queue), scene.transport.sent

    return run_virtual(main)


def test_the_quota_is_what_wechat_tells() -> None:
    answer = {"quota": {"daily_limit": 1000, "used": 1, "remain": 999}}
    assert told(answer) == (
        (1000, 999),
        [INTERFACES["getarticlesummary"].quota_request(Token("t0ken"))],
    )


@pytest.mark.parametrize(
    "answer",
    [
        {"errcode": 48001},
        {"quota": None},
        {"quota": {"daily_limit": 1000}},
        {"quota": {"remain": 1000}},
        {"quota": {"daily_limit": "1000", "remain": 5}},
        {"quota": {"daily_limit": 1000, "remain": True}},
        [],
        Response(500, b""),
        AttemptError("the answer was cut off"),
    ],
)
def test_a_quota_that_is_not_told_is_not_known(answer: object) -> None:
    verdict, sent = told(answer)
    assert isinstance(verdict, Verdict)
    assert sent == [INTERFACES["getarticlesummary"].quota_request(Token("t0ken"))]


def test_a_quota_that_is_missing_says_so() -> None:
    verdict, _ = told({"quota": None})  # type: ignore[misc]
    assert verdict == Verdict(Action.RETRY, "the answer held no quota")


def test_of_an_interface_without_a_quota_none_is_asked_for() -> None:
    class Without(JsonEndpoint):
        def quota_request(self, token: Token) -> Request | None:
            return None

    async def main(loop: VirtualTimeLoop) -> object:
        scene = Scene(loop, endpoint=Without("without", "/x", DAY))
        await scene.account.token.get()
        return await scene.pipeline.quota(scene.account, scene.queue), scene.transport.sent

    unknown = Verdict(Action.FAIL_WINDOW, "its quota cannot be asked for")
    assert run_virtual(main) == (unknown, [])


class Watched(Network):
    """What it is told, and whether it calls the network lost."""

    def __init__(self, *, lost: bool = False) -> None:
        super().__init__()
        self.lost = lost
        self.told: list[tuple[object, ...]] = []

    def answer(self, now: float) -> None:
        self.told.append((now,))

    def silence(self, asker: object, sent_at: float, now: float, *, connected: bool) -> Silence:
        self.told.append((asker, round(now - sent_at), now, connected))
        return Silence.LOST if self.lost else Silence.COUNTS


@pytest.mark.parametrize("connected", [True, False])
def test_a_quota_that_nobody_answers_is_told_to_the_network(connected: bool) -> None:
    async def main(loop: VirtualTimeLoop) -> None:
        for lost in (False, True):
            network = Watched(lost=lost)
            silent = AttemptError("nobody is there")
            silent.connected = connected
            scene = Scene(loop, silent, {}, network=network)
            await scene.account.token.get()
            if lost:
                with pytest.raises(NetworkError, match="nobody is there"):
                    await scene.pipeline.quota(scene.account, scene.queue)
            else:
                found = await scene.pipeline.quota(scene.account, scene.queue)
                assert isinstance(found, Verdict)
            assert network.told == [("wx1", 1, loop.time(), connected)]

    run_virtual(main)


def test_a_quota_that_is_answered_is_told_to_the_network() -> None:
    async def main(loop: VirtualTimeLoop) -> None:
        cut = AttemptError("the answer was cut off")
        cut.answered = True
        for answer, told in (({"quota": {"daily_limit": 2, "remain": 1}}, True), (cut, False)):
            network = Watched()
            scene = Scene(loop, answer, network=network)
            await scene.account.token.get()
            await scene.pipeline.quota(scene.account, scene.queue)
            assert network.told == ([(loop.time(),)] if told else [])

    run_virtual(main)


def test_a_token_that_was_renewed_since_is_not_dropped_for_a_quota(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The refusal names the fetch of the token that was sent."""

    async def main(loop: VirtualTimeLoop) -> list[object]:
        scene = Scene(loop, {"errcode": 40001, "errmsg": "invalid credential"})
        await scene.account.token.get()
        given: list[object] = []

        def reject(_: object, value: str, why: str, fetched: int | None = None) -> bool:
            given.extend([value, fetched])
            return False

        monkeypatch.setattr(SharedToken, "reject", reject)
        await scene.pipeline.quota(scene.account, scene.queue)
        return [*given, scene.account.token.fetched]

    value, fetched, current = run_virtual(main)
    assert (value, fetched) == ("t0ken", current)


def test_no_day_is_in_question_where_a_quota_is_asked_for() -> None:
    verdict, _ = told({"errcode": 61501, "errmsg": "date range error"})  # type: ignore[misc]
    assert verdict.action is Action.FAIL_WINDOW


def test_a_quota_that_is_refused_with_a_new_token_too_says_why() -> None:
    async def main(loop: VirtualTimeLoop) -> None:
        refused = {"errcode": 40001, "errmsg": "invalid credential"}
        scene = Scene(loop, refused, refused)
        for _ in range(2):
            await scene.account.token.get()
            await scene.pipeline.quota(scene.account, scene.queue)

    with pytest.raises(AccountError, match=r"just fetched \(errcode 40001 \(invalid credential\)"):
        run_virtual(main)


def test_without_a_token_no_quota_is_asked_for() -> None:
    async def main(loop: VirtualTimeLoop) -> object:
        scene = Scene(loop)
        return await scene.pipeline.quota(scene.account, scene.queue), scene.transport.sent

    unknown = Verdict(Action.FAIL_WINDOW, "its quota cannot be asked for")
    assert run_virtual(main) == (unknown, [])


def test_an_accepted_token_may_be_refused_later() -> None:
    async def main(loop: VirtualTimeLoop) -> Result:
        refused = {"errcode": 40001}
        scene = Scene(loop, refused, {"list": []}, refused)
        for _ in range(2):
            await scene.run()
        return await scene.run()

    assert isinstance(run_virtual(main), Retry)


# tried again


def test_a_busy_answer_is_tried_again_after_a_backoff() -> None:
    found = again(BUSY)
    assert found.attempt == Attempt(WINDOW, failures=1)
    assert 0.0 <= found.delay <= 1.0
    assert found.reason == "errcode -1 (system error): WeChat is busy [rid: 1-2-3]"
    assert not found.paused


@pytest.mark.parametrize(
    "answer", [Response(502, b""), Response(200, b""), Response(200, b"<html>"), {"list": 5}]
)
def test_a_broken_answer_is_tried_again(answer: object) -> None:
    assert again(answer).attempt.failures == 1


def test_a_record_that_is_nested_too_deeply_is_no_crash() -> None:
    body = b'{"list":[{"a":' + b"[" * 1010 + b"]" * 1010 + b"}]}"
    # How deep is too deep is the standard library's choice, another one in each version.
    assert isinstance(outcome(Response(200, body)), Retry | Harvested)


def test_a_record_that_is_no_json_is_tried_again_and_that_is_said() -> None:
    found = outcome({}, endpoint=Other("other", "/x", date(2014, 12, 1)))
    assert isinstance(found, Retry)
    assert found.reason == "a record cannot be written as JSON (TypeError)"


def test_half_an_answer_is_a_sign_of_life_and_is_given_a_busy_servers_time() -> None:
    async def main(loop: VirtualTimeLoop) -> tuple[float, float]:
        cut = AttemptError("the answer was cut off")
        cut.answered = True
        scene = Scene(loop, *[cut] * 50)
        found = [await scene.run(Attempt(WINDOW, failures=6)) for _ in range(50)]
        longest = max(one.delay for one in found if isinstance(one, Retry))
        return longest, scene.pipeline.network.last_answer

    longest, last = run_virtual(main)
    assert longest > 10.0  # the longest after no answer at all
    assert last == pytest.approx(50.0, abs=0.1)


def test_no_answer_at_all_is_tried_again_soon() -> None:
    found = again(AttemptError("the answer was cut off"))
    assert (found.attempt.failures, found.reason) == (1, "the answer was cut off")
    assert found.delay <= 0.25


def test_a_refused_token_costs_the_window_no_attempt() -> None:
    async def main(loop: VirtualTimeLoop) -> tuple[Result, str | None]:
        scene = Scene(loop, {"errcode": 42001, "errmsg": "expired"})
        return await scene.run(), scene.account.token.peek()

    reason = "errcode 42001 (expired): the access token is not valid (any more)"
    assert run_virtual(main) == (Retry(Attempt(WINDOW), 0.0, reason, dropped=True), None)


def test_a_refused_token_that_is_no_longer_current_costs_no_fetch() -> None:
    async def main(loop: VirtualTimeLoop) -> tuple[str | None, int]:
        scene = Scene(loop, {"errcode": 40001}, {"errcode": 40001}, {"list": []})
        await asyncio.gather(scene.run(), scene.run(), return_exceptions=True)
        await scene.run()
        return scene.account.token.peek(), scene.account.token.fetches

    assert run_virtual(main) == ("t0ken", 2)


def test_a_late_refusal_of_a_token_that_was_given_out_again_costs_no_fetch() -> None:
    async def main(loop: VirtualTimeLoop) -> tuple[Result, str | None]:
        scene = Scene(loop, {"errcode": 40001}, {"errcode": 40001})
        await scene.account.token.get()
        first = asyncio.create_task(scene.run())
        await asyncio.sleep(0.5)
        late = asyncio.create_task(scene.run())
        await first
        await scene.account.token.get()  # stable_token gives the same one again
        return await late, scene.account.token.peek()

    found, held = run_virtual(main)
    assert isinstance(found, Retry)
    assert (found.dropped, held) == (False, "t0ken")


def test_told_to_slow_down_the_account_pauses_to_the_next_minute() -> None:
    async def main(loop: VirtualTimeLoop) -> tuple[Result, float]:
        scene = Scene(loop, {"errcode": 45011})
        return await scene.run(), loop.wall() + scene.account.limiter.delay()

    found, leaves = run_virtual(main, START)
    assert isinstance(found, Retry)
    assert (found.attempt.failures, found.paused) == (1, True)
    assert found.reason.startswith("errcode 45011 (no errmsg)")
    assert leaves == pytest.approx(1_700_000_040.0 + AFTER_THE_MINUTE, abs=1e-3)
    assert found.delay == pytest.approx(39.0 + AFTER_THE_MINUTE, abs=1e-3)


def test_the_second_one_that_is_told_to_slow_down_finds_the_pause_made() -> None:
    async def main(loop: VirtualTimeLoop) -> list[bool]:
        scene = Scene(loop, {"errcode": 45011}, Response(429, b""))
        found = await asyncio.gather(scene.run(), scene.run())
        return [outcome.paused for outcome in found if isinstance(outcome, Retry)]

    assert run_virtual(main) == [True, False]


# later


def test_a_used_up_quota_sends_the_interface_to_the_next_day_in_china() -> None:
    found = later({"errcode": 45009, "errmsg": "reach max api daily quota limit"})
    assert (found.attempt, found.until, found.whole_endpoint) == (
        Attempt(WINDOW),
        next_quota_day(START),
        True,
    )
    assert found.reason.startswith("errcode 45009 (reach max api daily quota limit)")


def test_figures_that_are_not_ready_send_the_window_away_for_half_an_hour() -> None:
    found = later({"errcode": 61503}, Attempt(WINDOW, deferrals=2))
    assert (found.attempt, found.whole_endpoint) == (Attempt(WINDOW, deferrals=3), False)
    assert found.until == pytest.approx(START + 1.0 + NOT_READY_AGAIN, abs=0.01)
    assert found.reason.startswith("errcode 61503 (no errmsg)")


# failures


@pytest.mark.parametrize(
    ("answer", "error", "said"),
    [
        ({"errcode": 61501, "errmsg": "date range error rid: 1-2"}, WindowError, r"1-2\]$"),
        ({"errcode": 12345}, WindowError, r"^errcode 12345 \(no errmsg\)$"),
        (Response(403, b""), WindowError, r"^HTTP 403$"),
        ({"errcode": 47009}, EndpointError, r"getarticleread, getarticleshare"),
        (Response(404, b""), EndpointError, r"^HTTP 404"),
        ({"errcode": 48001}, EndpointError, r"^errcode 48001"),
        ({"errcode": 48004}, AccountError, r"^wx1: errcode 48004"),
        ({"errcode": 40164}, AccountError, r"^wx1: errcode 40164 .* white list"),
    ],
)
def test_a_refusal_reaches_as_far_as_its_code_says(
    answer: object, error: type[HarvestError], said: str
) -> None:
    with pytest.raises(error, match=said):
        outcome(answer)


@pytest.mark.parametrize("code", [-1, 12345, 40001, 45011, 47009, 48001, 48004])
def test_an_error_keeps_the_code_and_the_request_id(code: int) -> None:
    told = {"errcode": code, "errmsg": "no rid: 1-2-3"}

    async def main(loop: VirtualTimeLoop) -> None:
        scene = Scene(loop, told)
        scene.queue.refusals.tokens = REFUSALS - 1
        await scene.run(Attempt(WINDOW, failures=7))

    with pytest.raises(HarvestError) as caught:
        run_virtual(main, START)
    assert (caught.value.code, caught.value.rid) == (code, "1-2-3")


@pytest.mark.parametrize(("code", "forbidden"), [(48001, True), (47009, False)])
def test_an_interface_that_may_not_be_used_is_told_from_one_that_is_gone(
    code: int, forbidden: bool
) -> None:
    with pytest.raises(EndpointError) as caught:
        outcome({"errcode": code})
    assert caught.value.forbidden is forbidden


def test_an_interface_that_accepts_a_token_now_and_then_goes_on() -> None:
    async def main(loop: VirtualTimeLoop) -> list[int]:
        scene = Scene(loop, *[{"errcode": 40001}, {"list": []}] * (2 * REFUSALS))
        found = []
        for _ in range(4 * REFUSALS):
            await scene.run()
            found.append(scene.queue.refusals.tokens)
        return found

    assert run_virtual(main) == [1, 0] * (2 * REFUSALS)


def test_late_refusals_of_one_token_are_one_refusal() -> None:
    async def main(loop: VirtualTimeLoop) -> int:
        scene = Scene(loop, *[{"errcode": 40001}] * 64)
        await scene.account.token.get()
        await asyncio.gather(*[scene.run() for _ in range(64)])
        return scene.queue.refusals.tokens

    assert run_virtual(main) == 1


def test_after_the_last_attempt_the_window_has_failed() -> None:
    with pytest.raises(WindowError, match=r"WeChat is busy \[rid: 1-2-3\], after 8 attempts$"):
        outcome(BUSY, attempt=Attempt(WINDOW, failures=7))


def test_with_one_attempt_the_first_failure_is_the_last() -> None:
    with pytest.raises(WindowError, match=r"after 1 attempts$"):
        outcome(BUSY, attempts=1)


def test_being_told_to_slow_down_counts_as_an_attempt() -> None:
    with pytest.raises(WindowError, match=r"after 8 attempts$"):
        outcome({"errcode": 45011}, attempt=Attempt(WINDOW, failures=7))


def test_an_echoed_token_is_not_carried_on() -> None:
    async def main(loop: VirtualTimeLoop) -> None:
        scene = Scene(loop, {"errcode": 61500, "errmsg": "bad date in ?access_token=t0ken"})
        with pytest.raises(WindowError) as caught:
            await scene.run()
        assert "t0ken" not in str(caught.value)

    run_virtual(main)


def gone() -> AttemptError:
    return AttemptError("no connection to h:443 (Connection refused)")


def test_before_anything_answered_the_attempts_decide_and_then_the_network_is_lost() -> None:
    async def main(loop: VirtualTimeLoop) -> None:
        scene = Scene(loop, gone(), attempts=1)
        scene.account.token.current = Token("t0ken")
        with pytest.raises(NetworkError) as caught:
            await scene.pipeline.run(scene.account, scene.queue, NEW)
        assert str(caught.value) == (
            "no answer came to any of 1 attempts: no connection to h:443 (Connection refused);"
            " check the network, the proxy and the base URL; nothing that was committed is lost:"
            " run the same command again"
        )

    run_virtual(main)


def test_while_nobody_answers_attempts_do_not_count() -> None:
    async def main(loop: VirtualTimeLoop) -> list[Result]:
        scene = Scene(loop, {"list": []}, *[gone()] * 20)
        scene.pipeline.network.patience = 30.0
        await scene.run()
        return [await scene.run() for _ in range(20)]

    for found in run_virtual(main):
        assert isinstance(found, Retry)
        assert (found.attempt.failures, found.silent) == (0, True)


def test_nobody_is_waited_for_longer_than_the_patience() -> None:
    async def main(loop: VirtualTimeLoop) -> None:
        scene = Scene(loop, {"list": []}, *[gone()] * 20)
        scene.pipeline.network.patience = 9.0
        await scene.run()
        with pytest.raises(NetworkError, match=r"^no server answered for 9 s: no connection"):
            for _ in range(20):
                await scene.run()

    run_virtual(main)


def test_one_window_whose_connection_is_closed_each_time_fails_alone() -> None:
    async def main(loop: VirtualTimeLoop) -> None:
        closed = AttemptError("the connection was closed before an answer came")
        closed.connected = True
        scene = Scene(loop, {"list": []}, *[closed] * 8)
        await scene.run()
        attempt: Attempt = NEW
        with pytest.raises(WindowError, match="closed before an answer came, after 8 attempts"):
            for _ in range(8):
                found = await scene.run(attempt)
                assert isinstance(found, Retry)
                attempt = found.attempt

    run_virtual(main)


def test_any_answer_is_a_sign_of_life() -> None:
    async def main(loop: VirtualTimeLoop) -> float:
        scene = Scene(loop, Response(502, b""))
        await scene.run()
        return scene.pipeline.network.last_answer

    assert run_virtual(main) == pytest.approx(1.0, abs=0.1)


def test_a_second_refusal_of_a_fresh_token_stops_the_account() -> None:
    async def main(loop: VirtualTimeLoop) -> None:
        scene = Scene(loop, {"errcode": 40001}, {"errcode": 40001})
        await scene.run()
        refused = r"refused a token that was just fetched \(errcode 40001 \(no errmsg\)"
        with pytest.raises(AccountError, match=refused):
            await scene.run()

    run_virtual(main)


@pytest.mark.parametrize(
    "answer",
    [{"errcode": code} for code in (-1, 40001, 45011, 45009, 61503, 61500, 47009, 48001)],
)
def test_no_outcome_and_no_error_holds_the_token(answer: object) -> None:
    try:
        said = repr(outcome(answer))
    except HarvestError as exc:
        said = str(exc)
    assert "t0ken" not in said


def test_a_verdict_is_explained_with_its_request_id() -> None:
    assert explain(Verdict(Action.RETRY, "busy", -1, "1-2")) == "busy [rid: 1-2]"
    assert explain(Verdict(Action.RETRY, "HTTP 502")) == "HTTP 502"


def test_a_new_window_has_not_failed_yet() -> None:
    assert Attempt(WINDOW) == (WINDOW, 0, 0, False, None, None)


def test_without_a_token_nothing_is_tried() -> None:
    async def main(loop: VirtualTimeLoop) -> None:
        scene = Scene(loop, {"list": []})
        with pytest.raises(AssertionError, match=r"^no window is given out without a token$"):
            await scene.pipeline.run(scene.account, scene.queue, Attempt(WINDOW))

    run_virtual(main)


# nobody answers, and one refusal after the other


def test_two_windows_that_are_not_answered_are_a_lost_network() -> None:
    cut = AttemptError("closed before an answer came")
    cut.connected = True
    one, other = (Attempt(WINDOW._replace(begin=day, end=day)) for day in (DAY, date(2020, 1, 2)))

    async def main(loop: VirtualTimeLoop) -> list[object]:
        scene = Scene(loop, {"list": []}, cut, cut)
        return [await scene.run(each) for each in (NEW, one, other)]

    _, first, second = run_virtual(main, START)
    assert isinstance(first, Retry)
    assert (first.silent, first.attempt.failures) == (False, 1)
    assert second == Retry(other, 0.0, "closed before an answer came", silent=True)


def refused(*codes: int) -> list[HarvestError]:
    """What windows in a row end with that are refused with these codes."""

    async def main(loop: VirtualTimeLoop) -> list[HarvestError]:
        scene = Scene(
            loop, *[{"errcode": code, "errmsg": f"no {n}"} for n, code in enumerate(codes)]
        )
        found: list[HarvestError] = []
        for _ in codes:
            with pytest.raises(HarvestError) as caught:
                await scene.run()
            found.append(caught.value)
        return found

    return run_virtual(main, START)


def test_an_interface_that_refuses_one_window_after_the_other_is_given_up() -> None:
    *windows, last = refused(*[40035] * 5)
    assert [type(each) for each in windows] == [WindowError] * 4
    assert isinstance(last, EndpointError)
    assert str(last).startswith("errcode 40035 (no 4)")
    assert str(last).endswith(
        "; 5 windows were refused in a row for this, so this run asks for no more of this interface"
    )


def test_refusals_for_several_reasons_are_each_a_windows_own() -> None:
    found = refused(*[40035, 61500] * 4)
    assert {type(each) for each in found} == {WindowError}


def test_a_request_that_leaves_late_can_be_counted_anew() -> None:
    async def main(loop: VirtualTimeLoop) -> list[bool]:
        scene = Scene(loop, {"list": []}, {"quota": {"daily_limit": 10, "remain": 5}})
        await scene.run()
        assert await scene.pipeline.quota(scene.account, scene.queue) == (10, 5)
        return scene.transport.counted

    assert run_virtual(main) == [True, True]
