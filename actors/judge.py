"""The Judge: compares where a comparison can change the decision, scores, and decides."""

from typing import Literal

from actors.messages import Executed, Judged
from actors.panel import Panel
from method.comparison import schedule_pairs
from method.decision import decide, needed_candidates
from method.scoring import judge_weight, score
from method.strength import win_rates
from protocols.identity import derive
from protocols.ports import Ledger
from protocols.records import Decision, Score

CALIBRATION_STEPS = 10_000
"""Resolution of the share of tasks that are judged for calibration alone."""


class Judge:
    """Steps 3 to 5 of the method.

    Args:
        lazy: whether comparisons that cannot change the decision are left out.
        calibrate: share of tasks whose candidates are compared all the same, to measure the judges.
        max_pairs: comparisons per task, at most.
    """

    def __init__(
        self,
        panel: Panel,
        ledger: Ledger,
        *,
        schedule: Literal["anchor", "round_robin", "swiss"],
        w_max: float,
        lazy: bool,
        calibrate: float,
        max_pairs: int,
        d_up: float,
        d_low: float,
        references: Literal["train", "anchor", "hidden"],
    ) -> None:
        self._panel = panel
        self._ledger = ledger
        self._schedule: Literal["anchor", "round_robin", "swiss"] = schedule
        self._w_max = w_max
        self._lazy = lazy
        self._calibrate = calibrate
        self._max_pairs = max_pairs
        self._d_up = d_up
        self._d_low = d_low
        self._references: Literal["train", "anchor", "hidden"] = references

    async def judge(self, item: Executed) -> Judged:
        """Return the item with its decision; one that is in the ledger is not made again.

        Raises:
            EndpointError: a judge could not be asked.
        """
        decision_id = derive("decision", item.task.id, item.round)
        decision = await self._ledger.get(Decision, decision_id)
        if decision is None:
            kept = await self._kept_before(item)
            weight = judge_weight(self._w_max, self._panel.reliability)
            wanted = () if item.undecided else self._wanted(item, weight, kept)
            rates = await self._win_rates(item, wanted)
            decision = self._decide(item, decision_id, self._scores(item, rates, weight), kept)
            await self._ledger.append(decision)
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

    def _wanted(self, item: Executed, weight: float, kept: bool) -> tuple[str, ...]:
        """Return the candidates to compare: those that can matter, or all executable ones for calibration."""
        executable = tuple(c.id for c in item.candidates if item.executions[c.id].executable and c.code is not None)
        if not self._lazy or self._is_calibration(item):
            return executable
        return needed_candidates(
            item.task,
            item.candidates,
            item.executions,
            item.incumbent,
            weight,
            self._d_up,
            self._d_low,
            incumbent_kept_before=kept,
            shares=item.shares,
        )

    def _is_calibration(self, item: Executed) -> bool:
        draw = int(derive("calibration", item.task.id, item.round)[:8], 16) % CALIBRATION_STEPS
        return draw < self._calibrate * CALIBRATION_STEPS

    async def _win_rates(self, item: Executed, wanted: tuple[str, ...]) -> dict[str, float]:
        incumbent_id = item.incumbent.subject_id if item.incumbent is not None else None
        standings = {subject: item.share(subject) for subject in item.executions}
        pairs = schedule_pairs(self._schedule, wanted, incumbent_id, self._max_pairs, standings)
        if not pairs:
            return {}
        codes = {candidate.id: candidate.code or "" for candidate in item.candidates}
        if item.incumbent is not None:
            codes[item.incumbent.subject_id] = item.incumbent.code
        evidence = "consensus" if item.shares else "tests"
        opinions = await self._panel.compare(item.task, item.round, pairs, codes, standings, evidence=evidence)
        field = [*wanted, incumbent_id] if incumbent_id is not None else wanted
        return win_rates(field, opinions)  # who was wanted but met nobody has an even chance, not its E alone

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
            d_up=self._d_up,
            d_low=self._d_low,
            references=self._references,
            incumbent_kept_before=kept,
            decision_id=decision_id,
            round=item.round,
            version=max((candidate.version for candidate in item.candidates), default=0),
        )
