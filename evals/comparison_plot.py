# pyright: reportUnknownMemberType=false
# (matplotlib's drawing methods take keyword arguments of unknown types)
"""A picture of several runs: their curves of held-out pass@1, over versions and over the tokens sampled for them."""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from evals.comparison import ArmReport, Comparison

_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
"""Told apart by colour-blind readers too (Okabe and Ito); markers change after them."""
_MARKERS = "osD^v"
_SPREAD = 0.12
"""Share of a version by which runs stand beside each other, so that their intervals can be read."""


def plot_comparison(comparison: Comparison, path: Path) -> None:
    """Write a PNG of every run's curve to `path`; runs of which nothing is measured are left out.

    Raises:
        OSError: the file cannot be written.
    """
    figure = Figure(figsize=(11, 4.8), dpi=150, layout="constrained")
    by_version, by_tokens = figure.subplots(1, 2, sharey=True)
    arms = [arm for arm in comparison.arms if arm.curve]
    for number, arm in enumerate(arms):
        beside = (number - (len(arms) - 1) / 2) * _SPREAD / max(1, len(arms) - 1)
        _draw(by_version, arm, [version + beside for version, *_ in arm.curve], number)
        _draw(by_tokens, arm, [tokens for _, tokens, *_ in arm.curve], number)
    _label(by_version, "policy version (0 is the base model)")
    _label(by_tokens, "tokens sampled until then")
    by_version.xaxis.set_major_locator(MaxNLocator(integer=True))
    by_version.set_ylabel("held-out pass@1 [%], 95 % interval")
    if arms:
        handles, labels = by_version.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=min(4, len(arms)), frameon=False)
    FigureCanvasAgg(figure).print_png(str(path))


def _draw(axes: Axes, arm: ArmReport, places: list[float], number: int) -> None:
    values = [100 * value for _, _, value, _, _ in arm.curve]
    below = [max(0.0, 100 * (value - low)) for _, _, value, low, _ in arm.curve]
    above = [max(0.0, 100 * (high - value)) for _, _, value, _, high in arm.curve]
    axes.errorbar(
        places,
        values,
        yerr=[below, above],
        fmt=f"{_MARKERS[number // len(_COLOURS) % len(_MARKERS)]}-",
        color=_COLOURS[number % len(_COLOURS)],
        capsize=3,
        label=arm.name,
    )


def _label(axes: Axes, name: str) -> None:
    axes.set_xlabel(name)
    axes.grid(axis="y", alpha=0.3)
    if not axes.has_data():
        axes.text(0.5, 0.5, "nothing was evaluated yet", ha="center", transform=axes.transAxes)
