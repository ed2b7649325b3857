"""The canary: proves by numbers that the served weights are the trained ones.

Two independent proofs, on fixed probe prompts. *Level*: the served log-probabilities equal those that the trainer
computed, up to the noise of the serving dtype. *Move*: from the version before to this one, the served numbers moved
as the trainer's did. The second is the sharper one where training was gentle: a move smaller than the noise of the
level is still seen, since the noise of one server is much the same before and after.
"""

import math
from collections.abc import Sequence

import msgspec

Numbers = Sequence[Sequence[float]]
"""One sequence of log-probabilities for each probe."""

LEAST_AGREEMENT = 0.5
"""Cosine between the served move and the trained one; unrelated moves of some hundred tokens stay far below."""
STILL = 1e-4
"""Mean move, in nats, below which a version is the one before for all that can be told."""


class CanaryResult(msgspec.Struct, frozen=True, kw_only=True):
    """What the canary found."""

    difference: float
    """Mean absolute difference between the served and the trained numbers, in nats."""
    move: float
    """Mean absolute difference between the trainer's numbers for this version and for the one before."""
    agreement: float
    """Cosine between the served and the trained move, in [-1, 1]; 0 when nothing was served differently."""
    refusal: str | None
    """Why the version must not be used; None when it may."""


def examine(
    served: Numbers, trained: Numbers, served_before: Numbers, trained_before: Numbers, tolerance: float
) -> CanaryResult:
    """Return whether what is served is what was trained.

    Args:
        served: log-probabilities that the staged version is served with.
        trained: the trainer's, for the staged version.
        served_before: as served by the version before.
        trained_before: the trainer's, for the version before.
        tolerance: largest mean difference that the noise of the serving dtype explains, in nats.

    Raises:
        ValueError: the four are not of the same shape, or hold no token.
    """
    difference = _mean_size(_differences(served, trained))
    trained_move = _differences(trained, trained_before)
    served_move = _differences(served, served_before)
    move, agreement = _mean_size(trained_move), _cosine(served_move, trained_move)
    refusal = _refusal(difference, move, agreement, _mean_size(served_move), tolerance)
    return CanaryResult(difference=difference, move=move, agreement=agreement, refusal=refusal)


def _refusal(difference: float, move: float, agreement: float, served_move: float, tolerance: float) -> str | None:
    if not difference <= tolerance:  # written so that a NaN is refused
        return (
            f"served log-probabilities differ from the trained ones by {difference:.4f} on average, "
            f"allowed {tolerance:.4f}"
        )
    if move <= STILL:
        return None
    if served_move == 0.0:
        return "served log-probabilities are exactly those of the version before: the new weights are not in use"
    if not agreement >= LEAST_AGREEMENT:
        return (
            f"served log-probabilities did not move as the trained ones did: agreement {agreement:.2f}, "
            f"needed {LEAST_AGREEMENT:.2f}"
        )
    return None


def _differences(left: Numbers, right: Numbers) -> list[float]:
    differences = [
        one - other for ours, theirs in zip(left, right, strict=True) for one, other in zip(ours, theirs, strict=True)
    ]
    if not differences:
        raise ValueError("the canary has no tokens to compare")
    return differences


def _mean_size(numbers: Sequence[float]) -> float:
    return sum(map(abs, numbers)) / len(numbers)


def _cosine(left: Sequence[float], right: Sequence[float]) -> float:
    norm = math.hypot(*left) * math.hypot(*right)
    return sum(one * other for one, other in zip(left, right, strict=True)) / norm if norm else 0.0
