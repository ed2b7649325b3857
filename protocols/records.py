"""The records of a run: what crosses a channel and what the ledger keeps.

Frozen, keyword-only and tagged; unknown fields are refused on decoding. Ids are derived from what made the record
(see `protocols.identity`), so the same work has the same id after a crash. Durations are seconds (`_s`), sizes bytes
(`_bytes`), lengths tokens (`_tokens`). A candidate that fails is a record, never an exception.
"""

from typing import Literal, get_args

import msgspec

ErrorClass = Literal[
    "syntax",
    "missing_entry_point",
    "import",
    "name",
    "type",
    "index_key",
    "value",
    "attribute",
    "recursion",
    "wrong_answer",
    "timeout",
    "memory",
    "output_limit",
    "forbidden",
    "crash",
    "other",
]
"""Why a test or a whole candidate failed (method.md, step 2)."""

OutcomeKind = Literal[
    "pass",
    "wrong",
    "early_exit",
    "bad_result",
    "output_limit",
    "timeout",
    "memory",
    "crash",
    "syntax",
    "runtime_error",
    "violation",
    "sandbox_failure",
]
"""How a test or a whole candidate ended. `wrong`: it gave another answer; `early_exit`: it ended its process before the
test was done; `bad_result`: what came out is no result at all; `runtime_error`: it raised, or a program gave an exit
status; `violation`: killed for a system call that no honest program makes; `sandbox_failure`: the machinery failed, and
nothing is known of the candidate."""

NOT_EXECUTABLE: frozenset[ErrorClass] = frozenset({"syntax", "missing_entry_point", "import"})
"""Classes that, for the whole candidate, mean that it could not be executed at all."""

Evidence = Literal["tests", "weak", "consensus"]
"""What a share of passed tests rests on: tests judged outside the candidate's process, tests that ran in its own
process, or agreement among candidates."""

Origin = Literal["self", "reference", "critic"]
"""Who wrote the text that an example teaches: the policy, the data set, or the critic."""

DecisionKind = Literal["adopt", "replace", "critique", "keep", "skip"]
Choice = Literal["left", "right", "tie", "abstain"]
ExampleKind = Literal["answer", "critique"]
VersionState = Literal["base", "promoted", "rejected", "failed"]
EvaluationPurpose = Literal["gate", "held_out"]


class Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag=True):
    """Base of all records; the tag on the wire is the class's name, in the field `type`."""


class AssertTest(Record, frozen=True, kw_only=True, tag="assert"):
    """Code that raises when the candidate is wrong: one assert, several statements, or HumanEval's `check` call."""

    code: str


OutputComparison = Literal["lines", "exact", "tokens", "floats"]
"""When two outputs are equal. `lines`: but for white space at the ends of lines and empty lines at the end; `exact`:
character by character; `tokens`: but for any white space; `floats`: as `tokens`, and numbers within a tolerance."""


class StdioTest(Record, frozen=True, kw_only=True, tag="stdio"):
    """A program's input and the output it must print."""

    stdin: str
    stdout: str
    comparison: OutputComparison = "lines"
    tolerance: float = 1e-6
    """For `floats`: largest absolute difference, or relative to the expected number where that is above one."""


Test = AssertTest | StdioTest


class Task(Record, frozen=True, kw_only=True):
    """One thing to solve. Made by the loaders, consumed by every actor; never changed."""

    id: str
    kind: Literal["function", "stdio"]
    instruction: str
    tests: tuple[Test, ...] = ()
    entry_point: str | None = None
    """Name that a `function` task's answer must define; None for `stdio` tasks."""
    reference: str | None = None
    """The data set's own answer, as code; None when there is none."""
    setup: str = ""
    """Code that runs before each test, in the test's own scope (imports, helpers); never shown to the policy."""
    context: str = ""
    """Code that the instruction shows and an answer may take for granted (imports, helpers); evaluations of sanitised
    answers put it in front."""
    topic: str = ""
    difficulty: int | None = None
    """1 (trivial) to 5 (demanding); None when not graded."""


class Message(Record, frozen=True, kw_only=True):
    """One chat turn."""

    role: Literal["system", "user", "assistant"]
    content: str
    loss: bool = False
    """In an example: whether the trainer puts loss on this turn. Always False in a prompt."""


