"""The gate: whether a trained adapter becomes the policy (method.md, step 9).

The rule, over the gate's tasks, each answered by the version before and by the new one. Let d be the new pass@1 minus
the old one, and [low, high] its two-sided interval at `confidence`, by a bootstrap that draws tasks in pairs. Refused
when one of these holds:

- **d < -tolerance**: it fell by more than is allowed, whether or not that could be chance. With few tasks such a fall
  often is chance; refusing then costs one batch, while promoting a damaged version would poison all later data.
- **high < 0**: the fall is within the tolerance, but sure. It would add up over rounds, each within the tolerance.
- **high < 0, against the version that the run began with**: falls that nobody could be sure of have added up.

Otherwise promoted: a fall exactly as large as the tolerance still is, and an improvement need not be shown.

Where each task has one sample (a greedy gate), the reason tells McNemar's exact test as well; it decides nothing.
"""

from functools import partial
from typing import NamedTuple

from evals.bootstrap import Difference, paired_difference
from evals.mcnemar import mcnemar
from protocols.records import Evaluation

_ROUNDING = 1e-9
"""Falls are sums of fractions: one that equals the tolerance must not be refused for its last bit."""


class GateVerdict(NamedTuple):
    """What the gate decided, and on what."""

    promote: bool
    difference: float
    """pass@1 of the new version minus that of the old, in [-1, 1]."""
    low: float
    """Lower end of its interval."""
    high: float
    reason: str
    """One sentence with the figures, for the record and the report."""


def gate(
    first: Evaluation,
    old: Evaluation,
    new: Evaluation,
    *,
    tolerance: float,
    confidence: float,
    seed: int,
    resamples: int = 2000,
) -> GateVerdict:
    """Decide whether `new` may follow `old`, by the rule above.

    Args:
        first: the answers of the version that the run began with to the gate's tasks; may be `old`.
        old: the current version's answers to the gate's tasks.
        new: the new version's answers to the same tasks.
        tolerance: fall of pass@1 that is still promoted, in [0, 1].
        confidence: of the interval, in (0, 1).
        seed: of the bootstrap.
        resamples: draws of the bootstrap.

    Raises:
        ValueError: the evaluations are not of the same tasks, or hold none.
    """
    since = partial(paired_difference, new=new.results, confidence=confidence, resamples=resamples, seed=seed)
    difference = since(old.results)
    complaint = _complaint(difference, tolerance, confidence) or _drift(since(first.results), first.version)
    figures = (
        f"gate pass@1 {old.pass_at_1:.3f} -> {new.pass_at_1:.3f}, difference {difference.mean:+.3f} "
        f"[{difference.low:+.3f}, {difference.high:+.3f}] at {confidence:.0%} over {difference.tasks} tasks"
        f"{_greedy_figures(old, new)}"
    )
    reason = f"{figures}: {complaint or f'no fall of more than {tolerance:.3f}'}"
    return GateVerdict(not complaint, difference.mean, difference.low, difference.high, reason)


def _greedy_figures(old: Evaluation, new: Evaluation) -> str:
    if any(result.samples != 1 for result in (*old.results, *new.results)):
        return ""
    test = mcnemar(old.results, new.results)
    return f" ({test.only_old} lost, {test.only_new} won, McNemar's p {test.p_value:.3f})"


def _drift(since_first: Difference, version: int) -> str:
    if since_first.high >= -_ROUNDING:
        return ""
    interval = f"{since_first.mean:+.3f} [{since_first.low:+.3f}, {since_first.high:+.3f}]"
    return f"falls have added up: it is surely below version {version}, by {interval}"


def _complaint(difference: Difference, tolerance: float, confidence: float) -> str:
    if difference.mean < -tolerance - _ROUNDING:
        return f"it fell by more than {tolerance:.3f}"
    if difference.high < -_ROUNDING:
        return f"it fell within the tolerance of {tolerance:.3f}, but surely (at {confidence:.0%})"
    return ""
