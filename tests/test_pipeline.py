"""One attempt at one window: a batch, or when to come again, or how far the failure reaches."""

import asyncio
import json
from datetime import date

import pytest

from harvester.auth import Send, SharedToken
from harvester.codec import checksum
from harvester.datacube import GETARTICLESUMMARY
from harvester.errors import (
    AccountError,
    AttemptError,
    EndpointError,
    HarvestError,
    NetworkError,
    WindowError,
)
from harvester.lane import NEVER, Budget, Lane, Track, Try
from harvester.limiter import Limiter, Rate
from harvester.model import Action, Batch, Request, Response, Token, Verdict, Window
from harvester.pipeline import (
    AFTER_THE_MINUTE,
    NOT_READY_AGAIN,
    REFUSALS,
    Again,
    Later,
    Outcome,
    Pipeline,
    explain,
)
from harvester.plan import next_midnight
from harvester.testing import VirtualTimeLoop, run_virtual

DAY = date(2020, 1, 1)
WINDOW = Window("wx1", "getarticlesummary", DAY, DAY)
NEW = Try(WINDOW)
START = 1_700_000_000.0
BUSY = {"errcode": -1, "errmsg": "system error rid: 1-2-3"}


class Provider:
    async def fetch(self, send: Send) -> Token:
        return Token("t0ken")


class Answering:
    """A transport that gives what it was given; it takes a second."""

    def __init__(self, *answers: object) -> None:
        self.answers = list(answers)
        self.sent: list[Request] = []

    async def send(self, request: Request) -> Response:
        self.sent.append(request)
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
        self, loop: VirtualTimeLoop, *answers: object, attempts: int = 8, encode: bool = True
    ) -> None:
        self.transport = Answering(*answers)
        self.pipeline = Pipeline(
            self.transport, attempts=attempts, encode=encode, wall=lambda: loop.wall()
        )
        token = SharedToken("wx1", Provider(), self.transport.send)
        budget = Budget(None, 0, loop.wall())
        self.track = Track("wx1", GETARTICLESUMMARY, iter([]), budget)
        self.lane = Lane("wx1", token, Limiter(Rate(100, 1.0)), [self.track])

    async def run(self, attempt: Try = NEW) -> Outcome:
        await self.lane.token.get()
        return await self.pipeline.run(self.lane, self.track, attempt)


def outcome(*answers: object, attempt: Try = NEW, attempts: int = 8) -> Outcome:
    async def main(loop: VirtualTimeLoop) -> Outcome:
        return await Scene(loop, *answers, attempts=attempts).run(attempt)

    return run_virtual(main, START)


def again(answer: object, attempt: Try = NEW, attempts: int = 8) -> Again:
    found = outcome(answer, attempt=attempt, attempts=attempts)
    assert isinstance(found, Again)
    return found


def later(answer: object, attempt: Try = NEW) -> Later:
    found = outcome(answer, attempt=attempt)
    assert isinstance(found, Later)
    return found


# tokens


def test_an_interface_that_refuses_what_others_accept_is_stopped() -> None:
    async def main(loop: VirtualTimeLoop) -> None:
        refused = {"errcode": 40001, "errmsg": "invalid credential"}
        scene = Scene(loop, refused, refused, refused)
        for _ in range(2):
            assert isinstance(await scene.run(), Again)
            scene.lane.token.accept(await scene.lane.token.get())  # another interface took it
        with pytest.raises(EndpointError, match="refused 3 tokens in a row that others accepted"):
            await scene.run()

    run_virtual(main, START)


# done


def test_an_answer_with_records_becomes_a_batch() -> None:
    line = (
        b'{"a":1,"_appid":"wx1","_endpoint":"getarticlesummary","_begin_date":"2020-01-01",'
        b'"_end_date":"2020-01-01","_fetched_at":"2023-11-14T22:13:21Z"}\n'
    )
    batch = outcome({"list": [{"a": 1}]})
    assert batch == Batch(WINDOW, "2023-11-14T22:13:21Z", 1, line, checksum([line]))


def test_an_empty_day_becomes_an_empty_batch() -> None:
    assert outcome({"list": []}) == Batch(WINDOW, "2023-11-14T22:13:21Z", 0, b"", 0)


def test_the_request_is_the_interfaces_with_the_token_of_the_account() -> None:
    async def main(loop: VirtualTimeLoop) -> list[Request]:
        scene = Scene(loop, {"list": []})
        await scene.run()
        return scene.transport.sent

    assert run_virtual(main) == [GETARTICLESUMMARY.request(WINDOW, "t0ken")]


def test_lines_are_not_made_where_nobody_wants_them() -> None:
    async def main(loop: VirtualTimeLoop) -> Outcome:
        return await Scene(loop, {"list": [{"a": 1}]}, encode=False).run()

    assert run_virtual(main, START) == Batch(
        WINDOW, "2023-11-14T22:13:21Z", 1, b"", 0, parsed=[{"a": 1}]
    )


