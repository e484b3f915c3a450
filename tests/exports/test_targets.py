"""From a spec to a target."""

from __future__ import annotations

import pytest

from harvester.errors import UsageError
from harvester.exports.targets import open_target


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("sqlite:x.db", "'sqlite' is not a kind of export"),
        ("parquet:", "write it as parquet:DIR"),
        ("parquet:x?region=a", "has no option 'region'; it is one of a bucket"),
        ("parquet:s3://", "names no bucket"),
        ("parquet:s3://key:word@bucket/x", "has a key in it"),
        ("parquet:gs://bucket/x", "is a URL of another kind"),
        ("parquet:s3://b/x?secret_key=word", "a key is a reference: env:NAME or file:PATH"),
        ("parquet:x?shape=round", "expected nested or flat"),
        ("parquet:x?header=zh", "no option 'header'"),
        ("csv:s3://bucket/x", "is a URL, not a path"),
        ("postgresql://user:word@host/db", "is not a kind of export"),
        ("x", "is not a kind of export"),
    ],
)
def test_a_wrong_spec_is_refused(spec: str, said: str) -> None:
    with pytest.raises(UsageError) as raised:
        open_target(spec)
    assert said in str(raised.value)
    assert "word" not in str(raised.value)
