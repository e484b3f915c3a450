"""The sheet *charts* of a workbook: followers, readers and articles at a glance.

Rule: figures are noted as the rows of tables pass by, an entry a month, a day, a source or an
article; the sheet has them beside the charts that show them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import date
from typing import Any, NamedTuple

from harvester.wechat.labels import SCENES

SHEET = {"en": "charts", "zh": "图表"}
BEST = 20
_SHOWN = 40
_TEXTS = {
    "en": (
        "Followers at the end of the month", "Readers by day",
        "Readers by source (sum over the days)",
        "The 20 most read articles: readers in at most 30 days", "Month", "Followers", "Day",
        "Readers", "Source", "Article",
        "With several accounts, figures are sums: a reader of two accounts counts twice.",
    ),
    "zh": (
        "月末关注人数", "每日阅读人数", "各来源阅读人数（各日相加）",
        "阅读最多的 20 篇文章（最多 30 天）", "月份", "关注人数", "日期", "阅读人数", "来源",
        "文章",
        "多个公众号的数值相加：同时阅读两个公众号的人计两次。",
    ),
}  # fmt: skip
_LEFT = 14
"""The first column with figures: the charts are before it."""
_HEIGHT, _WIDTH = 20, 780
"""Rows that a chart takes, and its width in pixels."""
_A4 = 9


class _Chart(NamedTuple):
    kind: str
    title: str
    heads: tuple[str, str]
    points: Sequence[tuple[Any, int]]


class Charts:
    """The figures of the charts, noted while tables are written; language: of their texts."""

    def __init__(self, language: str) -> None:
        self._language = language
        self._followers: dict[str, dict[str, int]] = {}
        self._readers: dict[date, int] = {}
        self._sources: dict[str, int] = {}
        self._best: dict[tuple[str, str], int] = {}
        self._titles: dict[tuple[str, str], str] = {}
        self._notes: dict[str, tuple[Callable[[list[Any]], None], str]] = {
            "getusercumulate": (self._note_followers, "_appid ref_date cumulate_user"),
            "getbizsummary": (self._note_readers, "ref_date detail_read_user"),
            "getbizsummary_detail_read_user_source": (
                self._note_sources,
                "scene_desc user_count",
            ),
            "article_totals": (self._note_totals, "_appid msgid read_user"),
            "articles": (self._note_titles, "_appid msgid title"),
        }

    def note(self, table: str, rows: Any) -> None:
        """Note rows of a table, which come by account and day."""
        if table in self._notes:
            note, names = self._notes[table]
            columns = [rows[name].to_pylist() for name in names.split()]
            note([row for row in zip(*columns, strict=True) if None not in row])

    def _note_followers(self, rows: Iterable[tuple[str, date, int]]) -> None:
        for appid, day, followers in rows:  # the last day of a month stays
            self._followers.setdefault(f"{day:%Y-%m}", {})[appid] = followers

    def _note_readers(self, rows: Iterable[tuple[date, int]]) -> None:
        for day, readers in rows:
            self._readers[day] = self._readers.get(day, 0) + readers

    def _note_sources(self, rows: Iterable[tuple[str, int]]) -> None:
        for source, readers in rows:
            if source != SCENES[0].value:
                self._sources[source] = self._sources.get(source, 0) + readers

    def _note_totals(self, rows: Iterable[tuple[str, str, int]]) -> None:
        for appid, msgid, readers in rows:
            key = appid, msgid
            self._best[key] = max(self._best.get(key, 0), readers)

    def _note_titles(self, rows: Iterable[tuple[str, str, str]]) -> None:
        for appid, msgid, title in rows:
            self._titles[appid, msgid] = title

    def _made(self) -> list[_Chart]:
        texts = _TEXTS[self._language]
        followers, daily, sources, best, month, people, day, readers, source, article, _ = texts
        labels = {code.value: getattr(code, self._language) for code in SCENES}
        by_source = sorted(self._sources.items(), key=lambda each: -each[1])
        most = sorted(self._best.items(), key=lambda each: (-each[1], each[0]))[:BEST]
        titled = [(self._titles.get(key, key[1]), number) for key, number in most]
        found = (
            _Chart("column", followers, (month, people), [
                (name, sum(each.values())) for name, each in sorted(self._followers.items())
            ]),
            _Chart("line", daily, (day, readers), sorted(self._readers.items())),
            _Chart("bar", sources, (source, readers), [
                (labels.get(name, name), number) for name, number in by_source
            ]),
            _Chart("bar", best, (article, readers), [
                (title if len(title) <= _SHOWN else f"{title[: _SHOWN - 1]}…", number)
                for title, number in titled
            ]),
        )  # fmt: skip
        return [chart for chart in found if chart.points]

    def write(self, book: Any, name: str, formats: Any, heading: Any) -> None:
        charts = self._made()
        if not charts:
            return
        sheet = book.add_worksheet(name)
        sheet.hide_gridlines(2)
        print_wide(sheet)
        for row in range(1 + max(len(chart.points) for chart in charts)):  # rows come in order
            if row == 0:
                sheet.write_string(0, 0, _TEXTS[self._language][-1])
            for place, chart in enumerate(charts):
                self._put(sheet, row, _LEFT + 3 * place, chart, formats, heading)
        for place, chart in enumerate(charts):
            column = _LEFT + 3 * place
            sheet.set_column(column, column, 40 if chart is charts[-1] and self._best else 14)
            sheet.insert_chart(1 + _HEIGHT * place, 0, self._drawn(book, name, chart, column))

    @staticmethod
    def _put(sheet: Any, row: int, column: int, chart: _Chart, formats: Any, heading: Any) -> None:
        if row == 0:
            for beside, head in enumerate(chart.heads):
                sheet.write_string(0, column + beside, head, heading)
        elif row <= len(chart.points):
            what, number = chart.points[row - 1]
            if isinstance(what, date):
                sheet.write_datetime(row, column, what, formats["date"])
            else:
                sheet.write_string(row, column, what)
            sheet.write_number(row, column + 1, number, formats["count"])

    @staticmethod
    def _drawn(book: Any, name: str, chart: _Chart, column: int) -> Any:
        made = book.add_chart({"type": chart.kind})
        last = len(chart.points)
        made.add_series(
            {
                "name": chart.title,
                "categories": [name, 1, column, last, column],
                "values": [name, 1, column + 1, last, column + 1],
                "gap": 40,
            }
        )
        made.set_title({"name": chart.title, "name_font": {"size": 12}})
        made.set_legend({"none": True})
        made.set_size({"width": _WIDTH, "height": 20 * (_HEIGHT - 1)})
        values = {"num_format": "#,##0", "min": 0, "major_gridlines": {"visible": True}}
        if chart.kind == "bar":  # the first point is on top
            made.set_x_axis(values)
            made.set_y_axis({"reverse": True})
        else:
            made.set_y_axis(values)
            dates = {"date_axis": True, "num_format": "yyyy-mm-dd"} if chart.kind == "line" else {}
            made.set_x_axis(dates)
        return made


def print_wide(sheet: Any) -> None:
    """Print a sheet in landscape, a page wide, with its heads on each page."""
    sheet.set_landscape()
    sheet.set_paper(_A4)
    sheet.fit_to_pages(1, 0)
    sheet.repeat_rows(0)