def test_a_batch_says_that_it_replaces_if_its_attempt_does() -> None:
    async def main(loop: VirtualTimeLoop) -> Outcome:
        return await Scene(loop, {"list": []}).run(NEW._replace(replaces=True))

    batch = run_virtual(main)
    assert isinstance(batch, Batch)
    assert batch.replaces is True


def test_an_accepted_token_may_be_refused_later() -> None:
    async def main(loop: VirtualTimeLoop) -> Outcome:
        refused = {"errcode": 40001}
        scene = Scene(loop, refused, {"list": []}, refused)
        for _ in range(2):
            await scene.run()
        return await scene.run()

    assert isinstance(run_virtual(main), Again)


# tried again


def test_a_busy_answer_is_tried_again_after_a_backoff() -> None:
    found = again(BUSY)
    assert found.attempt._replace(since=NEVER) == Try(WINDOW, failures=1)
    assert 0.0 <= found.delay <= 1.0
    assert found.reason == "errcode -1 (system error): WeChat is busy [rid: 1-2-3]"
    assert not found.paused


def test_the_time_of_the_first_failure_is_kept() -> None:
    assert again(BUSY, Try(WINDOW, failures=3, since=-5.0)).attempt == Try(WINDOW, 4, 0, -5.0)
    assert again(BUSY).attempt.since == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize(
    "answer", [Response(502, b""), Response(200, b""), Response(200, b"<html>"), {"list": 5}]
)
def test_a_broken_answer_is_tried_again(answer: object) -> None:
    assert again(answer).attempt.failures == 1


def test_a_record_that_is_nested_too_deeply_is_no_crash() -> None:
    body = b'{"list":[{"a":' + b"[" * 1010 + b"]" * 1010 + b"}]}"
    # How deep is too deep is the standard library's choice, another one in each version.
    assert isinstance(outcome(Response(200, body)), Again | Batch)


def test_no_answer_at_all_is_tried_again_soon() -> None:
    found = again(AttemptError("the answer was cut off"))
    assert (found.attempt.failures, found.reason) == (1, "the answer was cut off")
    assert found.delay <= 0.25


def test_a_refused_token_costs_the_window_no_attempt() -> None:
    async def main(loop: VirtualTimeLoop) -> tuple[Outcome, str | None]:
        scene = Scene(loop, {"errcode": 42001, "errmsg": "expired"})
        return await scene.run(), scene.lane.token.peek()

    reason = "errcode 42001 (expired): the access token is not valid (any more)"
    assert run_virtual(main) == (Again(Try(WINDOW), 0.0, reason, dropped=True), None)


def test_a_refused_token_that_is_no_longer_current_costs_no_fetch() -> None:
    async def main(loop: VirtualTimeLoop) -> tuple[str | None, int]:
        scene = Scene(loop, {"errcode": 40001}, {"errcode": 40001}, {"list": []})
        await asyncio.gather(scene.run(), scene.run(), return_exceptions=True)
        await scene.run()
        return scene.lane.token.peek(), scene.lane.token.fetches

    assert run_virtual(main) == ("t0ken", 2)


def test_told_to_slow_down_the_account_pauses_to_the_next_minute() -> None:
    async def main(loop: VirtualTimeLoop) -> tuple[Outcome, float]:
        scene = Scene(loop, {"errcode": 45011})
        return await scene.run(), loop.wall() + scene.lane.limiter.delay()

    found, leaves = run_virtual(main, START)
    assert isinstance(found, Again)
    assert (found.attempt.failures, found.paused) == (1, True)
    assert leaves == pytest.approx(1_700_000_040.0 + AFTER_THE_MINUTE, abs=1e-3)
    assert found.delay == pytest.approx(39.0 + AFTER_THE_MINUTE, abs=1e-3)


def test_the_second_one_that_is_told_to_slow_down_finds_the_pause_made() -> None:
    async def main(loop: VirtualTimeLoop) -> list[bool]:
        scene = Scene(loop, {"errcode": 45011}, Response(429, b""))
        found = await asyncio.gather(scene.run(), scene.run())
        return [outcome.paused for outcome in found if isinstance(outcome, Again)]

    assert run_virtual(main) == [True, False]


# later


def test_a_used_up_quota_sends_the_interface_to_the_next_midnight_in_china() -> None:
    found = later({"errcode": 45009, "errmsg": "reach max api daily quota limit"})
    assert (found.attempt, found.until, found.whole_endpoint) == (
        Try(WINDOW),
        next_midnight(START),
        True,
    )


