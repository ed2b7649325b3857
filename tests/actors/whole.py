"""A whole run on fakes: two rounds of twelve tasks, and what may go wrong in it."""

from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import msgspec
import trio

from actors.consensus import Consensus
from actors.critic import Critic
from actors.curator import CurationRule
from actors.evaluator import Evaluator
from actors.examiner import Examiner
from actors.executor import Executor
from actors.fake import ScriptedPolicy
from actors.generator import Generator
from actors.judge import Judge
from actors.panel import Panel
from actors.pipeline import Concurrency, Parts, Pipeline, RoundRule
from actors.publisher import PublishingRule
from actors.supervisor import RestartRule
from actors.trainer import TrainingRule
from evals.evaluation import make_evaluation
from evals.gate import gate
from ledger.memory import MemoryLedger
from method.decision_rule import DecisionRule
from method.overlap import overlap_index
from protocols.ports import ChatRequest, TrainingRecipe
from protocols.records import LEDGER_KINDS, LedgerRecord, PolicyVersion, RoundSettled, Task
from tests.actors.parts import (
    LIMITS,
    WritingTrainer,
    base_version,
    fenced,
    good,
    half,
    helpful_critic,
    honest_sandbox,
    make_task,
    number_in,
    raising,
    right_judge,
    wrong,
)

ROUNDS = 2
TRAIN = tuple(make_task(number) for number in range(12))
GATE = tuple(make_task(number) for number in range(50, 54))
HELD_OUT = tuple(make_task(number) for number in range(60, 62))
CANDIDATES = 4


def answers(request: ChatRequest, version: int) -> Sequence[str]:
    """The policy gets better: what only sometimes succeeded always does from version 1 on."""
    number = number_in(request)
    if "Do not solve it" in request.messages[-1].content:
        return [fenced("\n".join(f"assert f{number}({x}) == {x + number}" for x in (0, 2, 5)))]
    if number % 4 == 3 or (version > 0 and number % 4 == 1):
        codes = [good(number)]
    elif number % 4 == 2:
        codes = [wrong(number), raising(number), half(number), wrong(number)]
    else:
        codes = [good(number), half(number), wrong(number), good(number)]
    return [fenced(code) for code in codes]


class Shape(NamedTuple):
    """How wide a run is, and how much it has to choose."""

    concurrency: Concurrency
    per_task: int
    """Critiques per task; 3 leaves no choice among the patterns."""


NARROW = Shape(Concurrency(generate=1, execute=1, judge=1, critique=1), 2)
"""One task at a time: everything is decided in the order of the plan, also after a crash."""
WIDE = Shape(Concurrency(generate=4, execute=4, judge=2, critique=2), 3)
"""Tasks overtake each other; what depends on their order is left out."""


class Run:
    """One start of the command on a ledger: everything but the ledger and the adapters is new."""

    def __init__(
        self,
        ledger: MemoryLedger,
        folder: Path,
        current: PolicyVersion,
        settled: int,
        shape: Shape,
        train: tuple[Task, ...] = TRAIN,
    ) -> None:
        self.ledger = ledger
        self.train = train
        self.policy = ScriptedPolicy(answers, current, in_place=True)
        self.judges = (right_judge("local"), right_judge("hosted"))
        self.critic = helpful_critic()
        self.trainer = WritingTrainer(folder)
        self.pipeline = self._pipeline(folder, settled, shape)

    def _pipeline(self, folder: Path, settled: int, shape: Shape) -> Pipeline:
        ledger, policy = self.ledger, self.policy
        executor = Executor(honest_sandbox(), ledger, limits=LIMITS, references="anchor")
        panel = Panel(self.judges, ledger, max_tokens=50)
        parts = Parts(
            policy=policy,
            trainer=self.trainer,
            ledger=ledger,
            gate=partial(gate, tolerance=0.05, confidence=0.95, seed=0),
            generator=Generator(
                policy, ledger, candidates=CANDIDATES, temperatures=(0.8,), top_p=0.95, max_tokens=99, seed=7
            ),
            executor=executor,
            panel=panel,
            judge=_judge(panel, ledger),
            critic=Critic(
                self.critic,
                executor,
                ledger,
                per_task=shape.per_task,
                per_round=None,
                temperature=0.2,
                max_tokens=99,
                stop=(),
            ),
            evaluator=_evaluator(policy, executor, ledger),
            train_tasks=self.train,
            gate_tasks=GATE,
            held_out_tasks=HELD_OUT,
            evaluation_tasks=overlap_index((*GATE, *HELD_OUT)),
            consensus=Consensus(executor, _examiner(policy, executor, ledger), ledger, measured=False),
        )
        return Pipeline(
            parts,
            shape.concurrency,
            RoundRule(rounds=ROUNDS, tasks_per_round=None, lead=0, seed=7, settled=settled),
            CURATION,
            training_rule(folder),
            PUBLISHING,
            RestartRule(limit=50, first_delay_s=0.0),
        )

    def asked(self) -> Counter[str]:
        """How often what was asked, by what its answer becomes."""
        asked = Counter({"Verdict": sum(len(judge.requests) for judge in self.judges)})
        asked["Critique"] = len(self.critic.requests)
        asked["TrainingReport"] = len(self.trainer.jobs)
        for _, request in self.policy.requests:
            number = number_in(request)
            asked["Generation" if number < 50 else "gate" if number < 60 else "held_out"] += 1
        return asked


