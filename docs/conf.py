"""The documentation site: one configuration for the pages in English and for those in Chinese.

CONTRIBUTING.md has the command.  The Chinese site is built from ``zh`` into the folder ``zh`` of
the English one, so that links between them stay relative.

Rule: the pages are written for a reader of the repository.  What a site needs besides (the
navigation, the generated parts, links that leave the site) is made from them here.
"""

from __future__ import annotations

import os
import re
import sys
import tomllib
from pathlib import Path

from sphinx.application import Sphinx

DOCS = Path(__file__).parent
ROOT = DOCS.parent
sys.path[:0] = [str(DOCS), str(ROOT)]

from chinese_search import ChineseSearch  # noqa: E402
from reference import GENERATED, as_rst  # noqa: E402

import harvester  # noqa: E402

SOURCE = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["urls"]["Source"]

project = "harvester"
author = copyright = "The harvester authors"  # noqa: A001  (the name that Sphinx reads)
release = version = harvester.__version__
language = "en"
html_title = f"harvester {release}"
html_theme = "furo"
html_copy_source = False
smartquotes = False  # it makes a dash of the two signs before an option
exclude_patterns = ["zh/*"]
suppress_warnings = ["myst.header"]  # a Chinese page may begin with its switch of the language

extensions = ["myst_parser", "sphinx.ext.autodoc"]
myst_heading_anchors = 4
myst_enable_extensions = ["deflist"]
myst_url_schemes = {"http": None, "https": None, "mailto": None, "out": {"url": "{{path}}"}}
default_role = "py:obj"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
autodoc_type_aliases = {"Observer": "Observer", "Event": "Event"}
python_use_unqualified_type_names = True

_ALIAS = re.compile(r"TypeAliasForwardRef\('(\w+)'\)")
_LINK = re.compile(r"\[([^\]]*)\]\((?!https?:|mailto:|#)([^)\s]+)\)")
_CODE = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)
_HAN = r"[\u3000-\u303f\u4e00-\u9fff\uff00-\uff5e]"
_JOINT = re.compile(rf"(?<={_HAN})\n *(?={_HAN})")
"""The end of a line within a Chinese sentence, which a browser would show as a space."""
_PART = re.compile(r"^<!-- generated: ([\w-]+) -->$", re.MULTILINE)
_SECTION = re.compile(r"^## (.+)$", re.MULTILINE)
_PAGE = re.compile(r"\]\(([\w-]+)\.md\)")


def _link(text: str, target: str, page: Path, source: Path) -> str:
    """A link of a page as the site has it; one whose text is a file's name has the page's title."""
    path, mark, anchor = target.partition("#")
    place = Path(os.path.normpath(page.parent / path))
    if place.is_relative_to(source) and not place.is_relative_to(source / "zh"):
        return f"[{'' if text == path else text}]({target})"
    if place.is_relative_to(DOCS) and place.suffix == ".md":  # a page in the other language
        return f"[{text}](out:{path.removesuffix('.md')}.html{mark}{anchor})"
    kind = "tree" if place.is_dir() else "blob"
    return f"[{text}]({SOURCE}/{kind}/main/{place.relative_to(ROOT)}{mark}{anchor})"


def _prose(text: str, page: Path, source: Path) -> str:
    """A text without blocks of code as the site has it."""
    linked = _LINK.sub(lambda found: _link(found[1], found[2], page, source), text)
    return _JOINT.sub("", linked)


def _navigation(text: str) -> str:
    """A hidden toctree for each section of the page of contents that links pages."""
    titles = _SECTION.split(text)[1:]
    made = []
    for title, section in zip(titles[::2], titles[1::2], strict=True):
        pages = "\n".join(dict.fromkeys(_PAGE.findall(section)))
        if pages:
            made.append(f"```{{toctree}}\n:hidden:\n:caption: {title}\n\n{pages}\n```")
    return "\n\n".join([text, *made])


def _read(app: Sphinx, name: str, source: list[str]) -> None:
    """Complete the text of a page before it is parsed."""
    page = Path(app.env.doc2path(name))
    parts = _CODE.split(source[0])
    parts[::2] = [_prose(part, page, Path(app.srcdir)) for part in parts[::2]]
    text = "".join(parts)
    if name == "index":
        text = _navigation(text)
    chinese = app.config.language.startswith("zh")
    source[0] = _PART.sub(lambda found: GENERATED[found[1]](chinese=chinese), text)


def _docstring(
    app: Sphinx, kind: str, name: str, obj: object, options: object, lines: list[str]
) -> None:
    lines[:] = as_rst(lines)


def _signature(
    app: Sphinx, kind: str, name: str, obj: object, options: object, given: str, returned: str
) -> tuple[str | None, str | None]:
    """Show the name of an alias of a type."""
    shown = [each and _ALIAS.sub(r"\1", each) for each in (given, returned)]
    return shown[0], shown[1]


def _skip(
    app: Sphinx, kind: str, name: str, obj: object, skip: bool, options: object
) -> bool | None:
    """Leave out the fields of a named tuple: its docstring describes them, they have none."""
    return True if type(obj).__name__ == "_tuplegetter" else None


def _for_models(app: Sphinx, problem: Exception | None) -> None:
    """Write llms.txt, whose links lead to the pages of the site."""
    if problem is None and app.srcdir == DOCS and app.builder.name == "html":
        text = (DOCS / "llms.txt").read_text("utf-8")
        Path(app.outdir, "llms.txt").write_text(text.replace(".md)", ".html)"), "utf-8")


def setup(app: Sphinx) -> None:
    """Connect the site's own parts."""
    app.add_search_language(ChineseSearch)
    app.connect("source-read", _read)
    app.connect("autodoc-process-docstring", _docstring)
    app.connect("autodoc-process-signature", _signature)
    app.connect("autodoc-skip-member", _skip)
    app.connect("build-finished", _for_models)
