"""Where requests go: the base URL, who is trusted there, and the proxy on the way."""

from __future__ import annotations

import contextlib
import os
import re
import ssl
from urllib.parse import urlencode, urlsplit
from urllib.request import getproxies, proxy_bypass

from yarl import URL

from harvester.base.secrets import Secret, advice, place_of
from harvester.errors import UsageError
from harvester.texts import say

BASE_URL = "https://api.weixin.qq.com"
TARGETS = 20_000
"""URLs with their tokens that are cached, for this many accounts and interfaces."""

_HOST = re.compile(r"[a-z0-9]([a-z0-9_-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9_-]*[a-z0-9])?)*\.?")
_PATH = re.compile(r"([A-Za-z0-9._~/-]|%[0-9A-Fa-f]{2})*")


def check_base_url(given: object) -> str:
    """A base URL without its last slash, or `UsageError`."""
    shown = given
    if isinstance(given, str) and "@" in given:
        shown = say("one that contains a user name")  # and with their password
    elif isinstance(given, str):
        with contextlib.suppress(ValueError):
            parts = urlsplit(given)
            host = parts.hostname or ""
            if (
                parts.scheme in ("http", "https")
                and (_HOST.fullmatch(host) or ":" in host)
                and parts.port != 0
                and _PATH.fullmatch(parts.path)
                and given == f"{parts.scheme}://{parts.netloc}{parts.path}"
            ):
                return given.rstrip("/")
    raise UsageError("base URL: {!r} is not a URL; write it as https://api.weixin.qq.com", shown)


def foreign(base_url: str) -> str:
    """A sentence about a server that is not WeChat's; empty for WeChat's."""
    if f".{urlsplit(base_url).hostname}".rstrip(".").endswith(".weixin.qq.com"):
        return ""
    return say("requests, and the secrets in them, go to {}, which is not WeChat", base_url)


def url_of(base_url: str, path: str, query: tuple[tuple[str, str], ...]) -> URL:
    """The whole URL of a request; it contains the token."""
    base = base_url if path[:1] == "/" else ""
    asked = f"?{urlencode(query)}" if query else ""
    return URL(f"{base}{path}{asked}", encoded=True)


def tls_context(ca_file: str | os.PathLike[str] | None) -> ssl.SSLContext | None:
    """TLS that also trusts the authorities of a PEM file; None for none; raises `UsageError`."""
    if ca_file is None:
        return None
    try:
        with open(ca_file, "rb"):  # OpenSSL does not report which of the two was wrong
            pass
        context = ssl.create_default_context()
        context.set_alpn_protocols(("http/1.1",))
        context.load_verify_locations(cafile=ca_file)
    except ssl.SSLError:
        problem = say("holds no certificate in PEM form")
    except (OSError, ValueError) as exc:
        problem = say("cannot be read ({})", say(getattr(exc, "strerror", None) or str(exc)))
    else:
        return context
    raise UsageError("CA file: {!r} {}", os.fspath(ca_file), problem)


def proxy_for(base_url: str) -> str | None:
    """The proxy that the environment names; read once, where aiohttp reads it for each request.

    Raises `UsageError` for one that cannot be used: aiohttp would send an HTTP request to any.
    """
    parts = urlsplit(base_url)
    host = parts.hostname or ""
    if host in ("localhost", "::1") or host.startswith("127.") or proxy_bypass(parts.netloc):
        return None
    proxy = Secret(getproxies().get(parts.scheme) or "")
    if proxy.value and "://" not in proxy.value:
        proxy = Secret(f"http://{proxy.value}")
    scheme = proxy.value.partition("://")[0].lower()
    if scheme not in ("", "http", "https"):
        raise UsageError(
            "{}_PROXY names a proxy with the scheme {}, which is not supported; give an HTTP"
            " proxy: http://HOST:PORT",
            parts.scheme.upper(),
            scheme,
        )
    if scheme and place_of(Secret(scheme + proxy.value[len(scheme) :])) is None:
        raise UsageError("the URL of the proxy in the environment is not valid{}", advice(proxy))
    return proxy.value or None
