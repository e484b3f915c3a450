"""One attempt at one window: a batch, or when to come again, or how far the failure reaches."""

import asyncio
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from typing import Any

import pytest
from anyio import current_time

from harvester.base.dates import next_quota_day, rfc3339, settles_at
from harvester.engine.account_queue import AccountQueue
from harvester.engine.attempt import CANNOT_KEEP, PAGES, REFUSALS, Pipeline, explain
from harvester.engine.limiter import Limiter, Rate
from harvester.engine.network import Network
from harvester.engine.policy import AFTER_THE_MINUTE, NOT_READY_AGAIN, Decision
from harvester.engine.quota import Budget
from harvester.engine.window_queue import Attempt, Harvested, InterfaceQueue, Page, WindowQueue
from harvester.errors import (
    AccountError,
    AttemptError,
    EndpointError,
    HarvestError,
    NetworkError,
    WindowError,
)
from harvester.events import Answer
from harvester.ledger.coverage import OpenWindow, Outcome
from harvester.model import (
    Action,
    Batch,
    Endpoint,
    Field,
    Request,
    Response,
    Send,
    Tally,
    Token,
    Verdict,
    Window,
)  # fmt: skip
from harvester.testing import VirtualTimeLoop, run_virtual
from harvester.tokens.shared import SharedToken
from harvester.wechat.endpoint import JsonEndpoint
from harvester.wechat.interfaces import INTERFACES
from harvester.wechat.late import had
from harvester.wechat.response import Quota
from tests.support import virtual

SUMMARY = INTERFACES["getarticlesummary"]
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
        *answers: object,
        attempts: int = 8,
        encode: bool = True,
        pack: bool = False,
        network: Network | None = None,
        token: Token = Token("t0ken"),  # noqa: B008  (it is never changed)
        endpoint: Endpoint = SUMMARY,
        wall: float | None = None,
        noted: list[Answer] | None = None,
        stored: Any = None,
    ) -> None:
        loop: Any = asyncio.get_running_loop()
        self.transport = Answering(*answers)
        self.pipeline = Pipeline(
            self.transport,
            attempts=attempts,
            encode=encode,
            pack=pack,
            network=network,
            wall=lambda: loop.wall() if wall is None else wall,
            answers=noted,
            stored=stored,
        )
        shared = SharedToken("wx1", Provider(token), self.transport.send)
        budget = Budget(None, 0, loop.wall())
        windows = WindowQueue("wx1", endpoint.name, iter([]))
        self.queue = InterfaceQueue(endpoint, windows, budget)
        self.account = AccountQueue(shared, Limiter(Rate(100, 1.0)), [self.queue])

    async def run(self, attempt: Attempt = NEW) -> Decision:
        await self.account.token.get()
        return await self.pipeline.run(self.account, self.queue, attempt)


def outcome(*answers: object, attempt: Attempt = NEW, **how: Any) -> Decision:
    async def main(loop: VirtualTimeLoop) -> Decision:
        return await Scene(*answers, **how).run(attempt)

    return run_virtual(main)


def harvested(*answers: object, **how: Any) -> Harvested:
    found = outcome(*answers, **how)
    assert found.action is Action.DONE
    assert found.harvested is not None
    return found.harvested


def batch(*answers: object, **how: Any) -> Batch:
    return harvested(*answers, **how).batch


def again(answer: object, attempt: Attempt = NEW) -> Decision:
    found = outcome(answer, attempt=attempt)
    assert found.action is Action.RETRY
    return found


async def quota_of(scene: Scene) -> Any:
    """What is learned of the quota, with a token at hand."""
    await scene.account.token.get()
    return await scene.pipeline.quota(scene.account, scene.queue)


# tokens


@virtual()
async def test_an_interface_that_refuses_what_others_accept_is_stopped() -> None:
    refused = {"errcode": 40001, "errmsg": "invalid credential"}
    scene = Scene(refused, refused, refused)
    for _ in range(2):
        assert (await scene.run()).action is Action.RENEW_TOKEN
        scene.account.token.accept(await scene.account.token.get())  # another interface took it
    found = await scene.run()
    assert found.action is Action.STOP_ENDPOINT
    assert found.reason == (
        "errcode 40001 (invalid credential): the access token is not valid, or no longer"
        " valid; this interface refused 3 tokens in a row, which other interfaces accepted"
    )


# what an observer receives


@virtual()
async def test_each_request_that_left_is_noted_with_its_code_and_seconds() -> None:
    noted: list[Answer] = []
    cut, unsent = AttemptError("the answer was cut off"), AttemptError("no route")
    cut.connected = True
    probed: dict[str, object] = {}
    scene = Scene({"list": []}, BUSY, cut, probed, unsent, probed, noted=noted)
    for _ in range(4):
        await scene.run()
    assert [each[:3] for each in noted] == [("wx1", SUMMARY.name, code) for code in (0, -1, None)]
    assert [each.seconds for each in noted] == [pytest.approx(1.0, abs=0.001)] * 3


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
    assert (twice.tally.records, twice.lines()) == (2, line * 2)
    assert twice.tally.checksum not in (
        found.tally.checksum,
        found.tally.plus(found.tally).checksum,
    )


def test_the_outcome_has_the_tally_of_the_records() -> None:
    final = harvested({"list": [{"a": 1}, {"a": 2}]})
    assert final.outcome == Outcome(WINDOW, "final", final.batch.tally)
    late = harvested({"list": [{"a": 1}, {"a": 2}], "is_delay": True})
    assert late.outcome[:3] == (WINDOW, "late", final.batch.tally)
    assert (late.outcome.empty, late.outcome.tries) == (0, 0)
    assert late.outcome.fetched_at == STAMP


