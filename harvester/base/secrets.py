"""Secrets, URLs that hold a password, and the files that hold either.

Rule: a value is a `Secret` from where it is read to where it is sent; a file that others can read
is refused, and its mode is not changed; no message contains what was read.

An exception may be shown with the local variables of its frames, and a `str` among these with its
value.  So a function that takes a secret as text makes it a `Secret` of the same name on its first
line.
"""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path
from typing import NamedTuple, NoReturn
from urllib.parse import parse_qsl, quote_plus, urlsplit

from harvester.base import files as durable
from harvester.errors import UsageError
from harvester.texts import of_system, say


class Secret:
    """A secret or a token; its value appears in no repr, message, frame or pickle.

    Two are equal if their values are.  Pickling it raises `TypeError`; a deep copy is the same
    object.
    """

    __slots__ = ("value",)

    value: str

    def __init__(self, value: str | Secret) -> None:
        self.value = value.value if isinstance(value, Secret) else value

    def __repr__(self) -> str:
        return "<Secret>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._parts() == other._parts()

    def __hash__(self) -> int:
        return hash(self._parts())

    def _parts(self) -> tuple[object, ...]:
        return (self.value,)

    def __deepcopy__(self, _: object) -> Secret:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"{self!r} is not pickled; pass on where it comes from")

    @property
    def is_text(self) -> bool:
        """Whether it can be encoded: the environment may contain bytes that are not UTF-8."""
        try:
            return bool(self.value.encode())
        except (AttributeError, UnicodeEncodeError):
            return False

    @property
    def is_long(self) -> bool:
        """Whether it is too long to occur in a text by chance."""
        return len(self.value) >= _SHORTEST_TO_CUT

    def cut_from(self, text: str) -> str:
        """The text without the value: an answer may echo it, also partly escaped."""
        if not self.value:
            return text
        value = self.value.encode(errors="replace")
        given = text.encode(errors="replace")
        left = _without(given, value)
        return text if left == given else left.decode(errors="replace")

    def cut_from_body(self, body: bytes) -> bytes:
        """The same for an answer; a value that is short enough to occur by chance is kept."""
        return _without(body, self.value.encode(errors="replace")) if self.is_long else body


_SHORTEST_TO_CUT = 16
"""Characters of a token.  WeChat's have more than a hundred, its secrets 32."""

_CUT = "…".encode()
_LONGEST_ESCAPED = 1 << 16
"""The most bytes of a text in which escapes are searched: an answer with a message is short."""


def _without(text: bytes, value: bytes) -> bytes:
    """The text without a value, also where some of its characters are escaped (URL, JSON)."""
    for form in {value, quote_plus(value).encode()}:
        text = text.replace(form, _CUT)
    if len(text) > _LONGEST_ESCAPED or (b"%" not in text and b"\\" not in text):
        return text
    return re.sub(b"".join(map(_forms, value.decode(errors="replace"))), _CUT, text)


def _forms(char: str) -> bytes:
    """A pattern for a character, plain, percent-encoded or escaped in JSON, once or twice."""
    plain = char.encode()
    url = b"".join([b"%%(?:25){0,3}%02X" % byte for byte in plain])
    json = rb"\\{1,15}u%04X" % ord(char)
    return rb"(?:\\{0,15}%b|(?i:%b|%b))" % (re.escape(plain), url, json)


UNNAMED = say(
    "only the ledger names this server, and a connection could show it the password of the"
    " environment; if you trust the server, name it yourself: --sink SPEC (for export: --from SPEC)"
)

_ESCAPES = say("in a user name or password, / is written as %2F, @ as %40, # as %23, ? as %3F")

_URL = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+]*)://"
    r"(?:[^/?#@\s]*@)?"
    r"(?P<host>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::(?P<port>[0-9]{1,5}))?"
    r"(?:/(?P<name>[^?#@\s]*))?"
    r"(?:\?[^@#]*)?"
)

_OF_SECRETS = re.compile(r"(?i)(password|passwd|passphrase|pwd|secret|token)$|^scram_")


class Place(NamedTuple):
    """The parts of a URL that may be shown; port and name, which is its path, may be empty."""

    scheme: str
    host: str
    port: str
    name: str


def place_of(url: Secret) -> Place | None:
    """The public parts of a URL; None if it is uncertain where a password ends."""
    found = _URL.fullmatch(url.value)
    try:
        if urlsplit(url.value).port == 0:
            return None
    except ValueError:
        return None
    return Place(*[part or "" for part in found.groups()]) if found else None


def holds_password(url: Secret) -> bool:
    """Whether a URL holds a password, or may hold one."""
    _, mark, rest = url.value.partition("://")
    user = rest.rpartition("@")[0]  # to the last @: in a password it may not be escaped
    options = parse_qsl(rest.partition("?")[2], keep_blank_values=True)
    return bool(mark) and (":" in user or any(_OF_SECRETS.search(name) for name, _ in options))


def advice(url: Secret) -> str:
    """A hint for a URL that cannot be read, if its user or password may be the reason."""
    return say("; {}", _ESCAPES) if "@" in url.value else ""


FILE, DIRECTORY = "600", "700"
"""The modes that messages recommend."""


def check_private(status: os.stat_result, path: Path, what: str, mode: str = FILE) -> None:
    """Raise `UsageError` if group or others may read or write the file with this status."""
    if status.st_mode & 0o077:
        raise UsageError(
            "{} is open to others; run: chmod {} {}", what, mode, shlex.quote(str(path))
        )


def read_private(path: Path, what: str) -> Secret:
    """The text of a private file, stripped; raises `UsageError`, also if it is empty."""
    text = ""
    try:
        with path.open(encoding="utf-8") as file:
            check_private(os.fstat(file.fileno()), path, what)
            text = file.read().strip()
    except OSError as exc:
        problem = say("cannot be read ({})", of_system(exc))
    except UnicodeDecodeError:
        problem = say("is not text")
    else:
        problem = say("is empty")
    if not text:
        raise UsageError("{} {}", what, problem)
    return Secret(text)


def check_reference(reference: str, noun: str = "secret") -> tuple[str, str]:
    """The kind of a reference, ``env`` or ``file``, and the name; raises `UsageError`."""
    kind, _, name = reference.partition(":")
    if kind not in ("env", "file") or not name:
        raise UsageError("a {} must be a reference: env:NAME or file:PATH", noun)
    return kind, name


def read_reference(reference: str, folder: Path, noun: str = "secret") -> Secret:
    """What ``env:NAME`` or ``file:PATH``, from a folder, refers to; raises `UsageError`."""
    kind, name = check_reference(reference, noun)
    if kind == "file":
        path = folder / Path(name).expanduser()
        return read_private(path, say("the {} file {}", noun, path))
    value = Secret(os.environ.get(name, "").strip())
    if not value.value:
        raise UsageError("the environment variable {} is not set", name)
    return value


def write_private(path: Path, content: bytes) -> None:
    """Replace a path by a file of mode 0600, durably and atomically; raises `OSError`."""
    durable.replace_file(path, content, "private file", 0o600)
