"""Sentences: what is drawn, and that a seed repeats it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests import sentences
from tests.sentences import drawn, of_page, split
from tests.support import ROOT

PAGE = """\
# A heading of four words

One thought a sentence. `harvester run` writes
what it has (see [the page](page.md#part)). Too short.

```sh
echo "This is code. It is not read."
```

- An item has its own line.

| a heading of a table | 中文的句子也有四个词 |
| --- | --- |
| The first cell has words | `--a b c d e` 1 2 3 4 |
"""


def test_a_page_has_its_paragraphs_items_and_cells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sentences, "ROOT", tmp_path)
    (tmp_path / "page.md").write_text(PAGE, encoding="utf-8")
    assert [*of_page(tmp_path / "page.md", "en")] == [
        ("page.md", 3, "One thought a sentence."),
        ("page.md", 3, "`harvester run` writes what it has (see [the page])."),
        ("page.md", 10, "An item has its own line."),
        ("page.md", 12, "a heading of a table"),
        ("page.md", 14, "The first cell has words"),
    ]
    assert [*of_page(tmp_path / "page.md", "zh")] == [("page.md", 12, "中文的句子也有四个词")]


def test_each_parameter_of_a_docstring_is_drawn_by_itself() -> None:
    text = """Faults of requests.

    These are shares, 0 to 1.  busy: the answer has errcode -1; http_500: it has HTTP status 502.
    start, end: the first day and the last day (see: both count).
    """
    assert [*split(text, "en")] == [
        "These are shares, 0 to 1.",
        "busy: the answer has errcode -1;",
        "http_500: it has HTTP status 502.",
        "start, end: the first day and the last day (see: both count).",
    ]


def test_a_chinese_sentence_ends_at_its_mark_and_has_no_blank_of_a_new_line() -> None:
    assert [*split("第一句话是这样的。第二句话在\n  下一行结束；好。", "zh")] == [
        "第一句话是这样的。",
        "第二句话在下一行结束；",
    ]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_seed_repeats_what_it_drew_and_draws_nothing_twice(language: str) -> None:
    found = drawn(50, 1, language, "pages")
    assert found == drawn(50, 1, language, "pages")
    assert found != drawn(50, 2, language, "pages")
    assert len({sentence for _, _, sentence in found}) == 50


@pytest.mark.thorough
@pytest.mark.parametrize("language", ["en", "zh"])
def test_pages_docstrings_and_texts_are_drawn_and_each_is_at_its_place(language: str) -> None:
    found = drawn(10_000, 1, language)
    files = {path for path, _, _ in found}
    if language == "zh":
        assert {"README.zh-CN.md", "docs/zh/sinks.md", "harvester/locale/zh.json"} <= files
    else:
        assert {"README.md", "docs/sinks.md", "harvester/api.py", "harvester/cli/check.py"} <= files
    for path, line, sentence in found:
        rest = (ROOT / path).read_text(encoding="utf-8").split("\n")[line - 1 :]
        [letters, *_] = re.findall("[a-z\u4e00-\u9fff]{2}", sentence)
        assert letters in "\n".join(rest)
