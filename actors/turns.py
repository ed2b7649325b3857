"""Training and evaluation take turns where one machine's cores both serve and train.

Matrix products on all cores from two processes at once lose most of their speed to each other: on two cores a server
fell from 120 to 38 tokens a second beside other work.
"""

from collections.abc import Callable, Sequence

import trio

from protocols.ports import AdapterTrainer, TrainingJob, TrainingProgress
from protocols.records import Probe, TrainingReport


class TrainingInTurn:
    """The port `AdapterTrainer`, whose jobs wait until nobody else holds `turn`.

    Args:
        trainer: does the jobs.
        turn: held while a job runs; the evaluator holds it while a version answers tasks.
    """

    def __init__(self, trainer: AdapterTrainer, turn: trio.Lock) -> None:
        self._trainer = trainer
        self._turn = turn

    async def train(self, job: TrainingJob, progress: Callable[[TrainingProgress], None]) -> TrainingReport:
        """Train when it is this job's turn. Errors as `AdapterTrainer.train`."""
        async with self._turn:
            return await self._trainer.train(job, progress)

    async def probe(self, model: str, texts: Sequence[str]) -> tuple[Probe, ...]:
        """Probe at once: it takes seconds. Errors as `AdapterTrainer.probe`."""
        return await self._trainer.probe(model, texts)
