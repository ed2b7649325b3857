from collections.abc import Iterator

import httpx2
import msgspec
import openai
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from endpoints.translation import FOREIGN, retry_after_s, translate, translated
from protocols.errors import EndpointBroken, EndpointError, EndpointOverloaded, EndpointRefused, EndpointUnreachable

URL = "http://127.0.0.1:1/v1"
REQUEST = httpx2.Request("POST", URL)
RETRIED = (EndpointUnreachable, EndpointOverloaded, EndpointBroken)


def subclasses(root: type) -> Iterator[type]:
    yield root
    for child in root.__subclasses__():
        yield from subclasses(child)


def bare(kind: type[Exception]) -> Exception:
    """An instance made without its constructor, for exceptions that want arguments of their own."""
    error = kind.__new__(kind)
    if isinstance(error, openai.APIStatusError):
        return answered(418)
    return error


def answered(status: int, **headers: str) -> openai.APIStatusError:
    response = httpx2.Response(status, headers=headers, request=REQUEST)
    return openai.APIStatusError("words of the endpoint", response=response, body=None)


@pytest.mark.parametrize("root", [openai.OpenAIError, httpx2.HTTPError, httpx2.StreamError, msgspec.MsgspecError])
def test_every_exception_of_the_libraries_becomes_an_endpoint_error(root: type[Exception]) -> None:
    for kind in subclasses(root):
        assert issubclass(kind, FOREIGN)
        assert isinstance(translate(bare(kind), URL), EndpointError), kind


def test_every_public_exception_of_the_http_library_is_foreign() -> None:
    public = [getattr(httpx2, name) for name in httpx2.__all__]
    exceptions = [kind for kind in public if isinstance(kind, type) and issubclass(kind, Exception)]
    not_of_a_request = {httpx2.CookieConflict}
    strays = {kind for kind in exceptions if not issubclass(kind, FOREIGN)} - not_of_a_request
    assert len(exceptions) > 10
    assert {kind for kind in strays if "WebSocket" not in kind.__name__ and "SSE" not in kind.__name__} == set()


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (openai.APIConnectionError(request=REQUEST), EndpointUnreachable),
        (openai.APITimeoutError(request=REQUEST), EndpointUnreachable),
        (httpx2.ConnectTimeout("late"), EndpointUnreachable),
        (httpx2.RemoteProtocolError("hung up"), EndpointUnreachable),
        (trio.TooSlowError(), EndpointUnreachable),
        (msgspec.ValidationError("no"), EndpointBroken),
        (msgspec.DecodeError("no"), EndpointBroken),
        (UnicodeDecodeError("utf-8", b"", 0, 1, "no"), EndpointBroken),
        (openai.OpenAIError("anything else"), EndpointBroken),
    ],
)
def test_an_exception_becomes_what_it_means(error: Exception, expected: type[EndpointError]) -> None:
    assert type(translate(error, URL)) is expected


@given(status=st.integers(min_value=300, max_value=599))
def test_a_status_becomes_what_it_means(status: int) -> None:
    kind = type(translate(answered(status), URL))
    special = {408: EndpointUnreachable, 409: EndpointBroken, 429: EndpointOverloaded, 503: EndpointOverloaded}
    usual = EndpointRefused if 400 <= status < 500 else EndpointBroken
    assert kind is special.get(status, usual)


def test_the_text_names_the_url_and_repeats_the_endpoints_own_words() -> None:
    text = str(translate(answered(400), URL))
    assert URL in text
    assert "words of the endpoint" in text


def test_cancellation_passes_untouched() -> None:
    with pytest.raises(KeyboardInterrupt), translated(URL):
        raise KeyboardInterrupt


def test_an_error_of_our_own_passes_untouched() -> None:
    ours = EndpointRefused("no")
    with pytest.raises(EndpointRefused) as caught, translated(URL):
        raise ours
    assert caught.value is ours


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        ("0.25", 0.25),
        ("-3", 0.0),
        ("Thu, 01 Jan 1970 00:01:40 GMT", 40.0),
        ("Thu, 01 Jan 1970 00:00:01 GMT", 0.0),
        ("soon", None),
        ("inf", None),
        ("nan", None),
        ("", None),
    ],
)
def test_retry_after_is_read_in_both_its_forms(value: str, seconds: float | None) -> None:
    assert retry_after_s(httpx2.Headers({"retry-after": value}), now=60.0) == seconds


def test_no_retry_after_is_none() -> None:
    assert retry_after_s(httpx2.Headers(), now=0.0) is None