class Candidate(Record, frozen=True, kw_only=True):
    """A distinct response of one policy version to one task. Made by the Generator."""

    id: str
    task_id: str
    round: int
    version: int
    """Number of the policy version that generated it."""
    index: int
    """Position of the first response that gave it, among the task's responses of this round (0-based)."""
    text: str
    """The response as it came."""
    code: str | None
    """The code extracted from it; None when there was none."""
    finish_reason: str
    temperatures: tuple[float, ...]
    """Sampling temperature of each response that was equal to it up to formatting, comments and local names."""

    @property
    def count(self) -> int:
        """How many responses were this candidate."""
        return len(self.temperatures)


class Generation(Record, frozen=True, kw_only=True):
    """One finished generation of one task: what it cost. Made by the Generator, after its candidates."""

    id: str
    task_id: str
    round: int
    version: int
    responses: int
    prompt_tokens: int
    completion_tokens: int
    seconds: float


class TestOutcome(Record, frozen=True, kw_only=True):
    """What one test showed."""

    __test__ = False  # not a pytest class

    passed: bool
    error_class: ErrorClass | None = None
    """None when the test passed."""
    message: str = ""
    """Exception text or difference, clipped."""
    expected: str | None = None
    """Clipped, as `actual`; None where the test compares nothing that can be shown."""
    actual: str | None = None
    outcome: OutcomeKind | None = None
    """None in runs of earlier versions, which did not tell."""
    traceback: str = ""
    """The candidate's own lines that the exception passed, innermost last, clipped; empty when nothing was raised."""
    cpu_s: float | None = None
    """None, as for the next two, where the sandbox does not tell."""
    wall_s: float | None = None
    peak_bytes: int | None = None
    flaky: bool = False
    """Whether running it again gave another verdict. What is told here is what the first run showed."""


class Execution(Record, frozen=True, kw_only=True):
    """What running one piece of code against its task's tests showed. Made by the Executor and the Critic."""

    id: str
    subject_id: str
    """Id of the candidate, critique (its revision) or `reference` that was run."""
    task_id: str
    round: int
    outcomes: tuple[TestOutcome, ...]
    error_class: ErrorClass | None
    """Class of the first failure; None when everything passed."""
    tier: str
    """Isolation it ran under."""
    evidence: Evidence
    cpu_s: float
    wall_s: float
    peak_bytes: int
    outcome: OutcomeKind | None = None
    """Of the first failure, or `pass`; None in runs of earlier versions."""
    flaky: bool = False
    """Whether some test's verdict changed when it was run again."""

    @property
    def passed(self) -> int:
        """Number of tests passed."""
        return sum(outcome.passed for outcome in self.outcomes)

    @property
    def share(self) -> float:
        """Share of tests passed, in [0, 1]; 0 when there are none."""
        return self.passed / len(self.outcomes) if self.outcomes else 0.0

    @property
    def executable(self) -> bool:
        """Whether it parsed, imported and defined its entry point."""
        return self.error_class not in NOT_EXECUTABLE or self.passed > 0

    @property
    def solved(self) -> bool:
        """Whether there are tests and every one passed."""
        return bool(self.outcomes) and self.passed == len(self.outcomes)


class WrittenTests(Record, frozen=True, kw_only=True):
    """Tests that the policy itself wrote for a task. Made by the Examiner, consumed by Executor and Consensus."""

    id: str
    task_id: str
    round: int
    version: int
    """Policy version that wrote them."""
    tests: tuple[Test, ...]
    """Those that candidates are run against."""
    dropped: tuple[Test, ...] = ()
    """Those that the task's reference answer fails, which are not used."""
    unusable: int = 0
    """Pieces of the answers that are no test of this task, repeated ones among them."""
    answers: tuple[str, ...] = ()
    """The policy's answers as they came."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0


class ConsensusTrial(Record, frozen=True, kw_only=True):
    """How consensus would have chosen on a task that has tests, which say who is right. Made by Consensus.

    Of each way of choosing: the chance that the response it chooses passes the task's own tests, in [0, 1].
    """

    id: str
    task_id: str
    round: int
    version: int
    tests: int
    """Written tests that the candidates were run against."""
    right_tests: int | None
    """Those of them that the reference answer passes; None without a reference."""
    groups: int
    """Groups of candidates that pass the same tests."""
    decided: bool
    """Whether any candidate passed any test; where none did, every way chooses at random."""
    consensus: float
    random: float
    """Of a response drawn by chance: the share of right ones."""
    majority: float
    """Of a response of the largest group that gives the same results on the tests' inputs."""


