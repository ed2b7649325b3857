"""The served policy where weights are reloaded in place: everybody else waits, and no answer mixes two versions."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from random import Random

import pytest
import trio
from trio.testing import MockClock

from endpoints.fake import FakeServer, Reply, open_fake_server
from endpoints.policy import ServedPolicy
from endpoints.pool import RolePool
from endpoints.ways import InPlaceWay, RestartWay
from protocols.errors import EndpointRefused, EndpointUnreachable, PublishError, ServerDied
from protocols.ports import ChatAnswer
from tests.endpoints.support import SECONDS, asking, endpoint_of, version

CHAT = "/v1/chat/completions"
RELOAD = "/collective_rpc"


@asynccontextmanager
async def policy_on(*servers: FakeServer, current: int = 0, drain_s: float = 20.0) -> AsyncGenerator[ServedPolicy]:
    endpoints = [endpoint_of(server, f"replica-{i}") for i, server in enumerate(servers)]
    way = InPlaceWay("model", base_weights="models/base", drain_s=drain_s)
    try:
        with trio.fail_after(SECONDS):
            yield ServedPolicy(version(current), [(endpoint, way) for endpoint in endpoints], random=Random(0))
    finally:
        with trio.CancelScope(shield=True):
            for endpoint in endpoints:
                await endpoint.aclose()


def judge_beside(policy: ServedPolicy) -> RolePool:
    return RolePool("judge", policy.seats(), random=Random(0))


async def test_the_weights_are_reloaded_while_the_engine_is_paused_and_old_prefixes_are_forgotten() -> None:
    async with open_fake_server() as server, policy_on(server) as policy:
        await policy.stage(version(1))
        paths = [request.path.partition("?")[0] for request in server.requests]
        assert paths == ["/pause", RELOAD, "/reset_prefix_cache", "/update_weight_version", "/resume"]
        assert server.weights == "merged/v0001-abc"
        assert server.weight_version == "v0001-abc"


async def test_staged_requests_are_answered_while_others_wait(virtual_time: MockClock) -> None:
    answers: list[ChatAnswer] = []
    async with open_fake_server() as server, policy_on(server) as policy, trio.open_nursery() as nursery:

        async def ask(chat: ServedPolicy | RolePool) -> None:
            answers.append(await chat.chat(asking()))

        await policy.stage(version(1))
        nursery.start_soon(ask, policy)
        nursery.start_soon(ask, judge_beside(policy))
        await trio.sleep(1.0)
        staged = await policy.chat(asking(), staged=version(1))
        assert (staged.choices[0].text, staged.version) == ("answer of merged/v0001-abc", 1)
        assert await policy.log_probabilities([[1, 2]], staged=version(1))
        assert answers == []
        await policy.promote(version(1))
    assert [(answer.choices[0].text, answer.version) for answer in answers] == [("answer of merged/v0001-abc", 1)] * 2


async def test_requests_in_flight_end_before_the_reload(virtual_time: MockClock) -> None:
    answers: list[ChatAnswer] = []
    async with open_fake_server(latency_s=10.0) as server, policy_on(server) as policy, trio.open_nursery() as nursery:

        async def ask() -> None:
            answers.append(await policy.chat(asking()))

        nursery.start_soon(ask)
        await trio.sleep(1.0)
        await policy.stage(version(1))
        assert [answer.version for answer in answers] == [0]
        assert server.torn == 0
        await policy.promote(version(1))


async def test_requests_that_do_not_end_in_time_are_taken_back_and_asked_again(virtual_time: MockClock) -> None:
    answers: list[ChatAnswer] = []
    done = trio.Event()
    async with open_fake_server(latency_s=100.0) as server, policy_on(server) as policy, trio.open_nursery() as nursery:

        async def ask() -> None:
            answers.append(await policy.chat(asking()))
            done.set()

        nursery.start_soon(ask)
        await trio.sleep(1.0)
        with trio.fail_after(30.0):
            await policy.stage(version(1))
        assert answers == []
        await policy.promote(version(1))
        with trio.fail_after(SECONDS):
            await done.wait()
        assert [(answer.choices[0].text, answer.version) for answer in answers] == [("answer of merged/v0001-abc", 1)]
        assert (server.torn, policy.statistics()[0].interrupted, policy.statistics()[0].failures) == (0, 1, {})


async def test_roll_back_puts_the_current_weights_back_and_lets_everybody_in(virtual_time: MockClock) -> None:
    async with open_fake_server() as server, policy_on(server) as policy, trio.open_nursery() as nursery:
        await policy.stage(version(1))
        nursery.start_soon(policy.chat, asking())
        await trio.sleep(1.0)
        assert server.asked(CHAT) == []
        await policy.roll_back(version(1))
        assert server.weights == "models/base"
        answer = await policy.chat(asking())
        assert (answer.choices[0].text, answer.version) == ("answer of models/base", 0)
        with pytest.raises(EndpointRefused):
            await policy.chat(asking(), staged=version(1))


@pytest.mark.parametrize("path", ["/pause", RELOAD, "/reset_prefix_cache", "/update_weight_version", "/resume"])
async def test_whatever_step_fails_every_replica_is_back_on_the_current_version(
    virtual_time: MockClock, path: str
) -> None:
    async with open_fake_server() as good, open_fake_server() as bad, policy_on(good, bad) as policy:
        bad.script(path, *[Reply(status=500)] * 3)
        with trio.fail_after(SECONDS), pytest.raises(PublishError, match="v0001-abc"):
            await policy.stage(version(1))
        assert (good.weights, bad.weights) == ("models/base", "models/base")
        assert (good.paused, bad.paused) == (False, False)
        assert {(await policy.chat(asking())).version for _ in range(4)} == {0}


async def test_a_prefix_cache_that_stays_is_a_failure_to_publish(virtual_time: MockClock) -> None:
    async with open_fake_server() as server, policy_on(server) as policy:
        server.script("/reset_prefix_cache", *[Reply(body=b'{"success": false}')] * 3)
        with pytest.raises(PublishError, match="prefix cache"):
            await policy.stage(version(1))
        assert server.weights == "models/base"


async def test_a_version_without_merged_weights_cannot_be_published(virtual_time: MockClock) -> None:
    import msgspec

    async with open_fake_server() as server, policy_on(server) as policy:
        with pytest.raises(PublishError, match="no merged weights"):
            await policy.stage(msgspec.structs.replace(version(1), merged=None))
        assert (await policy.chat(asking())).version == 0


async def test_a_replica_that_cannot_be_put_back_lets_nobody_in_until_it_can(virtual_time: MockClock) -> None:
    async with open_fake_server() as server, policy_on(server) as policy:
        server.script(RELOAD, *[Reply(status=500)] * 6)
        with trio.fail_after(SECONDS), pytest.raises(PublishError):
            await policy.stage(version(1))
        with trio.fail_after(SECONDS), pytest.raises(EndpointUnreachable, match="could not be put back"):
            await policy.chat(asking())
        assert server.asked(CHAT) == []
        await policy.stage(version(2))
        await policy.promote(version(2))
        assert (await policy.chat(asking())).version == 2


async def test_a_failed_roll_back_says_so(virtual_time: MockClock) -> None:
    async with open_fake_server() as server, policy_on(server) as policy:
        await policy.stage(version(1))
        server.script(RELOAD, *[Reply(status=500)] * 3)
        with pytest.raises(PublishError, match="put back"):
            await policy.roll_back(version(1))


async def test_cancelling_a_publication_brings_the_current_version_back(virtual_time: MockClock) -> None:
    async with open_fake_server() as server, policy_on(server) as policy:
        server.script(RELOAD, Reply(delay_s=60.0))
        with trio.move_on_after(10.0) as scope:
            await policy.stage(version(1))
        assert scope.cancelled_caught
        assert server.weights == "models/base"
        assert (await policy.chat(asking())).version == 0


async def test_a_server_that_restarts_during_a_trial_does_not_pass_for_the_staged_version(
    virtual_time: MockClock,
) -> None:
    async with open_fake_server() as server, policy_on(server) as policy:
        await policy.stage(version(1))
        server.weights = "fresh from the start"
        await policy.restore()
        assert server.weights == "models/base"
        with pytest.raises(EndpointRefused, match="v0001-abc"):
            await policy.chat(asking(), staged=version(1))
        with pytest.raises(PublishError):
            await policy.promote(version(1))
        await policy.roll_back(version(1))
        assert (await policy.chat(asking())).version == 0


async def test_a_resumed_run_reloads_its_version() -> None:
    async with open_fake_server() as server, policy_on(server, current=3) as policy:
        await policy.restore()
        answer = await policy.chat(asking())
        assert (answer.choices[0].text, answer.version) == ("answer of merged/v0003-abc", 3)


async def test_under_load_no_answer_ever_mixes_two_versions(virtual_time: MockClock) -> None:
    answers: list[ChatAnswer] = []
    async with open_fake_server(latency_s=7.0) as server, policy_on(server, drain_s=3.0) as policy:

        async def ask_on(count: int) -> None:
            answers.extend([await policy.chat(asking()) for _ in range(count)])

        async with trio.open_nursery() as nursery:
            for _ in range(6):
                nursery.start_soon(ask_on, 4)
            for number in range(1, 4):
                await trio.sleep(5.0)
                await policy.stage(version(number))
                await (policy.promote if number != 2 else policy.roll_back)(version(number))
        assert server.torn == 0
    names = {0: "models/base", 1: "merged/v0001-abc", 3: "merged/v0003-abc"}
    assert len(answers) == 24
    assert {answer.version for answer in answers} >= {1, 3}
    for answer in answers:
        assert answer.version is not None
        assert answer.choices[0].text in (f"answer of {names[answer.version]}", "answer of base")


async def test_weights_that_were_overwritten_are_no_longer_there() -> None:
    async with open_fake_server() as server, policy_on(server) as policy:
        await policy.stage(version(1))
        with pytest.raises(EndpointRefused, match="base"):
            await policy.chat(asking(), staged=version(0))


class TestRestarting:
    """The same promises where the weights come with a new start of the server."""

    @asynccontextmanager
    async def policy_on(self, server: FakeServer, *refused: str) -> AsyncGenerator[ServedPolicy]:
        async def restart(weights: str) -> None:
            if weights in refused:
                raise ServerDied(f"it did not come up on {weights}")
            server.weights = weights

        async with endpoint_of(server) as endpoint:
            way = RestartWay("model", base_weights="models/base", drain_s=20.0, restart=restart)
            with trio.fail_after(SECONDS):
                yield ServedPolicy(version(0), [(endpoint, way)], random=Random(0))

    async def test_a_version_is_staged_rolled_back_and_promoted(self) -> None:
        async with open_fake_server() as server, self.policy_on(server) as policy:
            await policy.stage(version(1))
            staged = await policy.chat(asking(), staged=version(1))
            assert (staged.choices[0].text, staged.version) == ("answer of merged/v0001-abc", 1)
            await policy.roll_back(version(1))
            assert (await policy.chat(asking())).choices[0].text == "answer of models/base"
            await policy.stage(version(2))
            await policy.promote(version(2))
            answer = await policy.chat(asking())
            assert (answer.choices[0].text, answer.version) == ("answer of merged/v0002-abc", 2)

    async def test_weights_on_which_it_does_not_start_are_not_published(self) -> None:
        async with open_fake_server() as server, self.policy_on(server, "merged/v0001-abc") as policy:
            with pytest.raises(PublishError, match="did not come up on merged/v0001-abc"):
                await policy.stage(version(1))
            answer = await policy.chat(asking())
            assert (answer.choices[0].text, answer.version) == ("answer of models/base", 0)


async def test_a_server_tells_whether_weights_can_be_reloaded() -> None:
    async with open_fake_server() as server, endpoint_of(server) as endpoint:
        assert await endpoint.can_reload()
        server.development = False
        assert not await endpoint.can_reload()
