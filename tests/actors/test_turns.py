"""Training and evaluation take turns on shared cores."""

from collections.abc import Callable, Sequence

import trio
import trio.testing

from actors.turns import TrainingInTurn
from protocols.ports import TrainingJob, TrainingProgress
from protocols.records import Probe, TrainingReport
from tests.actors.parts import make_report
from tests.trainer.tiny import job


class Recorder:
    """An `AdapterTrainer` that notes when a job begins."""

    def __init__(self) -> None:
        self.began = trio.Event()

    async def train(self, job: TrainingJob, progress: Callable[[TrainingProgress], None]) -> TrainingReport:
        self.began.set()
        await trio.lowlevel.checkpoint()
        return make_report(1)

    async def probe(self, model: str, texts: Sequence[str]) -> tuple[Probe, ...]:
        await trio.lowlevel.checkpoint()
        return ()


async def test_a_job_waits_until_the_other_is_done() -> None:
    turn, trainer = trio.Lock(), Recorder()
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery, turn:
            nursery.start_soon(TrainingInTurn(trainer, turn).train, job("model", "out"), lambda _: None)
            await trio.testing.wait_all_tasks_blocked()
            assert not trainer.began.is_set()
        assert trainer.began.is_set()
        assert not turn.locked()


async def test_probing_does_not_wait() -> None:
    turn = trio.Lock()
    with trio.fail_after(5):
        async with turn:
            assert await TrainingInTurn(Recorder(), turn).probe("m", ()) == ()
