"""Values that show nowhere."""

from __future__ import annotations

import asyncio
import copy
import dataclasses
import pickle
import time
import traceback
from pathlib import Path

import pytest

import harvester
from harvester.base.secrets import Secret
from harvester.model import Account, Stored, Token
from harvester.tokens.official import provider_for
from tests.support import harvest

VALUE = "5e5a3e0c0ffee0123456789abcdef"
HOLDERS = [Secret(VALUE), Token(VALUE), Stored(VALUE, 1.0, 2.0), Account("wx1", secret=VALUE)]


def test_a_secret_is_cut_from_a_text_in_each_of_its_forms() -> None:
    secret = Secret("a/b c+d\udc80 and so on")
    text = "a/b c+d\udc80 and so on, a%2Fb%20c%2Bd%3F%20and%20so%20on, a%2Fb+c%2Bd%3F+and+so+on"
    assert secret.cut_from(text) == "…, …, …"
    body = rb'"a\/b c+d? and so on", "a/b c+d? and so on"'
    assert secret.cut_from_body(body) == '"…", "…"'.encode()


@pytest.mark.parametrize(
    ("given", "is_text"), [("s3cret", True), ("微信", True), ("", False), ("\udc80", False)]
)
def test_a_secret_may_be_no_text(given: str, is_text: bool) -> None:
    assert Secret(given).is_text is is_text


@pytest.mark.parametrize("holder", HOLDERS)
def test_a_secret_shows_in_no_text_and_is_not_pickled(holder: object) -> None:
    assert VALUE not in f"{holder} {holder!r} {holder!s} {[holder]}"
    with pytest.raises(TypeError, match=r"is not pickled; pass on where it comes from$") as caught:
        pickle.dumps(holder)
    assert VALUE not in str(caught.value)


@pytest.mark.parametrize("holder", HOLDERS)
def test_a_copy_is_equal(holder: object) -> None:
    assert copy.deepcopy(holder) == holder
    assert hash(copy.deepcopy(holder)) == hash(holder)


def test_an_account_as_a_dict_holds_no_secret_as_text() -> None:
    assert VALUE not in repr(dataclasses.asdict(Account("wx1", secret=VALUE)))


def test_a_secret_of_a_secret_has_its_value() -> None:
    assert Secret(Token(VALUE)).value == VALUE
    assert Secret(Secret(VALUE)) == Secret(VALUE)
    assert Account("wx1", secret=Secret(VALUE)) == Account("wx1", secret=VALUE)


@pytest.mark.parametrize(
    "other",
    [
        Token("t", 2.0),
        Token("t", 1.0, "p"),
        Token("u", 1.0),
        Stored("t", 1.0, 1.0),
        Secret("t"),
        "t",
    ],
)
def test_tokens_are_equal_if_all_of_them_is(other: object) -> None:
    assert Token("t", 1.0) == Token("t", 1.0)
    assert Token("t", 1.0) != other
    assert Stored("t", 1.0, 1.0) != Stored("t", 2.0, 1.0)


def locals_of(exc: BaseException) -> str:
    """The locals of the library's frames that an error passed through."""
    shown = []
    for frame, _ in traceback.walk_tb(exc.__traceback__):
        if frame.f_code.co_filename != __file__:
            for value in frame.f_locals.values():
                shown.append(repr(value))
    assert shown
    return "\n".join(shown)


URL = "redis://:p4ssw0rd@127.0.0.1:1/0"
DAYS = ("2024-01-01", "2024-01-01")


@pytest.mark.parametrize("how", ["run", "stream"])
def test_an_option_that_is_wrong_shows_no_password_of_another_one(how: str) -> None:
    async def main() -> None:
        account = Account("wx1", token=lambda: "t")
        if how == "run":
            await harvester.run(account, "users", *DAYS, sink=URL, token_store=URL, burst=-1)
        else:
            await harvester.stream(
                account, "users", *DAYS, token_store=URL, burst=-1
            ).__aenter__()  # fmt: skip

    with pytest.raises(harvester.UsageError, match="burst") as caught:
        asyncio.run(main())
    assert "p4ssw0rd" not in locals_of(caught.value)


def test_a_token_server_that_cannot_be_read_shows_no_password() -> None:
    account = Account("wx1", token="https://user:p4ss/w0rd@tokens.example/x")
    with pytest.raises(harvester.UsageError, match="token server cannot be read") as caught:
        provider_for(account)
    assert "w0rd" not in locals_of(caught.value)


def test_a_refresh_token_that_cannot_be_kept_is_not_shown() -> None:
    platform = harvester.Platform("wx1", "s", "ticket")
    with pytest.raises(harvester.UsageError, match="a refresh token changes") as caught:
        platform.account("wx2", VALUE)
    assert VALUE not in locals_of(caught.value)


def test_a_short_secret_stays_in_an_answer_and_a_long_one_does_not() -> None:
    assert Secret("x" * 15).cut_from_body(b"x" * 15) == b"x" * 15
    assert Secret("x" * 16).cut_from_body(b"x" * 16) == "…".encode()


@pytest.mark.parametrize("hostile", [b"\\", b"%25", b"xyz%", b"\\u0078"])
def test_an_answer_of_escapes_alone_takes_no_time(hostile: bytes) -> None:
    body = hostile * ((1 << 16) // len(hostile))
    began = time.process_time()
    assert Secret("xyz" * 10).cut_from_body(body) == body
    assert time.process_time() - began < 5.0  # a minute and a half, if each is tried from each


@pytest.mark.thorough
def test_a_sink_of_the_environment_reaches_rebuild_as_it_is(tmp_path: Path) -> None:
    done = harvest("rebuild", "--out", ".", cwd=tmp_path, HARVESTER_SINK="nowhere:x")
    assert done.returncode == 2
    assert "there is no sink 'nowhere:x'" in done.stderr
