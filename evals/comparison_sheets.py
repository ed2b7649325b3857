"""A comparison of runs as sheets."""

from typing import Any

import msgspec

from evals.comparison import ArmReport, Comparison, PairReport
from evals.sheets import NONE, Sheet, percent, with_interval

_RUNS_CAPTION = (
    "v: last measured version that was the policy; pass@k: on its held-out tasks, in per cent; gain: its pass@1 minus "
    "that of its own base model, in points; ex.: examples kept; sampled: tokens written by policy, judges and critic "
    "for training data; trained: tokens of all training jobs; s: from the first record to the last, pauses included."
)
_PAIRS_CAPTION = (
    "Each the pass@1 of the second minus that of the first, in points, over the tasks that both answered, with the "
    "95 % interval of a bootstrap that draws tasks in pairs. Where each task has one sample: the tasks that only the "
    "first and only the second solved, and p of McNemar's exact test. Nothing is adjusted for the number of pairs."
)


def comparison_sheets(comparison: Comparison) -> tuple[Sheet, ...]:
    """Return the sheets of a comparison, the one of the runs first; others only when they have rows."""
    names = tuple(arm.name for arm in comparison.arms)
    k = max((k for arm in comparison.arms for k in arm.pass_at_k), default=1)
    columns = ("run", "v", "pass@1 [95 %]", f"pass@{k}", "gain [95 %]", "ex.", "sampled", "trained", "s")
    runs = Sheet("Runs", columns, tuple(_run_row(arm, k) for arm in comparison.arms), _RUNS_CAPTION)
    pairs = Sheet(
        "Every two runs",
        ("second − first", "tasks", "difference [95 %]", "only first", "only second", "p"),
        tuple(map(_pair_row, comparison.pairs)),
        _PAIRS_CAPTION,
    )
    settings = tuple((key, *(_shown(of[name]) for name in names)) for key, of in comparison.settings.items())
    others = (pairs, Sheet("Settings that differ", ("setting", *names), settings))
    return (runs, *(sheet for sheet in others if sheet.rows))


def _run_row(arm: ArmReport, k: int) -> tuple[str, ...]:
    return (
        arm.name,
        NONE if arm.version is None else str(arm.version),
        with_interval(arm.pass_at_1, arm.low, arm.high),
        percent(arm.pass_at_k.get(k)),
        NONE if arm.gain is None else _difference(arm.gain),
        str(arm.examples),
        str(arm.tokens.get("sampled", 0)),
        str(arm.tokens.get("training", 0)),
        f"{arm.seconds:.0f}",
    )


def _pair_row(pair: PairReport) -> tuple[str, ...]:
    return (
        f"{pair.new} − {pair.old}",
        str(pair.tasks),
        _difference(pair),
        NONE if pair.only_old is None else str(pair.only_old),
        NONE if pair.only_new is None else str(pair.only_new),
        NONE if pair.p_value is None else f"{pair.p_value:.3f}",
    )


def _difference(pair: PairReport) -> str:
    if pair.difference is None or pair.low is None or pair.high is None:
        return NONE
    return f"{pair.difference * 100:+.1f} [{pair.low * 100:+.1f}, {pair.high * 100:+.1f}]"


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