CURATION = CurationRule(
    size=100,
    min_size=1,
    max_age_s=1e6,
    replay=0.25,
    duplicate_similarity=0.99,
    max_example_tokens=1000,
    per_task=4,
    pattern_share=1.0,
    mode="restart",
    references="anchor",
    seed=7,
)
PUBLISHING = PublishingRule(
    canary_tolerance=0.05,
    gate_samples=2,
    gate_temperature=0.2,
    rejections=3,
    held_out_samples=2,
    held_out_temperature=0.2,
)


def training_rule(folder: Path) -> TrainingRule:
    return TrainingRule(
        model="base",
        output_folder=str(folder),
        continues=False,
        write_merged=True,
        probe_texts=("probe",),
        recipe=TrainingRecipe(
            rank=16,
            alpha=32.0,
            dropout=0.0,
            learning_rate=1e-4,
            warmup_share=0.1,
            epochs=1,
            batch_examples=16,
            micro_batch_tokens=2048,
            max_tokens=1024,
            weight_decay=0.0,
            max_gradient_norm=1.0,
            seed=7,
        ),
    )


def _judge(panel: Panel, ledger: MemoryLedger) -> Judge:
    return Judge(
        panel,
        ledger,
        schedule="anchor",
        w_max=0.5,
        lazy=True,
        calibrate=0.3,
        max_pairs=4,
        decision_rule=DecisionRule(),
    )


def _examiner(policy: ScriptedPolicy, executor: Executor, ledger: MemoryLedger) -> Examiner:
    return Examiner(
        policy, executor, ledger, tests=8, answers=1, temperature=0.8, max_tokens=99, stop=(), drops=True, seed=7
    )


def _evaluator(policy: ScriptedPolicy, executor: Executor, ledger: MemoryLedger) -> Evaluator:
    assess = partial(make_evaluation, ks=(1,), seed=0)
    return Evaluator(policy, executor, ledger, assess, top_p=0.9, max_tokens=99, concurrency=4, seed=7)


async def start(ledger: MemoryLedger, folder: Path, shape: Shape = WIDE) -> Run:
    """Begin, or go on where the ledger ends, as the command does."""
    versions = [one for one in await ledger.find(PolicyVersion) if one.state in ("base", "promoted")]
    if not versions:
        await ledger.append(base_version())
        versions = [base_version()]
    current = max(versions, key=lambda version: version.number)
    return Run(ledger, folder, current, len(await ledger.find(RoundSettled)), shape)


async def start_without_tests(ledger: MemoryLedger, folder: Path) -> Run:
    """Begin a run on tasks of which nothing is known but their wording."""
    await ledger.append(base_version())
    train = tuple(msgspec.structs.replace(task, tests=(), reference=None) for task in TRAIN)
    return Run(ledger, folder, base_version(), 0, WIDE, train)


class CrashingLedger(MemoryLedger):
    """A ledger at whose n-th append the command is killed, just before or just after the disk has it.

    Args:
        at: number of the append, from 1; None never.
        written: whether what is appended is on disk by then.
    """

    def __init__(self, at: int | None = None, *, written: bool = False) -> None:
        super().__init__()
        self.at = at
        self.written = written
        self.appends = 0
        self.scope = trio.CancelScope()

    async def append(self, *records: LedgerRecord) -> None:
        self.appends += 1
        dying = self.appends == self.at
        if dying and not self.written:
            self.scope.cancel()
        await super().append(*records)
        if dying:
            self.scope.cancel()
            await trio.lowlevel.checkpoint()


async def contents(ledger: MemoryLedger) -> dict[str, set[str]]:
    """Ids of every record, by kind."""
    return {kind.__name__: {record.id for record in await ledger.find(kind)} for kind in LEDGER_KINDS}


async def substance(ledger: MemoryLedger, kind: type[LedgerRecord]) -> dict[str, LedgerRecord]:
    """Every record of a kind by id, without the seconds that it took."""
    return {
        record.id: msgspec.structs.replace(record, seconds=0.0) if hasattr(record, "seconds") else record
        for record in await ledger.find(kind)
    }
