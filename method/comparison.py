"""Comparisons: which pairs the judges are asked about, and one opinion out of both orders of a pair.

Invariants: no answer is compared with itself; a judge whose choice follows the position has no opinion (a tie); an
abstention never turns into a choice. How opinions become strengths stands in `method.strength`.
"""

import json
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any, Literal, cast

import msgspec

from protocols.prompts import PERSPECTIVES
from protocols.records import Choice, Verdict

Position = Literal["first", "second"]

_SWAPPED: dict[Choice, Choice] = {"left": "right", "right": "left", "tie": "tie", "abstain": "abstain"}
_LETTERS: dict[str, Choice] = {"A": "left", "B": "right", "tie": "tie"}


class Pair(msgspec.Struct, frozen=True):
    """Two answers to compare, in both orders."""

    left_id: str
    right_id: str


class Opinion(msgspec.Struct, frozen=True):
    """What one judge thinks of one pair, both orders considered."""

    left_id: str
    right_id: str
    choice: Choice
    perspectives: dict[str, Choice]
    judge: str = ""
    position: Position | None = None
    """The position that the choice followed in both orders; None when it followed none."""


def schedule_pairs(
    schedule: Literal["anchor", "round_robin", "swiss"],
    candidate_ids: Sequence[str],
    incumbent_id: str | None,
    max_pairs: int,
    standings: Mapping[str, float] | None = None,
) -> tuple[Pair, ...]:
    """Return the pairs to ask about, most telling first, at most `max_pairs`.

    Args:
        schedule: `anchor`: each against the incumbent, or without one against the candidate of highest standing.
            `round_robin`: everybody against everybody. `swiss`: neighbours by standing.
        candidate_ids: distinct executable candidates.
        incumbent_id: None when there is none.
        max_pairs: 0 or more.
        standings: what is known before judging (E); missing ones count as 0. Equals keep the given order.
    """
    known = standings or {}
    ids = [candidate for candidate in dict.fromkeys(candidate_ids) if candidate != incumbent_id]
    ranked = sorted(ids, key=lambda candidate: -known.get(candidate, 0.0))
    if schedule == "anchor":
        pairs = _anchored(ranked, incumbent_id)
    else:
        field = ranked if incumbent_id is None else [*ranked, incumbent_id]
        field = sorted(field, key=lambda candidate: -known.get(candidate, 0.0))
        pairs = _neighbours(field) if schedule == "swiss" else _everybody(field)
    return tuple(pairs[:max_pairs])


def fold(forward: Verdict, backward: Verdict) -> Opinion:
    """Return one judge's opinion out of its verdicts on both orders of a pair, as seen from `forward`.

    Raises:
        ValueError: the two are not the two orders of one pair by one judge.
    """
    same = (forward.left_id, forward.right_id, forward.judge) == (backward.right_id, backward.left_id, backward.judge)
    if not same:
        raise ValueError(f"verdicts {forward.id} and {backward.id} are not the two orders of one pair by one judge")
    names = [*forward.perspectives, *(name for name in backward.perspectives if name not in forward.perspectives)]
    perspectives: dict[str, Choice] = {
        name: _agreed(forward.perspectives.get(name, "abstain"), backward.perspectives.get(name, "abstain"))
        for name in names
    }
    return Opinion(
        left_id=forward.left_id,
        right_id=forward.right_id,
        choice=_agreed(forward.choice, backward.choice),
        perspectives=perspectives,
        judge=forward.judge,
        position=_followed(forward.choice, backward.choice),
    )


def parse_verdict(answer: str) -> tuple[Choice, dict[str, Choice]] | None:
    """Return the choice and the choice by perspective that a judge's answer (see `judge_schema`) holds.

    A perspective that is missing or unreadable is an abstention. None when the verdict itself cannot be read: then
    the judge is asked again, or abstains.
    """
    try:
        data: Any = json.loads(_without_fence(answer), object_pairs_hook=_fields)
    except (ValueError, RecursionError):
        return None
    if not isinstance(data, dict):
        return None
    fields = cast("dict[str, Any]", data)
    choice = _letter(fields.get("verdict"))
    if choice == "abstain":
        return None
    return choice, {name: _letter(fields.get(name)) for name in PERSPECTIVES}


def _anchored(ranked: Sequence[str], incumbent_id: str | None) -> list[Pair]:
    if incumbent_id is not None:
        return [Pair(candidate, incumbent_id) for candidate in ranked]
    return [Pair(candidate, ranked[0]) for candidate in ranked[1:]]


def _neighbours(field: Sequence[str]) -> list[Pair]:
    steps = [*range(0, len(field) - 1, 2), *range(1, len(field) - 1, 2)]
    return [Pair(field[i], field[i + 1]) for i in steps]


def _everybody(field: Sequence[str]) -> list[Pair]:
    """Return all pairs, those that lie closest in standing first, so that a cut schedule still reaches everybody."""
    indices = sorted(combinations(range(len(field)), 2), key=lambda pair: pair[1] - pair[0])
    return [Pair(field[i], field[j]) for i, j in indices]


def _agreed(forward: Choice, backward: Choice) -> Choice:
    if "abstain" in (forward, backward):
        return "abstain"
    return forward if forward == _SWAPPED[backward] else "tie"


def _followed(forward: Choice, backward: Choice) -> Position | None:
    if forward != backward or forward not in ("left", "right"):
        return None
    return "first" if forward == "left" else "second"


def _fields(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse a key that is there twice: which of two verdicts was meant, nobody knows."""
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("a key is there twice")
    return fields


def _letter(value: object) -> Choice:
    return _LETTERS.get(value, "abstain") if isinstance(value, str) else "abstain"


def _without_fence(answer: str) -> str:
    text = answer.strip()
    if text.startswith("```") and text.endswith("```"):
        return text.strip("`").removeprefix("json")
    return text
