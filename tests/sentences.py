"""Sentences of the documentation and the program, drawn by chance, for somebody to judge.

    python -m tests.sentences --count 100 --seed 1                 # of everything in English
    python -m tests.sentences --count 100 --seed 1 --from pages    # of README and docs/ alone
    python -m tests.sentences --count 100 --seed 1 --language zh

Each has its place before it.  A seed gives the same sentences as long as nobody changes a text.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import random
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import harvester
import harvester.testing
from harvester.base.chinese import CATALOGUE
from tests.support import ROOT
from tests.texts import HAN, PACKAGE, catalogue, constants, found, paragraphs, plain, text_of

Sentence = tuple[str, int, str]
"""The file, the line at which the text begins, and the sentence."""

ENTRY = r"\*{0,2}[a-z_]\w*(?:, \*{0,2}[a-z_]\w*)*: "
"""The beginning of a parameter's description: an item of its own on the API page."""
END = re.compile(
    r"(?:(?<=[.!?])|(?<=[.!?]\)))\s+(?=[A-Z(\[`*“])|(?<=[。！？；])|\n\s*\n"
    rf"|(?<=[.;])\s+(?={ENTRY})"
)
NO_PROSE = re.compile(r"^(```.*?^```|<!--.*?-->|#+ .*?|\|[ |:-]+\|)$", re.MULTILINE | re.DOTALL)
BEGINS = re.compile(r"\s*([-*] |\d+\. |\||$)")
LINK = re.compile(r"\]\([^)]*\)")
NO_WORD = re.compile(r"`[^`]*`|\{\}|[\W\d]")


def split(text: str, language: str) -> Iterator[str]:
    """The sentences of a text in that language: what has four words or more."""
    for each in END.split(text):
        words = " ".join(each.split()).strip("|- ")
        if language == "zh":
            words = re.sub(r"(?<=[，、；：。\u4e00-\u9fff]) (?=[\u4e00-\u9fff])", "", words)
        han, latin = len(HAN.findall(words)), len(NO_WORD.sub(" ", words).split())
        if han >= 6 if language == "zh" else not han and latin >= 4:
            yield LINK.sub("]", words)


def of_page(path: Path, language: str) -> Iterator[Sentence]:
    """The sentences of paragraphs, items and cells, without headings and code."""
    text = path.read_text(encoding="utf-8")
    text = NO_PROSE.sub(lambda match: "\n" * match[0].count("\n"), text)
    blocks = [(1, "")]
    for number, line in enumerate(text.split("\n"), 1):
        if BEGINS.match(line) or not blocks[-1][1].strip():
            cells = line.split("|") if line.lstrip().startswith("|") else [line]
            blocks += [(number, each) for each in cells]
        else:
            blocks[-1] = (blocks[-1][0], f"{blocks[-1][1]}\n{line}")
    for number, block in blocks:
        for each in split(block, language):
            yield str(path.relative_to(ROOT)), number, each


def pages(language: str) -> Iterator[Sentence]:
    """The sentences of README and of docs/."""
    chinese = language == "zh"
    folder = ROOT / "docs" / ("zh" if chinese else "")
    for path in (ROOT / ("README.zh-CN.md" if chinese else "README.md"), *folder.glob("*.md")):
        yield from of_page(path, language)


def docstrings(language: str) -> Iterator[Sentence]:
    """Those of public names, their public methods and their fields."""
    for package in (harvester, harvester.testing):
        for name in package.__all__:
            made = getattr(package, name)
            if inspect.isclass(made) or inspect.isfunction(made):
                path = Path(inspect.getsourcefile(made) or "")
                for node in ast.parse(path.read_text(encoding="utf-8")).body:
                    if getattr(node, "name", None) == made.__name__:
                        yield from of_node(node, path, language)


def of_node(node: ast.AST, path: Path, language: str) -> Iterator[Sentence]:
    for each in ast.iter_child_nodes(node):
        if isinstance(each, ast.Expr) and isinstance(each.value, ast.Constant):
            if isinstance(each.value.value, str):
                for sentence in split(each.value.value, language):
                    yield str(path.relative_to(ROOT)), each.lineno, sentence
        elif not getattr(each, "name", "_").startswith("_"):
            yield from of_node(each, path, language)


def texts(language: str) -> Iterator[Sentence]:
    """The sentences of messages and of `--help`."""
    if language == "zh":
        for number, chinese in enumerate(catalogue().values(), 2):
            for each in split(chinese, language):
                yield str(CATALOGUE.relative_to(ROOT)), number, each
        return
    for template, modules in found().templates.items():
        for module in sorted(modules - {"elsewhere"})[:1]:
            for each in split(template, language):
                yield f"harvester/{module}", lines(PACKAGE / module).get(template, 1), each


@cache
def lines(path: Path) -> dict[str, int]:
    """The line of each text of a module; one that is put together of parts has none."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names, known = constants(tree, {}), dict[str, int]()
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant | ast.JoinedStr) and (text := text_of(node, names)):
            for each in (plain(text), *paragraphs(inspect.cleandoc(text))):
                known.setdefault(each, node.lineno)
    return known


SOURCES: dict[str, Callable[[str], Iterator[Sentence]]] = {
    each.__name__: each for each in (pages, docstrings, texts)
}


def drawn(count: int, seed: int, language: str = "en", source: str = "") -> list[Sentence]:
    """That many different sentences, the same for the same seed."""
    sources = [SOURCES[source]] if source else SOURCES.values()
    every = sorted({each for one in sources for each in one(language)}, reverse=True)
    different = {
        sentence: (path, line) for path, line, sentence in every
    }  # the first place of each
    chosen = random.Random(seed).sample(sorted(different), min(count, len(different)))
    return [(*different[each], each) for each in chosen]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--language", choices=["en", "zh"], default="en")
    parser.add_argument("--from", dest="source", choices=SOURCES, default="")
    options = parser.parse_args()
    for path, line, sentence in drawn(
        options.count, options.seed, options.language, options.source
    ):
        print(f"{path}:{line}  {sentence}")
