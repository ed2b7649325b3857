"""The report of a run as one typed structure. Made by `evals.report`, consumed by the table, the plot and the page.

Everything in it comes from ledger records. None stands for what was not measured, never for nought.
"""

import msgspec

from evals.report_mistakes import CritiquedReport, MistakesReport
from protocols.records import Evidence, ExampleKind, VersionState


class VersionReport(msgspec.Struct, frozen=True, kw_only=True):
    """One policy version: what it did, how it was made, and what became of it."""

    version: int
    name: str
    adapter: str | None
    """Folder of the adapter; None for the base model, and where all weights were trained."""
    merged: str | None
    """Folder of the whole model, where one was written."""
    state: VersionState | None
    """None while it is on trial, and when the run ended before it was decided."""
    reason: str
    """Why it was promoted or refused."""
    candidates: int
    """Distinct candidates that it generated for training tasks."""
    executable_share: float | None
    """Of its responses to training tasks, those that could be executed."""
    pass_at_1: float | None
    """On the held-out tasks, as the two that follow."""
    pass_at_1_low: float | None
    """Lower end of the 95 % interval."""
    pass_at_1_high: float | None
    pass_at_k: dict[int, float]
    pass_at_k_intervals: dict[int, tuple[float, float]]
    """95 % intervals, by a bootstrap over tasks."""
    gate_pass_at_1: float | None
    gate_pass_at_1_before: float | None
    """Of the version that it was compared with."""
    canary: float | None
    """Mean absolute difference of log-probabilities, served against trained."""
    examples: dict[str, int]
    """Made while it was the policy, by kind."""
    trained_on: dict[str, int]
    """In the batch that it was trained on, by kind, with `replayed` among them."""
    critiques: int
    critiques_verified: int
    judge_reliability: float | None
    """Of the whole panel, on this version's candidates."""
    loss_first: float | None
    """Training loss per loss-carrying token at the first step of its training."""
    loss_last: float | None
    tokens_per_s: float | None
    """Non-padding tokens per second of its training."""
    seconds: float | None
    """Of its training."""

    @property
    def promoted(self) -> bool:
        """Whether it is or was the policy; so is the base model."""
        return self.state in ("base", "promoted")


class JudgeReport(msgspec.Struct, frozen=True, kw_only=True):
    """One judge over the whole run."""

    name: str
    reliability: float
    """Mean of its Beta posterior, where executions told who was right; 0.5 when nothing is known."""
    reliability_low: float
    """Lower end of the 95 % interval of that posterior."""
    reliability_high: float
    proved: float
    """Opinions that executions proved right or wrong."""
    perspectives: dict[str, float]
    """Reliability by perspective, where an opinion on it was proved."""
    versions: dict[int, float]
    """Reliability on each policy version's candidates, where an opinion on them was proved."""
    drifted_at: tuple[int, ...]
    """Versions on which it judged otherwise than on those before, by more than chance explains."""
    position_bias: float
    """Share of pairs that followed the first position minus that of the second, in [-1, 1]."""
    abstentions: int
    """Answers that could not be read."""
    calls: int
    """Answers that were asked for, a repaired one counted once."""
    tokens: int
    """Prompt and completion together."""
    seconds: float
    cost: float | None
    """In the currency of its endpoint's prices; None where it has none."""

    @property
    def abstention_rate(self) -> float:
        """Share of its answers that could not be read, in [0, 1]."""
        return self.abstentions / self.calls if self.calls else 0.0

    @property
    def tokens_per_call(self) -> float:
        """Prompt and completion together, on average."""
        return self.tokens / self.calls if self.calls else 0.0

    @property
    def cost_per_call(self) -> float | None:
        """On average; None where its endpoint has no price."""
        return None if self.cost is None or not self.calls else self.cost / self.calls


class ComparisonReport(msgspec.Struct, frozen=True, kw_only=True):
    """How much of the judging was asked for."""

    asked: int
    """Comparisons (or rubrics) that each judge was asked for."""
    possible: int
    """Those that would have been asked for, had nothing been left out."""

    @property
    def saved(self) -> float | None:
        """Share of the judges' calls that was saved, in [0, 1]; None where nothing was to be asked."""
        return 1 - self.asked / self.possible if self.possible else None


class ConsensusReport(msgspec.Struct, frozen=True, kw_only=True):
    """Tests that one version wrote, and how consensus on them would have chosen where tests of the task tell."""

    version: int
    written: int
    """Tests, over all tasks."""
    dropped: int
    """Those of them that the reference answer fails."""
    unusable: int
    """Pieces of its answers that were no test."""
    trials: int
    """Tasks with tests on which consensus was tried; 0: it was not measured, and None follows."""
    decided: int
    """Trials in which a candidate passed a written test."""
    right_tests: float | None
    """Share of the written tests that the reference passes, where there is one."""
    consensus: float | None
    """Chance that the response chosen by consensus is right, on average over trials."""
    majority: float | None
    """The same for the largest group of equal results."""
    random: float | None
    """The same for a response drawn by chance."""


class TemperatureReport(msgspec.Struct, frozen=True, kw_only=True):
    """How the responses of one temperature came out."""

    temperature: float
    responses: int
    solved: int
    """Those that passed every test."""

    @property
    def share(self) -> float:
        """Share solved, in [0, 1]."""
        return self.solved / self.responses if self.responses else 0.0


class RejectReport(msgspec.Struct, frozen=True, kw_only=True):
    """One example that curation refused."""

    task_id: str
    round: int
    kind: ExampleKind | None
    code: str
    """Clipped; empty in runs of earlier versions."""
    resembles: str
    """The evaluation task or example that it was too much like; empty for other reasons."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """One run."""

    versions: tuple[VersionReport, ...]
    """By number, refused ones among them."""
    judges: tuple[JudgeReport, ...]
    judge_evidence: Evidence | None
    """What their reliability rests on: tests or, where no task has tests, consensus; None when nothing is known."""
    comparisons: ComparisonReport
    consensus: tuple[ConsensusReport, ...]
    """By version, of those that wrote tests."""
    decisions: dict[str, int]
    origins: dict[str, int]
    """Examples by who wrote the turn that they teach."""
    filters: dict[str, int]
    """Examples refused by curation, by reason."""
    critiques: dict[str, int]
    """`written` and `verified`."""
    error_patterns: dict[int, dict[str, int]]
    """Candidates that failed, by version and error class."""
    success_by_temperature: tuple[TemperatureReport, ...]
    tokens: dict[str, int]
    """`prompt`, `completion` and `training`."""
    seconds: dict[str, float]
    """`total`: from the first record to the last, pauses included. The stages: the sum over their requests, runs and
    jobs, which overlap in time."""
    records: dict[str, int]
    """By kind."""
    rejects: dict[str, tuple[RejectReport, ...]] = {}
    """Up to three of those refused by curation, by reason."""
    mistakes: tuple[MistakesReport, ...] = ()
    """Failed answers of each version by the kind of their first failure, for each set of tasks."""
    critiqued: tuple[CritiquedReport, ...] = ()
    """How often each mistake was made in training tasks, and criticised."""
