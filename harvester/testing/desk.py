"""Creates replies: bodies, errors with a request id, and the look-up of request ids.

Rule: one desk for each simulator; every reply is created here.
"""

from __future__ import annotations

import json
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from random import Random
from typing import Any, NamedTuple
from urllib.parse import urlencode

from harvester.codec import encode
from harvester.testing.texts import TEXTS

REMEMBERED = 10_000
"""So many request ids can be looked up, the newest ones."""

RID_LIFETIME = 7 * 86400.0


class Reply(NamedTuple):
    """One HTTP answer.

    delay: seconds until it is sent.  fault: ``"reset"`` (the connection is reset instead),
    ``"cut"`` (only half of the body is sent), or nothing.
    """

    status: int
    body: bytes
    delay: float = 0.0
    fault: str = ""


class Refused(Exception):  # noqa: N818  (it is no error of the simulator's)
    """A call that is answered with an errcode; text: other than the code's usual one."""

    def __init__(self, code: int, text: str | None = None) -> None:
        super().__init__(code)
        self.code = code
        self.text = text


Asked = tuple[str, str, Mapping[str, str], bytes]
"""Method, path, query and body."""


class Desk:
    """The replies of one simulator; ``asked`` is the request that is being answered."""

    def __init__(
        self,
        seed: int,
        wall: Callable[[], float],
        counts: Counter[str],
        texts: Mapping[int, str],
    ) -> None:
        self._texts = {**TEXTS, **texts}
        self.seed = seed
        self.wall = wall
        self.counts = counts
        self.asked: Asked = ("", "", {}, b"")
        self._serial = 0
        self._errors: OrderedDict[str, tuple[float, Asked, bytes]] = OrderedDict()

    def noise(self, bits: int = 512) -> tuple[int, str]:
        """A number that grows, and hexadecimal digits that go with it."""
        self._serial += 1
        return (
            self._serial,
            f"{Random(f'{self.seed}/{self._serial}').getrandbits(bits):0{bits // 4}x}",
        )

    def error(self, code: int, text: str | None = None) -> Reply:
        """A refusal: HTTP 200, errcode, errmsg with a request id, which begins with the time."""
        self._serial += 1
        self.counts[f"errcode {code}"] += 1
        rid = f"{int(self.wall()):08x}-{self._serial:08x}-{(self.seed + code) & 0xFFFFFFFF:08x}"
        text = self._texts.get(code, "error") if text is None else text
        body = encode({"errcode": code, "errmsg": f"{text} rid: {rid}"})
        self._errors[rid] = (self.wall(), self.asked, body)
        if len(self._errors) > REMEMBERED:
            self._errors.popitem(last=False)
        return Reply(200, body)

    def publisher_error(self, code: int, text: str | None = None) -> Reply:
        """A refusal as the publisher interface words it: ret and err_msg at the top, no rid."""
        self.counts[f"errcode {code}"] += 1
        return Reply(200, encode({"ret": code, "err_msg": text or TEXTS.get(code, "ERROR")}))

    def done(self, **more: Any) -> Reply:
        """Errcode 0 and what else is told."""
        return Reply(200, encode({"errcode": 0, "errmsg": "ok", **more}))

    def told(self, rid: object) -> tuple[dict[str, str], dict[str, Any]] | None:
        """The query of a refused request and what rid/get tells of it; None if not (or no more)."""
        found = self._errors.get(str(rid))
        if found is None or self.wall() - found[0] > RID_LIFETIME:
            return None
        at, (_, path, query, body), answer = found
        url = f"{path}?{urlencode(query)}" if query else path
        return dict(query), {
            "invoke_time": int(at),
            "cost_in_ms": 12,
            "request_url": url,
            "request_body": body.decode("utf-8", "replace"),
            "response_body": answer.decode(),
            "client_ip": "127.0.0.1",
        }


def parse_object(body: bytes) -> dict[str, Any] | None:
    """The JSON object of a body, or None."""
    try:
        value = json.loads(str(body, "utf-8"))
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
