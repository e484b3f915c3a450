"""The tree of exceptions: how far each one reaches."""

import pickle
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

import harvester
from harvester import errors
from harvester.config import plugins
from harvester.config.settings import engine_options
from harvester.errors import (
    AccountError,
    AttemptError,
    EndpointError,
    HarvestError,
    IncompleteError,
    LedgerError,
    NetworkError,
    RunError,
    SinkError,
    UsageError,
    WindowError,
)
from harvester.events import Report
from harvester.ledger.postgresql import PostgresLedger
from harvester.model import Action, Verdict
from harvester.sinks.jsonl.sink import JsonLines
from harvester.tokens.external import CommandToken
from harvester.tokens.shared import TokenRefusedError
from harvester.transport import HttpTransport

EVERY = [
    each
    for each in vars(errors).values()
    if isinstance(each, type) and issubclass(each, Exception) and each.__module__ == errors.__name__
]


@pytest.mark.parametrize("kind", EVERY)
def test_every_error_is_caught_by_the_one_root(kind: type[Exception]) -> None:
    assert issubclass(kind, HarvestError)


@pytest.mark.parametrize("kind", EVERY)
def test_every_error_stands_in_the_tree_that_is_drawn(kind: type[Exception]) -> None:
    assert f" {kind.__name__} " in (errors.__doc__ or "")


def test_a_usage_error_is_a_value_error_too() -> None:
    assert issubclass(UsageError, ValueError)


@pytest.mark.parametrize("kind", [NetworkError, SinkError, LedgerError])
def test_what_ends_the_run_is_a_run_error(kind: type[Exception]) -> None:
    assert issubclass(kind, RunError)


@pytest.mark.parametrize(
    "kind", [UsageError, AttemptError, WindowError, EndpointError, AccountError, IncompleteError]
)
def test_what_does_not_end_the_run_is_no_run_error(kind: type[Exception]) -> None:
    assert not issubclass(kind, RunError)


def test_the_reaches_do_not_contain_one_another() -> None:
    reaches = [AttemptError, WindowError, EndpointError, AccountError, RunError]
    assert [(a, b) for a in reaches for b in reaches if a is not b and issubclass(a, b)] == []


def test_a_run_error_has_no_report_until_something_was_begun() -> None:
    assert SinkError("the disk is full").report is None


def test_an_incomplete_error_tells_what_is_missing() -> None:
    report = Report("partial")
    error = IncompleteError("two windows failed", report)
    assert (str(error), error.report) == ("two windows failed", report)


@pytest.mark.parametrize(
    "error",
    [
        IncompleteError("not all", Report(state="waiting")),
        TokenRefusedError(Verdict(Action.RETRY, "no token", 5)),
    ],
)
def test_an_error_can_travel_between_processes(error: Exception) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), vars(copy)) == (type(error), str(error), vars(error))


PLATFORM = harvester.Platform("wx0", "secret", Path("ticket"))


@pytest.mark.parametrize(
    "make",
    [
        lambda: engine_options(rate="fast"),
        lambda: engine_options(daily_quota=0),
        lambda: harvester.Platform("", "secret", "ticket"),
        lambda: PLATFORM.account("wx1", "refresh token"),
        lambda: CommandToken([]),
        lambda: HttpTransport("ftp://host"),
        lambda: HttpTransport(ca_file="nowhere"),
        lambda: PostgresLedger("postgresql://h/d?schema=A"),
        lambda: PostgresLedger("nonsense"),
        lambda: JsonLines("data", compress="brotli"),
        lambda: plugins.sink("postgresql:h"),
        lambda: plugins.sink("mysql://h"),
        lambda: plugins.sink("parquet:DIR"),
    ],
)
def test_a_refusal_can_be_shown_with_the_local_variables_of_its_frames(
    make: Callable[[], object],
) -> None:
    with pytest.raises(UsageError) as caught:
        make()
    error = caught.value
    shown = traceback.TracebackException(
        type(error), error, error.__traceback__, capture_locals=True
    )
    assert str(error) in "".join(shown.format())
