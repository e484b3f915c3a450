"""A program of its own that sends an S3-compatible store the requests of an export.

Rule: nothing but pyarrow and the standard library; one answer to each call, both pickled.

The library cannot end a request, and waits for it as a program exits.  A process of its own can be
killed at any time; with it ends what it was sending.  An object of up to 8 MiB is put by one
request.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import sys
from typing import Any

from pyarrow import fs

_TIMEOUT = 60.0
"""Seconds that one try of a request may take without an answer."""
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
            with self._system.open_input_stream(name) as file:
                return bytes(file.read())
        except FileNotFoundError:
            return None

    def put(self, name: str, data: bytes) -> None:
        """Replace an object."""
        with self._system.open_output_stream(name) as out:
            out.write(data)

    def listed(self, folder: str) -> list[str]:
        """What is in a folder."""
        selector = fs.FileSelector(folder, allow_not_found=True)
        return [each.path for each in self._system.get_file_info(selector)]

    def has_bucket(self, name: str) -> bool:
        """Whether there is such a bucket."""
        return bool(self._system.get_file_info(name).type != fs.FileType.NotFound)

    def remove(self, name: str) -> None:
        """Remove an object, if there is one."""
        with contextlib.suppress(FileNotFoundError):
            self._system.delete_file(name)


def main() -> None:
    """Read the options of the store and then calls from standard input, and print the answers.

    A call is the name of a method and its arguments; an answer is what it returns and an error,
    which is a text, empty if there is none.
    """
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
