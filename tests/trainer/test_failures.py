# ruff: noqa: ASYNC240  (looking at a folder between two jobs holds nobody up)
"""What goes wrong in the real worker process becomes a clear error and never a version; what can go on goes on.

Each failure is made to happen: the worker is killed, stopped, starved of disk or memory, or given a learning rate that
explodes. The model is tiny. Workers take seconds to start, so the checks follow upon each other with one trainer; each
leaves it usable for the next.
"""

import os
import resource
import signal
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from protocols.errors import TrainingError
from protocols.ports import TrainingJob, TrainingProgress
from tests.trainer import tiny
from tests.trainer.tiny import ignore
from trainer.process import TrainerProcess, open_trainer

Check = Callable[[TrainerProcess, Path, Path], Awaitable[None]]

LOADING_S = 200.0
UNLIMITED = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)


@asynccontextmanager
async def opened(folder: Path, threads: int = 1) -> AsyncGenerator[TrainerProcess]:
    with trio.fail_after(3 * LOADING_S):
        async with open_trainer(log_path=folder / "worker.log", threads=threads, step_deadline_s=LOADING_S) as trainer:
            yield trainer


def at_step(step: int, act: Callable[[], Any]) -> Callable[[TrainingProgress], None]:
    def look(progress: TrainingProgress) -> None:
        if progress.step == step:
            act()

    return look


def signalled(trainer: TrainerProcess, number: signal.Signals) -> Callable[[], None]:
    return lambda: os.kill(warm_pid(trainer), number)


def warm_pid(trainer: TrainerProcess) -> int:
    assert trainer.worker_pid is not None
    return trainer.worker_pid


async def fails(
    trainer: TrainerProcess, job: TrainingJob, match: str, progress: Callable[[TrainingProgress], None] = ignore
) -> None:
    with pytest.raises(TrainingError, match=match):
        await trainer.train(job, progress)


async def a_job_that_was_killed_goes_on_and_comes_to_the_same_to_the_bit(
    trainer: TrainerProcess, model: Path, folder: Path
) -> None:
    changes: dict[str, Any] = {"dropout": 0.2, "epochs": 3}
    job = tiny.job(model, folder / "disturbed", checkpoint_steps=2, **changes)
    expected = await trainer.train(tiny.job(model, folder / "undisturbed", **changes), ignore)
    await fails(trainer, job, "SIGKILL", at_step(5, signalled(trainer, signal.SIGKILL)))
    steps: list[int] = []
    report = await trainer.train(job, lambda progress: steps.append(progress.step))
    assert steps == [5, 6, 7, 8, 9]
    assert (report.content_hash, report.losses) == (expected.content_hash, expected.losses)
    assert (report.tokens, report.probes) == (expected.tokens, expected.probes)
    assert os.listdir(job.output_folder) == [Path(report.folder).name], "nothing half-written is left"


async def another_job_does_not_take_up_a_checkpoint(trainer: TrainerProcess, model: Path, folder: Path) -> None:
    killed = tiny.job(model, folder, checkpoint_steps=1)
    await fails(trainer, killed, "SIGKILL", at_step(3, signalled(trainer, signal.SIGKILL)))
    assert len(os.listdir(folder / ".checkpoints")) == 1
    steps: list[int] = []
    await trainer.train(tiny.job(model, folder, checkpoint_steps=1, seed=1), lambda one: steps.append(one.step))
    assert steps == [1, 2, 3, 4, 5, 6]
    assert not (folder / ".checkpoints").exists()


async def a_checkpoint_that_cannot_be_read_counts_as_none(trainer: TrainerProcess, model: Path, folder: Path) -> None:
    job = tiny.job(model, folder, checkpoint_steps=1)
    stop = at_step(3, lambda: scope.cancel())
    with trio.CancelScope() as scope:
        await trainer.train(job, stop)
    [state] = (folder / ".checkpoints").glob("*/state.pt")
    state.write_bytes(state.read_bytes()[:1000])
    steps: list[int] = []
    await trainer.train(job, lambda one: steps.append(one.step))
    assert steps == [1, 2, 3, 4, 5, 6]


async def a_worker_that_hangs_is_killed_at_its_deadline(trainer: TrainerProcess, model: Path, folder: Path) -> None:
    await trainer.probe(str(model), ["warm"])
    pid, trainer.step_deadline_s = warm_pid(trainer), 3.0
    await fails(
        trainer, tiny.job(model, folder), "no sign of life for 3 s", at_step(2, signalled(trainer, signal.SIGSTOP))
    )
    assert not Path(f"/proc/{pid}").exists()
    trainer.step_deadline_s = LOADING_S
    report = await trainer.train(tiny.job(model, folder), ignore)
    assert os.listdir(folder) == [Path(report.folder).name], "what the killed worker had begun to write is gone"


async def a_learning_rate_that_explodes_is_a_loss_that_is_not_a_number(
    trainer: TrainerProcess, model: Path, folder: Path
) -> None:
    changes: dict[str, Any] = {"learning_rate": 1e30, "warmup_share": 0.0, "checkpoint_steps": 1}
    await fails(trainer, tiny.job(model, folder, **changes), "the loss is not a number")
    assert os.listdir(folder) == [], "from its checkpoint it would come to the same again"
    await trainer.train(tiny.job(model, folder), ignore)