@virtual()
async def test_a_window_keeps_what_its_answer_took_and_what_it_was_asked_under() -> None:
    answer = json.dumps({"list": [{"a": 1}]}).encode()
    scene = Scene(Response(200, answer), wall=START + 0.25, endpoint=DAYS)
    scene.queue.epoch = 7
    found = (await scene.run(Attempt(FOUR, again=stored(FOUR, Tally(5, 6))))).harvested
    assert found is not None
    assert (found.size, found.epoch, found.former) == (len(answer), 7, Tally(5, 6))
    assert found.batch.endpoint is DAYS
    assert found.batch.version == int((START + 0.25) * 1000)


@pytest.mark.parametrize("encode", [True, False])
@pytest.mark.parametrize("pack", [True, False])
def test_a_window_counts_its_records_however_they_are_kept(encode: bool, pack: bool) -> None:
    found = harvested({"list": [{"a": 1}, {"a": 2}]}, encode=encode, pack=pack)
    assert found.outcome.tally == (found.batch.tally if encode else Tally(2))
    assert found.batch.records == [{"a": 1}, {"a": 2}]
    assert (found.batch.packed is not None) is pack


def test_lines_are_not_made_where_nobody_wants_them() -> None:
    assert batch({"list": [{"a": 1}]}, encode=False)._pieces is None


@virtual()
async def test_an_interface_is_proven_by_an_answer_that_only_one_that_works_gives() -> None:
    scene = Scene({"errcode": 48001}, {"list": []}, {"errcode": 48001})
    for proven in (False, True, True):
        await scene.run()
        assert scene.queue.proven is proven


def test_an_empty_day_becomes_an_empty_batch() -> None:
    found = harvested({"list": []})
    assert (found.batch.window, found.outcome.empty) == (WINDOW, 1)
    assert (found.batch.records, found.batch.lines()) == ([], b"")


def test_a_batch_says_that_it_replaces_if_its_attempt_does() -> None:
    found = harvested({"list": []}, attempt=NEW._replace(replaces=True))
    assert (found.batch.replaces, found.former) == (True, None)


def test_a_batch_says_that_it_was_stored_before_if_its_attempt_does() -> None:
    former = Tally(2, 3)
    assert (
        harvested({"list": []}, attempt=NEW._replace(again=stored(WINDOW, former))).former == former
    )
    assert harvested({"list": []}).former is None


@pytest.mark.parametrize("rows", [1, 2])
def test_rows_of_other_days_are_counted(rows: int) -> None:
    answer = {"list": [{"ref_date": "2020-01-02"}] * rows + [{"a": 1}]}
    assert harvested(answer).out_of_range == rows


@virtual()
async def test_two_batches_of_one_second_have_one_stamp_and_those_of_the_next_another() -> None:
    scene = Scene(*[{"list": []}] * 3)
    found: list[Any] = await asyncio.gather(scene.run(), scene.run())
    found.append(await scene.run())
    assert [one.harvested.batch.fetched_at[-3:] for one in found] == ["21Z", "21Z", "22Z"]


def test_a_record_without_a_figure_says_nothing_of_its_day() -> None:
    nothing, something = {"ref_date": "2020-01-01"}, {"ref_date": "2020-01-01", "a": 0}
    assert batch({"list": [nothing, something, nothing]}).records == [something]
    assert harvested({"list": [nothing]}).outcome.empty == 1


# figures that can still change


def test_figures_that_wechat_calls_late_are_provisional() -> None:
    for late, why in ((True, "WeChat reports that the figures are late"), (False, "")):
        found = harvested({"list": [{"a": 1}], "is_delay": late})
        assert (found.outcome.detail, found.batch.late) == (why, False)  # an old day holds up none
        assert (found.outcome.state == "late") is late


DAYS = JsonEndpoint("days", "/x", date(2014, 12, 1), span=4)
FOUR = Window("wx1", "days", date(2020, 1, 1), date(2020, 1, 4))


def stored(window: Window, tally: Tally, **more: Any) -> OpenWindow:
    return OpenWindow(window.begin, window.end, "open", tally, fetched_at=STAMP, **more)


def rows_of(*days: int) -> list[dict[str, Any]]:
    return [{"ref_date": f"2020-01-0{day}"} for day in days]


def test_a_window_in_parts_is_one_window_and_a_batch_for_each() -> None:
    wall = settles_at(FOUR.end)
    found = harvested({"list": rows_of(1, 3)}, attempt=Attempt(FOUR), endpoint=DAYS, wall=wall)
    assert [part.outcome.state for part in found.parts] == ["final", "open", "final", "open"]
    assert [part.batch.records for part in found.parts] == [rows_of(1), [], rows_of(3), []]
    assert [part.outcome.window for part in found.parts] == [
        part.batch.window for part in found.parts
    ]
    assert (found.window, found.waits, found.is_provisional) == (FOUR, False, True)
    assert [part.days for part in found.parts] == [(date(2020, 1, day),) * 2 for day in range(1, 5)]
    assert {part.batch.fetched_at for part in found.parts} == {rfc3339(wall)}


@virtual()
async def test_each_part_of_a_window_has_the_epoch_of_its_request() -> None:
    scene = Scene({"list": rows_of(1, 3)}, endpoint=DAYS, wall=settles_at(FOUR.end))
    scene.queue.epoch = 7
    found = (await scene.run(Attempt(FOUR))).harvested
    assert found is not None
    assert [part.epoch for part in found.parts] == [7] * 4


@pytest.mark.parametrize(("expected", "state", "tries"), [(True, "late", 2), (False, "final", 0)])
def test_days_without_a_row_that_must_have_one_are_asked_for_once_more(
    expected: bool, state: str, tries: int
) -> None:
    missed = stored(FOUR, Tally(0), tries=1)._replace(state="late")
    found = harvested(
        {"list": []}, attempt=Attempt(FOUR, again=missed, expected=expected),
        endpoint=replace(DAYS, daily=True), wall=settles_at(FOUR.end) + 10 * 86_400,
    )  # fmt: skip
    assert (found.outcome.state, found.outcome.tries) == (state, tries)


