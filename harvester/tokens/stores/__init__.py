"""Stores through which programs share the tokens of their accounts.

Rule: one interface (`harvester.tokens.stores.base`), one file for each store.
"""

from __future__ import annotations

from harvester.base.secrets import Secret
from harvester.errors import UsageError
from harvester.texts import say
from harvester.tokens.stores.base import TokenStore
from harvester.tokens.stores.files import FileStore
from harvester.tokens.stores.memory import MemoryStore

__all__ = ["FileStore", "MemoryStore", "TokenStore", "open_store"]


def open_store(spec: str | Secret) -> TokenStore | None:
    """The store that a spec names, None for ``memory``: no sharing.

    ``file:PATH`` (a directory, or a path that ends with a slash: one file per account),
    ``redis://HOST:PORT/DB``, ``rediss://…``.  Raises `UsageError`.
    """
    spec = Secret(spec)  # it may hold a password
    if spec.value == "memory":
        return None
    if spec.value.startswith("file:") and spec.value != "file:":
        return FileStore(spec.value.removeprefix("file:"))
    if spec.value.startswith(("redis:", "rediss:")):
        from harvester.tokens.stores.redis import RedisStore

        return RedisStore(spec)
    shown = say("what was given") if "@" in spec.value else repr(spec.value)
    raise UsageError(
        "token store: {} is unknown; write memory, file:PATH, redis://HOST:PORT/DB, rediss://…",
        shown,
    )
