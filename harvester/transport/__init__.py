"""One request out, one response in: ``base`` holds the promise, ``http`` keeps it with aiohttp.

Rule: the only room that knows aiohttp's client; its errors are translated here and go no further,
and neither do its frames: the token stands in them, and a traceback may be shown with its locals.
"""

from __future__ import annotations

from harvester.transport.address import BASE_URL, check_base_url, tls_context
from harvester.transport.base import Leave, Transport
from harvester.transport.http import HttpTransport, Session

__all__ = [
    "BASE_URL",
    "HttpTransport",
    "Leave",
    "Session",
    "Transport",
    "check_base_url",
    "tls_context",
]
