"""Rubrics: marks from 1 to 5 by perspective for one answer by itself, the alternative to comparing.

Invariants: a rubric that lacks a perspective, or has a mark outside 1 to 5, is unreadable and never a score; J lies in
[0, 1] and is even (0.5) where nobody whose word weighs anything gave marks.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations

import msgspec

from method.answers import read_object
from method.comparison import Opinion
from protocols.prompts import PERSPECTIVES
from protocols.records import Choice

Marks = Mapping[str, int]
LOWEST, HIGHEST = 1, 5


class Rating(msgspec.Struct, frozen=True):
    """What one judge thinks of one answer; without marks it abstains."""

    subject_id: str
    judge: str
    marks: dict[str, int] | None


def parse_rubric(answer: str) -> dict[str, int] | None:
    """Return the mark of each perspective that a judge's answer (see `rubric_schema`) holds, None when unreadable."""
    fields = read_object(answer)
    if fields is None:
        return None
    marks = {name: fields.get(name) for name in PERSPECTIVES}
    sound = {name: mark for name, mark in marks.items() if type(mark) is int and LOWEST <= mark <= HIGHEST}
    return sound if len(sound) == len(marks) else None


def rubric_rates(ids: Sequence[str], ratings: Sequence[tuple[Rating, float]]) -> dict[str, float]:
    """Return J of every id: its mean mark over perspectives and judges, brought to [0, 1].

    Args:
        ids: the field, distinct.
        ratings: with weights of 0 or more; abstentions count nothing.
    """
    sums, weights = dict.fromkeys(ids, 0.0), dict.fromkeys(ids, 0.0)
    for rating, weight in ratings:
        if rating.marks and rating.subject_id in sums:
            sums[rating.subject_id] += weight * _share(rating.marks)
            weights[rating.subject_id] += weight
    return {id: sums[id] / weights[id] if weights[id] > 0 else 0.5 for id in ids}


def implied_opinions(ratings: Sequence[Rating]) -> tuple[Opinion, ...]:
    """Return what one judge's `ratings` of different answers say about each pair, so that it can be proved right."""
    return tuple(_opinion(left, right) for left, right in combinations(ratings, 2))


def _opinion(left: Rating, right: Rating) -> Opinion:
    choice: Choice = "abstain"
    perspectives: dict[str, Choice] = {}
    if left.marks and right.marks:
        choice = _better(_share(left.marks), _share(right.marks))
        perspectives = {name: _better(left.marks[name], right.marks[name]) for name in left.marks}
    return Opinion(left.subject_id, right.subject_id, choice, perspectives, left.judge)


def _better(left: float, right: float) -> Choice:
    return "tie" if left == right else "left" if left > right else "right"


def _share(marks: Marks) -> float:
    return (sum(marks.values()) / len(marks) - LOWEST) / (HIGHEST - LOWEST)
