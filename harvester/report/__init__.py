"""The report page: whether everything is there, what needs attention, and why.

``data`` reads a ledger, ``figures`` a sink, ``causes`` says what an operator can do, ``words`` has
both languages, ``page`` is a pure function from data to text, by the template ``page.html``.
"""

from __future__ import annotations

from harvester.report.data import Overview, overview
from harvester.report.page import page

__all__ = ["Overview", "overview", "page"]
