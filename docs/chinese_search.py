"""The search of the Chinese site: each two characters that follow each other are a term.

Rule: Python and JavaScript divide a text alike; the one makes the index, the other reads a query.

Chinese has no spaces.  A dictionary (jieba, which Sphinx uses if it is installed) divides a query
without the words around it, so often otherwise than the page; pairs need none, and find each text
that has all pairs of the query.
"""

from __future__ import annotations

import re
from itertools import pairwise

from sphinx.search import SearchLanguage

_RUN = re.compile(r"[\u4e00-\u9fff]+|[A-Za-z0-9_]+")


class ChineseSearch(SearchLanguage):
    """Words of letters and digits, and pairs of Chinese characters."""

    lang = "zh"
    language_name = "Chinese"
    js_splitter_code = r"""
function splitQuery(query) {
  const terms = [];
  for (const [run] of query.matchAll(/[\u4e00-\u9fff]+|[A-Za-z0-9_]+/g)) {
    if (run[0] < "\u4e00" || run.length === 1) terms.push(run);
    else for (let at = 0; at < run.length - 1; at++) terms.push(run.slice(at, at + 2));
  }
  return terms;
}
"""

    def split(self, input: str) -> list[str]:  # noqa: A002  (its name in Sphinx)
        """The terms of a text."""
        terms: list[str] = []
        for run in _RUN.findall(input):
            if run[0] < "\u4e00" or len(run) == 1:
                terms.append(run)
            else:
                terms += map("".join, pairwise(run))
        return terms
