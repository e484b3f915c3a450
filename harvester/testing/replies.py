"""Creates replies: bodies, and errors with a request id.

Rule: one desk for each simulator; every reply is created here.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from random import Random
from typing import Any, NamedTuple

from harvester.base.codec import encode
from harvester.testing.error_messages import TEXTS


class Reply(NamedTuple):
    """One HTTP answer of the simulator.

    delay: seconds until the answer is sent.
    fault: ``"reset"`` (the connection is reset instead), ``"cut"`` (only half of the body is sent),
    or an empty string.
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


class Desk:
    """The replies of one simulator."""

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
        self.rid = ""
        """The request id that was given out last."""
        self._serial = 0

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
        number = (self.seed + code) & 0xFFFFFFFF
        self.rid = rid = f"{int(self.wall()):08x}-{self._serial:08x}-{number:08x}"
        text = self._texts.get(code, "error") if text is None else text
        return Reply(200, encode({"errcode": code, "errmsg": f"{text} rid: {rid}"}))

    def publisher_error(self, code: int, text: str | None = None) -> Reply:
        """A refusal as the publisher interface words it: ret and err_msg at the top, no rid."""
        self.counts[f"errcode {code}"] += 1
        return Reply(200, encode({"ret": code, "err_msg": text or TEXTS.get(code, "ERROR")}))

    def done(self, **more: Any) -> Reply:
        """Errcode 0 and the other fields."""
        return Reply(200, encode({"errcode": 0, "errmsg": "ok", **more}))


def object_in(method: str, body: bytes) -> dict[str, Any]:
    """The JSON object that was sent by POST; raises `Refused`."""
    if method != "POST":
        raise Refused(43002)
    if not body:
        raise Refused(44002)
    try:
        value = json.loads(str(body, "utf-8"))
    except ValueError:
        raise Refused(47001) from None
    if not isinstance(value, dict):
        raise Refused(47001)
    return value
