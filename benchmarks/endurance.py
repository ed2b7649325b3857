"""A thousand tiny jobs in a row in one warm worker: whether its resident memory stays flat.

The model is the tests' tiny one, so what is seen is what a job leaves behind, not what a model weighs. Every third job
goes on from the adapter of the one before, every tenth fails (its learning rate explodes). No peers: a TRL trainer
lives in the caller's own process and is made anew for every job.
"""

import resource
import tempfile
from pathlib import Path

import trio

from benchmarks.report import at_most, machine, publish, row, versions
from protocols.errors import TrainingError
from tests.trainer import tiny
from trainer.process import TrainerProcess, open_trainer

JOBS = 1000
HUNDRED = 100
ALLOWED = 1.02
_STEP_DEADLINE_S = 300.0
_MIB = 1 << 20


def main() -> None:
    on = machine()
    with tempfile.TemporaryDirectory(prefix="endurance-") as folder:
        resident, seconds = trio.run(_measure, Path(folder))
    hundreds = [resident[at : at + HUNDRED] for at in range(0, JOBS, HUNDRED)]
    rows = [row("worker", f"resident, jobs {n}00 on", "MiB", values) for n, values in enumerate(hundreds)]
    second, last = rows[1].median, rows[-1].median
    publish(
        "endurance",
        on=on,
        with_versions=versions(("torch", "transformers", "peft")),
        settings={"jobs": JOBS, "model": "tests.trainer.tiny", "threads": 1, "seconds": round(seconds)},
        rows=rows,
        targets=[at_most("resident memory, last hundred against the second hundred", ALLOWED, last / second)],
    )


async def _measure(folder: Path) -> tuple[list[float], float]:
    """Return the worker's resident memory in MiB after each job, and what they all took."""
    model = tiny.save_model(folder / "model")
    resident: list[float] = []
    async with open_trainer(log_path=folder / "log", threads=1, step_deadline_s=_STEP_DEADLINE_S) as trainer:
        await trainer.probe(str(model), ["warm"])
        started, adapter = trio.current_time(), None
        for number in range(JOBS):
            adapter = await _job(trainer, model, folder / "versions", number, adapter)
            resident.append(_resident_mib(trainer))
        return resident, trio.current_time() - started


async def _job(trainer: TrainerProcess, model: Path, folder: Path, number: int, adapter: str | None) -> str | None:
    """Do one job; return its adapter, from which a later one may go on."""
    fails = number % 10 == 9
    job = tiny.job(
        model,
        folder,
        examples=tuple(tiny.answer_example(n, f"return {number}") for n in range(2)),
        epochs=2,
        version=number % 2,
        start_adapter=adapter if number % 3 == 2 else None,
        write_merged=number % 2 == 0,
        learning_rate=1e30 if fails else 1e-2,
        warmup_share=0.0,
        checkpoint_steps=1,
    )
    try:
        report = await trainer.train(job, lambda _: None)
    except TrainingError:
        if not fails:
            raise
        return None
    return report.adapter


def _resident_mib(trainer: TrainerProcess) -> float:
    pages = int(Path(f"/proc/{trainer.worker_pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / _MIB
