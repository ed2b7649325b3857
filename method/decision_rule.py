"""The numbers and choices of the decision table (method.md, step 5)."""

from typing import Literal

import msgspec


class DecisionRule(msgspec.Struct, frozen=True, kw_only=True):
    """How a task is decided; its fields are those of `protocols.settings.DecideSettings` of the same names."""

    d_up: float = 0.05
    """How much better than the incumbent its successor must score."""
    d_low: float = 0.15
    """How much worse than the incumbent a candidate of low quality scores."""
    references: Literal["train", "anchor", "hidden"] = "anchor"
    """With `train`, the reference is the `answer` example (id `reference`) of every decision that leaves it the
    incumbent and makes no other; repeats are left to the duplicate filter. While it is `hidden` it is no incumbent."""
    keep: Literal["alone", "beside"] = "alone"
    """Whether an incumbent is kept once, where nothing is to be critiqued, or in each round, beside critiques too."""
