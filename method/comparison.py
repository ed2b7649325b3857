"""Comparisons: which pairs the judges are asked about, and one opinion out of both orders of a pair.

Invariants: no answer is compared with itself; a judge whose choice follows the position has no opinion (a tie); an
abstention never turns into a choice. How opinions become strengths stands in `method.strength`.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Literal

import msgspec

from method.answers import read_object
from protocols.prompts import PERSPECTIVES
from protocols.records import Choice, Verdict

Position = Literal["first", "second"]
Schedule = Literal["anchor", "round_robin", "swiss"]

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
    schedule: Schedule,
    candidate_ids: Sequence[str],
    incumbent_id: str | None,
    max_pairs: int,
    standings: Mapping[str, float] | None = None,
) -> tuple[Pair, ...]:
    """Return the pairs to ask about, most telling first, at most `max_pairs`.

    Args:
        schedule: `anchor`: each against the incumbent, or without one against the candidate of highest standing.
            `round_robin`: everybody against everybody. `swiss`: the first round of it, see `swiss_round`.
        candidate_ids: distinct executable candidates.
        incumbent_id: None when there is none.
        max_pairs: 0 or more.
        standings: what is known before judging (E); missing ones count as 0. Equals keep the given order.
    """
    known = standings or {}
    field = field_of(candidate_ids, incumbent_id)
    if schedule == "swiss":
        return swiss_round(field, (), known)[:max_pairs]
    ranked = sorted(field, key=lambda subject: -known.get(subject, 0.0))
    pairs = _anchored(ranked, incumbent_id) if schedule == "anchor" else _everybody(ranked)
    return tuple(pairs[:max_pairs])


def field_of(candidate_ids: Sequence[str], incumbent_id: str | None) -> tuple[str, ...]:
    """Return everybody who may be compared: the distinct candidates, then the incumbent."""
    ids = [id for id in dict.fromkeys(candidate_ids) if id != incumbent_id]
    return tuple(ids if incumbent_id is None else [*ids, incumbent_id])


def swiss_round(field: Sequence[str], opinions: Sequence[Opinion], standings: Mapping[str, float]) -> tuple[Pair, ...]:
    """Return the next round of a Swiss tournament: neighbours by points who have not met, each in one pair at most.

    Args:
        field: everybody.
        opinions: of the rounds before; each gives its winner one point, or both half a point for a tie.
        standings: what is known before judging (E), which decides among equal points; missing ones count as 0.

    Returns:
        Nothing when everybody who is free has met everybody else who is.
    """
    points, games = dict.fromkeys(field, 0.0), dict.fromkeys(field, 0)
    met: set[frozenset[str]] = set()
    for opinion in opinions:
        met.add(frozenset((opinion.left_id, opinion.right_id)))
        for subject, share in _points(opinion):
            points[subject] += share
            games[subject] += 1
    free = sorted(field, key=lambda subject: (-points[subject], -standings.get(subject, 0.0)))
    if len(free) % 2:  # the lowest of those who played most waits, so that everybody plays
        free.remove(max(reversed(free), key=lambda subject: games[subject]))
    pairs: list[Pair] = []
    while free:
        first = free.pop(0)
        other = next((subject for subject in free if frozenset((first, subject)) not in met), None)
        if other is not None:
            free.remove(other)
            pairs.append(Pair(first, other))
    return tuple(pairs)


def swiss_rounds(players: int) -> int:
    """Return how many rounds a Swiss tournament has: as many as a knock-out would need to find one winner."""
    return (players - 1).bit_length() if players > 1 else 0


def most_pairs(schedule: Schedule, candidates: int, *, incumbent: bool, max_pairs: int) -> int:
    """Return how many pairs the whole schedule has for so many `candidates`, at most `max_pairs`."""
    players = candidates + incumbent
    pairs = {
        "anchor": max(0, players - 1),
        "round_robin": players * (players - 1) // 2,
        "swiss": swiss_rounds(players) * (players // 2),
    }
    return min(max_pairs, pairs[schedule])


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
    fields = read_object(answer)
    if fields is None:
        return None
    choice = _letter(fields.get("verdict"))
    if choice == "abstain":
        return None
    return choice, {name: _letter(fields.get(name)) for name in PERSPECTIVES}


def _anchored(ranked: Sequence[str], incumbent_id: str | None) -> list[Pair]:
    if not ranked:
        return []
    anchor = ranked[0] if incumbent_id is None else incumbent_id
    return [Pair(subject, anchor) for subject in ranked if subject != anchor]


def _points(opinion: Opinion) -> tuple[tuple[str, float], ...]:
    left = {"left": 1.0, "right": 0.0, "tie": 0.5, "abstain": 0.5}[opinion.choice]
    return (opinion.left_id, left), (opinion.right_id, 1 - left)


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


def _letter(value: object) -> Choice:
    return _LETTERS.get(value, "abstain") if isinstance(value, str) else "abstain"
