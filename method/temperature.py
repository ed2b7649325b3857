"""The temperature ladder: how a task's candidates are spread over sampling temperatures."""

from collections.abc import Sequence


def ladder(temperatures: Sequence[float], candidates: int) -> tuple[tuple[float, int], ...]:
    """Return (temperature, number of candidates) for each request, coolest first; empty rungs are left out.

    Args:
        temperatures: one or more; equal ones are one rung.
        candidates: how many in all, 0 or more; spread evenly, and what does not divide goes to the coolest rungs.

    Raises:
        ValueError: there is no temperature.
    """
    rungs = sorted(set(temperatures))
    if not rungs:
        raise ValueError("a ladder needs at least one temperature")
    each, left = divmod(candidates, len(rungs))
    spread = [(temperature, each + (rung < left)) for rung, temperature in enumerate(rungs)]
    return tuple((temperature, count) for temperature, count in spread if count)
