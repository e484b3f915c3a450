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
        ("parquet:x?region=a", "has no option 'region'; only a bucket has this option"),
        ("parquet:s3://", "names no bucket"),
        ("parquet:s3://key:word@bucket/x", "contains a key"),
        ("parquet:gs://bucket/x", "is a URL of another kind"),
        ("parquet:s3://b/x?secret_key=word", "a key must be a reference: env:NAME or file:PATH"),
        ("parquet:s3://b/x?secret_key=env:", "a key must be a reference: env:NAME or file:PATH"),
        (
            "parquet:s3://b/x?secret_key=env:NOWHERE",
            "access_key and secret_key must be given together",
        ),
        (
            "parquet:s3://b/x?access_key=file:nowhere",
            "access_key and secret_key must be given together",
        ),
        ("parquet:s3://b/x?endpoint=minio:9000", "?endpoint: minio:9000 is not a URL"),
        ("parquet:s3://b/x?endpoint=http://minio:x", "is not a URL; write it as https://HOST"),
        ("parquet:s3://b/x?endpoint=https://", "is not a URL; write it as https://HOST"),
        ("parquet:s3://b/../x", "contains an empty part, . or .."),
        ("parquet:s3://../b", "contains an empty part, . or .."),
        ("parquet:s3://b/./x", "contains an empty part, . or .."),
        ("parquet:s3://b//x", "contains an empty part, . or .."),
        ("parquet:s3://b/x//", "contains an empty part, . or .."),
        ("parquet:s3:///b/x", "contains an empty part, . or .."),
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


def test_keys_are_read_where_the_target_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOWHERE", raising=False)
    target = open_target("parquet:s3://b/x?access_key=env:NOWHERE&secret_key=env:NOWHERE")
    with pytest.raises(UsageError, match="the environment variable NOWHERE is not set"):
        target.check()
    monkeypatch.setenv("NOWHERE", "word")
    target.check()


def test_the_endpoint_of_the_environment_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "minio:9000")
    open_target("parquet:s3://b/x?endpoint=http://minio:9000").check()
    target = open_target("parquet:s3://b/x")
    with pytest.raises(UsageError, match="AWS_ENDPOINT_URL: minio:9000 is not a URL"):
        target.check()
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://minio:9000")
    target.check()