@pytest.mark.parametrize("silent", [False, True])
@virtual()
async def test_a_young_day_without_its_row_keeps_a_run_waiting_unless_none_comes_any_more(
    silent: bool,
) -> None:
    daily = replace(DAYS, daily=True)
    scene = Scene({"list": []}, endpoint=daily, wall=settles_at(DAY) + 600)
    scene.queue.silent = silent
    found = (await scene.run()).harvested
    assert found is not None
    assert (found.outcome.state, found.batch.late) == ("late", not silent)


def test_of_old_days_without_a_row_of_each_day_the_window_is_emptied() -> None:
    daily = replace(DAYS, daily=True)
    wall = settles_at(FOUR.end) + 400 * 86_400
    for endpoint, empties in ((DAYS, False), (daily, True)):
        found = harvested({"list": []}, attempt=Attempt(FOUR), endpoint=endpoint, wall=wall)
        assert (found.outcome.state, found.is_emptied) == ("final", empties)


GROWS = JsonEndpoint(
    "grows", "/x", date(2014, 12, 1), late_days=7, key=("id",),
    fields=(Field("parts", "list", fields=(Field("stat_date", "date"),)),),
)  # fmt: skip


def grown(*days: int) -> dict[str, Any]:
    return {"id": 1, "parts": [{"stat_date": f"2020-01-0{day}"} for day in days]}


def completed(before: list[dict[str, Any]], now: object, kept: Any, **more: Any) -> Decision:
    """The decision on an answer to what is stored; kept: what the sink has of it."""

    async def in_sink(window: Window) -> Any:
        assert window == WINDOW
        return kept

    has = had(GROWS, before)
    attempt = NEW._replace(again=stored(WINDOW, Tally(len(before), 7), had=has))
    wall = settles_at(date(2020, 1, 4))
    return outcome(now, attempt=attempt, endpoint=GROWS, wall=wall, stored=in_sink, **more)


def test_what_an_answer_lacks_of_an_earlier_one_is_kept() -> None:
    found = completed([grown(1, 2)], {"list": [grown(1, 3)]}, [grown(1, 2)])
    assert found.harvested is not None
    assert found.harvested.batch.records == [grown(1, 2, 3)]
    assert (found.harvested.kept, found.harvested.outcome.state) == (1, "open")
    assert found.harvested.outcome.had == had(GROWS, [grown(1, 2, 3)])


def test_a_sink_is_read_only_for_an_answer_that_lacks_something() -> None:
    found = completed([grown(1)], {"list": [grown(1, 2)]}, "this would fail")
    assert found.harvested is not None
    assert (found.harvested.kept, found.harvested.batch.records) == (0, [grown(1, 2)])


class GrowingPages(Paged):
    """An interface with pages whose records get entries for days."""

    def request(self, window: Window, token: Token, page: int = 1) -> Request:
        return Request("GET", f"/{page}")


@pytest.mark.parametrize(("first", "kept"), [([1, 2], 0), ([1], 1)])
@virtual()
async def test_the_pages_of_a_window_are_compared_as_a_whole(first: list[int], kept: int) -> None:
    before = [grown(1, 2), {**grown(1), "id": 2}]
    pages = [{"list": [grown(*first)], "more": True}, {"list": [{**grown(1), "id": 2}]}]
    read = 0

    async def in_sink(window: Window) -> Any:
        nonlocal read
        read += 1
        return before

    grows = GrowingPages(
        "grows", "/x", date(2014, 12, 1), late_days=7, key=("id",), fields=GROWS.fields
    )
    wall = settles_at(date(2020, 1, 4))
    scene = Scene(*pages, endpoint=grows, wall=wall, stored=in_sink)
    again = stored(WINDOW, Tally(2, 7), had=had(grows, before))
    one = await scene.run(NEW._replace(again=again))
    assert (one.action, one.attempt.page and one.attempt.page.number, read) == (Action.RETRY, 2, 0)
    found = await scene.run(one.attempt)
    assert found.action is Action.DONE
    assert found.attempt.window == WINDOW
    assert found.harvested is not None
    assert found.harvested.batch.records == before
    assert (found.harvested.kept, read) == (kept, bool(kept))
    assert found.harvested.size == sum(len(json.dumps(each)) for each in pages)


@virtual()
async def test_an_interface_that_answers_text_is_known_by_it() -> None:
    class Text(JsonEndpoint):
        def verdict(self, response: Response, window: Window) -> Verdict:
            return Verdict(Action.DONE, as_text=response.body == b"text")

    scene = Scene(Response(200, b"json"), Response(200, b"text"), endpoint=Text("own", "/x", DAY))
    for as_text in (False, True):
        assert (await scene.run()).attempt.window == WINDOW
        assert scene.queue.as_text is as_text


def test_a_sink_is_not_read_for_a_window_without_records() -> None:
    found = completed([], {"list": [grown(1)]}, "this would fail")
    assert found.harvested is not None
    assert (found.harvested.kept, found.harvested.batch.records) == (0, [grown(1)])


def test_an_answer_that_lacks_what_no_sink_gives_back_waits() -> None:
    found = completed([grown(1, 2)], {"list": []}, None)
    assert (found.action, found.harvested) == (Action.NOT_READY, None)
    assert found.attempt.deferrals == 0
    assert found.attempt.window == WINDOW
    assert (found.reason, found.kind) == (CANNOT_KEEP, "late")
    assert found.delay == NOT_READY_AGAIN


@virtual()
async def test_the_rows_of_a_window_with_a_row_a_day_are_kept() -> None:
    async def in_sink(window: Window) -> Any:
        return rows_of(1, 2, 3, 4)

    daily = replace(DAYS, daily=True)
    wall = settles_at(FOUR.end) + 400 * 86_400
    attempt = Attempt(FOUR, again=stored(FOUR, Tally(4, 7)))
    for now, kept in ((rows_of(2, 4), 2), ([], 4), (rows_of(1, 2, 3, 4), 0)):
        scene = Scene({"list": now}, endpoint=daily, wall=wall, stored=in_sink)
        found = (await scene.run(attempt)).harvested
        assert found is not None
        assert (found.kept, found.batch.records, found.more) == (kept, rows_of(1, 2, 3, 4), ())
        assert found.outcome.state == "final"
    scene = Scene({"list": rows_of(1, 2, 3, 4)}, endpoint=daily, wall=wall, stored=not_read)
    assert (await scene.run(attempt)).harvested is not None


