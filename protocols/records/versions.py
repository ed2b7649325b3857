"""Policy versions: how one was trained, what it answered, and what became of it."""

from typing import Literal

import msgspec

from protocols.records.record import Record

VersionState = Literal["base", "promoted", "rejected", "failed"]

EvaluationPurpose = Literal["gate", "held_out"]


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
    adapter: str | None
    """Folder of the adapter (PEFT form); None where all weights were trained."""
    merged: str | None
    """Folder of the whole model; None when only an adapter was asked for."""
    content_hash: str
    """SHA-256 of the adapter's weights, hexadecimal."""
    losses: tuple[float, ...]
    """Mean loss per loss-carrying token, one per optimiser step."""
    examples: int
    dropped: int
    """Examples left out as too long; in runs of earlier versions also those without loss."""
    steps: int
    tokens: int
    """Non-padding tokens processed, over all epochs."""
    loss_tokens: int
    seconds: float
    peak_bytes: int
    probes: tuple[Probe, ...]
    preparation_s: float = 0.0
    """Of `seconds`, those before the first step; 0 in runs of earlier versions."""

    @property
    def folder(self) -> str:
        """Return the version's own folder: the adapter's, or the whole model's."""
        return self.adapter or self.merged or ""


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
    mistakes: dict[str, int] = msgspec.field(default_factory=dict[str, int])
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

    @property
    def folder(self) -> str | None:
        """Return the version's own folder: the adapter's, or the whole model's; None where nothing was trained."""
        return self.adapter or self.merged
