"""Two interfaces of your own: lists of the account's articles, with title, link and msgid.

    [project.entry-points."harvester.endpoints"]
    published_articles = "article_lists:PUBLISHED"
    article_materials = "article_lists:MATERIALS"

With these lines in the ``pyproject.toml`` of an installed package that has this file, the command
knows both: ``harvester run article_lists --start yesterday --end yesterday``.  A program passes
them as they are: ``harvester.run(account, PUBLISHED, "yesterday", "yesterday")``.

- ``published_articles``: what was published without a notice to followers, and not mass-sent.
- ``article_materials``: permanent materials, among them articles that were mass-sent until 2021.

WeChat answers with the list of now.  It is stored as of yesterday, as a whole: the rows of the
newest ``_begin_date`` are the list.  ``msgid`` joins them with ``article_days``; it is missing
where the link has no ``mid`` and ``idx``.

It has not run against WeChat.  Unsure: whether the link of a material has the mid of the message
that was sent later; whether a page behind the end, which is asked for after a full one, has an
empty ``item`` (without ``item`` the window fails).  An item that is published or deleted while the
pages are read moves the others: one is there twice, or is missing until the next list.
"""

import json
from datetime import date
from typing import Any
from urllib.parse import parse_qs, urlsplit

import harvester


class ArticleList(harvester.JsonEndpoint):
    """A list in pages of ``count`` items, 1 to 20; an item has one or more articles."""

    def request(
        self, window: harvester.Window, token: harvester.Token, page: int = 1
    ) -> harvester.Request:
        """A POST for one page; the window is of no importance to it."""
        asked = {"offset": (page - 1) * self.body["count"], **self.body}
        return harvester.Request("POST", self.path, token.query, json.dumps(asked).encode())

    def verdict(self, response: harvester.Response, window: harvester.Window) -> harvester.Verdict:
        """DONE with a record for each article; a full page is not the last one."""
        found = super().verdict(response, window)
        try:
            articles = [article for item in found.records for article in articles_of(item)]
        except (AttributeError, KeyError, TypeError, ValueError):
            return harvester.Verdict(harvester.Action.RETRY, "an item is not a list of articles")
        return found._replace(records=articles, more=len(found.records) == self.body["count"])


def articles_of(item: dict[str, Any]) -> list[dict[str, Any]]:
    """The articles of an item, without their text."""
    return [
        {**without_content(item), **msgid_in(article.get("url") or ""), **without_content(article)}
        for article in item["content"]["news_item"]
    ]


def without_content(found: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in found.items() if name != "content"}


def msgid_in(link: str) -> dict[str, str]:
    """The msgid of the statistics: the message of the link, and its place in it from 1 on."""
    query = parse_qs(urlsplit(link).query)
    return {"msgid": f"{query['mid'][0]}_{query['idx'][0]}"} if {"mid", "idx"} <= {*query} else {}


def article_list(name: str, path: str, title: str, body: dict[str, Any], key: str) -> ArticleList:
    return ArticleList(
        name,
        path,
        date(2020, 1, 1),
        settled_hour=0,  # the list of now
        cut=harvester.WindowKind.RECENT,
        group="article_lists",
        title=title,
        body=body,
        rows="item",
        day_field="",
        fields=(
            harvester.Field(key, "str", "of the item that the article is in"),
            harvester.Field("msgid", "str", "as in the statistics, from the link"),
            harvester.Field("title", "str", "of the article"),
            harvester.Field("url", "str", "its link"),
            harvester.Field("is_deleted", "bool", "the article was deleted"),
            harvester.Field("update_time", "int", "Unix time of the item's last change"),
        ),
    )


PUBLISHED = article_list(
    "published_articles",
    "/cgi-bin/freepublish/batchget",
    "articles that were published without a notice",
    {"count": 20, "no_content": 1},
    "article_id",
)
MATERIALS = article_list(
    "article_materials",
    "/cgi-bin/material/batchget_material",
    "articles among the permanent materials",
    {"count": 10, "type": "news"},  # answered with the text of each article
    "media_id",
)
