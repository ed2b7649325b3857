"""One endpoint: what it sends, what it reads, how it counts. Trying again is in `test_attempts`."""

import json
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from endpoints.client import Endpoint, fixed
from endpoints.fake import Reply, log_probability, open_fake_server
from protocols.errors import EndpointBroken, EndpointOverloaded, EndpointRefused, EndpointUnreachable, UsageError
from protocols.ports import ChatRequest
from protocols.records import Message
from tests.endpoints.support import SECONDS, asking, endpoint_of

CHAT = "/v1/chat/completions"


async def test_a_chat_request_is_sent_whole() -> None:
    schema = {"type": "object", "properties": {"choice": {"enum": ["A", "B"]}}}
    request = ChatRequest(
        messages=(Message(role="system", content="be brief"), Message(role="user", content="hi")),
        n=2,
        temperature=0.8,
        top_p=0.9,
        top_k=20,
        max_tokens=5,
        seed=7,
        schema=schema,
    )
    async with open_fake_server() as server, endpoint_of(server) as endpoint:
        await endpoint.chat(request, fixed("model"))
        (received,) = server.asked(CHAT)
    assert received.body == {
        "model": "model",
        "messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hi"}],
        "n": 2,
        "temperature": 0.8,
        "top_p": 0.9,
        "top_k": 20,
        "max_tokens": 5,
        "seed": 7,
        "response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": True}},
    }


async def test_what_is_not_asked_for_is_left_out() -> None:
    async with open_fake_server() as server, endpoint_of(server) as endpoint:
        await endpoint.chat(asking(), fixed("model"))
        (received,) = server.asked(CHAT)
    assert {"top_k", "seed", "response_format"} & received.body.keys() == set()


async def test_an_endpoint_that_takes_no_seeds_gets_none() -> None:
    async with open_fake_server() as server, endpoint_of(server, sends_seeds=False) as endpoint:
        await endpoint.chat(asking(seed=7), fixed("model"))
        (received,) = server.asked(CHAT)
    assert "seed" not in received.body


async def test_every_choice_comes_back_with_the_tokens_used(virtual_time: MockClock) -> None:
    async with open_fake_server(latency_s=2.0) as server, endpoint_of(server) as endpoint:
        server.script(CHAT, Reply(texts=("one", "two words"), delay_s=2.0))
        answer = await endpoint.chat(asking("three words here", n=2, temperature=0.8), fixed("model"))
    assert [choice.text for choice in answer.choices] == ["one", "two words"]
    assert {choice.finish_reason for choice in answer.choices} == {"stop"}
    assert (answer.prompt_tokens, answer.completion_tokens) == (3, 3)
    assert (answer.endpoint, answer.version) == ("local", None)
    assert answer.seconds == pytest.approx(2.0, abs=0.5)


async def test_several_greedy_choices_are_one_that_stands_for_all() -> None:
    async with open_fake_server() as server, endpoint_of(server) as endpoint:
        answer = await endpoint.chat(asking(n=3, temperature=0.0), fixed("model"))
        (received,) = server.asked(CHAT)
    assert received.body["n"] == 1
    assert [choice.text for choice in answer.choices] == ["answer of base"] * 3
    assert answer.completion_tokens == 3


async def test_an_answer_without_text_is_an_empty_text() -> None:
    body = {"choices": [{"message": {"content": None}, "finish_reason": None}]}
    async with open_fake_server() as server, endpoint_of(server) as endpoint:
        server.script(CHAT, Reply(body=json.dumps(body).encode()))
        answer = await endpoint.chat(asking(), fixed("model"))
    assert (answer.choices[0].text, answer.choices[0].finish_reason) == ("", "unknown")
    assert (answer.prompt_tokens, answer.completion_tokens) == (0, 0)


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (Reply(status=429, headers=(("retry-after", "3"),)), EndpointOverloaded),
        (Reply(status=503), EndpointOverloaded),
        (Reply(status=500), EndpointBroken),
        (Reply(status=400), EndpointRefused),
        (Reply(status=401), EndpointRefused),
        (Reply(status=408), EndpointUnreachable),
        (Reply(drop=True), EndpointUnreachable),
        (Reply(hang=True), EndpointUnreachable),
        (Reply(delay_s=1000.0), EndpointUnreachable),
        (Reply(body=b"<html>proxy</html>"), EndpointBroken),
        (Reply(body=b""), EndpointBroken),
        (Reply(body=b"\xff\xfe"), EndpointBroken),
        (Reply(body=b'{"choices": []}'), EndpointBroken),
        (Reply(body=b'{"choices": [{"message": {"content": 5}}]}'), EndpointBroken),
        (Reply(body=b'{"error": "words"}'), EndpointBroken),
    ],
)
async def test_every_way_to_fail_has_its_error_after_one_try(
    virtual_time: MockClock, reply: Reply, expected: type[Exception]
) -> None:
    async with open_fake_server() as server, endpoint_of(server) as endpoint:
        server.script(CHAT, reply)
        with trio.fail_after(SECONDS), pytest.raises(expected) as caught:
            await endpoint.chat(asking(), fixed("model"))
        assert type(caught.value) is expected
        assert len(server.asked(CHAT)) == 1
        assert endpoint.statistics().failures == {expected.__name__: 1}


async def test_the_pause_that_the_endpoint_asks_for_is_in_the_error() -> None:
    async with open_fake_server() as server, endpoint_of(server) as endpoint:
        server.script(CHAT, Reply(status=429, headers=(("retry-after", "3"),)))
        with pytest.raises(EndpointOverloaded) as caught:
            await endpoint.chat(asking(), fixed("model"))
    assert caught.value.retry_after_s == 3.0


