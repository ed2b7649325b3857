"""The real vLLM on the embedded model: both ways of publishing, and what a killed server comes back with. Minutes."""

import os
import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from random import Random

import msgspec
import pytest
import trio

from actors.canary import examine
from benchmarks.changed_weights import write_adapter, write_changed_model
from endpoints.client import Endpoint
from endpoints.machine import this_machine
from endpoints.model_size import model_size
from endpoints.policy import LogProbabilities, ServedPolicy
from endpoints.server import ManagedServer, free_port
from endpoints.server_log import read_tail
from endpoints.server_plan import ServerWish, Way, choose_dtype, plan_server
from endpoints.ways import AdapterWay, InPlaceWay, RestartWay
from endpoints.ways import Way as PublishingWay
from protocols.records import PolicyVersion
from tests.endpoints.support import asking, version
from tests.trainer import tiny
from trainer.process import open_trainer

pytestmark = pytest.mark.real

READY_S = 900.0
PROMPTS = [[1, 520, 9531, 198, 57, 1195, 411, 30, 2, 198], [1, 4093, 198, 19556, 28, 638, 506, 346, 47, 2]]
MERGE_ROUNDING = 0.02


class Served:
    """A real server with the policy on it."""

    def __init__(self, policy: ServedPolicy, endpoint: Endpoint, server: ManagedServer) -> None:
        self.policy = policy
        self.endpoint = endpoint
        self.server = server

    async def probe(self, staged: PolicyVersion | None = None) -> LogProbabilities:
        return await self.policy.log_probabilities(PROMPTS, staged=staged)


def difference(left: LogProbabilities, right: LogProbabilities) -> float:
    pairs = [(a, b) for one, other in zip(left, right, strict=True) for a, b in zip(one, other, strict=True)]
    return sum(abs(a - b) for a, b in pairs) / len(pairs)


def way_of(way: Way, model: Path, server: ManagedServer) -> PublishingWay:
    if way == "adapter":
        return AdapterWay("policy")
    if way == "restart":
        return RestartWay("policy", base_weights=str(model), drain_s=60, restart=server.restart)
    return InPlaceWay("policy", base_weights=str(model), drain_s=60)


@asynccontextmanager
async def served(model: Path, way: Way, folder: Path) -> AsyncGenerator[Served]:
    machine = this_machine()
    dtype = choose_dtype("auto", "cpu", machine)
    size = model_size(str(model), dtype)
    assert size is not None
    wish = ServerWish(
        model=str(model),
        local=True,
        served_name="policy",
        dtype=dtype,
        way=way,
        port=free_port(),
        device="cpu",
        adapter_rank=16,
        max_model_tokens=1024,
        max_sequences=8,
        compiled=False,
    )
    plan = plan_server(wish, machine, size)
    server = ManagedServer(
        command=plan.command,
        environment=plan.environment,
        port=wish.port,
        log=folder / "server.log",
        ready_s=READY_S,
        model=str(model),
    )
    publishing = way_of(way, model, server)
    async with Endpoint(name="local", url=server.url, sends_seeds=False) as endpoint, trio.open_nursery() as nursery:
        policy = ServedPolicy(version(0), [(endpoint, publishing)], random=Random(0))
        await nursery.start(server.serve, endpoint, partial(policy.restore, endpoint))
        try:
            yield Served(policy, endpoint, server)
        except BaseException as error:
            error.add_note(f"{server.starts} starts; the server's log ends:\n{read_tail(server.log)}")
            raise
        nursery.cancel_scope.cancel()


def engine_processes(log: Path) -> set[int]:
    """The processes whose output is in `log` and that still run."""
    found: set[int] = set()
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                if os.readlink(folder / "fd" / "1") == str(log):
                    found.add(int(folder.name))
            except OSError:
                continue
    return found


