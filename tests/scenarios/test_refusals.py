"""An interface that refuses every window is not asked for each of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.scenarios.server import APPID, Call, Server, rows
from tests.support import harvest


def asked(server: Server, out: Path) -> list[str | Path]:
    return [
        "run", "getupstreammsghour", "--appid", APPID, "--start", "2024-01-01", "--end",
        "2024-12-31", "--base-url", server.url, "--rate", "500/s", "--out", out, "--json",
    ]  # fmt: skip


MORE_CODES = [48008, 50007, 61051, 89249]


@pytest.mark.parametrize(
    "code", [40066, 61500, *[pytest.param(n, marks=pytest.mark.thorough) for n in MORE_CODES]]
)
def test_equal_refusals_end_the_interface_after_a_handful(code: int, tmp_path: Path) -> None:
    with Server(lambda call: {"errcode": code, "errmsg": "no"}) as server:
        ended = harvest(*asked(server, tmp_path))
    assert ended.returncode in (1, 4), ended.stderr
    assert len(server.data) <= 5
    assert '"failed":366' in ended.stdout
    assert ended.stderr.count(str(code)) <= 2


@pytest.mark.parametrize("code", [48001, 47009])
def test_a_refusal_of_the_interface_ends_it_after_the_first_answer(
    code: int, tmp_path: Path
) -> None:
    with Server(lambda call: {"errcode": code, "errmsg": "no"}) as server:
        ended = harvest(*asked(server, tmp_path))
    assert ended.returncode in (1, 4), ended.stderr
    assert len(server.data) == 1


def test_refusals_with_answers_between_them_fail_their_windows_alone(tmp_path: Path) -> None:
    def answer(call: Call) -> object:
        return {"errcode": 61500, "errmsg": "no"} if call.days[0].endswith("5") else rows(call)

    with Server(answer) as server:
        ended = harvest(*asked(server, tmp_path))
    assert ended.returncode == 1
    assert len(server.data) == 366
    assert '"failed":36' in ended.stdout
