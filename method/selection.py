"""Selective critique (method.md, step 6): which of a task's low-quality candidates go to the critic."""

from collections.abc import Mapping, Sequence


def select_for_critique(
    candidates: Sequence[tuple[str, str]], seen: Mapping[str, int], per_task: int
) -> tuple[str, ...]:
    """Return the candidates to critique: one per error pattern, patterns that the run has seen least often first.

    Args:
        candidates: (id, error pattern), in order of preference.
        seen: how often the run has criticised each pattern; missing ones count as 0.
        per_task: how many at most, 0 or more.
    """
    first: dict[str, str] = {}
    for candidate, pattern in candidates:
        first.setdefault(pattern, candidate)
    rarest = sorted(first, key=lambda pattern: seen.get(pattern, 0))
    return tuple(first[pattern] for pattern in rarest[:per_task])