async def numbers_that_burst_in_the_very_last_step_are_seen(trainer: TrainerProcess, model: Path, folder: Path) -> None:
    pid = warm_pid(trainer)
    changes: dict[str, Any] = {"learning_rate": 1e36, "warmup_share": 0.0, "epochs": 1, "batch_examples": 100}
    await fails(trainer, tiny.job(model, folder, **changes), "the loss is not a number.*numbers that are not finite")
    assert os.listdir(folder) == []
    assert warm_pid(trainer) == pid, "it stays warm"


async def a_disk_that_is_full_while_the_adapter_is_written_is_named(
    trainer: TrainerProcess, model: Path, folder: Path
) -> None:
    await full_disk(trainer, tiny.job(model, folder), folder)


async def a_disk_that_is_full_while_a_checkpoint_is_written_is_named(
    trainer: TrainerProcess, model: Path, folder: Path
) -> None:
    await full_disk(trainer, tiny.job(model, folder, checkpoint_steps=1), folder)


async def full_disk(trainer: TrainerProcess, job: TrainingJob, folder: Path) -> None:
    """Files may grow to 8 KiB: this limit stands for a full disk, whose own error differs by its number alone."""
    await trainer.probe(job.model, ["warm"])
    pid = warm_pid(trainer)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (8192, resource.RLIM_INFINITY))
    await fails(trainer, job, "the disk is full")
    assert [name for name in os.listdir(folder) if name != ".checkpoints"] == []
    resource.prlimit(pid, resource.RLIMIT_FSIZE, UNLIMITED)
    report = await trainer.train(job, ignore)
    assert warm_pid(trainer) == pid
    assert os.listdir(folder) == [Path(report.folder).name]


async def progress_tells_of_loss_rate_speed_and_memory(trainer: TrainerProcess, model: Path, folder: Path) -> None:
    seen: list[TrainingProgress] = []
    report = await trainer.train(tiny.job(model, folder), seen.append)
    assert all(one.loss > 0 and one.learning_rate > 0 and one.tokens_per_s > 0 for one in seen)
    assert 50 << 20 < seen[0].peak_bytes <= seen[-1].peak_bytes <= report.peak_bytes
    assert 0 < report.preparation_s < report.seconds


async def an_adapter_that_does_not_fit_leaves_no_layers_of_it(
    trainer: TrainerProcess, model: Path, folder: Path
) -> None:
    other = await trainer.train(tiny.job(model, folder / "first"), ignore)
    weights = Path(other.folder, "adapter_model.safetensors")
    weights.write_bytes(weights.read_bytes()[:-1000])
    before = await trainer.probe(str(model), ["def f(x):"])
    await fails(trainer, tiny.job(model, folder, version=2, start_adapter=other.adapter), "does not fit")
    assert await trainer.probe(str(model), ["def f(x):"]) == before
    again = await trainer.train(tiny.job(model, folder / "again"), ignore)
    assert again.content_hash == other.content_hash


async def memory_that_runs_out_is_an_error_and_the_next_job_succeeds(
    trainer: TrainerProcess, model: Path, folder: Path
) -> None:
    long = tuple(tiny.answer_example(n, "return 1" + " + 1" * 150) for n in range(64))
    heavy = tiny.job(model, folder, examples=long, batch_examples=64, micro_batch_tokens=65536, max_tokens=1024)
    await trainer.probe(str(model), ["warm"])
    resource.prlimit(warm_pid(trainer), resource.RLIMIT_AS, (1 << 20, resource.RLIM_INFINITY))
    await fails(trainer, heavy, "memory|trainer worker")
    assert [name for name in os.listdir(folder) if name.startswith("v")] == []
    if trainer.worker_pid is not None:
        resource.prlimit(trainer.worker_pid, resource.RLIMIT_AS, UNLIMITED)
    await trainer.train(tiny.job(model, folder), ignore)


CHECKS: tuple[Check, ...] = (
    progress_tells_of_loss_rate_speed_and_memory,
    a_learning_rate_that_explodes_is_a_loss_that_is_not_a_number,
    numbers_that_burst_in_the_very_last_step_are_seen,
    a_disk_that_is_full_while_the_adapter_is_written_is_named,
    a_disk_that_is_full_while_a_checkpoint_is_written_is_named,
    an_adapter_that_does_not_fit_leaves_no_layers_of_it,
    a_job_that_was_killed_goes_on_and_comes_to_the_same_to_the_bit,
    another_job_does_not_take_up_a_checkpoint,
    a_checkpoint_that_cannot_be_read_counts_as_none,
    a_worker_that_hangs_is_killed_at_its_deadline,
    memory_that_runs_out_is_an_error_and_the_next_job_succeeds,
)


async def test_the_real_worker(tiny_model: Path, tmp_path: Path) -> None:
    async with opened(tmp_path) as trainer:
        for check in CHECKS:
            folder = tmp_path / check.__name__
            folder.mkdir()
            await check(trainer, tiny_model, folder)


async def test_two_processes_with_two_threads_make_the_same_adapter(tiny_model: Path, tmp_path: Path) -> None:
    hashes: set[str] = set()
    for name in ("first", "second"):
        async with opened(tmp_path, threads=2) as trainer:
            hashes.add((await trainer.train(tiny.job(tiny_model, tmp_path / name), ignore)).content_hash)
    assert len(hashes) == 1
