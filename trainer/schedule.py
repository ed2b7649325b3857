"""The learning rate over a job: a linear rise, then half a cosine down to zero."""

import math


def rate_share(step: int, steps: int, warmup_share: float) -> float:
    """Return the share of the full learning rate, in (0, 1], at `step` (0-based) of `steps`."""
    rising = math.ceil(steps * warmup_share)
    if step < rising:
        return (step + 1) / rising
    return 0.5 * (1.0 + math.cos(math.pi * (step - rising) / max(1, steps - rising)))
