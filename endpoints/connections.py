"""HTTP to one endpoint: many small clients instead of one large pool, with explicit limits and time-outs.

The HTTP library walks its whole list of connections on every request, so one pool of hundreds collapses; requests are
spread over clients of at most eight connections, the least busy first. Requests go through `openai.AsyncOpenAI` with
its own retries off; control calls have a client of their own, so a full house never keeps them waiting.

Not covered: retries, holds and limits (see `client`), and what the bytes mean (see `wire`).
"""

import os
import ssl
from functools import cache
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import httpx2
import openai
import trio

from endpoints.translation import translated
from protocols.errors import UsageError

PER_CLIENT = 8
"""Connections of one client, at most."""
_KEEP_ALIVE_S = 3.0
"""Shorter than the five seconds after which uvicorn, and so vLLM, closes an idle connection."""


class Connections:
    """Sends bytes to one endpoint and returns bytes.

    Args:
        url: base URL that ends in /v1.
        key_variable: name of the environment variable that holds the key; None sends a placeholder.
        limit: requests in flight, at most (the caller keeps to it).
        timeout_s: for one whole answer.
        connect_timeout_s: for one connection.

    Raises:
        UsageError: the URL is not one, or the variable is not set.
    """

    def __init__(
        self, url: str, *, key_variable: str | None, limit: int, timeout_s: float, connect_timeout_s: float
    ) -> None:
        self.url = url.rstrip("/")
        self._timeout_s = timeout_s
        _check_url(url)
        key = _key(key_variable, url)
        timeout = httpx2.Timeout(timeout_s, connect=connect_timeout_s)
        self._lanes = [_Lane(self.url, key, timeout) for _ in range(-(-limit // PER_CLIENT))]
        self._control = _Lane(self.url, key, timeout)

    async def post(self, path: str, body: bytes) -> bytes:
        """Return the body of the answer to `POST path`, by the least busy client.

        Raises:
            EndpointError: anything but a 2xx answer within the time-out.
        """
        lane = min(self._lanes, key=lambda lane: lane.busy)
        return await self._deadline_kept(lane, "POST", path, body, self._timeout_s)

    async def control(self, method: str, path: str, body: bytes | None = None, *, timeout_s: float) -> bytes:
        """Return the body of the answer to a control call, which no other request delays.

        Args:
            method: `GET` or `POST`.
            path: under the base URL, or an absolute URL.
            body: JSON; None for none.
            timeout_s: for the whole answer.

        Raises:
            EndpointError: as `post`.
        """
        return await self._deadline_kept(self._control, method, path, body, timeout_s)

    async def aclose(self) -> None:
        """Close every connection."""
        for lane in (*self._lanes, self._control):
            await lane.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with trio.CancelScope(shield=True):
            await self.aclose()

    async def _deadline_kept(
        self, lane: "_Lane", method: str, path: str, body: bytes | None, timeout_s: float
    ) -> bytes:
        with translated(self.url), trio.fail_after(timeout_s):
            return await lane.send(method, path, body)


class _Lane:
    """One client of at most `PER_CLIENT` connections."""

    def __init__(self, url: str, key: str, timeout: httpx2.Timeout) -> None:
        self.busy = 0
        limits = httpx2.Limits(
            max_connections=PER_CLIENT, max_keepalive_connections=PER_CLIENT, keepalive_expiry=_KEEP_ALIVE_S
        )
        trust_env = not _is_loopback(url)
        http = httpx2.AsyncClient(limits=limits, timeout=timeout, trust_env=trust_env, verify=_certificates())
        self._client = openai.AsyncOpenAI(api_key=key, base_url=url, max_retries=0, http_client=http)

    async def send(self, method: str, path: str, body: bytes | None) -> bytes:
        self.busy += 1
        try:
            if method == "GET":
                return (await self._client.get(path, cast_to=httpx2.Response)).content
            return (await self._client.post(path, cast_to=httpx2.Response, content=body)).content
        finally:
            self.busy -= 1

    async def aclose(self) -> None:
        await self._client.close()


@cache
def _certificates() -> ssl.SSLContext:
    """Read the trusted certificates once, not for every client."""
    return httpx2.create_ssl_context()


def _check_url(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(f"{url!r} is not the URL of an endpoint; expected http://HOST[:PORT]/v1 or https://HOST/v1")


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    return host in ("localhost", "::1") or host.startswith("127.")


def _key(variable: str | None, url: str) -> str:
    if variable is None:
        return "none"
    key = os.environ.get(variable, "").strip()
    if not key:
        raise UsageError(f"environment variable {variable}, which holds the key for {url}, is not set")
    return key
