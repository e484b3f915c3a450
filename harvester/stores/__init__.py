"""Where the tokens of accounts are shared with the accounts' other programs.

Rule: one promise (`harvester.stores.base`), one file a store; the table of what a spec may name.
"""

from __future__ import annotations

from collections.abc import Callable

from harvester.errors import UsageError
from harvester.model import Hidden
from harvester.stores.base import TokenStore
from harvester.stores.files import FileStore
from harvester.stores.memory import MemoryStore

__all__ = ["FileStore", "MemoryStore", "TokenStore", "open_store"]


def _redis(spec: Hidden) -> TokenStore:
    from harvester.stores.redis import RedisStore

    return RedisStore(spec.value)


_KINDS: dict[str, Callable[[Hidden], TokenStore]] = {
    "file": lambda spec: FileStore(spec.value.removeprefix("file:")),
    "redis": _redis,
    "rediss": _redis,
}


def open_store(spec: str) -> TokenStore | None:
    """The store that a spec names, None for ``memory``: each run for itself.

    ``file:PATH`` (a directory, or a path that ends with a slash: a file an account),
    ``redis://HOST:PORT/DB``, ``rediss://…``.  Raises `UsageError`.
    """
    if spec == "memory":
        return None
    hidden = Hidden(spec)  # it may hold a password, and tracebacks can be shown with locals
    del spec
    kind, colon = hidden.value.partition(":")[:2]
    if kind in _KINDS and colon and hidden.value != f"{kind}:":
        return _KINDS[kind](hidden)
    shown = "what was given" if "@" in hidden.value else repr(hidden.value)
    raise UsageError(
        f"token store: {shown} is not one; these are known: memory, file:PATH,"
        " redis://HOST:PORT/DB, rediss://…"
    )
