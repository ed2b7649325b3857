"""The server sleeps while a job has its GPUs: the order of calls; nobody is answered meanwhile, or left waiting."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import pytest
import trio
from trio.testing import MockClock

from endpoints.client import Endpoint
from endpoints.fake import FakeServer, Reply, open_fake_server
from endpoints.policy import ServedPolicy
from endpoints.sleeping import TrainingWhileAsleep
from endpoints.ways import AdapterWay
from protocols.errors import EndpointUnreachable, TrainingError
from tests.endpoints.support import SECONDS, asking, endpoint_of, version
from tests.trainer import tiny
from trainer.fake import FakeTrainer

CONTROL = ("/sleep?level=1", "/wake_up", "/reset_prefix_cache")


class Stage:
    def __init__(self, server: FakeServer, endpoint: Endpoint, trainer: FakeTrainer) -> None:
        self.server = server
        self.policy = ServedPolicy(version(0), [(endpoint, AdapterWay("model"))], random=Random(0))
        self.trainer = TrainingWhileAsleep(trainer, endpoint, 20.0, self.policy.untouched)
        self.asleep: list[bool] = []

    async def train(self, folder: Path) -> None:
        await self.trainer.train(tiny.job("model", folder), lambda _: self.asleep.append(self.server.asleep))

    def asked(self) -> list[str]:
        return [request.path for request in self.server.requests]


@asynccontextmanager
async def staged(trainer: FakeTrainer, latency_s: float = 0.0) -> AsyncGenerator[Stage]:
    async with open_fake_server(latency_s=latency_s) as server, endpoint_of(server, tries=1) as endpoint:
        with trio.fail_after(SECONDS):
            yield Stage(server, endpoint, trainer)


async def test_the_job_runs_between_sleep_and_wake_up(tmp_path: Path) -> None:
    async with staged(FakeTrainer()) as stage:
        await stage.train(tmp_path)
        assert stage.asked() == list(CONTROL)
        assert stage.asleep == [True] * 6
        assert not stage.server.asleep
        assert (await stage.policy.chat(asking())).version == 0


async def test_requests_in_flight_end_first_and_later_ones_wait(virtual_time: MockClock, tmp_path: Path) -> None:
    async with staged(FakeTrainer(step_s=10.0), latency_s=5.0) as stage, trio.open_nursery() as nursery:
        ends: list[float] = []

        async def ask() -> None:
            await stage.policy.chat(asking())
            ends.append(trio.current_time())

        nursery.start_soon(ask)
        await trio.sleep(1.0)
        nursery.start_soon(stage.train, tmp_path)
        await trio.sleep(1.0)
        nursery.start_soon(ask)
        begun = trio.current_time()
        await trio.sleep(20.0)
        assert len(ends) == 1
        assert stage.server.asleep
    assert ends[1] > begun + 60.0
    chat = "/v1/chat/completions"
    assert stage.asked() == [chat, *CONTROL, chat]


async def test_a_job_that_fails_leaves_the_server_awake(tmp_path: Path) -> None:
    async with staged(FakeTrainer(fail_at_step=2)) as stage:
        with pytest.raises(TrainingError, match="told to fail"):
            await stage.train(tmp_path)
        assert stage.asked() == list(CONTROL)
        await stage.policy.chat(asking())


async def test_a_job_that_is_cancelled_leaves_the_server_awake(virtual_time: MockClock, tmp_path: Path) -> None:
    async with staged(FakeTrainer(step_s=100.0)) as stage:
        with trio.move_on_after(150.0):
            await stage.train(tmp_path)
        assert not stage.server.asleep
        await stage.policy.chat(asking())


async def test_a_server_that_does_not_sleep_costs_the_job_and_nothing_else(tmp_path: Path) -> None:
    async with staged(trainer := FakeTrainer()) as stage:
        stage.server.script("/sleep", Reply(status=404))
        with pytest.raises(TrainingError, match="shares its GPUs"):
            await stage.train(tmp_path)
        assert trainer.jobs == []
        await stage.policy.chat(asking())


async def test_a_server_that_cannot_be_woken_lets_nobody_in(tmp_path: Path) -> None:
    async with staged(FakeTrainer()) as stage:
        stage.server.script("/wake_up", Reply(status=500))
        with pytest.raises(TrainingError, match="shares its GPUs"):
            await stage.train(tmp_path)
        with pytest.raises(EndpointUnreachable, match="could not be woken"):
            await stage.policy.chat(asking())


async def test_no_version_is_put_on_a_server_that_sleeps(virtual_time: MockClock, tmp_path: Path) -> None:
    async with staged(FakeTrainer(step_s=10.0)) as stage, trio.open_nursery() as nursery:
        nursery.start_soon(stage.train, tmp_path)
        await trio.sleep(5.0)
        await stage.policy.stage(version(1))
    assert stage.asked() == [*CONTROL, "/v1/models", "/v1/load_lora_adapter"]
