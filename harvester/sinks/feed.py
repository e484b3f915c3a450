"""What the feeds have in common: a stable id for each record.

Rule: pure; nothing is sent here.

A feed cannot revoke what it has sent.  So it sends whole windows, at least once, and a changed
window again as a whole with a later version.  A record's id is
``<account>/<interface>/<first day>/<last day>/<number>``: its window, and its number in the window,
from 1.  It is the same however often the window is sent.
"""

from __future__ import annotations

from collections.abc import Iterator

from harvester.model import Batch, Window


def record_id(window: Window, number: int) -> str:
    """The id of a record; number 0 stands for a window without records."""
    return f"{window.appid}/{window.endpoint}/{window.begin}/{window.end}/{number}"


def lines_with_ids(batch: Batch) -> Iterator[tuple[str, bytes]]:
    """The id and the line of each record; the line without its end."""
    begin = record_id(batch.window, 0)[:-1]
    for number, line in enumerate(batch.lines().split(b"\n")[:-1], 1):
        yield f"{begin}{number}", line
