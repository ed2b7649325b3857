"""The records of a run: what crosses a channel and what the ledger keeps.

Frozen, keyword-only and tagged; unknown fields are refused on decoding. Ids are derived from what made the record
(see `protocols.identity`), so the same work has the same id after a crash. Durations are seconds (`_s`), sizes bytes
(`_bytes`), lengths tokens (`_tokens`). A candidate that fails is a record, never an exception.
"""

from typing import get_args

from protocols.records.candidates import Candidate, Generation
from protocols.records.decisions import (
    Choice,
    Critique,
    Decision,
    DecisionKind,
    Incumbent,
    Origin,
    Rubric,
    Score,
    Verdict,
)
from protocols.records.examples import Batch, Example, ExampleKind, FilterCount, Message
from protocols.records.executions import (
    NOT_EXECUTABLE,
    ConsensusTrial,
    ErrorClass,
    Evidence,
    Execution,
    OutcomeKind,
    TestOutcome,
    WrittenTests,
)
from protocols.records.record import Record
from protocols.records.rounds import Quarantined, Round, RoundSettled
from protocols.records.tasks import AssertTest, OutputComparison, StdioTest, Task, Test
from protocols.records.versions import (
    EvaluatedTask,
    Evaluation,
    EvaluationPurpose,
    PolicyVersion,
    Probe,
    TaskResult,
    TrainingReport,
    VersionState,
)

__all__ = [
    "LEDGER_KINDS",
    "NOT_EXECUTABLE",
    "AssertTest",
    "Batch",
    "Candidate",
    "Choice",
    "ConsensusTrial",
    "Critique",
    "Decision",
    "DecisionKind",
    "ErrorClass",
    "EvaluatedTask",
    "Evaluation",
    "EvaluationPurpose",
    "Evidence",
    "Example",
    "ExampleKind",
    "Execution",
    "FilterCount",
    "Generation",
    "Incumbent",
    "LedgerRecord",
    "Message",
    "Origin",
    "OutcomeKind",
    "OutputComparison",
    "PolicyVersion",
    "Probe",
    "Quarantined",
    "Record",
    "Round",
    "RoundSettled",
    "Rubric",
    "Score",
    "StdioTest",
    "Task",
    "TaskResult",
    "Test",
    "TestOutcome",
    "TrainingReport",
    "Verdict",
    "VersionState",
    "WrittenTests",
]

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
