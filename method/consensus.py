"""Dual agreement (CodeT, arXiv 2207.10397): E for tasks without tests, out of tests that the policy wrote itself.

Candidates that pass the same tests form a group; a group's score is its size times the tests it agrees on. Where a
task has tests of its own, the same choice can be held against them, and against its two rivals: chance, and the
majority of those that give the same results on the written tests' inputs.
"""

from collections.abc import Collection, Hashable, Mapping, Sequence
from typing import TypeVar

import msgspec

from protocols.records import TestOutcome

Group = TypeVar("Group", bound=Hashable)


def agreement(matrix: Mapping[str, Sequence[bool]], counts: Mapping[str, int] | None = None) -> dict[str, float]:
    """Return E by candidate: its group's score over the best group's, in [0, 1].

    Args:
        matrix: by candidate, whether it passes each test; rows of one length.
        counts: how many responses each candidate stands for; missing ones count as 1.

    Returns:
        1 for the members of the winning group (or groups); 0 for all when nothing passes anything.
    """
    rows = {candidate: tuple(row) for candidate, row in matrix.items()}
    values = {row: size * sum(row) for row, size in _sizes(rows, counts or {}).items()}
    best = max(values.values(), default=0)
    return {candidate: values[row] / best if best else 0.0 for candidate, row in rows.items()}


class Choices(msgspec.Struct, frozen=True, kw_only=True):
    """How three ways of choosing one response come out: each the chance that it is right, in [0, 1]."""

    groups: int
    """Candidates that pass the same tests, counted once."""
    decided: bool
    """Whether any candidate passed any test; where none did, nothing was learnt and every way chooses by chance."""
    consensus: float
    random: float
    majority: float


def compare_choices(
    outcomes: Mapping[str, Sequence[TestOutcome]], counts: Mapping[str, int], right: Collection[str]
) -> Choices:
    """Return how often consensus, chance and majority choose a right response.

    Args:
        outcomes: by candidate, what the written tests showed.
        counts: how many responses each candidate stands for; missing ones count as 1.
        right: the candidates that pass the task's own tests.

    Raises:
        ValueError: there are no candidates.
    """
    if not outcomes:
        raise ValueError("there are no candidates to choose from")
    matrix = {candidate: [outcome.passed for outcome in row] for candidate, row in outcomes.items()}
    shares = agreement(matrix, counts)
    decided = any(shares.values())
    results = {candidate: _results(row) for candidate, row in outcomes.items()}
    sizes = _sizes(results, counts)
    largest = max(sizes.values())
    everyone = list(outcomes)
    return Choices(
        groups=len({tuple(row) for row in matrix.values()}),
        decided=decided,
        consensus=_chance([c for c in everyone if shares[c] == 1.0] if decided else everyone, counts, right),
        random=_chance(everyone, counts, right),
        majority=_chance([c for c in everyone if sizes[results[c]] == largest] if decided else everyone, counts, right),
    )


def _results(row: Sequence[TestOutcome]) -> Hashable:
    """Return what a candidate gave on each input: the expected value, another one, or an error of some class."""
    return tuple((outcome.passed, outcome.actual, outcome.error_class) for outcome in row)


def _sizes(groups: Mapping[str, Group], counts: Mapping[str, int]) -> dict[Group, int]:
    """Return how many responses each group has."""
    sizes: dict[Group, int] = {}
    for candidate, group in groups.items():
        sizes[group] = sizes.get(group, 0) + counts.get(candidate, 1)
    return sizes


def _chance(chosen: Sequence[str], counts: Mapping[str, int], right: Collection[str]) -> float:
    responses = sum(counts.get(candidate, 1) for candidate in chosen)
    return sum(counts.get(candidate, 1) for candidate in chosen if candidate in right) / responses
