"""One request, one response: ``base`` is the interface, ``http`` the implementation with aiohttp.

Rule: the only package that imports aiohttp's client; its errors are translated here and do not
leave it, nor do its frames: they hold the token, and a traceback may show local variables.
"""

from __future__ import annotations

from harvester.transport.address import BASE_URL, check_base_url, foreign, tls_context
from harvester.transport.base import Leave, Transport
from harvester.transport.http import HttpTransport, Session

__all__ = [
    "BASE_URL",
    "HttpTransport",
    "Leave",
    "Session",
    "Transport",
    "check_base_url",
    "foreign",
    "tls_context",
]
