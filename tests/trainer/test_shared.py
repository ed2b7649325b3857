"""Two processes under `torchrun` do one job: the losses and the version are those of one process, within rounding."""

import os
import signal
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import trio

from protocols.errors import TrainingError
from protocols.records import TrainingReport
from tests.trainer import tiny
from tests.trainer.tiny import ignore
from trainer.process import TrainerProcess, open_trainer, worker_command

LOADING_S = 400.0
CLIPPED: dict[str, Any] = {"batch_examples": 5, "micro_batch_tokens": 256}
FREE: dict[str, Any] = {"batch_examples": 4, "micro_batch_tokens": 256, "max_gradient_norm": 1e9}
WHOLE: dict[str, Any] = {"weights": "full", "learning_rate": 1e-3, "batch_examples": 12}
CHECKPOINTED: dict[str, Any] = {"gradient_checkpointing": True}


class Case(NamedTuple):
    """A job, and how far two processes may be from one: `auto` may be bfloat16."""

    dtype: str
    recipe: dict[str, Any]
    losses: float
    """Relative."""
    probes: float
    """In nats."""


CASES = (
    *(Case("float32", recipe, 1e-5, 1e-3) for recipe in (CLIPPED, FREE, WHOLE, CHECKPOINTED)),
    *(Case("auto", recipe, 1e-3, 0.1) for recipe in (CLIPPED, WHOLE, CHECKPOINTED)),
    Case("auto", FREE, 1e-6, 1e-3),
)
"""Where nothing is clipped, both do the same to the bit. The norm that is clipped by is summed in another order, and
bfloat16 made 0.03 nats of its last bit, on a random model."""


def jobs(model: Path, folder: Path) -> list[Any]:
    return [
        tiny.job(model, folder, version=version, dtype=case.dtype, **case.recipe)
        for version, case in enumerate(CASES, start=1)
    ]


async def done(model: Path, folder: Path, processes: int) -> tuple[list[TrainingReport], TrainerProcess]:
    async with open_trainer(
        log_path=folder.with_suffix(".log"),
        threads=1,
        step_deadline_s=LOADING_S,
        command=worker_command(processes),
    ) as trainer:
        reports = [await trainer.train(job, ignore) for job in jobs(model, folder)]
        return reports, trainer


async def test_two_processes_come_to_what_one_comes_to(tiny_model: Path, tmp_path: Path) -> None:
    with trio.fail_after(2 * LOADING_S):
        alone, _ = await done(tiny_model, tmp_path / "alone", 1)
        together, _ = await done(tiny_model, tmp_path / "together", 2)
    for case, one, two in zip(CASES, alone, together, strict=True):
        assert two.losses == pytest.approx(one.losses, rel=case.losses)
        assert (two.tokens, two.loss_tokens, two.steps) == (one.tokens, one.loss_tokens, one.steps)
        for ours, theirs in zip(two.probes, one.probes, strict=True):
            assert ours.log_probabilities == pytest.approx(theirs.log_probabilities, abs=case.probes)
    written = sorted(path.name for path in (tmp_path / "together").iterdir())
    assert written == sorted(Path(report.folder).name for report in together), "one folder a version"


async def test_a_rank_that_is_killed_ends_the_job_and_the_next_one_succeeds(tiny_model: Path, tmp_path: Path) -> None:
    def kill_a_rank(_: Any) -> None:
        assert trainer.worker_pid is not None
        os.kill(ranks(trainer.worker_pid)[1], signal.SIGKILL)

    job = tiny.job(tiny_model, tmp_path / "versions")
    with trio.fail_after(2 * LOADING_S):
        async with open_trainer(
            log_path=tmp_path / "log", threads=1, step_deadline_s=LOADING_S, command=worker_command(2)
        ) as trainer:
            with pytest.raises(TrainingError, match="trainer worker ended"):
                await trainer.train(job, kill_a_rank)
            report = await trainer.train(job, ignore)
            assert trainer.worker_pid is not None
            left = ranks(trainer.worker_pid)
            os.kill(trainer.worker_pid, signal.SIGKILL)
            while any(running(pid) for pid in left):  # noqa: ASYNC110  (nothing tells when Linux is done)
                await trio.sleep(0.1)
    assert os.listdir(tmp_path / "versions") == [Path(report.folder).name]


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def ranks(parent: int) -> list[int]:
    """Return the processes that `parent` started."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return [int(child) for child in children]
