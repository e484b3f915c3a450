"""Access tokens from another source: a program, a server, a file, or cloud hosting.

Rule: the output of such a source is never shown, neither its answer nor its errors.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import math
import os
import shlex
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeGuard

import anyio

from harvester.base.codec import MalformedError, parse
from harvester.base.secrets import Secret, advice, place_of, read_reference
from harvester.errors import AttemptError, UsageError
from harvester.model import Action, Request, Send, Token, TokenProvider, Verdict
from harvester.texts import of_system, say
from harvester.tokens.shared import TokenRefusedError

LONGEST_TOKEN = 4096
"""The most characters of a token.  WeChat asks to reserve 512; it is part of every URL."""
LONGEST_OUTPUT = 65536
COMMAND_TIMEOUT = 30.0
"""The most seconds of a command that prints a token."""

CLOUDBASE_FILE = "/.tencentcloudbase/wx/cloudbase_access_token"
CLOUDBASE_PARAMETER = "cloudbase_access_token"
CLOUDBASE_LIFETIME = 1800.0
"""Seconds that the token in that file lives; it is rewritten every ten minutes (WeChat's page)."""


def token_from(text: str) -> Token | None:
    """The token in a source's output: the token alone, or JSON with access_token and expires_in."""
    text = text.strip()
    if not text.startswith("{"):
        return Token(text) if _usable(text) else None
    try:
        return token_of(parse(text.encode()))
    except MalformedError:
        return None


def token_of(answer: Mapping[str, Any], field: str = "access_token") -> Token | None:
    """The token in a field of an answer, for as long as its ``expires_in``."""
    value = answer.get(field)
    try:
        lifetime = float(answer.get("expires_in", 7200))
    except (TypeError, ValueError, OverflowError):
        return None
    return Token(value, lifetime) if _usable(value) and 0 < lifetime < math.inf else None


def _usable(value: object) -> TypeGuard[str]:
    if not (isinstance(value, str) and 0 < len(value) <= LONGEST_TOKEN):
        return False
    return value.isascii() and value.isprintable() and " " not in value


def _given(text: Secret | str, source: str) -> Token:
    """The token, or the error, raised from a frame that does not hold it."""
    if isinstance(text, str):
        raise TokenRefusedError(Verdict(Action.RETRY, text))
    token = token_from(text.value)
    if token is None:
        raise TokenRefusedError(
            Verdict(Action.RETRY, say("{} gave no usable access token", source))
        )
    return token


class NoToken:
    """Cloud hosting, where WeChat itself identifies the account of a call: no token is sent."""

    shareable = False

    def __repr__(self) -> str:
        return "<NoToken>"

    async def fetch(self, send: Send) -> Token:
        return Token("", 86400.0, parameter="")


class CloudbaseToken:
    """The token of cloud hosting, from the file that WeChat rewrites there.

    Inside a request WeChat also sends it, in the header X-WX-CLOUDBASE-ACCESS-TOKEN: an application
    writes that to a file of its own.
    """

    shareable = False

    def __init__(
        self,
        source: str | os.PathLike[str] = CLOUDBASE_FILE,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._source = source
        self._wall = wall

    def __repr__(self) -> str:
        return "<CloudbaseToken>"

    async def fetch(self, send: Send) -> Token:
        """The current token, for the rest of its half hour; raises `TokenRefusedError`."""
        text, left = self._read(Path(self._source))
        token = _given(text, say("the source of the cloudbase token"))
        lifetime = min(token.lifetime, CLOUDBASE_LIFETIME, left)
        if lifetime <= 0:
            raise TokenRefusedError(
                Verdict(Action.RETRY, say("{} is older than half an hour", self._source))
            )
        return Token(token.value, lifetime, CLOUDBASE_PARAMETER)

    def _read(self, path: Path) -> tuple[Secret | str, float]:
        try:
            with path.open(encoding="ascii", errors="replace") as file:
                age = self._wall() - os.fstat(file.fileno()).st_mtime
                return Secret(file.read(LONGEST_OUTPUT)), CLOUDBASE_LIFETIME - max(age, 0.0)
        except OSError as exc:
            return say("{} cannot be read ({})", path, of_system(exc)), 0.0


async def called(source: Callable[[], Any], what: str) -> Secret | str:
    """The result of a user's callable, if it is a string; else the reason why not.

    Its exception is named by its class only: its text may hold what must not be shown.
    """
    try:
        given = source()
        if inspect.isawaitable(given):
            given = await given
    except Exception as exc:  # noqa: BLE001  (user code may raise anything)
        return say("{} raised {}", what, type(exc).__name__)
    if isinstance(given, str) and given:
        return Secret(given)
    return say("{} returned {}, not a string", what, type(given).__name__)


class CommandToken:
    """Tokens that a program prints: the token alone, or JSON with access_token and expires_in.

    arguments: the program and its arguments; no shell reads them.  Its standard error is discarded.
    timeout: seconds; then it is killed.
    """

    def __init__(self, arguments: list[str], timeout: float = COMMAND_TIMEOUT) -> None:
        self._arguments = arguments
        self._timeout = timeout
        if not arguments:
            raise UsageError("token: the command is missing; write command:PROG ARGS")

    def __repr__(self) -> str:
        return f"<CommandToken of {''.join(map(os.path.basename, self._arguments[:1]))}>"

    async def fetch(self, send: Send) -> Token:
        """Run it; raises `TokenRefusedError`."""
        return _given(await self._output(), say("the token command"))

    async def _output(self) -> Secret | str:
        try:
            process = await asyncio.create_subprocess_exec(
                *self._arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                limit=LONGEST_OUTPUT,
            )
        except (OSError, ValueError) as exc:
            why = getattr(exc, "strerror", None)
            return say("the token command cannot be run ({})", say(why or "argument"))
        try:
            with anyio.fail_after(self._timeout):
                output = await _read(process)
                status = await process.wait()
        except TimeoutError:
            return say("the token command took longer than {:g} s", self._timeout)
        finally:
            await _end(process)
        if output is None:
            return say("the token command printed more than {} bytes", LONGEST_OUTPUT)
        return output if not status else say("the token command ended with status {}", status)


async def _read(process: asyncio.subprocess.Process) -> Secret | None:
    assert process.stdout is not None
    content = bytearray()
    while part := await process.stdout.read(LONGEST_OUTPUT):
        content += part
        if len(content) > LONGEST_OUTPUT:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            return None
    return Secret(content.decode(errors="replace"))


async def _end(process: asyncio.subprocess.Process) -> None:
    """Wait for its end, even if cancelled; ignores its children that keep the pipe open."""
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    with anyio.CancelScope(shield=True):
        await process.wait()
    process._transport.close()  # type: ignore[attr-defined]


class HttpToken:
    """Tokens from a user's token server: a GET returns the token, or JSON as from a command.

    url: whole; nothing is added to it.  authorization: the value of that header.
    """

    def __init__(self, url: str | Secret, authorization: str | Secret = "") -> None:
        self._url, authorization = Secret(url), Secret(authorization)
        self._headers = (("Authorization", authorization.value),) if authorization.value else ()

    def __repr__(self) -> str:
        return "<HttpToken>"

    async def fetch(self, send: Send) -> Token:
        """Ask it; raises `TokenRefusedError`."""
        request = Request("GET", self._url.value, headers=self._headers)
        try:
            response = await send(request)
        except (AttemptError, UsageError) as exc:
            action = Action.RETRY if isinstance(exc, AttemptError) else Action.STOP_ACCOUNT
            verdict = Verdict(action, say("the token server: {}", exc))
        else:
            if response.status == 200:
                text = Secret(response.body[:LONGEST_OUTPUT].decode(errors="replace"))
                return _given(text, say("the token server"))
            verdict = Verdict(
                Action.RETRY if response.status >= 429 else Action.STOP_ACCOUNT,
                say("the token server answered HTTP {}", response.status),
            )
        raise TokenRefusedError(verdict)


class StaticToken:
    """A token from ``env:NAME`` or ``file:PATH``; when it is refused, the account stops.

    It is read again when it should be renewed, or was refused: the file may have changed.
    """

    shareable = False
    fixed = True

    def __init__(self, reference: str, folder: Path | None = None) -> None:
        self._reference = reference
        self._folder = folder or Path()
        read_reference(reference, self._folder, "token")

    def __repr__(self) -> str:
        return f"<StaticToken of {self._reference}>"

    async def fetch(self, send: Send) -> Token:
        """The current value; raises `TokenRefusedError`."""
        try:
            text: Secret | str = read_reference(self._reference, self._folder, "token")
        except UsageError as exc:
            text = str(exc)
        return _given(text, say("the static token {}", self._reference))


EXTERNAL_KINDS = ("cloud", "cloudbase", "command:…", "https://…", "static:…")


def external(spec: Secret, folder: Path) -> TokenProvider | None:
    """The provider of a spec, None for an unknown kind; raises `UsageError` for an invalid one."""
    if spec.value.startswith(("http://", "https://")):
        if "@" in spec.value and place_of(spec) is None:
            raise UsageError("token: the URL of the token server cannot be read{}", advice(spec))
        return HttpToken(spec)
    if spec.value == "cloud":
        return NoToken()
    if spec.value == "cloudbase":
        return CloudbaseToken()
    kind, colon, rest = spec.value.partition(":")
    if not colon:
        return None
    if kind == "cloudbase":
        if not rest.startswith("file:"):
            raise UsageError("token: write cloudbase, or cloudbase:file:PATH")
        return CloudbaseToken(folder / Path(rest.removeprefix("file:")).expanduser())
    if kind == "command":
        return CommandToken(_words(rest))
    return StaticToken(rest, folder) if kind == "static" else None


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:
        pass
    raise UsageError("token: a quotation mark of the command is not closed")
