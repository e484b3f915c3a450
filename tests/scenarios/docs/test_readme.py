from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path
from runpy import run_path
from urllib.parse import urlsplit

import pytest

import harvester
from tests.support import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
WHOLE_CHINESE = (ROOT / "README.zh-CN.md").read_text(encoding="utf-8")
PACKAGE = Path(harvester.__file__).parent


PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]


def test_every_file_that_is_named_is_there() -> None:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for name in re.findall(r"(?:tests|benchmarks|examples|docs)/[\w/]+\.(?:py|md)", text):
            assert (ROOT / name).exists(), name


def test_every_link_to_a_file_leads_to_one() -> None:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for target in re.findall(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)", text):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_every_link_to_a_section_leads_to_one() -> None:
    seen = 0
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*\.md|)#([^)]+)\)", text):
            there = page.parent / target if target else page
            assert anchor in _anchors(there.read_text(encoding="utf-8")), f"{page.name}: {anchor}"
            seen += 1
    assert seen > 10


def _anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as a forge makes them."""
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#+ (.+)$", prose, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title).strip().lower().replace(" ", "-") for title in titles}


def test_every_link_to_another_site_is_a_url() -> None:
    links = {
        link
        for page in [*PAGES, ROOT / "docs" / "llms.txt"]
        for link in re.findall(r"\](?:\(|: )(https?:[^)\s]*)", page.read_text(encoding="utf-8"))
    }
    assert len(links) > 5
    for link in links:
        parts = urlsplit(link)
        assert (parts.scheme, parts.username, parts.port) == ("https", None, None), link
        assert re.fullmatch(r"([\w-]+\.)+[a-z]{2,}", parts.netloc), link
        assert re.fullmatch(r"[\w/.@~%-]*", parts.path), link


def test_every_page_of_the_documentation_can_be_reached_from_the_readme() -> None:
    reached, left = set(), ["README.md"]
    while left:
        page = left.pop()
        if page not in reached and (ROOT / page).exists():
            reached.add(page)
            text = (ROOT / page).read_text(encoding="utf-8")
            folder = Path(page).parent
            names = re.findall(r"\]\(([\w./-]+\.md)\)", text)
            left += [os.path.normpath(folder / name) for name in names]
    assert {str(page.relative_to(ROOT)) for page in (ROOT / "docs").rglob("*.md")} <= reached


def test_the_first_harvest_in_the_terminal_and_in_python_is_at_the_top() -> None:
    head = "\n".join(README.splitlines()[:30])
    assert "\nharvester run " in head
    assert "await harvester.run(" in head
    assert "asyncio.run(main())" in head


# the Chinese twin


def _blocks(text: str) -> list[str]:
    """The blocks of code, without comments: these are translated."""
    return [
        re.sub(r"[ ]*#.*", "", block)
        for block in re.findall(r"^```.*?^```", text, flags=re.MULTILINE | re.DOTALL)
    ]


_OF_EXPORTERS = re.compile(r"^## 采集自己公众号的数据\n.*?(?=^## )", re.MULTILINE | re.DOTALL)
"""A section for readers who come from programs that are known in Chinese alone."""
CHINESE = _OF_EXPORTERS.sub("", WHOLE_CHINESE)


def _levels(text: str) -> list[str]:
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"^#+(?= )", prose, flags=re.MULTILINE)


def test_the_chinese_readme_has_the_same_headings() -> None:
    assert _levels(CHINESE) == _levels(README)
    assert len(_levels(README)) > 5


def test_the_chinese_readme_has_the_same_code() -> None:
    assert _blocks(CHINESE) == _blocks(README)
    assert len(_blocks(README)) > 5


def test_the_chinese_readme_has_the_same_tables_links_and_options() -> None:
    for pattern in (
        r"^\|",
        r"^\| (`[^`]+`|\d+)",
        r"\]\(((?!README)[^)]+)\)",
        r"(?<![\w-])--[a-z][a-z-]+",
        r"harvester\.\w+",
    ):
        english, chinese = (
            sorted(re.findall(pattern, text.replace("docs/zh/", "docs/"), flags=re.MULTILINE))
            for text in (README, CHINESE)
        )
        assert chinese == english, pattern
        assert english, pattern
    numbers = [set(re.findall(r"\b\d{2,}\b", text)) for text in (README, CHINESE)]
    assert numbers[0] == numbers[1]


@pytest.mark.parametrize("page", sorted((ROOT / "docs/zh").glob("*.md")), ids=lambda p: p.name)
def test_a_chinese_page_has_the_headings_code_tables_options_and_links_of_the_english_one(
    page: Path,
) -> None:
    english = (ROOT / "docs" / page.name).read_text(encoding="utf-8")
    chinese = page.read_text(encoding="utf-8")
    assert f"[简体中文](zh/{page.name})" in english
    assert f"[English](../{page.name})" in chinese
    assert _levels(chinese) == _levels(english)
    assert _blocks(chinese) == _blocks(english)
    for pattern in (r"^\|", r"(?<![\w-])--[a-z][a-z-]+", r"(?:\w+/)+\w+\.py", r"HARVESTER_\w+"):
        found = [sorted(re.findall(pattern, text, re.MULTILINE)) for text in (english, chinese)]
        assert found[0] == found[1], pattern
    names = [{Path(each).name for each in _links(text)} for text in (english, chinese)]
    assert names[0] == names[1]


def _links(text: str) -> list[str]:
    return re.findall(r"\]\((?!https?:)([^)#]+)", text)


# what a package index shows


ABSOLUTE_LINKS = run_path(str(ROOT / ".github" / "absolute_links.py"))


def test_a_package_index_shows_absolute_links_only() -> None:
    text = ABSOLUTE_LINKS["absolute"](README, "https://host/owner/name", "v1.2.3")
    links = re.findall(r"\]\(([^)]+)\)", text)
    assert links
    assert all(link.startswith("https://") for link in links)
    assert "https://host/owner/name/blob/v1.2.3/docs/guarantees.md" in links


def test_a_release_is_made_in_the_repository_that_the_project_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    urls = tomllib.loads(text)["project"]["urls"]
    assert list(urls) == ["Homepage", "Documentation", "Changelog", "Issues", "Source"]
    assert all(url.startswith(urls["Source"]) for url in urls.values())
    for name, written in (("pyproject.toml", text), ("README.md", README)):
        (tmp_path / name).write_text(written, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match=r"names .* and this is https://host/owner/name"):
        ABSOLUTE_LINKS["main"]("https://host/owner/name", "v1.2.3")
    assert (tmp_path / "README.md").read_text(encoding="utf-8") == README
    ABSOLUTE_LINKS["main"](urls["Source"], "v1.2.3")
    written = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert f"]({urls['Source']}/blob/v1.2.3/CHANGELOG.md)" in written


# what is read first


def test_the_first_command_installs_from_the_index() -> None:
    name = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["name"]
    first = next(line for line in README.splitlines() if re.match(r"(pip|pipx|uvx) ", line))
    assert first.startswith(f"pipx install '{name}[cli,xlsx]'")
    assert f"uvx '{name}[report]' demo" in README
    assert "Another distribution is named `harvester`" in README
    assert len(README.splitlines()) <= 180


def test_the_page_for_models_lists_each_page_and_nothing_that_is_not_there() -> None:
    text = (ROOT / "docs" / "llms.txt").read_text(encoding="utf-8")
    assert text.startswith("# harvester\n\n> ")
    linked = re.findall(r"\]\(([^)]+)\)", text)
    assert len(set(linked)) == len(linked)
    pages = {str(page.relative_to(ROOT / "docs")) for page in (ROOT / "docs").rglob("*.md")}
    assert set(linked) == pages
    for line in re.findall(r"`(harvester [a-z]+|uvx [^`]+)", text):
        assert line in README, line
