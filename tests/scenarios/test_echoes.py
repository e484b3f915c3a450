"""An answer that echoes the AppSecret: it is shown, kept and told nowhere."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from aiohttp import web

import harvester
from tests.support import A

SECRET = "5e5a3e/+%0c0ffee0123456789abcdef"
PARTS = ("5e5a3e", "0ffee0123456789", "abcdef")
FORMS = {
    "as it is": SECRET,
    "in a URL": quote(SECRET, safe=""),
    "in a URL, in small letters": quote(SECRET, safe="").replace("%2F", "%2f"),
    "in part escaped": SECRET.replace("/", "%2F"),
    "twice escaped": quote(quote(SECRET, safe=""), safe=""),
    "with a letter escaped": SECRET.replace("a", "%61", 1),
    "as JSON within a text": SECRET.replace("/", "\\/"),
    "as JSON with its letters escaped": "".join(f"\\u{ord(one):04x}" for one in SECRET),
}


@asynccontextmanager
async def server(answer: dict[str, Any], *, token: bool) -> AsyncIterator[str]:
    """A WeChat of which each data request, or each token request, gets one answer."""

    async def tokens(_: web.Request) -> web.Response:
        given = answer if token else {"access_token": "T" * 40, "expires_in": 7200}
        return web.json_response(given)

    async def data(_: web.Request) -> web.Response:
        return web.json_response(answer)

    app = web.Application()
    app.router.add_post("/cgi-bin/stable_token", tokens)
    app.router.add_post("/datacube/{name}", data)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def told(answer: dict[str, Any], folder: Path, *, token: bool = False) -> str:
    """All that a run says, tells and keeps."""

    async def main() -> str:
        events: list[Any] = []
        async with server(answer, token=token) as url:
            report = await harvester.run(
                harvester.Account(A, secret=SECRET), "getusersummary", "2024-01-01", "2024-01-03",
                sink=f"jsonl:{folder}", base_url=url, rate=1000, attempts=1,
                on_event=events.append,
            )  # fmt: skip
        return f"{report!r} {json.dumps(report.to_dict(), ensure_ascii=False)} {events!r}"

    said = asyncio.run(main())
    kept = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    return said + b" ".join(kept).decode(errors="replace")


@pytest.mark.parametrize("code", [61500, 40013, 48001, -1])
@pytest.mark.parametrize("form", FORMS)
def test_an_errmsg_of_a_data_request_that_echoes_the_secret(
    tmp_path: Path, form: str, code: int
) -> None:
    errmsg = f"it was <{FORMS[form]}> rid: 6597ab12-34cd56ef-78ab90cd"
    said = told({"errcode": code, "errmsg": errmsg}, tmp_path)
    assert "it was <…>" in said
    assert not [part for part in PARTS if part in said], said


@pytest.mark.parametrize("form", FORMS)
def test_an_errmsg_of_a_token_request_that_echoes_the_secret(tmp_path: Path, form: str) -> None:
    answer = {"errcode": 40125, "errmsg": f"it was <{FORMS[form]}>"}
    said = told(answer, tmp_path, token=True)
    assert "it was <…>" in said
    assert not [part for part in PARTS if part in said], said


def test_data_that_echoes_the_secret(tmp_path: Path) -> None:
    row = {"ref_date": "2024-01-01", "user_source": 0, "new_user": 1, "cancel_user": 0}
    said = told({"list": [{**row, "note": f"<{SECRET}>"}]}, tmp_path)
    assert "<…>" in said
    assert not [part for part in PARTS if part in said], said
