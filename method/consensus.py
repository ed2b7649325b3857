"""Dual agreement (CodeT, arXiv 2207.10397): E for tasks without tests, out of tests that the policy wrote itself.

Candidates that pass the same tests form a group; a group's score is its size times the tests it agrees on.
"""

from collections.abc import Mapping, Sequence


def agreement(matrix: Mapping[str, Sequence[bool]], counts: Mapping[str, int] | None = None) -> dict[str, float]:
    """Return E by candidate: its group's score over the best group's, in [0, 1].

    Args:
        matrix: by candidate, whether it passes each test; rows of one length.
        counts: how many responses each candidate stands for; missing ones count as 1.

    Returns:
        1 for the members of the winning group (or groups); 0 for all when nothing passes anything.
    """
    known = counts or {}
    sizes: dict[tuple[bool, ...], int] = {}
    for candidate, row in matrix.items():
        sizes[tuple(row)] = sizes.get(tuple(row), 0) + known.get(candidate, 1)
    values = {row: size * sum(row) for row, size in sizes.items()}
    best = max(values.values(), default=0)
    return {candidate: values[tuple(row)] / best if best else 0.0 for candidate, row in matrix.items()}
