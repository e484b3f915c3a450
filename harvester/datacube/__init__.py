"""WeChat as data: its interfaces, its error codes, its token interfaces.

Rule: tables, and the few lines that read them.
"""

from harvester.datacube.errors import ERRORS
from harvester.datacube.external import CloudbaseToken, HttpToken
from harvester.datacube.interfaces import INTERFACES
from harvester.datacube.platform import Platform
from harvester.datacube.publisher import PUBLISHER_ERRORS, PublisherEndpoint
from harvester.datacube.tokens import (
    SECRET_KINDS,
    TOKEN_KINDS,
    StableToken,
    check_appid,
    provider_for,
)

__all__ = [
    "ERRORS",
    "INTERFACES",
    "PUBLISHER_ERRORS",
    "SECRET_KINDS",
    "TOKEN_KINDS",
    "CloudbaseToken",
    "HttpToken",
    "Platform",
    "PublisherEndpoint",
    "StableToken",
    "check_appid",
    "provider_for",
]
