"""A trainer that trains nothing, for tests and dry runs; it keeps the contract of `AdapterTrainer`.

What it answers depends on the job alone: the same job gives the same hash, losses and probes.
"""

import hashlib
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import trio

from protocols.errors import TrainingError
from protocols.ports import TrainingJob, TrainingProgress
from protocols.records import Example, Probe, TrainingReport


class FakeTrainer:
    """An `AdapterTrainer` without a model.

    Args:
        step_s: what each step takes; with a mocked clock it takes no real time.
        fail_at_step: step (1-based) at which jobs fail; None never.
    """

    def __init__(self, *, step_s: float = 0.0, fail_at_step: int | None = None) -> None:
        self._step_s = step_s
        self._fail_at_step = fail_at_step
        self._turn = trio.Lock()
        self.jobs: list[TrainingJob] = []
        """Every job that was begun."""

    async def train(self, job: TrainingJob, progress: Callable[[TrainingProgress], None]) -> TrainingReport:
        """Count the job's steps down and write a folder with no real adapter in it.

        Raises:
            TrainingError: an example carries no loss, none fits, or the set step is reached.
        """
        async with self._turn:
            self.jobs.append(job)
            _check_loss(job.examples)
            kept = [example for example in job.examples if _tokens(example) <= job.recipe.max_tokens]
            if not kept:
                raise TrainingError(f"none of {len(job.examples)} examples fits into {job.recipe.max_tokens} tokens")
            losses = await self._steps(job, len(kept), progress)
            return _report(job, kept, losses)

    async def probe(self, model: str, texts: Sequence[str]) -> tuple[Probe, ...]:
        """Return numbers made from `model` and `texts`."""
        await trio.lowlevel.checkpoint()
        return tuple(_probe(model, text) for text in texts)

    async def _steps(
        self, job: TrainingJob, examples: int, progress: Callable[[TrainingProgress], None]
    ) -> tuple[float, ...]:
        steps = job.recipe.epochs * -(-examples // job.recipe.batch_examples)
        losses: list[float] = []
        for step in range(1, steps + 1):
            await trio.sleep(self._step_s)
            if step == self._fail_at_step:
                raise TrainingError(f"the fake trainer was told to fail at step {step}")
            losses.append(2.0 / step)
            progress(
                TrainingProgress(
                    step=step, steps=steps, loss=losses[-1], learning_rate=job.recipe.learning_rate, tokens_per_s=1000.0
                )
            )
        return tuple(losses)


def _report(job: TrainingJob, kept: Sequence[Example], losses: tuple[float, ...]) -> TrainingReport:
    weights = msgspec.json.encode(msgspec.structs.replace(job, output_folder=""))
    content_hash = hashlib.sha256(weights).hexdigest()
    folder = _write(job, weights, content_hash)
    tokens = sum(_tokens(example) for example in kept) * job.recipe.epochs
    whole = job.recipe.weights == "full"
    return TrainingReport(
        id=job.id,
        round=job.round,
        version=job.version,
        adapter=None if whole else str(folder),
        merged=str(folder) if whole else str(folder / "merged") if job.write_merged else None,
        content_hash=content_hash,
        losses=losses,
        examples=len(kept),
        dropped=len(job.examples) - len(kept),
        steps=len(losses),
        tokens=tokens,
        loss_tokens=tokens,
        seconds=0.0,
        peak_bytes=0,
        probes=tuple(_probe(content_hash, text) for text in job.probe_texts),
    )


def _write(job: TrainingJob, weights: bytes, content_hash: str) -> Path:
    folder = Path(job.output_folder) / f"v{job.version:04d}-{content_hash[:8]}"
    temporary = folder.with_name(f".{folder.name}")
    for path in (temporary, folder):
        shutil.rmtree(path, ignore_errors=True)
    names = ["adapter_model.safetensors", *(["merged/model.safetensors"] if job.write_merged else [])]
    if job.recipe.weights == "full":
        names = ["model.safetensors"]
    for name in names:
        (temporary / name).parent.mkdir(parents=True, exist_ok=True)
        (temporary / name).write_bytes(weights)
    temporary.rename(folder)
    return folder


def _check_loss(examples: Sequence[Example]) -> None:
    for example in examples:
        if not any(message.loss for message in example.messages):
            raise TrainingError(f"example {example.id}: no turn of it carries loss")


def _tokens(example: Example) -> int:
    """Return the words of an example."""
    return sum(len(message.content.split()) for message in example.messages)


def _probe(seed: str, text: str) -> Probe:
    ids = tuple(text.encode())
    digest = hashlib.sha256(f"{seed}\x1f{text}".encode()).digest()
    numbers = tuple(-(digest[index % len(digest)] + 1) / 64 for index in range(max(0, len(ids) - 1)))
    return Probe(token_ids=ids, log_probabilities=numbers)
