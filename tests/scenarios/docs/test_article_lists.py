"""The example with the lists of an account's articles, as a package that the command finds."""

from __future__ import annotations

import importlib
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

import harvester
from harvester.testing import FakeTransport, Simulator
from harvester.testing.replies import Reply
from tests.scenarios.command import Done
from tests.support import ROOT, A, Wechat, bare, harvest, stored

pytestmark = pytest.mark.thorough

PUBLISHED, MATERIALS = "/cgi-bin/freepublish/batchget", "/cgi-bin/material/batchget_material"
ENTRY_POINTS = """[harvester.endpoints]
published_articles = article_lists:PUBLISHED
article_materials = article_lists:MATERIALS
"""
LINK = "http://mp.weixin.qq.com/s?__biz=MzA4&mid={}&idx={}&sn=0a1b&chksm=2c#rd"

Item = dict[str, Any]


def article(link: str, **more: Any) -> Item:
    return {"title": f"Title of {link}", "url": link, "is_deleted": False, **more}


def item(number: int, *articles: Item) -> Item:
    """A published item, with one article unless they are given."""
    listed = articles or (article(LINK.format(number, 1)),)
    return {"article_id": f"a{number}", "content": {"news_item": [*listed]}, "update_time": number}


def record(number: int, shown: Item, **msgid: str) -> Item:
    return {"article_id": f"a{number}", "update_time": number, **shown, **msgid}


class Lists(Simulator):
    """A WeChat that has lists of articles, too.

    items: those of each path.  asked: the bodies of the requests for each.  busy: offsets that are
    refused the next time.
    """

    def __init__(self) -> None:
        super().__init__()
        self.items: dict[str, list[Item]] = {PUBLISHED: [], MATERIALS: []}
        self.asked: dict[str, list[dict[str, Any]]] = {PUBLISHED: [], MATERIALS: []}
        self.busy: set[int] = set()

    def handle(self, method: str, path: str, query: Mapping[str, str], body: bytes) -> Reply:
        """The reply to one request."""
        if path not in self.items:
            return super().handle(method, path, query, body)
        assert (method, query["access_token"] in self.tokens) == ("POST", True)
        self.asked[path].append(given := json.loads(body))
        begin = given["offset"]
        if begin in self.busy:
            self.busy.remove(begin)
            return Reply(200, b'{"errcode": -1, "errmsg": "system error"}')
        page = self.items[path][begin : begin + given["count"]]
        whole = {"total_count": len(self.items[path]), "item_count": len(page), "item": page}
        return Reply(200, json.dumps(whole).encode())

    def offsets(self, path: str) -> list[int]:
        return [each["offset"] for each in self.asked[path]]


@pytest.fixture
def wechat() -> Any:
    with Wechat(Lists()) as server:
        yield server


@pytest.fixture
def lists(wechat: Wechat) -> Lists:
    assert isinstance(wechat.simulator, Lists)
    return wechat.simulator


@pytest.fixture
def harvested(wechat: Wechat, tmp_path: Path) -> Callable[[str], Done]:
    """Run the command where the example is installed."""
    about = tmp_path / "packages" / "article_lists-1.0.dist-info"
    about.mkdir(parents=True)
    shutil.copy(ROOT / "examples" / "article_lists.py", about.parent)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: article-lists\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(ENTRY_POINTS)
    asked = ("--start", "yesterday", "--end", "yesterday", "--appid", A, "--attempts", "2")
    where = ("--base-url", wechat.url, "--rate", "500/s", "--out", tmp_path / "out")
    env = {"PYTHONPATH": f"{about.parent}:{ROOT}"}
    return lambda name: harvest("run", name, *asked, *where, cwd=tmp_path, **env)


def records(folder: Path, name: str = "published_articles") -> list[Item]:
    return [bare(each) for each in stored(folder / "out", name)]


def test_each_article_of_all_pages_is_there_once(
    lists: Lists, harvested: Callable[[str], Done], tmp_path: Path
) -> None:
    of_two = [article(LINK.format(26, 1), content="<p>"), article(LINK.format(26, 2))]
    gone, short = (
        article(LINK.format(27, 1), is_deleted=True),
        article("https://mp.weixin.qq.com/s/x"),
    )
    special = {26: of_two, 27: [gone], 28: [short]}
    lists.items[PUBLISHED] = [item(number, *special.get(number, ())) for number in range(45)]
    lists.busy = {20}  # the first request for the second page
    done = harvested("article_lists")
    assert (done.returncode, done.stdout[:9]) == (0, "complete:"), done.stderr
    assert lists.offsets(PUBLISHED) == [0, 20, 20, 40]
    assert {each["no_content"] for each in lists.asked[PUBLISHED]} == {1}
    plain = [
        record(number, article(LINK.format(number, 1)), msgid=f"{number}_1")
        for number in range(45)
        if number not in special
    ]
    assert sorted(records(tmp_path), key=lambda each: each["url"]) == sorted(
        [
            *plain,
            record(26, article(LINK.format(26, 1)), msgid="26_1"),
            record(26, article(LINK.format(26, 2)), msgid="26_2"),
            record(27, gone, msgid="27_1"),
            record(28, short),
        ],
        key=lambda each: each["url"],
    )
    assert records(tmp_path, "article_materials") == []
    assert lists.asked[MATERIALS] == [{"offset": 0, "count": 10, "type": "news"}]
    assert "0 requests" in harvested("published_articles").stdout


@pytest.mark.parametrize(("count", "offsets"), [(9, [0]), (10, [0, 10]), (11, [0, 10])])
def test_a_page_that_is_full_is_followed_by_another(
    count: int, offsets: list[int], lists: Lists, harvested: Callable[[str], Done], tmp_path: Path
) -> None:
    lists.items[MATERIALS] = [item(number) for number in range(count)]
    assert harvested("article_materials").returncode == 0
    assert lists.offsets(MATERIALS) == offsets
    found = [each["msgid"] for each in records(tmp_path, "article_materials")]
    assert sorted(found) == sorted(f"{number}_1" for number in range(count))


def test_a_program_takes_the_two_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    example, lists = importlib.import_module("article_lists"), Lists()
    lists.items = {PUBLISHED: [item(1)], MATERIALS: [item(2), item(3)]}
    report = harvester.run_sync(
        harvester.Account(A, secret="practice"), [example.PUBLISHED, example.MATERIALS],
        "yesterday", "yesterday", sink="memory:", transport=FakeTransport(lists), rate="500/s",
    )  # fmt: skip
    assert (report.state, report.records) == ("complete", 3)


@pytest.mark.parametrize("content", [None, "text", {}, {"news_item": [None]}])
def test_an_item_of_another_form_is_no_empty_list(
    content: Any, lists: Lists, harvested: Callable[[str], Done], tmp_path: Path
) -> None:
    lists.items[PUBLISHED] = [{**item(1), "content": content}]
    failed = harvested("published_articles")
    assert ("an item is not a list of articles" in failed.stderr, failed.returncode) == (True, 1), (
        failed
    )
    assert records(tmp_path) == []
