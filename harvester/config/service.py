"""The ``[serve]`` table of a configuration: when the daily service harvests, and its messages.

Rule: checks values and reads no secret; those of alerts, ping and token are references.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import time
from typing import Any, NamedTuple

from harvester.base.dates import SETTLED_HOUR, nearest
from harvester.config.settings import DURATION
from harvester.errors import HarvestError, UsageError
from harvester.texts import say

LANGUAGES = ("zh", "en")


class Address(NamedTuple):
    """Where the pages are served."""

    host: str = "127.0.0.1"
    port: int = 8605

    @property
    def is_loopback(self) -> bool:
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


@dataclass(frozen=True)
class ServiceOptions:
    """What the table says.

    at: the time in China of the day's harvest.  stale_after: seconds.  alerts, ping, token:
    references, as ``env:NAME`` or ``file:PATH``; ping and token may be empty.  lang: ``zh``,
    ``en``, or empty.  url: the external URL of the pages; empty if there is none.
    """

    at: time = time(8, 5)
    listen: Address = field(default_factory=Address)
    stale_after: float = 26 * 3600.0
    alerts: tuple[str, ...] = ()
    ping: str = ""
    token: str = ""
    lang: str = ""
    url: str = ""


def read_service(table: Mapping[str, Any], where: str) -> ServiceOptions:
    """Read the table; raises `UsageError`.  where: the file, as a message names it."""
    values: dict[str, Any] = {}
    for key, value in table.items():
        name = key.replace("-", "_")
        if name not in _READ:
            raise UsageError("{}: [serve] has no key {!r}{}", where, key, nearest(name, _READ))
        if name in values:
            raise UsageError("{}: [serve] {} is given twice", where, name)
        try:
            values[name] = _READ[name](value)
        except _InvalidError as exc:
            raise UsageError("{}: invalid [serve] {}: {}", where, name, exc) from None
    options = ServiceOptions(**values)
    if not options.listen.is_loopback and not options.token:
        raise UsageError(
            "{}: [serve] listen = {!r} can be reached from other machines, so a token is needed;"
            ' write token = "env:NAME", or listen on 127.0.0.1',
            where,
            str(options.listen),
        )
    return options


class _InvalidError(HarvestError):
    """What is expected."""


def _time(value: Any) -> time:
    found = re.fullmatch(r"(\d{1,2}):(\d{2})", value) if isinstance(value, str) else None
    if found is None or int(found[1]) > 23 or int(found[2]) > 59:
        raise _InvalidError('expected a time in China, for example "08:05"')
    read = time(int(found[1]), int(found[2]))
    if read.hour < SETTLED_HOUR:
        raise _InvalidError(
            "WeChat has the figures of a day from {:02}:00 on the next day; expected this time or"
            ' later, for example "08:05"',
            SETTLED_HOUR,
        )
    return read


def _address(value: Any) -> Address:
    expected = say('expected HOST:PORT, for example "127.0.0.1:8605"')
    if not isinstance(value, str):
        raise _InvalidError(expected)
    host, mark, port = value.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise _InvalidError('write an IPv6 address in brackets, for example "[::1]:8605"')
    if not mark or not host or not re.fullmatch(r"\d{1,5}", port) or int(port) > 65535:
        raise _InvalidError(expected)
    if re.search(r"[\s/@]", host):
        raise _InvalidError(expected)
    return Address(host, int(port))


def _duration(value: Any) -> float:
    try:
        if isinstance(value, str):
            return float(str(DURATION.check(value)))
    except ValueError:
        pass
    raise _InvalidError('expected a duration with its unit, for example "26h"')


def _reference(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"(env|file):\S.*", value):
        raise _InvalidError(  # the value may be the secret itself
            "a secret must be a reference: env:NAME or file:PATH"
        )
    return value


def _references(value: Any) -> tuple[str, ...]:
    found = tuple(map(_reference, value if isinstance(value, list) else [value]))
    if len(set(found)) < len(found):
        raise _InvalidError("a reference is given twice")
    return found


def _language(value: Any) -> str:
    if value not in LANGUAGES:
        raise _InvalidError("expected zh or en")
    return str(value)


def _url(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"https?://[^\s@]+", value):
        raise _InvalidError(
            say('expected a URL without a password, for example "https://harvester.example"')
        )
    return value


_READ = {
    "at": _time,
    "listen": _address,
    "stale_after": _duration,
    "alerts": _references,
    "ping": _reference,
    "token": _reference,
    "lang": _language,
    "url": _url,
}
