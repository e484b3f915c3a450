"""From a spec to a store."""

from __future__ import annotations

from pathlib import Path

import pytest

from harvester.errors import UsageError
from harvester.stores import FileStore, open_store
from harvester.stores.redis import RedisStore


def test_memory_is_no_store_at_all() -> None:
    assert open_store("memory") is None


def test_the_kinds_are_told_by_what_stands_before_the_colon(tmp_path: Path) -> None:
    assert isinstance(open_store(f"file:{tmp_path}/t"), FileStore)
    assert isinstance(open_store("redis://h:1/0"), RedisStore)
    assert isinstance(open_store("rediss://h:1/0"), RedisStore)


@pytest.mark.parametrize("spec", ["", "file", "file:", "nowhere", "etcd://h", "redis", "memory:x"])
def test_what_is_unknown_is_told_what_is_known(spec: str) -> None:
    with pytest.raises(UsageError, match=r"these are known: memory, file:PATH, redis://HOST") as at:
        open_store(spec)
    assert repr(spec) in str(at.value)


def test_a_password_is_not_shown_even_of_an_unknown_kind() -> None:
    with pytest.raises(UsageError) as caught:
        open_store("redi://u:p4ssw0rd@h")
    assert "p4ssw0rd" not in str(caught.value)
