"""One sandbox service at one URL: bounded requests with explicit time-outs, and whether it is well.

Every failure is a `ServiceFailed`. After one of the transport the service is asked nothing until it has rested for some
seconds and answered a ping; a service that answers, but says that it failed, goes on, since a candidate may be able to
bring that about.
"""

import ssl
from functools import cache
from urllib.parse import urlsplit

import httpx2
import trio

from sandbox.http_program import ServiceFailed

REST_S = 5.0
"""How long a service that failed is left alone."""
_PING_S = 5.0
_MAX_ANSWER_BYTES = 8 << 20
_PROBLEMS = (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError, trio.TooSlowError)


class AnswerTooLarge(Exception):
    """The answer is longer than anything that can be taken in: the candidate flooded the service."""


class HttpService:
    """A service, and how busy and how well it is.

    Args:
        url: base URL.
        at_once: requests in flight, at most; others wait in order of arrival.
        connect_timeout_s: for one connection.
    """

    def __init__(self, url: str, *, at_once: int, connect_timeout_s: float) -> None:
        self.url = url.rstrip("/")
        self._limiter = trio.CapacityLimiter(at_once)
        self.in_flight = 0
        """Requests that it works on, or that wait for it."""
        self.asked = 0
        """Requests so far."""
        self._rests_until = -float("inf")
        self._suspect = False
        self._timeout = httpx2.Timeout(_PING_S, connect=connect_timeout_s)
        self._client = httpx2.AsyncClient(
            limits=httpx2.Limits(max_connections=at_once + 1, max_keepalive_connections=at_once + 1),
            timeout=self._timeout,
            trust_env=not _is_loopback(url),
            verify=_certificates() if url.startswith("https:") else True,
        )

    @property
    def resting(self) -> bool:
        """Whether it failed a short while ago."""
        return trio.current_time() < self._rests_until

    async def ready(self) -> bool:
        """Whether it may be asked: at once if nothing is known against it, else by a ping."""
        if self.resting:
            return False
        if self._suspect:
            try:
                await self.ping()
            except ServiceFailed:
                return False
        return True

    async def ping(self) -> None:
        """Make sure that it answers `GET /v1/ping`.

        Raises:
            ServiceFailed: it does not.
        """
        await self._ask("GET", "/v1/ping", b"", _PING_S)

    async def run_code(self, body: bytes, timeout_s: float) -> bytes:
        """Return the body of the answer to `POST /run_code`.

        Raises:
            ServiceFailed: anything but a 2xx answer within `timeout_s` (waiting for its turn apart).
            AnswerTooLarge: the answer is not worth reading.
        """
        self.in_flight += 1
        self.asked += 1
        try:
            async with self._limiter:
                return await self._ask("POST", "/run_code", body, timeout_s)
        finally:
            self.in_flight -= 1

    async def _ask(self, method: str, path: str, body: bytes, timeout_s: float) -> bytes:
        try:
            with trio.fail_after(timeout_s):
                answer = await self._send(method, path, body, timeout_s)
        except _PROBLEMS as error:
            self._failed()
            late = isinstance(error, trio.TooSlowError | httpx2.TimeoutException)
            reason = f"no answer within {timeout_s:.0f} s" if late else f"{type(error).__name__}: {error}"
            raise ServiceFailed(reason) from error
        self._suspect = False
        return answer

    async def _send(self, method: str, path: str, body: bytes, timeout_s: float) -> bytes:
        timeout = httpx2.Timeout(timeout_s, connect=self._timeout.connect)
        headers = {"content-type": "application/json"} if body else {}
        async with self._client.stream(
            method, self.url + path, content=body or None, headers=headers, timeout=timeout
        ) as response:
            response.raise_for_status()
            answer = bytearray()
            async for chunk in response.aiter_bytes():
                answer += chunk
                if len(answer) > _MAX_ANSWER_BYTES:
                    raise AnswerTooLarge
            return bytes(answer)

    def _failed(self) -> None:
        """Note that it failed: it rests, and has to answer a ping before it is asked again."""
        self._suspect = True
        self._rests_until = trio.current_time() + REST_S

    async def aclose(self) -> None:
        """Close every connection."""
        await self._client.aclose()


@cache
def _certificates() -> ssl.SSLContext:
    return httpx2.create_ssl_context()


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    return host in ("localhost", "::1") or host.startswith("127.")
