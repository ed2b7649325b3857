"""The Publisher: puts a trained version on trial, and promotes it only when canary and gate agree.

Fail closed: whatever goes wrong between staging and promotion, the version before it is served again, and the new
one is recorded as rejected (the gate) or failed (canary, replica), with the reason.
"""

from collections.abc import Sequence
from pathlib import Path

import msgspec
import structlog
import trio

from actors.board import RoundBoard
from actors.canary import examine
from actors.evaluator import Evaluator
from actors.messages import RoundClosed
from actors.trainer import TrainerOutput
from protocols.errors import PublishError, RunPaused
from protocols.identity import derive
from protocols.ports import Gate, Ledger, Policy
from protocols.records import (
    Evaluation,
    EvaluationPurpose,
    PolicyVersion,
    Quarantined,
    RoundSettled,
    Task,
    TrainingReport,
)

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


ROLL_BACK_S = 300.0
"""Seconds that taking a version back may last, also while the run is being cancelled."""


class PublishingRule(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of steps 9 and 10; see `protocols.settings` for each."""

    canary_tolerance: float
    gate_samples: int
    gate_temperature: float
    rejections: int
    held_out_samples: int
    held_out_temperature: float


class PublisherStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """What the Publisher is doing."""

    activity: str
    version: int
    """Current policy version."""
    evaluated: tuple[int, int]
    """Tasks done, of how many, in the evaluation under way or the last one."""
    pass_at_1: float | None
    """Held-out pass@1 of the current version, where it was measured."""


class Publisher:
    """Steps 9 and 10 of the method.

    Args:
        held_out: tasks answered for the report alone; may be empty.
        gate_tasks: the validation set.
    """

    def __init__(
        self,
        policy: Policy,
        evaluator: Evaluator,
        gate: Gate,
        ledger: Ledger,
        board: RoundBoard,
        inbox: "trio.MemoryReceiveChannel[TrainerOutput]",
        gate_tasks: Sequence[Task],
        held_out: Sequence[Task],
        rule: PublishingRule,
    ) -> None:
        self._policy = policy
        self._evaluator = evaluator
        self._gate = gate
        self._ledger = ledger
        self._board = board
        self._inbox = inbox
        self._gate_tasks = gate_tasks
        self._held_out = held_out
        self._rule = rule
        self._in_hand: TrainerOutput | None = None
        self._activity = "idle"
        self._evaluated = (0, 0)
        self._pass_at_1: float | None = None
        self._started = trio.current_time()

    def statistics(self) -> PublisherStatistics:
        """Return what the Publisher is doing now."""
        return PublisherStatistics(
            activity=self._activity,
            version=self._policy.current.number,
            evaluated=self._evaluated,
            pass_at_1=self._pass_at_1,
        )

    async def run(self) -> None:
        """Publish version after version until the inbox ends.

        Raises:
            RunPaused: too many versions in a row were refused.
        """
        while True:
            if self._in_hand is None:
                try:
                    self._in_hand = await self._next()
                except trio.EndOfChannel:
                    return
            if isinstance(self._in_hand, RoundClosed):
                await self._settle(self._in_hand.round)
            else:
                await self._publish(self._in_hand)
            self._in_hand = None

    async def _next(self) -> TrainerOutput:
        """Return what comes next; measure the current version first, unless something is there already.

        So a round is settled as soon as its versions are decided, and the next one begins beside the measurement.

        Raises:
            trio.EndOfChannel: nothing will come any more, and the current version is measured.
        """
        try:
            return self._inbox.receive_nowait()
        except (trio.WouldBlock, trio.EndOfChannel):
            await self._measure_current()
            return await self._inbox.receive()

    async def _measure_current(self) -> Evaluation:
        """Evaluate the current version on the gate's tasks and the held-out ones, unless that was done before.

        Returns its evaluation on the gate's tasks.
        """
        current = self._policy.current
        report = await self._ledger.get(TrainingReport, current.batch_id) if current.batch_id is not None else None
        made_in = report.round if report is not None else 0
        on_gate = await self._evaluate(current, "gate", staged=False, round=made_in)
        if self._held_out:
            evaluation = await self._evaluate(current, "held_out", staged=False, round=made_in)
            self._pass_at_1 = evaluation.pass_at_1
        return on_gate

    async def _settle(self, round: int) -> None:
        record = RoundSettled(
            id=derive("round_settled", round),
            number=round,
            version=self._policy.current.number,
            seconds=trio.current_time() - self._started,
        )
        await self._ledger.append(record)
        self._started = trio.current_time()
        log.info("round_settled", round=round, version=record.version)
        self._board.settle(round)

    async def _publish(self, report: TrainingReport) -> None:
        decided = await self._ledger.get(PolicyVersion, derive("policy_version", report.version))
        if decided is None:
            await self._put_on_trial(report)
        elif decided.state == "promoted":
            await self._complete(decided)

    async def _complete(self, version: PolicyVersion) -> None:
        """Carry out a promotion that is on record, as far as a failure left it undone."""
        if self._policy.current.number != version.number:
            await self._policy.stage(version)
            await self._policy.promote(version)

    async def _put_on_trial(self, report: TrainingReport) -> None:
        base = await self._measure_current()
        old = self._policy.current
        before = await self._policy.log_probabilities([probe.token_ids for probe in report.probes])
        trial = _version(report, old)
        self._activity = f"staging {trial.name}"
        try:
            await self._policy.stage(trial)
        except PublishError as error:
            await self._refuse(msgspec.structs.replace(trial, state="failed", reason=str(error)), report)
            return
        decided = False
        try:
            trial = await self._try(trial, report, old, before, base)
            if trial.state == "promoted":
                await self._ledger.append(trial)
                await self._policy.promote(trial)
                decided = True
        finally:
            if not decided:
                with trio.fail_after(ROLL_BACK_S, shield=True):
                    await self._policy.roll_back(trial)
        if trial.state != "promoted":
            await self._refuse(trial, report)
            return
        log.info("version_promoted", version=trial.number, name=trial.name, reason=trial.reason)
        self._activity = "idle"

    async def _try(
        self,
        trial: PolicyVersion,
        report: TrainingReport,
        old: PolicyVersion,
        before: tuple[tuple[float, ...], ...],
        base: Evaluation,
    ) -> PolicyVersion:
        """Return the trial with its state and reason, as canary and gate have them."""
        now = await self._policy.log_probabilities([probe.token_ids for probe in report.probes], staged=trial)
        result = examine(
            now,
            [probe.log_probabilities for probe in report.probes],
            before,
            [probe.log_probabilities for probe in old.probes],
            self._rule.canary_tolerance,
        )
        log.info(
            "canary_answered",
            version=trial.number,
            difference=round(result.difference, 5),
            move=round(result.move, 5),
            agreement=round(result.agreement, 3),
            refused=result.refusal,
        )
        trial = msgspec.structs.replace(trial, canary=result.difference)
        if result.refusal is not None:
            return msgspec.structs.replace(trial, state="failed", reason=f"canary: {result.refusal}")
        new = await self._evaluate(trial, "gate", staged=True, round=report.round)
        first = await self._evaluator.known(0, "gate") or base
        decision = self._gate(first, base, new)
        state = "promoted" if decision.promote else "rejected"
        return msgspec.structs.replace(trial, state=state, reason=decision.reason)

    async def _evaluate(
        self, version: PolicyVersion, purpose: EvaluationPurpose, *, staged: bool, round: int
    ) -> Evaluation:
        self._activity = f"evaluating {version.name} ({purpose})"
        tasks = self._gate_tasks if purpose == "gate" else self._held_out
        rule = self._rule
        evaluation = await self._evaluator.evaluate(
            version,
            tasks,
            purpose=purpose,
            round=round,
            samples=rule.gate_samples if purpose == "gate" else rule.held_out_samples,
            temperature=rule.gate_temperature if purpose == "gate" else rule.held_out_temperature,
            staged=staged,
            progress=self._note,
        )
        self._activity = "idle"
        return evaluation

    def _note(self, done: int, of: int) -> None:
        self._evaluated = (done, of)

    async def _refuse(self, version: PolicyVersion, report: TrainingReport) -> None:
        quarantined = Quarantined(
            id=derive("quarantined", "publisher", report.id),
            stage="publisher",
            subject_id=report.id,
            task_id=None,
            round=report.round,
            reason=version.reason[:1000],
            traceback="",
        )
        await self._ledger.append(version, quarantined)
        self._activity = "idle"
        log.warning("version_refused", version=version.number, state=version.state, reason=version.reason)
        await self._pause_after_too_many()

    async def _pause_after_too_many(self) -> None:
        versions = sorted(await self._ledger.find(PolicyVersion), key=lambda version: version.number)
        last = versions[-self._rule.rejections :]
        if len(last) == self._rule.rejections and all(version.state in ("rejected", "failed") for version in last):
            raise RunPaused(
                f"the last {len(last)} versions were refused, the newest because: {last[-1].reason}. The policy "
                f"stays at version {self._policy.current.number}. Change the settings under [train], "
                "[curate] or [generate] (a smaller learning rate, more examples, cooler sampling) in a new run"
            )


def _version(report: TrainingReport, parent: PolicyVersion) -> PolicyVersion:
    return PolicyVersion(
        id=derive("policy_version", report.version),
        number=report.version,
        name=Path(report.folder).name,
        parent=parent.number,
        state="rejected",
        reason="on trial",
        adapter=report.adapter,
        merged=report.merged,
        batch_id=report.id,
        content_hash=report.content_hash,
        probes=report.probes,
        canary=None,
    )
