"""What executions alone say about candidates and incumbent: who passes what, and who may become the incumbent.

Invariant: no opinion of a judge enters here. Who may become an incumbent passes everything that the present one passes.
"""

from collections.abc import Mapping, Sequence

import msgspec

from protocols.records import Candidate, Execution, Incumbent


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """One subject's executions in short."""

    id: str
    share: float
    """E, in [0, 1]."""
    passed: frozenset[int]
    """Indices of the tests passed."""
    executable: bool
    solved: bool
    """Whether it passes every test, or wins the consensus."""
    consensus: bool

    def covers(self, other: "Standing") -> bool:
        """Whether it passes everything that `other` passes; among agreeing guesses, whether E is no lower."""
        if self.consensus or other.consensus:
            return self.share >= other.share
        return self.passed >= other.passed

    def beats(self, other: "Standing") -> bool:
        """Whether it passes all of `other`'s tests and more."""
        return self.covers(other) and not other.covers(self)


def standing(id: str, execution: Execution, share: float | None = None) -> Standing:
    """Return the standing of a subject; `share` is E where it is not the share of tests passed (consensus)."""
    consensus = execution.evidence == "consensus"
    known = execution.share if share is None else share
    return Standing(
        id=id,
        share=known,
        passed=frozenset(index for index, outcome in enumerate(execution.outcomes) if outcome.passed),
        executable=execution.executable,
        solved=execution.executable and (known >= 1.0 if consensus else execution.solved),
        consensus=consensus,
    )


def field(
    candidates: Sequence[Candidate],
    executions: Mapping[str, Execution],
    incumbent: Incumbent | None,
    shares: Mapping[str, float],
) -> tuple[Standing, ...]:
    """Return the standings of the candidates that take part: with code and an execution, and not the incumbent."""
    return tuple(
        standing(candidate.id, executions[candidate.id], shares.get(candidate.id))
        for candidate in candidates
        if candidate.code is not None
        and candidate.id in executions
        and (incumbent is None or candidate.id != incumbent.subject_id)
    )


def heirs(standings: Sequence[Standing], incumbent: Standing | None) -> tuple[Standing, ...]:
    """Return those that may become the incumbent.

    With one: whoever passes everything that it passes. Without: whoever solves the task. Nobody whom another of them
    beats test for test.
    """
    fit = [s for s in standings if s.executable and (s.solved if incumbent is None else s.covers(incumbent))]
    return tuple(s for s in fit if not any(other.beats(s) for other in fit))
