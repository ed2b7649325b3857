"""What a report counts while it reads a journal, one concern a class (what judges said: `evals.report_judging`).

Each takes the records of its `KINDS` in the journal's order and keeps numbers, not texts: a report on a long run must
fit into memory.
"""

from collections import Counter, defaultdict

from protocols.records import (
    Batch,
    Candidate,
    ConsensusTrial,
    Critique,
    Decision,
    Evaluation,
    Example,
    Execution,
    FilterCount,
    Generation,
    LedgerRecord,
    PolicyVersion,
    Rubric,
    TrainingReport,
    Verdict,
    WrittenTests,
)

REJECTS = 3
"""Refused examples that a report shows of each reason."""


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
        if execution.evidence != "consensus":  # where it is, nobody knows what is solved
            self.by_temperature.update(temperatures)
            self.solved_by_temperature.update(temperatures if execution.solved else ())
        if execution.error_class is not None:
            self.errors[version][execution.error_class] += 1


class Agreement:
    """How tests were written, and how often consensus chose a right response, against chance and majority."""

    KINDS = (ConsensusTrial, WrittenTests)

    def __init__(self) -> None:
        self.written: Counter[int] = Counter()
        """By the version that wrote them, as the two that follow."""
        self.dropped: Counter[int] = Counter()
        self.unusable: Counter[int] = Counter()
        self.trials: defaultdict[int, list[ConsensusTrial]] = defaultdict(list)
        """By version."""

    def add(self, record: LedgerRecord) -> None:
        """Take one record."""
        match record:
            case WrittenTests():
                self.written[record.version] += len(record.tests) + len(record.dropped)
                self.dropped[record.version] += len(record.dropped)
                self.unusable[record.version] += record.unusable
            case ConsensusTrial():
                self.trials[record.version].append(record)
            case _:
                pass


class Making:
    """What was decided, criticised and made into examples."""

    KINDS = (Critique, Decision, Example, FilterCount)

    def __init__(self) -> None:
        self.decisions: Counter[str] = Counter()
        self.origins: Counter[str] = Counter()
        self.filters: Counter[str] = Counter()
        self.refused: defaultdict[str, list[FilterCount]] = defaultdict(list)
        """The `REJECTS` of each reason with the smallest ids: a draw that is the same in every report."""
        self.examples: defaultdict[int, Counter[str]] = defaultdict(Counter)
        self.kind_of: dict[str, str] = {}
        """By example id."""
        self.compared = 0
        self.comparable = 0
        self.critiqued: list[tuple[str, bool]] = []
        """Candidate id, and whether the critique's revision was verified."""

    def add(self, record: LedgerRecord) -> None:
        """Take one record."""
        match record:
            case Decision():
                self.decisions.update(record.kinds)
                self.compared += record.compared
                self.comparable += record.comparable
            case Example():
                self.origins[record.origin] += 1
                self.examples[record.version][record.kind] += 1
                self.kind_of[record.id] = record.kind
            case FilterCount():
                self.filters[record.reason] += 1
                drawn = sorted([*self.refused[record.reason], record], key=lambda one: one.id)
                self.refused[record.reason] = drawn[:REJECTS]
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

    KINDS = (Critique, Evaluation, Execution, Generation, TrainingReport, Verdict, Rubric, WrittenTests)

    def __init__(self) -> None:
        self.tokens: Counter[str] = Counter(prompt=0, completion=0, training=0)
        self.seconds: defaultdict[str, float] = defaultdict(float)

    def add(self, record: LedgerRecord) -> None:
        """Take one record."""
        match record:
            case Generation():
                self._answered("generate", record)
            case Verdict() | Rubric():
                self._answered("judge", record)
            case WrittenTests():
                self._answered("write_tests", record)
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

    def _answered(
        self, stage: str, record: Generation | Verdict | Critique | Evaluation | Rubric | WrittenTests
    ) -> None:
        self.seconds[stage] += record.seconds
        self.tokens["prompt"] += record.prompt_tokens
        self.tokens["completion"] += record.completion_tokens
