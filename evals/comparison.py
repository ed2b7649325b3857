"""Runs side by side: what each came to, and how sure it is that one is better than another.

Two sides are compared on the tasks that both answered, each task paired with itself: by a bootstrap over tasks, and,
where every task has one sample on both sides, by McNemar's exact test. Nothing is adjusted for the number of pairs.
"""

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import msgspec

from evals.arm import Arm, Point
from evals.bootstrap import Difference, paired_difference
from evals.mcnemar import McNemar, mcnemar
from protocols.settings import flatten_settings

_SEED = 0
_NOT_COMPARED = ("run.name", "run.folder", "server.", "endpoints", "evaluate.concurrency", "run.grace_s")
"""Settings that say where and how fast, not what."""


class PairReport(msgspec.Struct, frozen=True, kw_only=True):
    """One side against another."""

    old: str
    new: str
    tasks: int
    """That both sides answered; 0: the two cannot be compared, and the next three are None."""
    difference: float | None
    """pass@1 of the new side minus that of the old, in [-1, 1]."""
    low: float | None
    """Lower end of its 95 % interval."""
    high: float | None
    only_old: int | None
    """Tasks that the old side alone solved; None, as the next two, unless every task has one sample."""
    only_new: int | None
    p_value: float | None
    """Of McNemar's exact test, two-sided."""


class ArmReport(msgspec.Struct, frozen=True, kw_only=True):
    """What one run came to."""

    name: str
    version: int | None
    """Last measured version that was the policy; None when nothing is measured yet, as for the next four."""
    pass_at_1: float | None
    low: float | None
    high: float | None
    pass_at_k: dict[int, float]
    gain: PairReport | None
    """Against its own base model, where that was measured and is not the last version."""
    examples: int
    tokens: dict[str, int]
    seconds: float
    curve: tuple[tuple[int, int, float, float, float], ...]
    """Of each version: number, sampled tokens until then, pass@1 and its interval."""


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """Several runs."""

    arms: tuple[ArmReport, ...]
    pairs: tuple[PairReport, ...]
    """Every two runs, the one given first as the old side."""
    settings: dict[str, dict[str, Any]]
    """Those that differ: by dotted key, the value of each run."""


def compare(arms: Sequence[Arm]) -> Comparison:
    """Return the comparison of `arms`, whose names must differ; the order is kept."""
    measured = [arm for arm in arms if arm.points]
    return Comparison(
        arms=tuple(map(_arm_report, arms)),
        pairs=tuple(_pair((old, old.last), (new, new.last)) for old, new in combinations(measured, 2)),
        settings=_differing(arms),
    )


def _arm_report(arm: Arm) -> ArmReport:
    last = arm.last.evaluation if arm.points else None
    base = next((point for point in arm.points[:-1] if point.version == 0), None)
    return ArmReport(
        name=arm.name,
        version=last.version if last else None,
        pass_at_1=last.pass_at_1 if last else None,
        low=last.low if last else None,
        high=last.high if last else None,
        pass_at_k=dict(last.pass_at_k) if last else {},
        gain=_pair((arm, base), (arm, arm.last)) if base else None,
        examples=arm.examples,
        tokens=arm.tokens,
        seconds=arm.seconds,
        curve=tuple(_curve_point(point) for point in arm.points),
    )


def _curve_point(point: Point) -> tuple[int, int, float, float, float]:
    evaluation = point.evaluation
    return point.version, point.sampled_tokens, evaluation.pass_at_1, evaluation.low, evaluation.high


def _pair(old: tuple[Arm, Point], new: tuple[Arm, Point]) -> PairReport:
    before, after = old[0].results(old[1]), new[0].results(new[1])
    common = sorted(before.keys() & after.keys())
    ours, theirs = [after[task] for task in common], [before[task] for task in common]
    greedy = bool(common) and all(result.samples == 1 for result in (*ours, *theirs))
    difference = paired_difference(theirs, ours, seed=_SEED) if common else None
    test = mcnemar(theirs, ours) if greedy else None
    return _pair_report(_label(*old, old[0] is new[0]), _label(*new, old[0] is new[0]), difference, test)


def _pair_report(old: str, new: str, difference: Difference | None, test: McNemar | None) -> PairReport:
    return PairReport(
        old=old,
        new=new,
        tasks=difference.tasks if difference else 0,
        difference=difference.mean if difference else None,
        low=difference.low if difference else None,
        high=difference.high if difference else None,
        only_old=test.only_old if test else None,
        only_new=test.only_new if test else None,
        p_value=test.p_value if test else None,
    )


def _label(arm: Arm, point: Point, same_run: bool) -> str:
    return f"{arm.name} v{point.version}" if same_run else arm.name


def _differing(arms: Sequence[Arm]) -> dict[str, dict[str, Any]]:
    flat = {arm.name: flatten_settings(arm.settings) for arm in arms}
    keys = sorted({key for values in flat.values() for key in values if not key.startswith(_NOT_COMPARED)})
    values = {key: {name: known.get(key) for name, known in flat.items()} for key in keys}
    return {key: of for key, of in values.items() if len({msgspec.json.encode(value) for value in of.values()}) > 1}
