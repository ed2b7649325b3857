"""The Judge: compares where a comparison can change the decision, scores, and decides."""

from msgspec import structs

from actors.judging import JudgeMode, JudgeRule, Judging
from actors.messages import Executed, Judged
from actors.panel import Panel
from method.comparison import Schedule
from method.decision import decide, needed_candidates
from method.decision_rule import DecisionRule
from method.scoring import judge_weight, score
from protocols.identity import derive
from protocols.ports import Ledger
from protocols.records import Decision, Evidence, Score

CALIBRATION_STEPS = 10_000
"""Resolution of the share of tasks that are judged for calibration alone."""


class Judge:
    """Steps 3 to 5 of the method.

    Args:
        lazy: whether comparisons that cannot change the decision are left out.
        calibrate: share of tasks whose candidates are compared all the same, to measure the judges.
        max_pairs: comparisons per task, at most; in rubric mode, candidates marked.
        mode: `off` asks nobody, so that S = E.
        decision_rule: how tasks are decided.
    """

    def __init__(
        self,
        panel: Panel,
        ledger: Ledger,
        *,
        schedule: Schedule,
        w_max: float,
        lazy: bool,
        calibrate: float,
        max_pairs: int,
        decision_rule: DecisionRule,
        mode: JudgeMode = "pairwise",
    ) -> None:
        self._panel = panel
        self._ledger = ledger
        self._rule = JudgeRule(mode=mode, schedule=schedule, max_pairs=max_pairs)
        self._w_max = w_max
        self._lazy = lazy
        self._calibrate = calibrate
        self._decision_rule = decision_rule

    async def judge(self, item: Executed) -> Judged:
        """Return the item with its decision; one that is in the ledger is not made again.

        Raises:
            EndpointError: a judge could not be asked.
        """
        decision_id = derive("decision", item.task.id, item.round)
        decision = await self._ledger.get(Decision, decision_id)
        if decision is None:
            kept = await self._kept_before(item)
            weight = 0.0 if self._rule.mode == "off" else judge_weight(self._w_max, self._panel.reliability)
            outcome = await self._judging(item, weight, kept).run()
            decision = self._decide(item, decision_id, self._scores(item, outcome.rates, weight), kept)
            decision = structs.replace(decision, compared=outcome.compared, comparable=outcome.comparable)
            await self._ledger.append(decision)
            # Only now: a task that is handled again after a failure is judged as it would have been without.
            self._panel.learn(item.task, item.round, outcome.opinions, *_labels(item))
        return Judged(
            task=item.task,
            round=item.round,
            candidates=item.candidates,
            executions=item.executions,
            decision=decision,
        )

    async def _kept_before(self, item: Executed) -> bool:
        decisions = await self._ledger.find(Decision, task_id=item.task.id)
        return any("keep" in decision.kinds for decision in decisions if decision.round < item.round)

    def _judging(self, item: Executed, weight: float, kept: bool) -> Judging:
        executable = tuple(c.id for c in item.candidates if item.executions[c.id].executable and c.code is not None)
        open_ids = needed_candidates(
            item.candidates,
            item.executions,
            item.incumbent,
            weight,
            self._decision_rule,
            incumbent_kept_before=kept,
            shares=item.shares,
        )
        return Judging(
            self._panel,
            self._rule,
            item,
            open_ids=() if item.undecided else open_ids,
            executable_ids=() if item.undecided else executable,
            exhaustive=not self._lazy or self._is_calibration(item),
            weights=self._panel.weights,
        )

    def _is_calibration(self, item: Executed) -> bool:
        draw = int(derive("calibration", item.task.id, item.round)[:8], 16) % CALIBRATION_STEPS
        return draw < self._calibrate * CALIBRATION_STEPS

    def _scores(self, item: Executed, rates: dict[str, float], weight: float) -> dict[str, Score]:
        """Return the score of everybody about whom anything is known: where nothing is, of the incumbent alone."""
        incumbent_id = item.incumbent.subject_id if item.incumbent is not None else None
        return {
            subject: score(subject, execution, rates.get(subject), weight, execution_share=item.share(subject))
            for subject, execution in item.executions.items()
            if not item.undecided or subject == incumbent_id
        }

    def _decide(self, item: Executed, decision_id: str, scores: dict[str, Score], kept: bool) -> Decision:
        return decide(
            item.task,
            item.candidates,
            item.executions,
            scores,
            item.incumbent,
            self._decision_rule,
            incumbent_kept_before=kept,
            decision_id=decision_id,
            round=item.round,
            version=max((candidate.version for candidate in item.candidates), default=0),
        )


def _labels(item: Executed) -> tuple[dict[str, float], Evidence]:
    """Return what the judges are measured by: E by subject id, and what it rests on."""
    return {subject: item.share(subject) for subject in item.executions}, "consensus" if item.shares else "tests"