async def not_read(window: Window) -> Any:
    raise AssertionError("an answer that lacks nothing needs no sink")


@virtual()
async def test_refusals_without_an_errcode_are_told_apart_by_their_words() -> None:
    class Refusing(JsonEndpoint):
        def verdict(self, response: Response, window: Window) -> Verdict:
            return Verdict(Action.FAIL_WINDOW, response.body.decode())

    answers = [Response(200, b"no %d" % (number % 2)) for number in range(12)]
    scene = Scene(*answers, endpoint=Refusing("refusing", "/x", DAY))
    for number in range(12):
        found = await scene.run()
        assert (found.action, found.reason) == (Action.FAIL_WINDOW, f"no {number % 2}")


@pytest.mark.parametrize(("early", "why"), [(0.1, "its figures can change"), (0.0, ""), (-0.1, "")])
def test_figures_that_grow_for_days_are_provisional_until_the_last_is_settled(
    early: float, why: str
) -> None:
    grows = JsonEndpoint("grows", "/x", date(2014, 12, 1), late_days=7, settled_hour=10)
    wall = settles_at(date(2020, 1, 7), 10) - early
    found = harvested({"list": [{"a": 1}]}, endpoint=grows, wall=wall)
    assert (found.outcome.detail, found.batch.late) == (why, False)
    assert found.outcome.state == ("open" if why else "final")


# pages, and windows in parts

PAGED = Paged("paged", "/x", date(2014, 12, 1), span=7)
FOUR = Window("wx1", "paged", DAY, date(2020, 1, 4))


def answered_in_turn(answers: Sequence[object], attempt: Attempt) -> tuple[list[str], Harvested]:
    """What was asked for, and what became of it."""

    async def main(loop: VirtualTimeLoop) -> tuple[list[str], Harvested]:
        scene = Scene(*answers, endpoint=PAGED)
        found = await scene.run(attempt)
        while found.action is Action.RETRY:
            assert (found.attempt.failures, found.delay, found.reason) == (0, 0.0, "")
            found = await scene.run(found.attempt._replace(failures=3))
        assert found.harvested is not None
        return [request.path for request in scene.transport.sent], found.harvested

    return run_virtual(main)


def test_pages_are_asked_for_until_there_is_no_more_and_are_one_batch() -> None:
    rows = [{"list": [{"n": n}, {"ref_date": "2020-02-01"}], "more": n < 3} for n in (1, 2, 3)]
    asked, found = answered_in_turn(rows, Attempt(FOUR, replaces=True))
    assert asked == [f"/t0ken/2020-01-01/2020-01-04/{page}" for page in (1, 2, 3)]
    assert (found.batch.window, len(found.batch.records), found.batch.replaces) == (FOUR, 3, True)
    assert [row["n"] for row in found.batch.documents()] == [1, 2, 3]
    assert found.out_of_range == 3
    assert found.size == sum(len(json.dumps(each)) for each in rows)


@pytest.mark.parametrize("late", [0, 1])
def test_a_window_of_which_any_part_is_late_is_late(late: int) -> None:
    answers = [{"list": [], "more": n == 0, "is_delay": n == late} for n in range(2)]
    _, found = answered_in_turn(answers, Attempt(FOUR))
    assert found.outcome.state == "late"


def test_an_answer_that_always_promises_another_page_comes_to_an_end() -> None:
    page = {"list": [], "more": True}
    answered_in_turn([page, {"list": []}], Attempt(FOUR, page=Page(PAGES - 1)))
    last = Attempt(FOUR, page=Page(PAGES))
    found = outcome(page, attempt=last, endpoint=PAGED)
    why = "it has more than 1000 pages"
    assert found == Decision(Action.FAIL_WINDOW, last, reason=why, kind="refused")


def test_a_window_that_is_too_long_is_told_apart() -> None:
    attempt = Attempt(Window("wx1", "paged", DAY, date(2020, 1, 4)), failures=2)
    refused = {"errcode": 61501, "errmsg": "date range error"}
    found = outcome(refused, attempt=attempt, endpoint=PAGED)
    assert (found.action, found.attempt) == (Action.SPLIT, attempt)


# the token in an answer, and in another parameter


def test_a_token_that_an_answer_echoes_is_not_stored() -> None:
    answer = {"list": [{"title": f"?access_token={LONG}&x=1"}]}
    [record] = batch(answer, token=Token(LONG)).documents()
    assert record["title"] == "?access_token=…&x=1"


@pytest.mark.parametrize(
    "text",
    [
        f"bad date in ?access_token={LONG}",
        "x" * 490 + LONG,  # half of it stands where a long text is cut
        "x" * 490 + "t0ken%2Fof%2BWeChats-length",
    ],
    ids=["echoed", "cut", "quoted and cut"],
)
def test_a_token_in_the_text_of_an_error_is_not_carried_on(text: str) -> None:
    found = outcome({"errcode": 61500, "errmsg": text}, token=Token(LONG))
    assert found.action is Action.FAIL_WINDOW
    assert "t0ken" not in repr(found)


def test_a_request_id_that_is_the_token_is_not_carried_on() -> None:
    found = again({"errcode": -1, "errmsg": "busy rid: t0ken"})
    assert found.reason == "errcode -1 (busy): WeChat is busy [rid: …]"


@virtual()
async def test_the_request_is_the_interfaces_with_the_token_of_the_account() -> None:
    scene = Scene({"list": []})
    await scene.run()
    assert scene.transport.sent == [SUMMARY.request(WINDOW, Token("t0ken"))]


