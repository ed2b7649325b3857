"""Foreign exceptions into the project's error tree: the one boundary, for every request that leaves the process.

Invariants: whatever the `openai` client, the HTTP library below it, the decoder of answers or a deadline raises comes
out as an `EndpointError` that names the URL; cancellation passes untouched. It decides nothing about trying again.
"""

import email.utils
import time
from collections.abc import Generator
from contextlib import contextmanager

import httpx2
import msgspec
import openai
import trio

from protocols.errors import EndpointBroken, EndpointError, EndpointOverloaded, EndpointRefused, EndpointUnreachable

FOREIGN: tuple[type[Exception], ...] = (
    openai.OpenAIError,
    httpx2.HTTPError,
    httpx2.InvalidURL,
    httpx2.StreamError,
    msgspec.MsgspecError,
    UnicodeError,
    trio.TooSlowError,
)
"""Every root that a request can raise from outside the project."""

_UNREACHABLE = (openai.APIConnectionError, httpx2.TransportError, trio.TooSlowError)
_CLIPPED = 300


@contextmanager
def translated(url: str) -> Generator[None]:
    """Run one request to `url`; its foreign exceptions become `EndpointError`s."""
    try:
        yield
    except FOREIGN as error:
        raise translate(error, url) from error


def translate(error: Exception, url: str) -> EndpointError:
    """Return what `error`, raised by a request to `url`, is in the project's tree."""
    if isinstance(error, openai.APIStatusError):
        return _by_status(error, url)
    if isinstance(error, _UNREACHABLE):
        return EndpointUnreachable(f"{url} cannot be reached, or did not answer in time: {_reason(error)}")
    return EndpointBroken(f"{url} gave an answer that is not of the agreed form: {_reason(error)}")


def retry_after_s(headers: httpx2.Headers, now: float) -> float | None:
    """Return the seconds that `Retry-After` asks to wait, at least 0; None when it is absent or unreadable.

    Args:
        headers: of the answer.
        now: seconds since the epoch, for the header's date form.
    """
    text = headers.get("retry-after", "").strip()
    try:
        seconds = float(text)
    except ValueError:
        date = email.utils.parsedate_tz(text)
        return None if date is None else max(0.0, email.utils.mktime_tz(date) - now)
    return max(0.0, seconds) if seconds < float("inf") else None


def _by_status(error: openai.APIStatusError, url: str) -> EndpointError:
    status = error.status_code
    text = f"{url} answered {status}: {_clip(error.message)}"
    if status in (429, 503):
        return EndpointOverloaded(text, retry_after_s(error.response.headers, time.time()))
    if status == 408:
        return EndpointUnreachable(text)
    if 400 <= status < 500 and status != 409:
        return EndpointRefused(text)
    return EndpointBroken(text)


def _reason(error: Exception) -> str:
    """Say what is behind an exception: `openai` hides the transport's own words in the cause."""
    cause = error.__cause__
    return _clip(f"{error or type(error).__name__} ({cause or type(cause).__name__})" if cause else repr(error))


def _clip(text: str) -> str:
    return text if len(text) <= _CLIPPED else text[:_CLIPPED] + "..."
