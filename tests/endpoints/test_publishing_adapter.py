"""The served policy where versions are adapters: several at once, each request on the one it started with."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from random import Random

import msgspec
import pytest
import trio
from trio.testing import MockClock

from endpoints.fake import FakeServer, Reply, open_fake_server
from endpoints.policy import ServedPolicy
from endpoints.ways import AdapterWay
from protocols.errors import EndpointRefused, PublishError
from protocols.ports import ChatAnswer
from tests.endpoints.support import SECONDS, asking, endpoint_of, version

LOAD = "/v1/load_lora_adapter"
UNLOAD = "/v1/unload_lora_adapter"
CHAT = "/v1/chat/completions"


@asynccontextmanager
async def policy_on(*servers: FakeServer, current: int = 0, **fields: float) -> AsyncGenerator[ServedPolicy]:
    endpoints = [endpoint_of(server, f"replica-{i}") for i, server in enumerate(servers)]
    replicas = [(endpoint, AdapterWay("model")) for endpoint in endpoints]
    try:
        with trio.fail_after(SECONDS):
            yield ServedPolicy(version(current), replicas, random=Random(0), **fields)
    finally:
        with trio.CancelScope(shield=True):
            for endpoint in endpoints:
                await endpoint.aclose()


def text(answer: ChatAnswer) -> str:
    return answer.choices[0].text


async def test_the_base_model_is_version_0() -> None:
    async with open_fake_server() as server, policy_on(server) as policy:
        answer = await policy.chat(asking())
    assert (text(answer), answer.version) == ("answer of base", 0)


async def test_a_staged_version_is_asked_by_its_name_and_nobody_else_gets_it() -> None:
    async with open_fake_server() as server, policy_on(server) as policy:
        await policy.stage(version(1))
        staged = await policy.chat(asking(), staged=version(1))
        other = await policy.chat(asking())
        assert (text(staged), staged.version) == ("answer of adapters/v0001-abc", 1)
        assert (text(other), other.version) == ("answer of base", 0)
        assert policy.current == version(0)


async def test_promotion_moves_the_pointer() -> None:
    async with open_fake_server() as server, policy_on(server) as policy:
        await policy.stage(version(1))
        await policy.promote(version(1))
        answer = await policy.chat(asking())
        assert policy.current == version(1)
        assert (text(answer), answer.version) == ("answer of adapters/v0001-abc", 1)


async def test_the_version_before_is_unloaded_only_when_its_last_request_is_done(virtual_time: MockClock) -> None:
    answers: list[ChatAnswer] = []
    async with open_fake_server(latency_s=10.0) as server, policy_on(server) as policy:
        await policy.stage(version(1))
        await policy.promote(version(1))
        await policy.stage(version(2))

        async def ask() -> None:
            answers.append(await policy.chat(asking()))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await trio.sleep(5.0)
            nursery.start_soon(policy.promote, version(2))
            await trio.sleep(1.0)
            assert policy.current == version(2)
            assert set(server.adapters) == {"v0001-abc", "v0002-abc"}
        assert set(server.adapters) == {"v0002-abc"}
    assert [(text(answer), answer.version) for answer in answers] == [("answer of adapters/v0001-abc", 1)]
    assert server.torn == 0


async def test_a_request_that_outlasts_the_drain_keeps_its_version_until_the_next_one_is_staged(
    virtual_time: MockClock,
) -> None:
    async with open_fake_server(latency_s=100.0) as server, policy_on(server, current=1, drain_s=5.0) as policy:
        await policy.restore()
        await policy.stage(version(2))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(policy.chat, asking())
            await trio.sleep(1.0)
            await policy.promote(version(2))
            assert set(server.adapters) == {"v0001-abc", "v0002-abc"}
        await policy.stage(version(3))
        assert set(server.adapters) == {"v0002-abc", "v0003-abc"}


async def test_roll_back_takes_the_staged_version_off() -> None:
    async with open_fake_server() as server, policy_on(server) as policy:
        await policy.stage(version(1))
        await policy.roll_back(version(1))
        assert server.adapters == {}
        assert policy.current == version(0)
        with pytest.raises(EndpointRefused):
            await policy.chat(asking(), staged=version(1))


async def test_roll_back_of_nothing_does_nothing() -> None:
    async with open_fake_server() as server, policy_on(server) as policy:
        await policy.roll_back(version(1))
        assert server.requests == []


async def test_a_version_goes_on_every_replica_or_on_none(virtual_time: MockClock) -> None:
    async with open_fake_server() as good, open_fake_server() as bad, policy_on(good, bad) as policy:
        bad.script(LOAD, *[Reply(status=500)] * 10)
        with pytest.raises(PublishError, match="v0001-abc"):
            await policy.stage(version(1))
        assert (good.adapters, bad.adapters) == ({}, {})
        assert [request.body["lora_name"] for request in good.asked(LOAD)] == ["v0001-abc"]
        assert {(await policy.chat(asking())).version for _ in range(4)} == {0}


async def test_a_failure_that_passes_does_not_stop_a_publication(virtual_time: MockClock) -> None:
    async with open_fake_server() as server, policy_on(server) as policy:
        server.script(LOAD, Reply(status=500))
        await policy.stage(version(1))
        assert set(server.adapters) == {"v0001-abc"}


async def test_a_refused_adapter_is_not_offered_again() -> None:
    async with open_fake_server() as server, policy_on(server) as policy:
        server.script(LOAD, Reply(status=400))
        with pytest.raises(PublishError):
            await policy.stage(version(1))
        assert len(server.asked(LOAD)) == 1


async def test_an_adapter_of_the_name_that_is_there_already_gives_way() -> None:
    async with open_fake_server() as server, policy_on(server) as policy:
        server.adapters["v0001-abc"] = "somewhere/else"
        await policy.stage(version(1))
        assert server.adapters == {"v0001-abc": "adapters/v0001-abc"}


async def test_cancelling_a_publication_leaves_no_replica_with_it(virtual_time: MockClock) -> None:
    async with open_fake_server() as quick, open_fake_server() as slow, policy_on(quick, slow) as policy:
        slow.script(LOAD, Reply(delay_s=60.0))
        with trio.move_on_after(10.0) as scope:
            await policy.stage(version(1))
        assert scope.cancelled_caught
        assert (quick.adapters, slow.adapters) == ({}, {})
        await policy.stage(version(2))
        assert set(quick.adapters) == set(slow.adapters) == {"v0002-abc"}


async def test_promotion_needs_the_version_on_every_replica() -> None:
    async with open_fake_server() as server, policy_on(server) as policy:
        with pytest.raises(PublishError, match="v0001-abc"):
            await policy.promote(version(1))
        assert policy.current == version(0)


async def test_a_resumed_run_puts_its_version_on_again() -> None:
    async with open_fake_server() as left, open_fake_server() as right, policy_on(left, right, current=3) as policy:
        await policy.restore()
        assert left.adapters == right.adapters == {"v0003-abc": "adapters/v0003-abc"}
        assert (await policy.chat(asking())).version == 3


async def test_a_replica_that_cannot_be_restored_lets_nobody_in(virtual_time: MockClock) -> None:
    async with open_fake_server() as left, open_fake_server() as right, policy_on(left, right, current=3) as policy:
        right.script(LOAD, *[Reply(status=500)] * 3)
        with pytest.raises(PublishError):
            await policy.restore()
        assert {(await policy.chat(asking())).endpoint for _ in range(4)} == {"replica-0"}
        await policy.stage(version(4))
        assert set(right.adapters) == {"v0003-abc", "v0004-abc"}
        assert len(right.asked(CHAT)) == 0


async def test_a_staged_version_is_proven_on_every_replica() -> None:
    async with open_fake_server() as left, open_fake_server() as right, policy_on(left, right) as policy:
        await policy.stage(version(1))
        await policy.log_probabilities([[1, 2, 3]], staged=version(1))
        assert len(left.asked("/v1/completions")) == len(right.asked("/v1/completions")) == 1
        right.adapters["v0001-abc"] = "adapters/of-somebody-else"
        with pytest.raises(Exception, match="do not agree"):
            await policy.log_probabilities([[*range(40)]], staged=version(1))


async def test_another_replica_answers_when_one_fails(virtual_time: MockClock) -> None:
    async with open_fake_server() as bad, open_fake_server() as good, policy_on(bad, good) as policy:
        bad.script(CHAT, Reply(drop=True))
        assert (await policy.chat(asking())).endpoint == "replica-1"


async def test_a_whole_model_is_no_adapter_and_is_not_published_as_one() -> None:
    async with open_fake_server() as server, policy_on(server) as policy:
        with pytest.raises(PublishError, match="is no adapter"):
            await policy.stage(msgspec.structs.replace(version(1), adapter=None))
        assert server.adapters == {}
