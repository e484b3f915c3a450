"""Stretches of days in one state: as rows, and one laid beside or over those that it touches."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date
from sqlite3 import Connection

from harvester import coverage
from harvester.coverage import Stretch
from harvester.ledger.tables import Key, rows_of
from harvester.model import Window
from harvester.plan import ONE_DAY, Days

_NEIGHBOURS = """
SELECT first_day, last_day, state, records, checksum, empty, detail FROM stretch
WHERE sink = :sink AND appid = :appid AND endpoint = :endpoint
  AND first_day <= :after
  AND first_day >= coalesce((
      SELECT max(first_day) FROM stretch
      WHERE sink = :sink AND appid = :appid AND endpoint = :endpoint AND first_day <= :before
  ), '')
ORDER BY first_day
"""


def done(database: Connection, sink: str) -> dict[Key, list[Days]]:
    """For each account and interface the harvested stretches, in order."""
    found: dict[Key, list[Days]] = defaultdict(list)
    for appid, endpoint, first, last in rows_of(
        database,
        "SELECT appid, endpoint, first_day, last_day FROM stretch"
        " WHERE sink = ? AND state = 'done' ORDER BY appid, endpoint, first_day",
        sink,
    ):
        found[appid, endpoint].append((date.fromisoformat(first), date.fromisoformat(last)))
    return found


def stretches(database: Connection, sink: str) -> dict[Key, list[Stretch]]:
    """Everything that is known of a sink, by account and interface, in order."""
    found: dict[Key, list[Stretch]] = defaultdict(list)
    for appid, endpoint, *row in rows_of(
        database,
        "SELECT appid, endpoint, first_day, last_day, state, records, checksum, empty, detail"
        " FROM stretch WHERE sink = ? ORDER BY appid, endpoint, first_day",
        sink,
    ):
        found[appid, endpoint].append(_stretch(row))
    return found


def lay(database: Connection, sink: str, by_key: Mapping[Key, Sequence[Stretch]]) -> None:
    """Lay what came, in its order, over what is stored."""
    changed = _Changed(database, sink)
    for key, came in by_key.items():
        pieces = coverage.together(came)
        for piece in pieces:
            changed.note(key, piece)
            if len(pieces) > 1:  # the next one may touch what this one has changed
                changed.write()
    changed.write()


class _Changed:
    """The rows that come and go, written together."""

    def __init__(self, database: Connection, sink: str) -> None:
        self._database = database
        self._sink = sink
        self._gone: list[tuple[object, ...]] = []
        self._came: list[tuple[object, ...]] = []

    def note(self, key: Key, new: Stretch) -> None:
        place = {
            "sink": self._sink,
            "appid": key[0],
            "endpoint": key[1],
            "before": str(new.begin - ONE_DAY),
            "after": str(new.end + ONE_DAY),
        }
        touched = [_stretch(row) for row in self._database.execute(_NEIGHBOURS, place)]
        touched = [old for old in touched if old.end + ONE_DAY >= new.begin]
        after = coverage.lay(touched, new)
        begins = [each.begin for each in after]
        self._gone += [
            (self._sink, *key, str(old.begin)) for old in touched if old.begin not in begins
        ]
        self._came += [(self._sink, *key, *_row(stretch)) for stretch in after]

    def write(self) -> None:
        self._database.executemany(
            "DELETE FROM stretch WHERE sink = ? AND appid = ? AND endpoint = ? AND first_day = ?",
            self._gone,
        )
        self._database.executemany(
            "INSERT OR REPLACE INTO stretch VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", self._came
        )
        self._gone.clear()
        self._came.clear()


def counted(database: Connection, sink: str, window: Window) -> bool:
    """Whether this ledger's figures hold the window: a sink may have had it from elsewhere."""
    return bool(
        database.execute(
            "SELECT 1 FROM stretch WHERE sink = ? AND appid = ? AND endpoint = ?"
            " AND state = 'done' AND first_day <= ? AND last_day >= ?",
            (sink, window.appid, window.endpoint, str(window.end), str(window.begin)),
        ).fetchone()
    )


def _stretch(row: Sequence[object]) -> Stretch:
    first, last, state, records, checksum, empty, detail = row
    return Stretch(
        date.fromisoformat(str(first)),
        date.fromisoformat(str(last)),
        str(state),
        int(str(records)),
        int(str(checksum)),
        int.from_bytes(empty if isinstance(empty, bytes) else b"", "little"),
        str(detail),
    )


def _row(stretch: Stretch) -> tuple[object, ...]:
    empty = stretch.empty.to_bytes((stretch.empty.bit_length() + 7) // 8, "little")
    return (
        str(stretch.begin),
        str(stretch.end),
        stretch.state,
        stretch.records,
        stretch.checksum,
        empty,
        stretch.detail,
    )
