"""WeChat as data: its interfaces, its error codes, its token interfaces.

Rule: tables, and the few lines that read them; enters by the same door as a plug-in would.
"""

from harvester.datacube.catalogue import GETARTICLESUMMARY
from harvester.datacube.errors import ERRORS, TOKEN_ERRORS
from harvester.datacube.tokens import (
    LONGEST_TOKEN,
    TOKEN_KINDS,
    ClassicToken,
    StableToken,
    provider_for,
)

__all__ = [
    "ERRORS",
    "GETARTICLESUMMARY",
    "LONGEST_TOKEN",
    "TOKEN_ERRORS",
    "TOKEN_KINDS",
    "ClassicToken",
    "StableToken",
    "provider_for",
]
