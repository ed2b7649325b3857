"""What the judges said, and how often executions proved them right: counted while a report reads a journal.

Opinions are proved by tests, or, on tasks without tests, by agreement; the two are kept apart, and what tests say
comes first (`method.reliability.trusted`).
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from method.comparison import Opinion, fold
from method.reliability import Reliability, Tally, trusted, update
from method.rubric import Rating, implied_opinions
from protocols.records import Decision, Evidence, Execution, LedgerRecord, Rubric, Verdict


class _Opinion(NamedTuple):
    task_id: str
    round: int
    opinion: Opinion


class Judging:
    """What the judges said."""

    KINDS = (Decision, Execution, Rubric, Verdict)

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.abstentions: Counter[str] = Counter()
        self.tokens: Counter[str] = Counter()
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.costs: dict[str, float] = {}
        """Of the judges whose endpoint has a price."""
        self._shares: dict[tuple[str, str], float] = {}
        self._agreed: set[str] = set()
        """Tasks without tests."""
        self._agreed_shares: dict[tuple[str, int], dict[str, float]] = {}
        """E by subject, of each decision on a task without tests."""
        self._first: dict[tuple[str, str, int, frozenset[str]], Verdict] = {}
        self._marked: defaultdict[tuple[str, str, int], list[Rating]] = defaultdict(list)
        self._opinions: list[_Opinion] = []

    def add(self, record: LedgerRecord) -> None:
        """Take one record."""
        match record:
            case Execution(evidence="consensus"):
                self._agreed.add(record.task_id)
            case Execution():
                self._shares[record.task_id, record.subject_id] = record.share
            case Decision() if record.task_id in self._agreed:
                shares = {score.subject_id: score.execution_share for score in record.scores}
                self._agreed_shares[record.task_id, record.round] = shares
            case Verdict():
                self._count(record, abstained=record.choice == "abstain")
                self._pair_up(record)
            case Rubric():
                self._count(record, abstained=record.marks is None)
                self._mark(record)
            case _:
                pass

    def _count(self, record: Verdict | Rubric, *, abstained: bool) -> None:
        judge = record.judge
        self.calls[judge] += 1
        self.abstentions[judge] += abstained
        self.tokens[judge] += record.prompt_tokens + record.completion_tokens
        self.seconds[judge] += record.seconds
        if record.cost is not None:
            self.costs[judge] = self.costs.get(judge, 0.0) + record.cost

    @property
    def evidence(self) -> Evidence | None:
        """What the judges' reliabilities rest on; None when nothing was proved."""
        for evidence in ("tests", "consensus"):
            if any(record.overall.count for record in self._records(evidence).values()):
                return evidence
        return None

    def reliabilities(self, subjects: Iterable[str] | None = None) -> Mapping[str, Reliability]:
        """Return each judge's record; given `subjects`, over the pairs that one of those candidates is in."""
        wanted = None if subjects is None else set(subjects)
        return trusted(self._records("tests", wanted), self._records("consensus", wanted))

    def by_version(self, version_of: Mapping[str, int]) -> dict[int, Mapping[str, Reliability]]:
        """Return each judge's record on each version's candidates, by version."""
        subjects: defaultdict[int, set[str]] = defaultdict(set)
        for one in self._opinions:
            for subject in (one.opinion.left_id, one.opinion.right_id):
                if subject in version_of:
                    subjects[version_of[subject]].add(subject)
        return {version: self.reliabilities(ids) for version, ids in sorted(subjects.items())}

    def _records(self, evidence: Evidence, subjects: set[str] | None = None) -> dict[str, Reliability]:
        known: dict[str, Reliability] = {}
        for one in self._opinions:
            ids = {one.opinion.left_id, one.opinion.right_id}
            if (one.task_id in self._agreed) == (evidence == "consensus") and (subjects is None or subjects & ids):
                judge = one.opinion.judge
                known[judge] = update(known.get(judge, Reliability()), one.opinion, self._known_shares(one))
        return known

    def _known_shares(self, one: _Opinion) -> Mapping[str, float]:
        if one.task_id in self._agreed:
            return self._agreed_shares.get((one.task_id, one.round), {})
        ids = (one.opinion.left_id, one.opinion.right_id)
        return {id: self._shares[one.task_id, id] for id in ids if (one.task_id, id) in self._shares}

    def _pair_up(self, verdict: Verdict) -> None:
        key = (verdict.judge, verdict.task_id, verdict.round, frozenset((verdict.left_id, verdict.right_id)))
        other = self._first.get(key)
        if other is None or other.left_id == verdict.left_id:
            self._first[key] = verdict
        else:
            self._opinions.append(_Opinion(verdict.task_id, verdict.round, fold(self._first.pop(key), verdict)))

    def _mark(self, rubric: Rubric) -> None:
        """Note what a rubric implies about those that the judge marked before it, of the same task and round."""
        others = self._marked[rubric.judge, rubric.task_id, rubric.round]
        rating = Rating(rubric.subject_id, rubric.judge, rubric.marks)
        for other in others:
            for opinion in implied_opinions((other, rating)):
                self._opinions.append(_Opinion(rubric.task_id, rubric.round, opinion))
        others.append(rating)


def drifts(by_version: Mapping[int, Tally]) -> tuple[int, ...]:
    """Return the versions on which a judge was right more, or less, often than on all before, beyond chance."""
    drifted: list[int] = []
    before = Tally()
    for version, tally in sorted(by_version.items()):
        if before.count and tally.count and tally.drifted_from(before):
            drifted.append(version)
        before = before.with_all(tally)
    return tuple(drifted)
