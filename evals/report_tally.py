"""What a report counts while it reads a journal, one concern a class.

Each takes the records of its `KINDS` in the journal's order and keeps numbers, not texts: a report on a long run must
fit into memory.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable

from method.comparison import Opinion, fold
from method.reliability import Reliability, panel_reliability, update
from protocols.records import (
    Batch,
    Candidate,
    Critique,
    Decision,
    Evaluation,
    Example,
    Execution,
    FilterCount,
    Generation,
    LedgerRecord,
    PolicyVersion,
    TrainingReport,
    Verdict,
)


class Work:
    """What each version generated, and how that came out."""

    KINDS = (Candidate, Execution)

    def __init__(self) -> None:
        self.version_of: dict[str, int] = {}
        """By candidate id."""
        self.candidates: Counter[int] = Counter()
        self.responses: Counter[int] = Counter()
        """Those that were executed, as the two that follow."""
        self.executable: Counter[int] = Counter()
        self.by_temperature: Counter[float] = Counter()
        self.solved_by_temperature: Counter[float] = Counter()
        self.errors: defaultdict[int, Counter[str]] = defaultdict(Counter)
        self._waiting: dict[str, tuple[float, ...]] = {}

    def add(self, record: LedgerRecord) -> None:
        """Take one record."""
        match record:
            case Candidate():
                self.version_of[record.id] = record.version
                self.candidates[record.version] += 1
                self._waiting[record.id] = record.temperatures
            case Execution() if record.subject_id in self._waiting:
                self._executed(record, self._waiting.pop(record.subject_id))
            case _:
                pass

    def _executed(self, execution: Execution, temperatures: tuple[float, ...]) -> None:
        version = self.version_of[execution.subject_id]
        self.responses[version] += len(temperatures)
        self.executable[version] += len(temperatures) * execution.executable
        self.by_temperature.update(temperatures)
        if execution.solved:
            self.solved_by_temperature.update(temperatures)
        if execution.error_class is not None:
            self.errors[version][execution.error_class] += 1


class Judging:
    """What the judges said, and how often executions proved them right."""

    KINDS = (Execution, Verdict)

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.abstentions: Counter[str] = Counter()
        self.tokens: Counter[str] = Counter()
        self._shares: dict[tuple[str, str], float] = {}
        self._first: dict[tuple[str, str, int, frozenset[str]], Verdict] = {}
        self._opinions: list[tuple[str, Opinion]] = []
        """Each with its task."""

    def add(self, record: LedgerRecord) -> None:
        """Take one record."""
        match record:
            case Execution():
                self._shares[record.task_id, record.subject_id] = record.share
            case Verdict():
                self.calls[record.judge] += 1
                self.abstentions[record.judge] += record.choice == "abstain"
                self.tokens[record.judge] += record.prompt_tokens + record.completion_tokens
                self._pair_up(record)
            case _:
                pass

    def reliabilities(self, subjects: Iterable[str] | None = None) -> dict[str, Reliability]:
        """Return each judge's record; given `subjects`, over the pairs that one of those candidates is in."""
        wanted = None if subjects is None else set(subjects)
        known: dict[str, Reliability] = {}
        for task_id, opinion in self._opinions:
            ids = {opinion.left_id, opinion.right_id}
            if wanted is None or wanted & ids:
                shares = {one: self._shares[task_id, one] for one in ids if (task_id, one) in self._shares}
                known[opinion.judge] = update(known.get(opinion.judge, Reliability()), opinion, shares)
        return known

    def panel_by_version(self, version_of: dict[str, int]) -> dict[int, float]:
        """Return the panel's reliability on each version's candidates."""
        subjects: defaultdict[int, set[str]] = defaultdict(set)
        for _, opinion in self._opinions:
            for subject in (opinion.left_id, opinion.right_id):
                if subject in version_of:
                    subjects[version_of[subject]].add(subject)
        return {version: panel_reliability(self.reliabilities(ids)) for version, ids in sorted(subjects.items())}

    def _pair_up(self, verdict: Verdict) -> None:
        key = (verdict.judge, verdict.task_id, verdict.round, frozenset((verdict.left_id, verdict.right_id)))
        other = self._first.get(key)
        if other is None or other.left_id == verdict.left_id:
            self._first[key] = verdict
        else:
            self._opinions.append((verdict.task_id, fold(self._first.pop(key), verdict)))


class Making:
    """What was decided, criticised and made into examples."""

    KINDS = (Critique, Decision, Example, FilterCount)

    def __init__(self) -> None:
        self.decisions: Counter[str] = Counter()
        self.origins: Counter[str] = Counter()
        self.filters: Counter[str] = Counter()
        self.examples: defaultdict[int, Counter[str]] = defaultdict(Counter)
        self.kind_of: dict[str, str] = {}
        """By example id."""
        self.critiqued: list[tuple[str, bool]] = []
        """Candidate id, and whether the critique's revision was verified."""

    def add(self, record: LedgerRecord) -> None:
        """Take one record."""
        match record:
            case Decision():
                self.decisions.update(record.kinds)
            case Example():
                self.origins[record.origin] += 1
                self.examples[record.version][record.kind] += 1
                self.kind_of[record.id] = record.kind
            case FilterCount():
                self.filters[record.reason] += 1
            case Critique():
                self.critiqued.append((record.candidate_id, record.verified))
            case _:
                pass


class Versions:
    """What is known of each version's making and trial. A later record of the same replaces the earlier one."""

    KINDS = (Batch, Evaluation, PolicyVersion, TrainingReport)

    def __init__(self) -> None:
        self.policies: dict[int, PolicyVersion] = {}
        self.training: dict[int, TrainingReport] = {}
        self.batches: dict[str, Batch] = {}
        self.gate: dict[int, Evaluation] = {}
        self.held_out: dict[int, Evaluation] = {}

    def add(self, record: LedgerRecord) -> None:
        """Take one record."""
        match record:
            case PolicyVersion():
                self.policies[record.number] = record
            case TrainingReport():
                self.training[record.version] = record
            case Batch():
                self.batches[record.id] = record
            case Evaluation():
                place = self.gate if record.purpose == "gate" else self.held_out
                place[record.version] = record
            case _:
                pass


class Costs:
    """Tokens and seconds, by what they were spent on."""

    KINDS = (Critique, Evaluation, Execution, Generation, TrainingReport, Verdict)

    def __init__(self) -> None:
        self.tokens: Counter[str] = Counter(prompt=0, completion=0, training=0)
        self.seconds: defaultdict[str, float] = defaultdict(float)

    def add(self, record: LedgerRecord) -> None:
        """Take one record."""
        match record:
            case Generation():
                self._answered("generate", record)
            case Verdict():
                self._answered("judge", record)
            case Critique():
                self._answered("critique", record)
            case Evaluation():
                self._answered(record.purpose, record)
            case Execution():
                self.seconds["execute"] += record.wall_s
            case TrainingReport():
                self.seconds["train"] += record.seconds
                self.tokens["training"] += record.tokens
            case _:
                pass

    def _answered(self, stage: str, record: Generation | Verdict | Critique | Evaluation) -> None:
        self.seconds[stage] += record.seconds
        self.tokens["prompt"] += record.prompt_tokens
        self.tokens["completion"] += record.completion_tokens
