"""The report page: whether everything is there, what needs attention, and why.

``days`` reads a ledger, ``overview`` sums it up for the page and for ``harvester status``,
``causes`` has what an operator can do; ``charts`` and ``yearly`` read a sink.  ``texts`` has both
languages, ``summary`` the first screen in words, ``drawing`` the paths of the pictures; ``page``
makes the page of them, by the template ``page.html``.
"""

from __future__ import annotations

from harvester.report.overview import Overview, overview
from harvester.report.page import page

__all__ = ["Overview", "overview", "page"]
