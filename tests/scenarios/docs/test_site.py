"""The documentation site, built by the command that CONTRIBUTING shows."""

from __future__ import annotations

import fcntl
import functools
import html
import http.server
import os
import re
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, get_args
from urllib.parse import unquote, urlsplit

import pytest

import harvester
import harvester.events
import harvester.testing
from harvester.cli.commands import cli
from harvester.config import accounts, files, interfaces, service
from harvester.config.settings import KEYWORDS, OPTIONS
from harvester.wechat import codes
from harvester.wechat.publisher import PUBLISHER_ERRORS
from tests.support import ROOT, environment, harvest

pytestmark = [pytest.mark.thorough, pytest.mark.timeout(400)]  # the first one builds the site
SOURCE = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["urls"][
    "Source"
]
LANGUAGES = ("en", "zh")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site in both languages, built once for all processes of the tests."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    place = shared / "documentation"
    with (shared / "documentation.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not place.exists():
            draft = shared / "documentation.draft"
            _build(draft)
            draft.rename(place)
    return place


def _build(place: Path) -> None:
    contributing = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    found = re.search(r"^sphinx-build -W .* docs site && sphinx-build -W .* site/zh$",
                      contributing, re.MULTILINE)  # fmt: skip
    assert found
    line = re.sub(r"(?<= )site(?=[ /]|$)", str(place), found[0])
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euc", line], cwd=ROOT, env=environment(PATH=path), capture_output=True,
        text=True, timeout=350, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def folder(site: Path, lang: str) -> Path:
    return site / "zh" if lang == "zh" else site


def text_of(page: Path) -> str:
    """What is read on a page."""
    return html.unescape(re.sub(r"<[^>]+>", "", page.read_text(encoding="utf-8")))


class Page(HTMLParser):
    """The links and the anchors of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id" and value:
                self.anchors.add(value)
            if name in ("href", "src") and value:
                self.links.append(value)


def test_every_link_of_the_site_leads_to_a_page_and_an_anchor(site: Path) -> None:
    pages = {path: Page(path) for path in site.rglob("*.html")}
    assert len(pages) > 40
    outside = set()
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                outside.add(link)
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            assert target.is_file(), f"{path.name}: {link}"
            if parts.fragment and target.suffix == ".html":
                anchors = pages[target].anchors
                assert unquote(parts.fragment) in anchors, f"{path.name}: {link}"
    files_of_ours = 0
    for link in outside:
        parts = urlsplit(link)
        assert parts.scheme == "https", link
        assert re.fullmatch(r"[\w.-]+\.\w+", parts.netloc), link
        if found := re.fullmatch(rf"{SOURCE}/(?:blob|tree)/main/([^#]+)(?:#.*)?", link):
            assert (ROOT / unquote(found[1])).exists(), link
            files_of_ours += 1
    assert files_of_ours > 10


def test_the_page_for_models_leads_to_pages_of_the_site(site: Path) -> None:
    linked = re.findall(r"\]\(([^)]+)\)", (site / "llms.txt").read_text(encoding="utf-8"))
    assert len(linked) > 20
    assert all((site / each).is_file() for each in linked)


# the reference


def described(site: Path) -> set[str]:
    """The names that the pages about the library describe."""
    pages = [Page(site / f"{each}.html") for each in ("api", "events", "testing-api")]
    return {name for page in pages for name in page.anchors if name.startswith("harvester.")}


def test_each_public_name_is_in_the_reference(site: Path) -> None:
    events = {each.__name__ for each in get_args(harvester.events.Event)}
    public = {f"harvester.{name}" for name in harvester.__all__}
    public |= {f"harvester.events.{name}" for name in events | {"Observer"}}
    public |= {f"harvester.testing.{name}" for name in harvester.testing.__all__}
    public |= {"harvester.distributed.run"}
    again = {f"harvester.testing.{name}" for name in harvester.testing.__all__
             if name in harvester.__all__}  # fmt: skip
    assert public - again - described(site) == set()
    assert len(events) > 10


def test_each_parameter_is_an_item_of_its_own(site: Path) -> None:
    text = (site / "api.html").read_text(encoding="utf-8")
    for name in ("accounts", "endpoints", "start, end", "sink", "options"):
        assert re.search(rf"<li>(<p>)?<strong>{name}</strong>: ", text), name


@pytest.mark.parametrize("lang", LANGUAGES)
def test_the_reference_of_the_command_is_what_help_prints(site: Path, lang: str) -> None:
    page = text_of(folder(site, lang) / "command.html")
    for path in ("", *cli.commands, "sink add"):
        shown = harvest("--lang", lang, *path.split(), "--help", COLUMNS="82").stdout
        assert shown.strip() in page, path


@pytest.mark.parametrize("lang", LANGUAGES)
def test_each_option_key_and_variable_is_in_the_reference(site: Path, lang: str) -> None:
    page = text_of(folder(site, lang) / "configuration.html")
    typed = {f"--{files.dashed(name)}" for name in files.COMMAND_OPTIONS if name != "endpoint"}
    variables = {f"HARVESTER_{name.upper()}" for name in files.COMMAND_OPTIONS}
    keys = {*accounts.ACCOUNT_KEYS, *accounts.PLATFORM_KEYS, *service._READ}
    keys |= {*interfaces._ENDPOINT, *interfaces._FIELD, *KEYWORDS}
    words = set(re.findall(r"--[a-z-]+|\w+", page))
    assert (typed | variables | keys | {*files._VARIABLES}) - words == set()
    assert len(typed) == len(files.COMMAND_OPTIONS) - 1 > 30
    if lang == "en":
        flat = " ".join(page.split())
        for option in OPTIONS.values():
            assert " ".join(option.help.split())[:60] in flat


@pytest.mark.parametrize("lang", LANGUAGES)
def test_each_error_code_is_in_the_reference_with_what_to_do(site: Path, lang: str) -> None:
    path = folder(site, lang) / "error-codes.html"
    anchors, text = Page(path).anchors, " ".join(text_of(path).split())
    known = {*codes.ERRORS, *codes.AUTHORIZER_ERRORS, *PUBLISHER_ERRORS}
    for code in known - {*range(9001001, 9001037)}:
        assert str(code) in anchors
    assert "9001001 … 9001036" in text
    if lang == "en":
        for rule in codes.ERRORS.values():
            assert rule.advice.partition("; ")[0] in text
    else:
        said = re.findall(r"(?:含义|你要做的)：([^。]*)。", text)
        assert len(said) > 2 * len(known - {*range(9001001, 9001037)})
        assert [each for each in said if not re.search("[\u4e00-\u9fff]", each)] == []


# in a browser


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    """The site on a socket: a browser reads no index of a file."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


@pytest.fixture
def view(browser: Any, address: str) -> Iterator[Any]:
    """A page of the browser; nothing was requested elsewhere, and no script failed."""
    wrong: list[str] = []
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda request: wrong.append(request.url)
            if not request.url.startswith((address, "data:")) else None)  # fmt: skip
    yield page
    context.close()
    assert wrong == []


