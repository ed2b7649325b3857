"""The reputation of a run's judges: each one's measured reliability, learnt from opinions that executions prove.

What tests prove and what agreement among candidates suggests are kept apart (`method.reliability.trusted`). Every
opinion counts once, also when its task is handled again.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from method.comparison import Opinion, fold
from method.reliability import Reliability, panel_reliability, panel_weights, trusted, update
from method.rubric import Rating, implied_opinions
from protocols.identity import derive
from protocols.ports import Ledger
from protocols.records import Decision, Evidence, Execution, Rubric, Verdict

_Place = tuple[str, str, int]
"""Judge, task and round."""


class Reputation:
    """What is known of each judge.

    Args:
        judges: their names.
    """

    def __init__(self, judges: Iterable[str]) -> None:
        nobody_known = {judge: Reliability() for judge in judges}
        self._by_tests, self._by_consensus = dict(nobody_known), dict(nobody_known)
        self._learnt: set[tuple[str, str]] = set()

    @property
    def reliability(self) -> float:
        """The panel's measured reliability, in [0, 1]."""
        return panel_reliability(trusted(self._by_tests, self._by_consensus))

    @property
    def weights(self) -> dict[str, float]:
        """How much each judge's opinion weighs."""
        return panel_weights(trusted(self._by_tests, self._by_consensus))

    def learn(
        self, task_id: str, round: int, opinion: Opinion, shares: Mapping[str, float], evidence: Evidence
    ) -> None:
        """Count an opinion, once.

        Args:
            task_id: what it is on.
            round: in which it was asked.
            opinion: of one of the judges; those of others are passed over.
            shares: E by subject id.
            evidence: what E rests on.
        """
        subjects = sorted((opinion.left_id, opinion.right_id))
        key = (opinion.judge, derive("opinion", task_id, round, *subjects))
        records = self._by_consensus if evidence == "consensus" else self._by_tests
        if opinion.judge in records and key not in self._learnt:
            self._learnt.add(key)
            records[opinion.judge] = update(records[opinion.judge], opinion, shares)

    async def restore(self, ledger: Ledger) -> None:
        """Learn again from the opinions in the ledger.

        Those on a task that was not decided yet count when they are used for its decision, as they would have.
        """
        executions = await ledger.find(Execution)
        shares = {(execution.task_id, execution.subject_id): execution.share for execution in executions}
        agreed = {execution.task_id for execution in executions if execution.evidence == "consensus"}
        decided = {
            (decision.task_id, decision.round): {score.subject_id: score.execution_share for score in decision.scores}
            for decision in await ledger.find(Decision)
        }
        verdicts, rubrics = await ledger.find(Verdict), await ledger.find(Rubric)
        for (_, task_id, round), opinion in [*_compared(verdicts), *_implied(rubrics)]:
            if (task_id, round) not in decided:
                continue
            subjects = (opinion.left_id, opinion.right_id)
            if task_id in agreed:
                self.learn(task_id, round, opinion, decided[task_id, round], "consensus")
            else:
                known = {subject: shares[task_id, subject] for subject in subjects if (task_id, subject) in shares}
                self.learn(task_id, round, opinion, known, "tests")


def _compared(verdicts: Sequence[Verdict]) -> Iterator[tuple[_Place, Opinion]]:
    """Yield the opinions that both orders of a pair make."""
    waiting: dict[tuple[_Place, frozenset[str]], Verdict] = {}
    for verdict in verdicts:
        place = (verdict.judge, verdict.task_id, verdict.round)
        key = (place, frozenset((verdict.left_id, verdict.right_id)))
        other = waiting.setdefault(key, verdict)
        if other.left_id == verdict.right_id:
            yield place, fold(other, verdict)


def _implied(rubrics: Sequence[Rubric]) -> Iterator[tuple[_Place, Opinion]]:
    """Yield the opinions that marks for several answers imply."""
    ratings: defaultdict[_Place, list[Rating]] = defaultdict(list)
    for rubric in rubrics:
        place = (rubric.judge, rubric.task_id, rubric.round)
        ratings[place].append(Rating(rubric.subject_id, rubric.judge, rubric.marks))
    for place, given in ratings.items():
        for opinion in implied_opinions(given):
            yield place, opinion
