"""WeChat as data: its interfaces, its error codes, its token interfaces.

Rule: tables, and the few lines that read them; enters by the same door as a plug-in would.
"""

from harvester.datacube.catalogue import GETARTICLESUMMARY
from harvester.datacube.errors import ERRORS, TOKEN_ERRORS
from harvester.datacube.external import (
    CloudbaseToken,
    CommandToken,
    HttpToken,
    NoToken,
    StaticToken,
)
from harvester.datacube.platform import AuthorizerToken, Platform
from harvester.datacube.tokens import (
    SECRET_KINDS,
    TOKEN_KINDS,
    ClassicToken,
    StableToken,
    provider_for,
)

__all__ = [
    "ERRORS",
    "GETARTICLESUMMARY",
    "SECRET_KINDS",
    "TOKEN_ERRORS",
    "TOKEN_KINDS",
    "AuthorizerToken",
    "ClassicToken",
    "CloudbaseToken",
    "CommandToken",
    "HttpToken",
    "NoToken",
    "Platform",
    "StableToken",
    "StaticToken",
    "provider_for",
]