@pytest.mark.parametrize(
    ("token", "query"),
    [
        (Token("t"), (("access_token", "t"),)),
        (Token("t", parameter="cloudbase_access_token"), (("cloudbase_access_token", "t"),)),
        (Token("t", parameter=""), ()),
        (Token("", parameter=""), ()),  # where no token is needed
    ],
    ids=["plain", "cloudbase", "unnamed", "none"],
)
@virtual()
async def test_a_token_is_sent_in_its_own_parameter(
    token: Token, query: tuple[tuple[str, str], ...]
) -> None:
    scene = Scene({"list": []}, {}, token=token)
    assert (await scene.run()).action is Action.DONE
    await scene.pipeline.quota(scene.account, scene.queue)
    assert scene.transport.sent[0] == SUMMARY.request(WINDOW, token)
    assert [request.query for request in scene.transport.sent] == [query, query]


# the quota


@virtual()
async def test_the_quota_is_what_wechat_tells() -> None:
    scene = Scene({"quota": {"daily_limit": 1000, "used": 1, "remain": 999}})
    assert await quota_of(scene) == Quota(1000, 999)
    assert scene.transport.sent == [SUMMARY.quota_request(Token("t0ken"))]


@pytest.mark.parametrize(
    ("rate", "told"),
    [
        ({"call_count": 10_000, "refresh_second": 60}, (10_000, 60)),
        ({"call_count": 10_000}, (0, 0)),
        ({"call_count": "5", "refresh_second": 60}, (0, 0)),
        ({"call_count": 0, "refresh_second": 0}, (0, 0)),
        ([1], (0, 0)),
    ],
)
@virtual()
async def test_the_allowed_rate_is_a_part_of_the_quota(rate: object, told: object) -> None:
    scene = Scene({"quota": {"daily_limit": 9, "remain": 8}, "rate_limit": rate})
    found = await quota_of(scene)
    assert isinstance(found, Quota)
    assert (found.daily, found.left, (found.calls, found.seconds)) == (9, 8, told)


@pytest.mark.parametrize(
    "answer",
    [
        {"errcode": 48001},
        {"quota": {"daily_limit": 1000}},
        {"quota": {"remain": 1000}},
        {"quota": {"daily_limit": "1000", "remain": 5}},
        {"quota": {"daily_limit": 1000, "remain": True}},
        [],
        Response(500, b""),
        AttemptError("the answer was cut off"),
    ],
)
@virtual()
async def test_a_quota_that_is_not_told_is_not_known(answer: object) -> None:
    scene = Scene(answer)
    assert isinstance(await quota_of(scene), Verdict)
    assert scene.transport.sent == [SUMMARY.quota_request(Token("t0ken"))]


NO_QUOTA = Verdict(Action.FAIL_WINDOW, "its quota cannot be requested")


@virtual()
async def test_a_quota_that_is_missing_says_so() -> None:
    found = await quota_of(Scene({"quota": None}))
    assert found == Verdict(Action.RETRY, "the answer held no quota")


@virtual()
async def test_no_day_is_in_question_where_a_quota_is_asked_for() -> None:
    found = await quota_of(Scene({"errcode": 61501, "errmsg": "date range error"}))
    assert found.action is Action.FAIL_WINDOW


@virtual()
async def test_of_an_interface_without_a_quota_none_is_asked_for() -> None:
    class Without(JsonEndpoint):
        def quota_request(self, token: Token) -> Request | None:
            return None

    scene = Scene(endpoint=Without("without", "/x", DAY))
    assert (await quota_of(scene), scene.transport.sent) == (NO_QUOTA, [])


@virtual()
async def test_an_endpoint_that_fails_on_an_answer_about_a_quota_fails_no_more_than_that() -> None:
    class Failing(JsonEndpoint):
        def verdict(self, response: Response, window: Window) -> Verdict:
            raise KeyError("list")

    found = await quota_of(Scene({"errcode": 48001}, endpoint=Failing("failing", "/x", DAY)))
    assert found.action is Action.FAIL_WINDOW
    assert "KeyError" in found.message


@pytest.mark.parametrize("method", ["request", "verdict"])
@virtual()
async def test_code_of_an_endpoint_that_fails_is_named_without_its_text_or_cause(
    method: str,
) -> None:
    """The text, and the locals of a traceback, could have the token."""

    def fails(window: object, *_: object) -> None:
        raise KeyError("t0ken")

    endpoint = Other("other", "/x", date(2014, 12, 1))
    object.__setattr__(endpoint, method, fails)
    scene = Scene({}, endpoint=endpoint)
    found = await scene.run()
    assert (found.action, found.reason) == (
        Action.STOP_ENDPOINT, "the code of other failed: KeyError"
    )  # fmt: skip
    object.__setattr__(endpoint, method, lambda *_: 7)
    found = await Scene({}, endpoint=endpoint).run()
    assert found.reason == "the code of other failed: its <lambda> returned int"


@virtual()
async def test_code_of_an_endpoint_that_fails_on_a_quota_is_named_without_its_text() -> None:
    class Failing(JsonEndpoint):
        def quota_request(self, token: Token) -> Request | None:
            raise KeyError("t0ken")

    class Wrong(JsonEndpoint):
        def quota_request(self, token: Token) -> Any:
            return 7

    for kind, said in ((Failing, "KeyError"), (Wrong, "its quota_request returned int")):
        found = await quota_of(Scene(endpoint=kind("own", "/x", DAY)))
        assert (found.action, found.message) == (
            Action.FAIL_WINDOW, f"the code of own failed: {said}"
        )  # fmt: skip


@virtual()
async def test_a_request_that_an_endpoint_cannot_make_was_not_sent() -> None:
    class Failing(JsonEndpoint):
        def request(self, window: Window, token: Token, page: int = 1) -> Request:
            raise AttemptError("not yet")

    scene = Scene(endpoint=Failing("failing", "/x", DAY))
    assert (await scene.run()).action is Action.RETRY
    assert scene.transport.sent == []


