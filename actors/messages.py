"""What crosses the channels between actors: a task on its way through one round, growing as it goes.

Each message holds records that are in the ledger already. Every task of a round leaves each stage exactly once, as
the stage's own message or as `Ended`.
"""

import msgspec

from protocols.records import Candidate, Critique, Decision, Execution, Incumbent, Task


class Assignment(msgspec.Struct, frozen=True, kw_only=True):
    """A task to be answered in a round. From the round planner to the Generator."""

    task: Task
    round: int


class Generated(msgspec.Struct, frozen=True, kw_only=True):
    """Its distinct candidates. From the Generator to the Executor."""

    task: Task
    round: int
    candidates: tuple[Candidate, ...]


class Executed(msgspec.Struct, frozen=True, kw_only=True):
    """What execution showed of the candidates and of the incumbent. From the Executor to the Judge."""

    task: Task
    round: int
    candidates: tuple[Candidate, ...]
    executions: dict[str, Execution]
    """By subject id, the incumbent's included."""
    incumbent: Incumbent | None
    """Before the decision."""
    shares: dict[str, float] = {}
    """E by subject id where consensus decides; elsewhere E is the share of tests passed."""
    undecided: bool = False
    """Whether nothing shows which candidate is right: the task has no tests, and there was no consensus either."""

    def share(self, subject_id: str) -> float:
        """Return E of a subject, in [0, 1]."""
        return self.shares.get(subject_id, self.executions[subject_id].share)


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """The decision. From the Judge to the Critic."""

    task: Task
    round: int
    candidates: tuple[Candidate, ...]
    executions: dict[str, Execution]
    decision: Decision


class Criticised(msgspec.Struct, frozen=True, kw_only=True):
    """The decision carried out, as far as critics are needed. From the Critic to the Curator."""

    task: Task
    round: int
    candidates: tuple[Candidate, ...]
    executions: dict[str, Execution]
    decision: Decision
    critiques: tuple[Critique, ...]


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """A task whose way ended early in this round (quarantined); passed through to the Curator, which counts it."""

    task: Task
    round: int


class RoundClosed(msgspec.Struct, frozen=True, kw_only=True):
    """Every task of a round has ended and its batches are sent. From the Curator, past the Trainer to the Publisher."""

    round: int


Item = Assignment | Generated | Executed | Judged | Criticised | Ended
