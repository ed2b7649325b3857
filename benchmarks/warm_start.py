"""`warm_start`: how long after a job is sent its first step begins, in a worker that has the base model loaded.

Jobs of eight reference answers on the embedded model, each another eight, sent as the orchestrator sends them: they are
rendered, adapters are attached, memory is looked at. A step's own time is what the worker reports of it. The first job,
which loads the model, is not counted. No peers: a TRL trainer is made anew for every job by whoever calls it.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import trio

from benchmarks.report import at_most, machine, publish, row, versions
from commands.model_cache import CACHE
from evals.datasets import load_tasks
from method.examples import answer_example
from protocols.ports import TrainingProgress
from protocols.records import Example
from protocols.settings import EMBEDDED_MODEL
from tests.trainer import tiny
from trainer.model_folder import resolve_model
from trainer.process import TrainerProcess, open_trainer

JOBS = 10
EXAMPLES = 8
ALLOWED_S = 1.0
THREADS = 2
_TASKS = Path(__file__).parent.parent / "tasks" / "train.jsonl"
_STEP_DEADLINE_S = 600.0


def main() -> None:
    """Run the benchmark, print its figures and write its results."""
    on = machine()
    with tempfile.TemporaryDirectory(prefix="warm-start-") as folder:
        waits = trio.run(_measure, Path(folder))
    waited = row("worker", "from sent to the first step", "s", waits)
    publish(
        "warm_start",
        on=on,
        with_versions=versions(("torch", "transformers", "peft")),
        settings={"jobs": JOBS, "examples": EXAMPLES, "model": "135M", "threads": THREADS},
        rows=[waited],
        targets=[at_most("a warm worker's first step begins after, s", ALLOWED_S, waited.median)],
    )


async def _measure(folder: Path) -> list[float]:
    model = await resolve_model(EMBEDDED_MODEL, CACHE)
    tasks = [task for task in load_tasks(str(_TASKS)) if task.reference is not None]
    examples = [answer_example(task, task.reference or "", origin="reference", round=0, version=0) for task in tasks]
    chosen = [examples[EXAMPLES * number : EXAMPLES * (number + 1)] for number in range(JOBS + 1)]
    async with open_trainer(log_path=folder / "log", threads=THREADS, step_deadline_s=_STEP_DEADLINE_S) as trainer:
        waits = [await _wait(trainer, model, folder, number, some) for number, some in enumerate(chosen)]
    return waits[1:]


async def _wait(trainer: TrainerProcess, model: str, folder: Path, number: int, examples: Sequence[Example]) -> float:
    """Do a job of one step; return the seconds between its sending and the beginning of the step."""
    steps: list[tuple[float, TrainingProgress]] = []
    job = tiny.job(
        model,
        folder / "versions",
        id=f"batch-{number}",
        version=number,
        examples=tuple(examples),
        rank=16,
        alpha=32.0,
        learning_rate=1e-4,
        epochs=1,
        batch_examples=EXAMPLES,
        micro_batch_tokens=2048,
        max_tokens=1024,
        write_merged=False,
    )
    sent = trio.current_time()
    report = await trainer.train(job, lambda done: steps.append((trio.current_time(), done)))
    [(ended, step)] = steps
    return ended - sent - report.tokens / step.tokens_per_s
