"""What WeChat says with each error code.

Rule: texts only; the request id is appended where the reply is made.

The wording is WeChat's where a page or a thread shows it, else a short form of the code's meaning.
"""

from __future__ import annotations

from collections.abc import Mapping

TEXTS: Mapping[int, str] = {
    -1: "system error",
    0: "ok",
    1701: "invalid param",
    2009: "ERROR",
    40001: "invalid credential, access_token is invalid or not latest,"
    " could get access_token by getStableAccessToken",
    40002: "invalid grant_type",
    40013: "invalid appid",
    40014: "invalid access_token",
    40030: "invalid refresh_token",
    40035: "invalid parameter",
    40091: "invalid component ticket",
    40094: "invalid component credential",
    40097: "invalid args",
    40125: "invalid appsecret",
    40164: "invalid ip 203.0.113.7 ipv6 ::ffff:203.0.113.7, not in whitelist",
    40243: "appsecret is frozen",
    41001: "access_token missing",
    41002: "appid missing",
    41004: "appsecret missing",
    42001: "access_token expired",
    42007: "access_token and refresh_token are invalid because of a modified password",
    43001: "require GET method",
    43002: "require POST method",
    43003: "require https",
    44002: "empty post data",
    45009: "reach max api daily quota limit",
    45010: "not supported action for your appid",
    45011: "api minute-quota reach limit, must slower, retry next minute",
    45035: "access clientip is not registered",
    47001: "data format error",
    47009: "this api is offline, please use the new api",
    48001: "api unauthorized",
    48004: "api forbidden for irregularities, view detail on mp.weixin.qq.com",
    48006: "forbid to clear quota because of reaching the limit",
    50001: "user unauthorized the api",
    50002: "user limited",
    50005: "user is unsubscribed",
    61003: "component is not authorized by this account",
    61004: "access clientip is not registered requestIP: 203.0.113.7",
    61005: "component ticket is expired",
    61006: "component ticket is invalid",
    61007: "api is unauthorized to component",
    61009: "component authorization code is invalid",
    61010: "code is expired",
    61011: "invalid component",
    61023: "refresh_token is invalid",
    61500: "date format error",
    61501: "date range error",
    61502: "not supported for this kind of mini program",
    61503: "data not ready",
    76001: "rid not found",
    76003: "cgi_path is invalid",
    76021: "cgi_path not found",
    76022: "could not use this cgi_path, no permission",
    89501: "this ip is not in whitelist, awaiting the confirmation of the administrator",
    89502: "awaiting the administrator",
    89503: "this ip request needs the confirmation of the administrator",
    89504: "awaiting the administrator",
    89505: "awaiting the administrator",
    89506: "the administrator refused this ip, it cannot be used within 24 hours",
    89507: "the administrator refused this ip, it cannot be used within 1 hour",
    **dict.fromkeys(range(9001001, 9001037), "invalid data of the beacon interface"),
    9001031: "invalid time range",
}
"""By errcode; 1701, 2009 and 45010 are the publisher interface's own."""