def test_figures_that_are_not_ready_send_the_window_away_for_half_an_hour() -> None:
    found = later({"errcode": 61503}, Try(WINDOW, deferrals=2))
    assert (found.attempt, found.whole_endpoint) == (Try(WINDOW, deferrals=3), False)
    assert found.until == pytest.approx(START + 1.0 + NOT_READY_AGAIN, abs=0.01)


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


def test_an_interface_that_accepts_a_token_now_and_then_goes_on() -> None:
    async def main(loop: VirtualTimeLoop) -> list[int]:
        scene = Scene(loop, *[{"errcode": 40001}, {"list": []}] * (2 * REFUSALS))
        found = []
        for _ in range(4 * REFUSALS):
            await scene.run()
            found.append(scene.track.refusals)
        return found

    assert run_virtual(main) == [1, 0] * (2 * REFUSALS)


def test_late_refusals_of_one_token_are_one_refusal() -> None:
    async def main(loop: VirtualTimeLoop) -> int:
        scene = Scene(loop, *[{"errcode": 40001}] * 64)
        await scene.lane.token.get()
        await asyncio.gather(*[scene.run() for _ in range(64)])
        return scene.track.refusals

    assert run_virtual(main) == 1


def test_after_the_last_attempt_the_window_has_failed() -> None:
    with pytest.raises(WindowError, match=r"WeChat is busy \[rid: 1-2-3\], after 8 attempts$"):
        outcome(BUSY, attempt=Try(WINDOW, failures=7, since=0.0))


def test_with_one_attempt_the_first_failure_is_the_last() -> None:
    with pytest.raises(WindowError, match=r"after 1 attempts$"):
        outcome(BUSY, attempts=1)


def test_being_told_to_slow_down_counts_as_an_attempt() -> None:
    with pytest.raises(WindowError, match=r"after 8 attempts$"):
        outcome({"errcode": 45011}, attempt=Try(WINDOW, failures=7, since=0.0))


def test_if_nothing_answers_since_the_first_failure_the_network_is_lost() -> None:
    async def main(loop: VirtualTimeLoop) -> None:
        gone = AttemptError("no connection to h:443 (Connection refused)")
        scene = Scene(loop, gone, gone)
        scene.pipeline.last_answer = 0.5
        other = WINDOW._replace(begin=date(2020, 1, 2), end=date(2020, 1, 2))
        assert isinstance(await scene.run(Try(other)), Again)
        with pytest.raises(NetworkError, match=r"^no answer came to any of 8 attempts: no connec"):
            await scene.run(Try(WINDOW, failures=7, since=0.6))

    run_virtual(main)


def test_one_window_that_is_never_answered_has_failed_and_the_network_is_not_lost() -> None:
    async def main(loop: VirtualTimeLoop) -> None:
        scene = Scene(loop, AttemptError("the connection was closed before an answer came"))
        scene.pipeline.last_answer = 0.5
        with pytest.raises(WindowError, match="closed before an answer came, after 8 attempts"):
            await scene.run(Try(WINDOW, failures=7, since=0.6))

    run_virtual(main)


def test_an_echoed_token_is_not_carried_on() -> None:
    async def main(loop: VirtualTimeLoop) -> None:
        scene = Scene(loop, {"errcode": 61500, "errmsg": "bad date in ?access_token=t0ken"})
        with pytest.raises(WindowError) as caught:
            await scene.run()
        assert "t0ken" not in str(caught.value)

    run_virtual(main)


def test_if_anything_answered_since_the_first_failure_only_the_window_has_failed() -> None:
    async def main(loop: VirtualTimeLoop) -> None:
        scene = Scene(loop, AttemptError("the answer was cut off"))
        scene.pipeline.last_answer = 0.6
        with pytest.raises(WindowError, match=r"^the answer was cut off, after 8 attempts$"):
            await scene.run(Try(WINDOW, failures=7, since=0.5))

    run_virtual(main)


def test_any_answer_is_a_sign_of_life() -> None:
    async def main(loop: VirtualTimeLoop) -> float:
        scene = Scene(loop, Response(502, b""))
        await scene.run()
        return scene.pipeline.last_answer

    assert run_virtual(main) == pytest.approx(1.0, abs=0.1)


def test_a_second_refusal_of_a_fresh_token_stops_the_account() -> None:
    async def main(loop: VirtualTimeLoop) -> None:
        scene = Scene(loop, {"errcode": 40001}, {"errcode": 40001})
        await scene.run()
        with pytest.raises(AccountError, match="refused a token that was just fetched"):
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
    assert Try(WINDOW) == (WINDOW, 0, 0, NEVER, False, False, None)


def test_without_a_token_nothing_is_tried() -> None:
    async def main(loop: VirtualTimeLoop) -> None:
        scene = Scene(loop, {"list": []})
        with pytest.raises(AssertionError, match="without a token"):
            await scene.pipeline.run(scene.lane, scene.track, Try(WINDOW))

    run_virtual(main)
