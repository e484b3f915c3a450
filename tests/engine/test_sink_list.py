"""What a run needs of the list of sinks of its ledger."""

from __future__ import annotations

from pathlib import Path

import pytest

from harvester.engine.sink_list import check_list, holds_records
from harvester.errors import UsageError
from harvester.ledger import SqliteLedger
from tests.builders import counted as batch
from tests.engine.test_refresh import final, in_ledger


def test_a_refusal_names_the_commands_that_change_the_list(tmp_path: Path) -> None:
    ledger = SqliteLedger(tmp_path / "its ledger" / "ledger.sqlite")
    check_list(ledger, {"jsonl:."}, {"jsonl:."})
    with pytest.raises(UsageError) as caught:
        check_list(ledger, {"memory:one", "memory:two"}, {"memory:two", "memory:three"})
    at = f"--out '{tmp_path / 'its ledger'}'"
    assert str(caught.value) == (
        "the sinks of this ledger are memory:one and memory:two, but the sinks of this run are"
        f" memory:three and memory:two; `harvester sink add memory:three {at}` copies the"
        f" stored records into this sink; `harvester sink remove memory:one {at}` removes this sink"
        " from the list"
    )


@pytest.mark.parametrize("records", [0, 1])
def test_a_ledger_of_days_without_records_holds_none(tmp_path: Path, records: int) -> None:
    made = final(batch("2024-01-01", records=records))
    assert in_ledger(tmp_path, holds_records, made) is bool(records)