async def test_in_place_a_version_is_staged_promoted_rolled_back_and_survives_a_killed_server(
    embedded_model: Path, tmp_path: Path
) -> None:
    changed = write_changed_model(embedded_model, tmp_path / "merged")
    new = msgspec.structs.replace(version(1), merged=str(changed))
    other = msgspec.structs.replace(version(2), merged=str(embedded_model))
    log = tmp_path / "server.log"
    with trio.fail_after(2.5 * READY_S):
        async with served(embedded_model, "in_place", tmp_path) as on:
            base = await on.probe()
            assert [len(row) for row in base] == [len(prompt) - 1 for prompt in PROMPTS]
            answer = await on.policy.chat(asking("Name a colour.", n=2, max_tokens=8))
            assert (len(answer.choices), answer.version) == (2, 0)

            await on.policy.stage(new)
            staged = await on.probe(new)
            assert difference(staged, base) > 0.2
            await on.policy.promote(new)
            assert difference(await on.probe(), staged) < MERGE_ROUNDING

            await on.policy.stage(other)
            assert difference(await on.probe(other), base) < MERGE_ROUNDING
            await on.policy.roll_back(other)
            assert difference(await on.probe(), staged) < MERGE_ROUNDING

            before = engine_processes(log)
            assert len(before) >= 3
            os.kill(min(before - {guard_of(before)}), signal.SIGKILL)
            while on.server.starts < 2:
                await on.endpoint.gate.run(partial(trio.sleep, 1.0))
            assert difference(await on.probe(), staged) < MERGE_ROUNDING
            assert not before & engine_processes(log)
    assert engine_processes(log) == set()


async def test_adapter_a_version_is_loaded_beside_the_base_model(embedded_model: Path, tmp_path: Path) -> None:
    new = msgspec.structs.replace(version(1), adapter=str(write_adapter(embedded_model, tmp_path / "adapter")))
    schema = {"type": "object", "properties": {"choice": {"enum": ["A", "B"]}}, "required": ["choice"]}
    with trio.fail_after(1.5 * READY_S):
        async with served(embedded_model, "adapter", tmp_path) as on:
            base = await on.probe()
            await on.policy.stage(new)
            assert difference(await on.probe(new), base) > 0.05
            assert difference(await on.probe(), base) < MERGE_ROUNDING
            await on.policy.promote(new)
            assert difference(await on.probe(), base) > 0.05
            assert new.name in await on.endpoint.check()
            answer = await on.policy.chat(asking("A or B?", schema=schema, max_tokens=40))
            assert msgspec.json.decode(answer.choices[0].text)["choice"] in ("A", "B")
    assert engine_processes(tmp_path / "server.log") == set()


def guard_of(processes: set[int]) -> int:
    """The one whose command line is the guard's."""
    return next(pid for pid in processes if b"guard.py" in Path(f"/proc/{pid}/cmdline").read_bytes())


async def test_a_model_of_which_all_weights_were_trained_passes_the_canary_and_is_taken_back(
    embedded_model: Path, tmp_path: Path
) -> None:
    texts = tuple(f"def add_{n}(a, b):\n    return a + b + {n}\n" for n in range(4))
    job = tiny.job(
        embedded_model,
        tmp_path / "versions",
        examples=tuple(tiny.answer_example(n) for n in range(4)),
        epochs=4,
        weights="full",
        learning_rate=3e-4,
        probe_texts=texts,
    )
    async with open_trainer(log_path=tmp_path / "trainer.log", threads=2, step_deadline_s=READY_S) as trainer:
        before = await trainer.probe(str(embedded_model), texts)
        report = await trainer.train(job, lambda _: None)
    new = msgspec.structs.replace(version(1), adapter=report.adapter, merged=report.merged)
    ids = [probe.token_ids for probe in report.probes]
    with trio.fail_after(2.5 * READY_S):
        async with served(embedded_model, "restart", tmp_path) as on:
            base = await on.policy.log_probabilities(ids)
            await on.policy.stage(new)
            result = examine(
                await on.policy.log_probabilities(ids, staged=new),
                [probe.log_probabilities for probe in report.probes],
                base,
                [probe.log_probabilities for probe in before],
                0.1,
            )
            assert result.refusal is None
            assert result.move > 0.1, "the training did something"
            await on.policy.roll_back(new)
            assert difference(await on.policy.log_probabilities(ids), base) < MERGE_ROUNDING
