"""The pipeline: the one place where channels are joined and actors are set running.

Sizes of the channels: between stages as many items as the next stage may have in hand, so that a stage that ends an
item finds the next at once; a full channel holds its sender back, and so, in the end, the round planner. Batches wait
in a channel of one: a second batch while one trains is all that can be useful.
"""

from collections.abc import Awaitable, Callable

import msgspec
import trio

from actors.board import RoundBoard
from actors.consensus import Consensus
from actors.critic import Critic
from actors.curator import CurationRule, Curator, CuratorStatistics
from actors.evaluator import Evaluator
from actors.executor import Executor
from actors.failures import fatal
from actors.generator import Generator
from actors.judge import Judge
from actors.messages import Assignment, Executed, Generated, Item, Judged, RoundClosed
from actors.panel import Panel
from actors.publisher import Publisher, PublisherStatistics, PublishingRule
from actors.rounds import RoundPlanner
from actors.stage import Stage, StageStatistics
from actors.supervisor import RestartRule, supervise
from actors.trainer import Trainer, TrainerOutput, TrainerStatistics, TrainingRule
from method.curation import OverlapIndex
from method.schedule import Order
from protocols.ports import AdapterTrainer, Gate, Ledger, Policy
from protocols.records import Batch, Task


class Concurrency(msgspec.Struct, frozen=True, kw_only=True):
    """Tasks that each stage may have in hand."""

    generate: int
    execute: int
    judge: int
    critique: int


class RoundRule(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of rounds; see `protocols.settings.RunSettings` for each."""

    rounds: int
    tasks_per_round: int | None
    lead: int
    seed: int
    settled: int
    """Rounds settled before, by an earlier run of the same command."""
    order: Order = "learning"


class Parts(msgspec.Struct, frozen=True, kw_only=True):
    """What `main.py` hands in."""

    policy: Policy
    trainer: AdapterTrainer
    ledger: Ledger
    gate: Gate
    generator: Generator
    executor: Executor
    panel: Panel
    judge: Judge
    critic: Critic
    evaluator: Evaluator
    train_tasks: tuple[Task, ...]
    gate_tasks: tuple[Task, ...]
    held_out_tasks: tuple[Task, ...]
    evaluation_tasks: OverlapIndex
    consensus: Consensus | None = None
    """Decides tasks without tests; None leaves them undecided."""


class PipelineStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """What every actor is doing."""

    settled: int
    rounds: int
    stages: tuple[StageStatistics, ...]
    curator: CuratorStatistics
    trainer: TrainerStatistics
    publisher: PublisherStatistics


class Pipeline:
    """All actors of a run, wired."""

    def __init__(
        self,
        parts: Parts,
        concurrency: Concurrency,
        rounds: RoundRule,
        curation: CurationRule,
        training: TrainingRule,
        publishing: PublishingRule,
        restarts: RestartRule | None = None,
    ) -> None:
        self._parts = parts
        self._rounds = rounds
        self._restarts = restarts
        ledger = parts.ledger
        self._board = RoundBoard(rounds.settled)
        to_generate, assigned = _channel(concurrency.generate)
        to_execute, generated = _channel(concurrency.execute)
        to_judge, executed = _channel(concurrency.judge)
        to_critic, judged = _channel(concurrency.critique)
        to_curator, criticised = _channel(concurrency.critique)
        to_trainer, batches = trio.open_memory_channel[Batch | RoundClosed](1)
        to_publisher, trained = trio.open_memory_channel[TrainerOutput](1)
        self._planner = RoundPlanner(
            parts.train_tasks,
            ledger,
            self._board,
            to_generate,
            rounds=rounds.rounds,
            tasks_per_round=rounds.tasks_per_round,
            lead=rounds.lead,
            seed=rounds.seed,
            order=rounds.order,
        )
        self._stages: tuple[Stage[Assignment] | Stage[Generated] | Stage[Executed] | Stage[Judged], ...] = (
            Stage(
                "generator",
                parts.generator.generate,
                assigned,
                to_execute,
                ledger,
                concurrency=concurrency.generate,
            ),
            Stage(
                "executor",
                (parts.consensus or parts.executor).execute,
                generated,
                to_judge,
                ledger,
                concurrency=concurrency.execute,
            ),
            Stage("judge", parts.judge.judge, executed, to_critic, ledger, concurrency=concurrency.judge),
            Stage("critic", parts.critic.criticise, judged, to_curator, ledger, concurrency=concurrency.critique),
        )
        self._curator = Curator(ledger, criticised, to_trainer, parts.evaluation_tasks, curation)
        self._trainer = Trainer(parts.trainer, ledger, batches, to_publisher, training)
        self._publisher = Publisher(
            parts.policy,
            parts.evaluator,
            parts.gate,
            ledger,
            self._board,
            trained,
            parts.gate_tasks,
            parts.held_out_tasks,
            publishing,
        )

    def statistics(self) -> PipelineStatistics:
        """Return what every actor is doing now."""
        return PipelineStatistics(
            settled=self._board.settled,
            rounds=self._rounds.rounds,
            stages=tuple(stage.statistics() for stage in self._stages),
            curator=self._curator.statistics(),
            trainer=self._trainer.statistics(),
            publisher=self._publisher.statistics(),
        )

    def stop(self) -> None:
        """Begin no new task; `run` ends when what is under way has come through, or is cancelled by the caller."""
        self._planner.stop()

    async def run(self) -> None:
        """Run all actors until every round is settled.

        Cancelling is safe at any time: every record that was sent on is in the ledger, and the same command goes on.

        Raises:
            RunPaused: an actor failed too often, or too many versions in a row were refused.
            UsageError: something that no restart mends.
        """
        await self._parts.panel.restore()
        await self._parts.critic.restore()
        actors: list[tuple[str, Callable[[], Awaitable[None]]]] = [
            ("round planner", self._planner.run),
            *((stage.statistics().name, stage.run) for stage in self._stages),
            ("curator", self._curator.run),
            ("trainer", self._trainer.run),
            ("publisher", self._publisher.run),
        ]
        try:
            async with trio.open_nursery() as nursery:
                for name, run in actors:
                    nursery.start_soon(supervise, name, run, self._restarts)
        except ExceptionGroup as group:
            cause = fatal(group)
            if cause is None:
                raise
            raise cause from group


def _channel(size: int) -> "tuple[trio.MemorySendChannel[Item], trio.MemoryReceiveChannel[Item]]":
    return trio.open_memory_channel[Item](size)
