"""From a path or a spec to a ledger."""

from __future__ import annotations

from pathlib import Path

import pytest

from harvester.base.secrets import Secret
from harvester.errors import UsageError
from harvester.ledger import PostgresLedger, SqliteLedger, open_ledger, place_of, shared

URL = "postgresql://user:s3cret@host/db"


def test_a_path_is_a_file_and_a_url_a_shared_ledger(tmp_path: Path) -> None:
    file = tmp_path / "x.sqlite"
    for given in (file, str(file), f"sqlite:{file}"):
        ledger = open_ledger(given)
        assert isinstance(ledger, SqliteLedger)
        assert place_of(ledger) == file
        assert shared(ledger) is None
    ledger = open_ledger(Secret(URL))
    assert isinstance(ledger, PostgresLedger)
    assert shared(ledger) is ledger
    assert "s3cret" not in f"{ledger!r} {place_of(ledger)}"
    assert place_of(None) is None


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("postgres://u:s3cret@h/db", r"postgres://… is not a ledger \(did you mean postgresql\?\)"),
        ("sqlite:x?mode=ro", "write it as sqlite:FILE"),
        ("sqlite:", "write it as sqlite:FILE"),
        ("", "its path is empty"),
        ("no/such/folder/x.sqlite", "there is no directory"),
    ],
)
def test_what_is_no_ledger_is_refused_without_its_password(given: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        open_ledger(given)
    assert "s3cret" not in str(caught.value)
