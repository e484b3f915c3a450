"""A program of its own that sends an S3-compatible store the requests of an export.

Rule: nothing but pyarrow and the standard library; one answer to each call, both pickled.

The library cannot end a request, and waits for it as a program exits.  A process of its own can be
killed at any time; with it ends what it was sending.  It ends by itself with its parent, in the
middle of a call too: else a put of an export that was killed could arrive after the next export.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

from pyarrow import fs

_TIMEOUT = 60.0
"""Seconds that one try of a request may take without an answer."""
_LOOK = 0.05
_NO_WORDS = "No response body"
_NO_TRAILERS = {
    "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
    "AWS_RESPONSE_CHECKSUM_VALIDATION": "when_required",
}
"""Trailing checksums in chunks, the default of AWS's library, are refused by other stores.

The library reads these variables, and has no other setting for this.
"""


class Store:
    """A store; the names of objects begin with their bucket."""

    def __init__(self, options: dict[str, Any]) -> None:
        os.environ.update({**_NO_TRAILERS, **os.environ})
        self._system = fs.S3FileSystem(
            **options,
            allow_delayed_open=True,
            background_writes=False,
            request_timeout=_TIMEOUT,
            connect_timeout=_TIMEOUT,
        )

    def get(self, name: str) -> bytes | None:
        """The content of an object; None if there is none."""
        try:
            with self._in_words(name), self._system.open_input_stream(name) as file:
                return bytes(file.read())
        except FileNotFoundError:
            return None

    def put(self, name: str, data: bytes) -> None:
        with self._system.open_output_stream(name) as out:
            out.write(data)

    def listed(self, folder: str) -> list[str]:
        selector = fs.FileSelector(folder, allow_not_found=True)
        return [each.path for each in self._system.get_file_info(selector)]

    def has_bucket(self, name: str) -> bool:
        with self._in_words(name):
            return bool(self._system.get_file_info(name).type != fs.FileType.NotFound)

    def remove(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError), self._in_words(name):
            self._system.delete_file(name)

    @contextlib.contextmanager
    def _in_words(self, name: str) -> Iterator[None]:
        """Say why the store refuses something: an answer to a HEAD has no words, one to a GET has.

        The GET is a list, since the library begins every other one with a HEAD.
        """
        try:
            yield
        except OSError as exc:
            if _NO_WORDS in str(exc):
                self.listed(os.path.dirname(name) or name)
            raise


def _end_with(parent: int) -> None:
    """End this process once its parent has ended: then it has another one."""
    while os.getppid() == parent:
        time.sleep(_LOOK)
    os._exit(1)


def main() -> None:
    """Read the options and then calls (method, arguments); print answers (result, error text)."""
    threading.Thread(target=_end_with, args=[os.getppid()], daemon=True).start()
    calls, answers = sys.stdin.buffer, os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # the library may print
    store: Store | None = None
    while True:
        try:
            method, arguments = pickle.load(calls)
        except EOFError:
            return
        value, error = None, ""
        try:
            if store is None:
                store = Store(arguments)
            else:
                value = getattr(store, method)(*arguments)
        except Exception as exc:  # noqa: BLE001  (the caller decides)
            error = str(exc) or type(exc).__name__
        pickle.dump((value, error), answers)
        answers.flush()


if __name__ == "__main__":
    main()