def test_no_page_is_wider_than_a_phone_or_a_screen(view: Any, address: str, site: Path) -> None:
    wide = "document.documentElement.scrollWidth > window.innerWidth"
    for path in sorted(site.rglob("*.html")):
        view.goto(f"{address}{path.relative_to(site)}", wait_until="domcontentloaded")
        for width in (390, 1280):
            view.set_viewport_size({"width": width, "height": 800})
            assert view.evaluate(wide) is False, (path.name, width)


@pytest.mark.sampled
@pytest.mark.parametrize(
    ("words", "found"),
    [("search.html?q=late+figures", "interfaces.html"),
     ("search.html?q=45009", "error-codes.html#"), ("zh/search.html?q=45009", "error-codes.html#"),
     ("search.html?q=run_sync", "api.html#harvester.run_sync"),
     ("zh/search.html?q=白名单", "network.html"),
     ("zh/search.html?q=退出码", "operations.html"), ("zh/search.html?q=台账", "upgrading.html")],
)  # fmt: skip
def test_the_search_finds_pages_in_both_languages(
    view: Any, address: str, words: str, found: str
) -> None:
    view.goto(f"{address}{words}")
    link = view.wait_for_selector(f"#search-results a[href*='{found}']", timeout=20_000)
    words = words.partition("=")[2]
    assert not words.isdecimal() or link.inner_text().endswith(f"> {words}")


def test_the_search_in_chinese_finds_nothing_where_nothing_is(view: Any, address: str) -> None:
    view.goto(f"{address}zh/search.html?q=火车时刻")
    view.wait_for_function("document.querySelector('#search-results p')?.innerText.length > 20")
    assert view.query_selector_all("#search-results li") == []


def test_a_page_leads_to_the_same_page_in_the_other_language(view: Any, address: str) -> None:
    view.goto(f"{address}error-codes.html")
    view.click("article >> text=简体中文")
    assert view.url == f"{address}zh/error-codes.html"
    assert view.title().startswith("错误码")
    view.click("article >> text=English")
    assert view.url == f"{address}error-codes.html"
