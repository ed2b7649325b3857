"""What judges said of candidates, how they score, what is done with a task, and what the critic wrote."""

from typing import Literal

from protocols.records.record import Record

Origin = Literal["self", "reference", "critic"]
"""Who wrote the text that an example teaches: the policy, the data set, or the critic."""

Choice = Literal["left", "right", "tie", "abstain"]

DecisionKind = Literal["adopt", "replace", "critique", "keep", "skip"]


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
