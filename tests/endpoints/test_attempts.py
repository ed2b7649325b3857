"""Trying again: how often, after how long, and where."""

from random import Random

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from endpoints.attempts import FIRST_PAUSE_S, LONGEST_PAUSE_S, LONGEST_RETRY_AFTER_S, ask, pause_s
from endpoints.fake import Reply, open_fake_server
from endpoints.pool import RolePool
from protocols.errors import EndpointBroken, EndpointError, EndpointOverloaded, EndpointRefused, EndpointUnreachable
from tests.endpoints.support import SECONDS, asking, judge_on

CHAT = "/v1/chat/completions"


@pytest.mark.parametrize("reply", [Reply(status=500), Reply(status=429), Reply(drop=True), Reply(body=b"garbage")])
async def test_a_failure_that_may_pass_is_tried_again(virtual_time: MockClock, reply: Reply) -> None:
    async with open_fake_server() as server, judge_on(server) as judge:
        server.script(CHAT, reply, reply)
        with trio.fail_after(SECONDS):
            answer = await judge.chat(asking())
        assert answer.choices[0].text == "answer of base"
        assert len(server.asked(CHAT)) == 3


async def test_the_last_failure_is_raised_when_the_tries_are_used_up(virtual_time: MockClock) -> None:
    async with open_fake_server() as server, judge_on(server, tries=3) as judge:
        server.script(CHAT, Reply(status=500), Reply(status=500), Reply(status=429), Reply())
        with trio.fail_after(SECONDS), pytest.raises(EndpointOverloaded):
            await judge.chat(asking())
        assert len(server.asked(CHAT)) == 3


async def test_a_role_without_an_endpoint_cannot_be_asked() -> None:
    with pytest.raises(EndpointError, match="role critic has no endpoint"):
        await RolePool("critic", (), random=Random(0)).chat(asking())


async def test_a_refused_request_is_never_tried_again(virtual_time: MockClock) -> None:
    async with open_fake_server() as server, judge_on(server) as judge:
        server.script(CHAT, Reply(status=400))
        with pytest.raises(EndpointRefused):
            await judge.chat(asking())
        assert len(server.asked(CHAT)) == 1


async def test_the_endpoint_is_left_alone_as_long_as_it_asks(virtual_time: MockClock) -> None:
    asked_at: list[float] = []

    def respond(_: object) -> Reply | None:
        asked_at.append(trio.current_time())
        return Reply(status=429, headers=(("retry-after", "40"),)) if len(asked_at) == 1 else None

    async with open_fake_server(respond=respond) as server, judge_on(server) as judge:
        await judge.chat(asking())
    assert 40.0 <= asked_at[1] - asked_at[0] <= 40.0 + FIRST_PAUSE_S + 1.0


async def test_an_endpoint_that_asks_for_an_hour_has_failed(virtual_time: MockClock) -> None:
    async with open_fake_server() as server, judge_on(server) as judge:
        server.script(CHAT, Reply(status=429, headers=(("retry-after", str(LONGEST_RETRY_AFTER_S + 1)),)))
        with pytest.raises(EndpointOverloaded):
            await judge.chat(asking())
        assert len(server.asked(CHAT)) == 1


async def test_another_endpoint_is_asked_at_once_after_a_failure(virtual_time: MockClock) -> None:
    async with open_fake_server() as bad, open_fake_server() as good, judge_on(bad, good) as judge:
        bad.script(CHAT, Reply(status=429, headers=(("retry-after", "100"),)))
        began = trio.current_time()
        answer = await judge.chat(asking())
        assert answer.endpoint == "judge-1"
        assert trio.current_time() - began < 1.0


async def test_another_endpoint_is_asked_after_a_refusal() -> None:
    async with open_fake_server(model="other") as other, open_fake_server() as good, judge_on(other, good) as judge:
        assert (await judge.chat(asking())).endpoint == "judge-1"


async def test_an_endpoint_that_just_failed_is_asked_last(virtual_time: MockClock) -> None:
    async with open_fake_server() as bad, open_fake_server() as good, judge_on(bad, good) as judge:
        bad.script(CHAT, Reply(status=500))
        await judge.chat(asking())
        await judge.chat(asking())
        assert len(bad.asked(CHAT)) == 1
        await trio.sleep(60)
        await judge.chat(asking())
        assert len(bad.asked(CHAT)) == 2


async def test_requests_go_to_the_least_loaded_endpoint(virtual_time: MockClock) -> None:
    async with (
        open_fake_server(latency_s=5.0) as left,
        open_fake_server(latency_s=5.0) as right,
        judge_on(left, right, connections=8) as judge,
    ):
        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(judge.chat, asking())
                await trio.sleep(0.1)
        assert (len(left.asked(CHAT)), len(right.asked(CHAT))) == (5, 5)


async def test_a_held_endpoint_burns_no_tries(virtual_time: MockClock) -> None:
    async with open_fake_server() as server, judge_on(server, tries=1) as judge:
        endpoint = judge.seats[0].endpoint
        endpoint.gate.hold("server")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(judge.chat, asking())
            await trio.sleep(300)
            assert server.asked(CHAT) == []
            endpoint.gate.release("server")
        assert len(server.asked(CHAT)) == 1


async def test_no_endpoint_is_an_error() -> None:
    async def never(_: object) -> None:
        raise AssertionError

    with pytest.raises(EndpointBroken):
        await ask([], never, Random(0))


@given(failures=st.integers(0, 1000), seed=st.integers(), retry_after_s=st.none() | st.floats(0, 300))
def test_a_pause_has_full_jitter_below_a_bound_that_doubles(
    failures: int, seed: int, retry_after_s: float | None
) -> None:
    longest = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(failures, 20))
    pause = pause_s(failures, retry_after_s, Random(seed))
    assert (retry_after_s or 0.0) <= pause <= (retry_after_s or 0.0) + longest


def test_pauses_differ_and_repeat_with_the_generator() -> None:
    pauses = [pause_s(5, None, Random(seed)) for seed in range(50)]
    assert len(set(pauses)) == 50
    assert pauses == [pause_s(5, None, Random(seed)) for seed in range(50)]
    assert min(pauses) < 2.0 < max(pauses)


@pytest.mark.parametrize("kind", [EndpointUnreachable, EndpointBroken, EndpointOverloaded, EndpointRefused])
def test_every_endpoint_error_is_known_here(kind: type[EndpointError]) -> None:
    assert kind in EndpointError.__subclasses__()
    assert len(EndpointError.__subclasses__()) == 4