class Verdict(Record, frozen=True, kw_only=True):
    """One judge's answer to one comparison in one order. Made by the Judge.

    The other order is a verdict of its own; `method.comparison` folds the two into one opinion.
    """

    id: str
    task_id: str
    round: int
    judge: str
    left_id: str
    """Candidate id (or `reference`) shown first."""
    right_id: str
    choice: Choice
    perspectives: dict[str, Choice]
    answer: str
    """The judge's raw answer."""
    prompt_tokens: int
    completion_tokens: int
    seconds: float
    cost: float | None = None
    """In the currency of the endpoint's prices; None where it has none."""


class Rubric(Record, frozen=True, kw_only=True):
    """One judge's marks for one candidate or incumbent by itself. Made by the Judge in rubric mode."""

    id: str
    task_id: str
    round: int
    judge: str
    subject_id: str
    marks: dict[str, int] | None
    """1 to 5 by perspective; None is an abstention."""
    answer: str
    """The judge's raw answer."""
    prompt_tokens: int
    completion_tokens: int
    seconds: float
    cost: float | None = None
    """As `Verdict.cost`."""


class Score(Record, frozen=True, kw_only=True):
    """The composite score of one candidate or incumbent (method.md, step 4)."""

    subject_id: str
    execution_share: float
    """E, in [0, 1]."""
    win_rate: float | None
    """J, in [0, 1]; None when the judges were not asked."""
    weight: float
    """w, in [0, w_max]; 0 when the judges were not asked."""
    value: float
    """S, in [0, 1]."""


class Incumbent(Record, frozen=True, kw_only=True):
    """The best answer known for a task."""

    subject_id: str
    """Candidate id, or `reference`."""
    origin: Origin
    code: str


class Decision(Record, frozen=True, kw_only=True):
    """What is done with one task in one round. Made by the Judge, carried out by Critic and Curator."""

    id: str
    task_id: str
    round: int
    version: int
    kinds: tuple[DecisionKind, ...]
    """`replace` and `critique` may both hold; otherwise one."""
    incumbent: Incumbent | None
    """After the decision."""
    answer_id: str | None
    """Candidate that becomes an `answer` example; None when there is none."""
    critique_ids: tuple[str, ...]
    """Low-quality candidates, before selection."""
    scores: tuple[Score, ...]
    compared: int = 0
    """Comparisons (or rubrics) that every judge was asked for."""
    comparable: int = 0
    """Those that would have been asked if nothing were left out."""


class Critique(Record, frozen=True, kw_only=True):
    """What the critic wrote on a candidate, with its revision. Made by the Critic."""

    id: str
    task_id: str
    round: int
    candidate_id: str
    critic: str
    pattern: str
    """Error pattern of the candidate."""
    text: str
    """The critique, without its code."""
    revision: str | None
    """The revised code; None when the critic proposed none."""
    verified: bool
    """Whether the revision passes at least what the incumbent passes."""
    truncated: bool = False
    """Whether the endpoint cut the critique or its code off."""
    prompt_tokens: int
    completion_tokens: int
    seconds: float


class Example(Record, frozen=True, kw_only=True):
    """One training record. Made by the Curator, consumed by the trainer."""

    id: str
    task_id: str
    round: int
    version: int
    kind: ExampleKind
    origin: Origin
    """Who wrote the turn that carries loss."""
    pattern: str
    """Error pattern of the criticised candidate; empty for `answer`."""
    messages: tuple[Message, ...]
    code: str
    """The code that the example teaches, for duplicate and overlap filters."""


class FilterCount(Record, frozen=True, kw_only=True):
    """One example that curation refused, and why. Made by the Curator."""

    id: str
    task_id: str
    round: int
    reason: str
    kind: ExampleKind | None = None
    """None, and the next two empty, in runs of earlier versions."""
    code: str = ""
    """What it would have taught, clipped."""
    resembles: str = ""
    """The evaluation task or the example that it was too much like."""


class Batch(Record, frozen=True, kw_only=True):
    """The examples of one training job. Made by the Curator."""

    id: str
    number: int
    """1-based; also the number of the policy version that it is to make."""
    round: int
    version: int
    """Policy version that was current when the batch was cut."""
    example_ids: tuple[str, ...]
    """New examples and replayed ones."""
    replayed: int
    """How many of them are replay."""


