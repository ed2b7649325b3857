"""What running code showed, test by test, and what tests that the policy wrote are worth."""

from typing import Literal

from protocols.records.record import Record
from protocols.records.tasks import Test

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
