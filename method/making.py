"""Which examples one task leaves in one round: what was decided becomes chat turns.

Three rules. `decided` is the method's: the answer that the decision chose, the reference where it is taught, and every
critique that ends with code. The two others are its rivals: `correct_only` is plain rejection-sampling fine-tuning, in
which every distinct candidate that passes every test is an answer; `references` is plain fine-tuning on the data set's
own answers. Nothing is filtered here.
"""

from collections.abc import Mapping
from typing import Literal

import msgspec

from method.examples import answer_example, critique_example
from method.truncation import is_cut_off
from protocols.records import Candidate, Critique, Decision, Example, Execution, Origin, Task

Answers = Literal["decided", "correct_only", "references"]
Unverified = Literal["incumbent", "drop"]
References = Literal["train", "anchor", "hidden"]


class Made(msgspec.Struct, frozen=True):
    """An example as it was made, before any filter."""

    example: Example
    truncated: bool
    """Whether the endpoint cut off what it teaches."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one task in one round."""

    task: Task
    candidates: tuple[Candidate, ...]
    executions: Mapping[str, Execution]
    """By candidate id."""
    decision: Decision
    critiques: tuple[Critique, ...]


def make_examples(
    outcome: Outcome, *, references: References, answers: Answers, unverified: Unverified = "incumbent"
) -> tuple[Made, ...]:
    """Return the examples of one task, in the order in which curation sees them.

    Args:
        outcome: what came of the task.
        references: with `train`, the reference is taught while it is the incumbent.
        answers: which rule makes them.
        unverified: whether the incumbent stands for the revision of a critique that did not pass.

    Raises:
        KeyError: a candidate that matters has no execution.
        StopIteration: a critique is of no candidate of the task.
    """
    if answers == "correct_only":
        return tuple(_correct(outcome))
    if answers == "references":
        return () if outcome.task.reference is None else (_taught(outcome, outcome.task.reference),)
    return (*_answer(outcome), *_reference(outcome, references), *_critiques(outcome, unverified))


def _correct(outcome: Outcome) -> list[Made]:
    """Return an answer for each candidate that passes every test, those given most often first."""
    solved = [
        candidate
        for candidate in outcome.candidates
        if candidate.code is not None and outcome.executions[candidate.id].solved
    ]
    return [_self_answer(outcome, candidate) for candidate in sorted(solved, key=lambda c: (-c.count, c.index))]


def _answer(outcome: Outcome) -> list[Made]:
    chosen = next((c for c in outcome.candidates if c.id == outcome.decision.answer_id), None)
    return [] if chosen is None or chosen.code is None else [_self_answer(outcome, chosen)]


def _self_answer(outcome: Outcome, candidate: Candidate) -> Made:
    example = answer_example(
        outcome.task,
        candidate.code or "",
        origin="self",
        round=outcome.decision.round,
        version=candidate.version,
    )
    return Made(example, is_cut_off(candidate.finish_reason, candidate.text))


def _reference(outcome: Outcome, references: References) -> list[Made]:
    incumbent = outcome.decision.incumbent
    if references != "train" or incumbent is None or incumbent.origin != "reference":
        return []
    return [_taught(outcome, incumbent.code)]


def _taught(outcome: Outcome, reference: str) -> Made:
    decision = outcome.decision
    example = answer_example(
        outcome.task, reference, origin="reference", round=decision.round, version=decision.version
    )
    return Made(example, False)


def _critiques(outcome: Outcome, unverified: Unverified) -> list[Made]:
    made: list[Made] = []
    for critique in outcome.critiques:
        if unverified == "drop" and not critique.verified:
            continue
        code, origin = _last_turn(outcome.decision, critique.revision if critique.verified else None)
        if code is not None and critique.text:
            made.append(Made(_critique(outcome, critique, code, origin), critique.truncated))
    return made


def _critique(outcome: Outcome, critique: Critique, code: str, origin: Origin) -> Example:
    candidate = next(candidate for candidate in outcome.candidates if candidate.id == critique.candidate_id)
    return critique_example(
        outcome.task,
        candidate,
        outcome.executions[candidate.id],
        critique.text,
        code,
        origin=origin,
        pattern=critique.pattern,
        round=outcome.decision.round,
        version=candidate.version,
    )


def _last_turn(decision: Decision, verified: str | None) -> tuple[str | None, Origin]:
    if verified is not None:
        return verified, "critic"
    return (decision.incumbent.code, decision.incumbent.origin) if decision.incumbent is not None else (None, "critic")