class Probe(Record, frozen=True, kw_only=True):
    """A fixed prompt of the canary, with the log-probabilities that the trainer computed."""

    token_ids: tuple[int, ...]
    log_probabilities: tuple[float, ...]
    """Natural logarithms, of token i + 1 given tokens 0..i; one shorter than `token_ids`."""


class TrainingReport(Record, frozen=True, kw_only=True):
    """What one training job did. Made by the Trainer, consumed by the Publisher."""

    id: str
    """Same as its batch's id."""
    round: int
    version: int
    """Number of the policy version it made."""
    adapter: str
    """Folder of the adapter (PEFT form)."""
    merged: str | None
    """Folder of the merged weights; None when `in_place` publishing was not asked for."""
    content_hash: str
    """SHA-256 of the adapter's weights, hexadecimal."""
    losses: tuple[float, ...]
    """Mean loss per loss-carrying token, one per optimiser step."""
    examples: int
    dropped: int
    """Examples refused as too long or without loss."""
    steps: int
    tokens: int
    """Non-padding tokens processed, over all epochs."""
    loss_tokens: int
    seconds: float
    peak_bytes: int
    probes: tuple[Probe, ...]


class TaskResult(Record, frozen=True, kw_only=True):
    """How one task came out in an evaluation."""

    task_id: str
    samples: int
    correct: int


class EvaluatedTask(Record, frozen=True, kw_only=True):
    """How one version answered one task of an evaluation. Made by the evaluator.

    Kept so that an evaluation that was cut off goes on where it was.
    """

    id: str
    task_id: str
    purpose: EvaluationPurpose
    version: int
    round: int
    samples: int
    correct: int
    executable: int
    prompt_tokens: int
    completion_tokens: int
    mistakes: dict[str, int] = {}
    """Samples that failed, by what `method.mistake` calls their first failure; empty in runs of earlier versions."""

    @property
    def result(self) -> TaskResult:
        """Return what counts for pass@k."""
        return TaskResult(task_id=self.task_id, samples=self.samples, correct=self.correct)


class Evaluation(Record, frozen=True, kw_only=True):
    """One policy version's answers to one set of tasks. Made by the Publisher's gate and by `eval`."""

    id: str
    purpose: EvaluationPurpose
    version: int
    round: int
    results: tuple[TaskResult, ...]
    pass_at_1: float
    low: float
    """Lower end of the 95 % bootstrap interval over tasks."""
    high: float
    pass_at_k: dict[int, float]
    executable_share: float
    prompt_tokens: int
    completion_tokens: int
    seconds: float


class PolicyVersion(Record, frozen=True, kw_only=True):
    """One version of the policy and what became of it. Made by the Publisher."""

    id: str
    number: int
    """0 is the base model. Never reused, also after a rejection."""
    name: str
    """`base`, or `vNNNN-<hash>`."""
    parent: int | None
    state: VersionState
    reason: str
    adapter: str | None
    merged: str | None
    batch_id: str | None
    content_hash: str | None
    probes: tuple[Probe, ...]
    canary: float | None
    """Mean absolute difference of log-probabilities, served against trained; None for the base model."""


class Round(Record, frozen=True, kw_only=True):
    """The plan of one round. Made by the Generator."""

    id: str
    number: int
    task_ids: tuple[str, ...]


class RoundSettled(Record, frozen=True, kw_only=True):
    """A round whose tasks have all ended and whose batches are all trained and published or refused."""

    id: str
    number: int
    version: int
    """Policy version after it."""
    seconds: float


class Quarantined(Record, frozen=True, kw_only=True):
    """A record whose handling failed three times, or an adapter's batch that was refused."""

    id: str
    stage: str
    subject_id: str
    task_id: str | None
    round: int
    reason: str
    traceback: str


LedgerRecord = (
    Task
    | Candidate
    | Generation
    | Execution
    | WrittenTests
    | ConsensusTrial
    | Verdict
    | Rubric
    | Decision
    | Critique
    | Example
    | FilterCount
    | Batch
    | TrainingReport
    | EvaluatedTask
    | Evaluation
    | PolicyVersion
    | Round
    | RoundSettled
    | Quarantined
)
"""Every kind that the ledger keeps."""

LEDGER_KINDS: tuple[type[LedgerRecord], ...] = get_args(LedgerRecord)