async def test_no_more_requests_are_in_flight_than_connections_allow(virtual_time: MockClock) -> None:
    async with (
        open_fake_server(latency_s=1.0) as server,
        endpoint_of(server, connections=20) as endpoint,
        trio.open_nursery() as nursery,
    ):
        for _ in range(50):
            nursery.start_soon(endpoint.chat, asking(), fixed("model"))
        await trio.sleep(0.5)
        assert endpoint.statistics().in_flight == 20
        assert endpoint.statistics().waiting == 30
        assert endpoint.load == 2.5
    assert server.most_in_flight == 20
    assert endpoint.statistics().answered == 50


async def test_a_cancelled_request_is_taken_back_from_the_server(virtual_time: MockClock) -> None:
    async with open_fake_server(latency_s=100.0) as server, endpoint_of(server) as endpoint:
        with trio.move_on_after(1.0):
            await endpoint.chat(asking(), fixed("model"))
        await trio.sleep(1.0)
        assert server.in_flight == 0
        assert endpoint.statistics().in_flight == 0
        assert endpoint.statistics().failures == {}


async def test_log_probabilities_are_of_each_prompts_own_tokens_and_asked_for_one_by_one() -> None:
    prompts = [[5, 6, 7], [8, 9]]
    async with open_fake_server() as server, endpoint_of(server) as endpoint:
        result = await endpoint.log_probabilities(prompts, fixed("model"))
        asked = [received.body for received in server.asked("/v1/completions")]
    expected = [[log_probability("base", p[:i], p[i]) for i in range(1, len(p))] for p in prompts]
    assert [list(row) for row in result] == expected
    assert [body["prompt"] for body in asked] == [[prompt] for prompt in prompts]
    assert {(body["prompt_logprobs"], body["max_tokens"]) for body in asked} == {(0, 1)}


@pytest.mark.parametrize(
    "choices",
    [
        [],
        [{"prompt_logprobs": [None, {"6": {"logprob": -1}}]}],
        [{"prompt_logprobs": [None, {"6": {"logprob": -1}}, None]}],
        [{"prompt_logprobs": [None, {"6": {"logprob": -1}}, {"8": {"logprob": -1}}]}],
        [{"text": "no log-probabilities at all"}],
    ],
)
async def test_log_probabilities_of_other_tokens_are_no_answer(choices: list[Any]) -> None:
    async with open_fake_server() as server, endpoint_of(server) as endpoint:
        server.script("/v1/completions", Reply(body=json.dumps({"choices": choices}).encode()))
        with pytest.raises(EndpointBroken):
            await endpoint.log_probabilities([[5, 6, 7]], fixed("model"))


async def test_check_names_the_models() -> None:
    async with open_fake_server(model="small") as server, endpoint_of(server) as endpoint:
        assert await endpoint.check() == ("small",)


async def test_check_of_an_address_where_nobody_listens_names_it() -> None:
    async with open_fake_server() as server:
        url = server.url
    async with Endpoint(name="gone", url=url) as endpoint:
        with pytest.raises(EndpointUnreachable, match=url):
            await endpoint.check()


async def test_check_does_not_wait_for_as_long_as_an_answer_may_take(virtual_time: MockClock) -> None:
    async with open_fake_server() as server, endpoint_of(server, timeout_s=1000.0) as endpoint:
        server.script("/v1/models", Reply(hang=True))
        with trio.fail_after(20.0), pytest.raises(EndpointUnreachable):
            await endpoint.check(timeout_s=10.0)


async def test_a_control_call_is_not_kept_waiting_by_a_full_house(virtual_time: MockClock) -> None:
    async with (
        open_fake_server(latency_s=50.0) as server,
        endpoint_of(server, connections=1) as endpoint,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(endpoint.chat, asking(), fixed("model"))
        await trio.sleep(1.0)
        endpoint.gate.hold("mine")
        with trio.fail_after(1.0):
            await endpoint.control("//pause?mode=wait")
        assert server.paused
        server.paused = False
        endpoint.gate.release("mine")


async def test_the_key_is_sent_but_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_KEY", "s3cret")
    async with open_fake_server() as server, endpoint_of(server, key_variable="A_KEY") as endpoint:
        server.script(CHAT, Reply(status=401))
        with pytest.raises(EndpointRefused) as caught:
            await endpoint.chat(asking(), fixed("model"))
        assert server.requests[0].headers["authorization"] == "Bearer s3cret"
        assert "s3cret" not in f"{caught.value!r} {endpoint.statistics()!r} {vars(endpoint)!r}"


@pytest.mark.parametrize("value", [None, "", "  "])
def test_a_missing_key_is_the_users_fault_and_names_the_variable(
    monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    if value is None:
        monkeypatch.delenv("A_KEY", raising=False)
    else:
        monkeypatch.setenv("A_KEY", value)
    with pytest.raises(UsageError, match="A_KEY"):
        Endpoint(name="x", url="http://127.0.0.1:1/v1", key_variable="A_KEY")


@pytest.mark.parametrize("url", ["", "127.0.0.1:8000/v1", "ftp://x/v1", "http:///v1"])
def test_an_address_that_is_none_is_the_users_fault(url: str) -> None:
    with pytest.raises(UsageError):
        Endpoint(name="x", url=url)


async def test_connections_are_used_again() -> None:
    async with open_fake_server() as server, endpoint_of(server) as endpoint:
        for _ in range(5):
            await endpoint.chat(asking(), fixed("model"))
        assert server.connections == 1