@virtual()
async def test_without_a_token_no_quota_is_asked_for() -> None:
    scene = Scene()
    assert await scene.pipeline.quota(scene.account, scene.queue) == NO_QUOTA
    assert scene.transport.sent == []


@virtual()
async def test_an_answer_about_a_quota_is_one_of_the_base_url() -> None:
    for answer, answered in (({"errcode": -1}, True), (AttemptError("nobody is there"), False)):
        scene = Scene(answer)
        assert isinstance(await quota_of(scene), Verdict)
        assert scene.pipeline.network.answered is answered


@virtual()
async def test_a_token_that_was_renewed_since_is_not_dropped_for_a_quota(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The refusal names the fetch of the token that was sent."""
    scene, given = Scene({"errcode": 40001, "errmsg": "invalid credential"}), list[object]()

    def reject(_: object, value: str, why: str, fetched: int | None = None) -> bool:
        given.extend([value, fetched])
        return False

    monkeypatch.setattr(SharedToken, "reject", reject)
    await quota_of(scene)
    assert given == ["t0ken", scene.account.token.fetched]


@virtual()
async def test_a_quota_that_is_refused_with_a_new_token_too_says_why() -> None:
    refused = {"errcode": 40001, "errmsg": "invalid credential"}
    scene = Scene(refused, refused)
    await quota_of(scene)
    with pytest.raises(AccountError, match=r"just fetched \(errcode 40001 \(invalid credential\)"):
        await quota_of(scene)


@virtual()
async def test_an_accepted_token_may_be_refused_later() -> None:
    refused = {"errcode": 40001}
    scene = Scene(refused, {"list": []}, refused)
    for _ in range(2):
        await scene.run()
    assert (await scene.run()).action is Action.RENEW_TOKEN


# tried again


def test_a_busy_answer_is_tried_again_after_a_backoff() -> None:
    found = again(BUSY)
    assert (found.attempt, found.first) == (Attempt(WINDOW, failures=1), False)
    assert 0.0 <= found.delay <= 1.0
    assert found.reason == "errcode -1 (system error): WeChat is busy [rid: 1-2-3]"


@pytest.mark.parametrize(
    "answer", [Response(502, b""), Response(200, b""), Response(200, b"<html>"), {"list": 5}]
)
def test_a_broken_answer_is_tried_again(answer: object) -> None:
    assert again(answer).attempt.failures == 1


def test_a_record_that_is_nested_too_deeply_is_no_crash() -> None:
    body = b'{"list":[{"a":' + b"[" * 1010 + b"]" * 1010 + b"}]}"
    # How deep is too deep is the standard library's choice, another one in each version.
    assert outcome(Response(200, body)).action in (Action.RETRY, Action.DONE)


def test_a_record_that_is_no_json_is_tried_again_and_that_is_said() -> None:
    found = outcome({}, endpoint=Other("other", "/x", date(2014, 12, 1)))
    assert found.action is Action.RETRY
    assert found.reason == "a record cannot be written as JSON (TypeError)"


@virtual()
async def test_half_an_answer_is_a_sign_of_life_and_is_given_a_busy_servers_time() -> None:
    cut = AttemptError("the answer was cut off")
    cut.answered = True
    scene = Scene(*[cut] * 50)
    found: list[Any] = [await scene.run(Attempt(WINDOW, failures=6)) for _ in range(50)]
    assert max(one.delay for one in found) > 10.0  # the longest after no answer at all
    assert scene.pipeline.network.last_answer == pytest.approx(50.0, abs=0.1)


def test_no_answer_at_all_is_tried_again_soon() -> None:
    found = again(AttemptError("the answer was cut off"))
    assert (found.attempt.failures, found.reason) == (1, "the answer was cut off")
    assert found.delay <= 0.25


@virtual()
async def test_a_refused_token_costs_the_window_no_attempt() -> None:
    scene = Scene({"errcode": 42001, "errmsg": "expired"})
    reason = "errcode 42001 (expired): the access token is not valid, or no longer valid"
    assert await scene.run() == Decision(
        Action.RENEW_TOKEN, NEW, reason=reason, code=42001, first=True, kind="refused"
    )
    assert scene.account.token.peek() is None


@virtual()
async def test_a_refused_token_that_is_no_longer_current_costs_no_fetch() -> None:
    scene = Scene({"errcode": 40001}, {"errcode": 40001}, {"list": []})
    await asyncio.gather(scene.run(), scene.run(), return_exceptions=True)
    await scene.run()
    assert (scene.account.token.peek(), scene.account.token.fetches) == ("t0ken", 2)


@virtual()
async def test_a_late_refusal_of_a_token_that_was_given_out_again_costs_no_fetch() -> None:
    scene = Scene({"errcode": 40001}, {"errcode": 40001})
    await scene.account.token.get()
    first = asyncio.create_task(scene.run())
    await asyncio.sleep(0.5)
    late = asyncio.create_task(scene.run())
    await first
    await scene.account.token.get()  # stable_token gives the same one again
    found = await late
    assert found.action is Action.RENEW_TOKEN
    assert (found.first, scene.account.token.peek()) == (False, "t0ken")


@virtual()
async def test_told_to_slow_down_the_account_pauses_to_the_next_minute() -> None:
    scene = Scene({"errcode": 45011})
    found = await scene.run()
    assert found.action is Action.SLOW_DOWN
    assert (found.attempt.failures, found.first) == (1, True)
    assert found.reason.startswith("errcode 45011 (no errmsg)")
    leaves = START + current_time() + scene.account.limiter.delay()
    assert leaves == pytest.approx(1_700_000_040.0 + AFTER_THE_MINUTE, abs=1e-3)
    assert found.delay == pytest.approx(39.0 + AFTER_THE_MINUTE, abs=1e-3)


@pytest.mark.parametrize(("code", "pauses"), [(50002, True), (-1, False)])
@virtual()
async def test_an_account_that_is_limited_pauses_as_a_whole(code: int, pauses: bool) -> None:
    scene = Scene({"errcode": code})
    found = await scene.run()
    assert (found.action, found.attempt.failures) == (Action.RETRY, 1)
    assert found.delay > 0
    assert scene.account.limiter.delay() == (pytest.approx(found.delay) if pauses else 0)


@virtual()
async def test_the_second_one_that_is_told_to_slow_down_finds_the_pause_made() -> None:
    scene = Scene({"errcode": 45011}, Response(429, b""))
    found: list[Any] = await asyncio.gather(scene.run(), scene.run())
    assert [outcome.first for outcome in found] == [True, False]


# later


def test_a_used_up_quota_sends_the_interface_to_the_next_day_in_china() -> None:
    found = outcome({"errcode": 45009, "errmsg": "reach max api daily quota limit"})
    assert (found.action, found.attempt) == (Action.QUOTA, Attempt(WINDOW))
    assert START + 1.0 + found.delay == pytest.approx(next_quota_day(START), abs=1e-3)
    assert found.reason.startswith("errcode 45009 (reach max api daily quota limit)")


def test_figures_that_are_not_ready_send_the_window_away_for_half_an_hour() -> None:
    found = outcome({"errcode": 61503}, attempt=Attempt(WINDOW, deferrals=2))
    assert (found.action, found.attempt) == (Action.NOT_READY, Attempt(WINDOW, deferrals=3))
    assert found.delay == NOT_READY_AGAIN
    assert found.reason.startswith("errcode 61503 (no errmsg)")


# failures


@pytest.mark.parametrize(
    ("answer", "action", "kind", "said"),
    [
        ({"errcode": 61501, "errmsg": "date range error rid: 1-2"}, Action.FAIL_WINDOW, "refused",
         r"1-2\]$"),
        ({"errcode": 12345}, Action.FAIL_WINDOW, "refused", r"^errcode 12345 \(no errmsg\)$"),
        (Response(403, b""), Action.FAIL_WINDOW, "refused",
         r"^HTTP 403: an intermediate server, for example a firewall, forbids"),
        ({"errcode": 45009}, Action.QUOTA, "quota", r"^errcode 45009"),
        ({"errcode": 47009}, Action.STOP_ENDPOINT, "retired", r"getarticleread, getarticleshare"),
        (Response(404, b""), Action.STOP_ENDPOINT, "refused", r"^HTTP 404"),
        ({"errcode": 48001}, Action.NO_PERMISSION, "permission", r"^errcode 48001"),
        ({"errcode": 48004}, Action.STOP_ACCOUNT, "frozen", r"^wx1: errcode 48004"),
        ({"errcode": 40164}, Action.STOP_ACCOUNT, "ip", r"^wx1: errcode 40164 .* allow list"),
    ],
)  # fmt: skip
def test_a_refusal_reaches_as_far_as_its_code_says(
    answer: object, action: Action, kind: str, said: str
) -> None:
    found = outcome(answer)
    assert (found.action, found.kind) == (action, kind)
    assert re.search(said, found.reason)


@pytest.mark.parametrize(
    ("error", "action"),
    [
        (WindowError, Action.FAIL_WINDOW),
        (EndpointError, Action.STOP_ENDPOINT),
        (AccountError, Action.STOP_ACCOUNT),
    ],
)
@pytest.mark.parametrize("method", ["request", "verdict"])
def test_an_error_of_an_endpoint_affects_what_its_class_says(
    method: str, error: type[HarvestError], action: Action
) -> None:
    def fails(*_: object) -> None:
        raise error("no")

    endpoint = Other("other", "/x", date(2014, 12, 1))
    object.__setattr__(endpoint, method, fails)
    assert outcome({}, endpoint=endpoint) == Decision(action, NEW, reason="no", kind="refused")


@pytest.mark.parametrize("code", [-1, 12345, 40001, 45011, 47009, 48001, 48004])
@virtual()
async def test_a_failure_keeps_the_code_and_the_request_id(code: int) -> None:
    scene = Scene({"errcode": code, "errmsg": "no rid: 1-2-3"})
    for _ in range(REFUSALS - 1):
        scene.queue.token_refused(True)
    found = await scene.run(Attempt(WINDOW, failures=7))
    assert (found.code, found.rid) == (code, "1-2-3")


@virtual()
async def test_what_has_stopped_the_account_before_is_tried_once() -> None:
    scene = Scene(BUSY, {"errcode": 50002})
    scene.account.refused = frozenset({-1})
    assert (await scene.run()).action is Action.FAIL_WINDOW
    assert (await scene.run()).action is Action.RETRY


@virtual()
async def test_an_interface_that_accepts_a_token_now_and_then_goes_on() -> None:
    scene = Scene(*[{"errcode": 40001}, {"list": []}] * (2 * REFUSALS))
    for number in range(4 * REFUSALS):
        await scene.run()
        assert scene.queue.token_refused(False) == 1 - number % 2


@virtual()
async def test_late_refusals_of_one_token_are_one_refusal() -> None:
    scene = Scene(*[{"errcode": 40001}] * 64)
    await scene.account.token.get()
    await asyncio.gather(*[scene.run() for _ in range(64)])
    assert scene.queue.token_refused(False) == 1


@pytest.mark.parametrize(
    ("answer", "failures", "attempts", "said"),
    [
        (BUSY, 7, 8, r"WeChat is busy \[rid: 1-2-3\], after 8 attempts$"),
        (BUSY, 0, 1, r"after 1 attempts$"),
        ({"errcode": 45011}, 7, 8, r"after 8 attempts$"),
    ],
    ids=["busy", "one attempt", "told to slow down"],
)
def test_after_the_last_attempt_the_window_has_failed(
    answer: object, failures: int, attempts: int, said: str
) -> None:
    found = outcome(answer, attempt=Attempt(WINDOW, failures=failures), attempts=attempts)
    assert found.action is Action.FAIL_WINDOW
    assert re.search(said, found.reason)


def gone() -> AttemptError:
    return AttemptError("no connection to h:443 (Connection refused)")


@virtual()
async def test_before_anything_answered_the_attempts_decide_and_then_the_network_is_lost() -> None:
    scene = Scene(gone(), attempts=1)
    scene.account.token.current = Token("t0ken")
    with pytest.raises(NetworkError) as caught:
        await scene.pipeline.run(scene.account, scene.queue, NEW)
    assert str(caught.value) == (
        "no server answered in 1 attempt: no connection to h:443 (Connection refused);"
        " check the network, the proxy and the base URL; nothing that was committed is lost:"
        " run the same command again"
    )


@virtual()
async def test_while_nobody_answers_attempts_do_not_count() -> None:
    scene = Scene({"list": []}, *[gone()] * 9, Response(404, b""))
    await scene.run()
    attempt = NEW._replace(failures=3)
    assert await scene.run(attempt) == Decision(Action.RETRY, attempt)
    assert [request.path for request in scene.transport.sent[2:]] == ["/"] * 9


@virtual()
async def test_nobody_is_waited_for_longer_than_the_patience() -> None:
    scene = Scene({"list": []}, *[gone()] * 20)
    scene.pipeline.network.patience = 9.0
    await scene.run()
    with pytest.raises(NetworkError, match=r"^no server answered for 12 s: no connection"):
        await scene.run()


@virtual()
async def test_a_call_counts_unless_its_connection_was_never_opened() -> None:
    closed = AttemptError("the connection was closed before an answer came")
    closed.connected = True
    scene = Scene(closed, gone())
    for left in (1, 0):
        scene.queue.budget.spend()
        await scene.run()
        assert (scene.queue.budget.sent, scene.queue.budget.unbooked) == (1, 1), left


@virtual()
async def test_one_window_whose_connection_is_closed_each_time_fails_alone() -> None:
    closed = AttemptError("the connection was closed before an answer came")
    closed.connected = True
    scene = Scene({"list": []}, *[closed, Response(404, b"")] * 8)
    await scene.run()
    attempt: Attempt = NEW
    for _ in range(8):
        found = await scene.run(attempt)
        attempt = found.attempt
    assert found.action is Action.FAIL_WINDOW
    assert found.reason == "the connection was closed before an answer came, after 8 attempts"


@virtual()
async def test_any_answer_is_a_sign_of_life() -> None:
    scene = Scene(Response(502, b""))
    await scene.run()
    assert scene.pipeline.network.last_answer == pytest.approx(1.0, abs=0.1)


@virtual()
async def test_a_second_refusal_of_a_fresh_token_stops_the_account() -> None:
    scene = Scene({"errcode": 40001}, {"errcode": 40001})
    await scene.run()
    found = await scene.run()
    assert found.action is Action.STOP_ACCOUNT
    assert "refused a token that was just fetched (errcode 40001 (no errmsg)" in found.reason
    assert found.kind == "token"


@pytest.mark.parametrize(
    "answer", [{"errcode": code} for code in (-1, 40001, 45011, 45009, 61503, 61500, 47009, 48001)]
)
def test_no_decision_holds_the_token(answer: object) -> None:
    assert "t0ken" not in repr(outcome(answer))


def test_a_verdict_is_explained_with_its_request_id() -> None:
    assert explain(Verdict(Action.RETRY, "busy", -1, "1-2")) == "busy [rid: 1-2]"
    assert explain(Verdict(Action.RETRY, "HTTP 502")) == "HTTP 502"
    assert explain(Verdict(Action.FAIL_WINDOW)) == "fail window"  # of a user's Endpoint


def test_a_new_window_has_not_failed_yet() -> None:
    assert Attempt(WINDOW) == (WINDOW, 0, 0, False, None, False, True, None)


@virtual()
async def test_without_a_token_nothing_is_tried() -> None:
    scene = Scene({"list": []})
    with pytest.raises(AssertionError, match=r"^no window is given out without a token$"):
        await scene.pipeline.run(scene.account, scene.queue, Attempt(WINDOW))


# no server answers, and one refusal after the other


@virtual()
async def test_a_token_request_below_the_base_url_leaves_at_the_accounts_rate() -> None:
    scene = Scene({}, {}, AttemptError("nobody is there"))
    limiter = scene.account.limiter
    elsewhere = Request("POST", "https://tokens.example/x")
    await scene.pipeline.send(limiter, elsewhere)
    assert not scene.pipeline.network.answered
    await scene.pipeline.send(limiter, Request("POST", "/cgi-bin/stable_token"))
    assert scene.pipeline.network.answered
    with pytest.raises(AttemptError):
        await scene.pipeline.send(limiter, Request("POST", "/cgi-bin/stable_token"))
    assert scene.transport.counted == [False, True, True]
    assert repr(limiter) == "<Limiter 100/s, departures known: 2>"


async def refused(*codes: int) -> list[Decision]:
    """What follows for windows in a row that are refused with these codes."""
    scene = Scene(*[{"errcode": code, "errmsg": f"no {n}"} for n, code in enumerate(codes)])
    return [await scene.run() for _ in codes]


@virtual()
async def test_an_interface_that_refuses_one_window_after_the_other_is_given_up() -> None:
    *windows, last = await refused(*[40035] * 5)
    assert [each.action for each in windows] == [Action.FAIL_WINDOW] * 4
    assert last.action is Action.STOP_ENDPOINT
    assert last.reason.startswith("errcode 40035 (no 4)")
    assert last.reason.endswith(
        "; 5 windows in a row were refused for this reason, so this run sends no more"
        " requests for this interface"
    )


@virtual()
async def test_refusals_for_several_reasons_are_each_a_windows_own() -> None:
    found = await refused(*[40035, 61500] * 4)
    assert {each.action for each in found} == {Action.FAIL_WINDOW}


@virtual()
async def test_a_request_that_leaves_late_can_be_counted_anew() -> None:
    scene = Scene({"list": []}, {"quota": {"daily_limit": 10, "remain": 5}})
    await scene.run()
    assert await quota_of(scene) == Quota(10, 5)
    assert scene.transport.counted == [True, True]
