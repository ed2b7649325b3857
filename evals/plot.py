# pyright: reportUnknownMemberType=false
# (matplotlib's drawing methods take keyword arguments of unknown types)
"""A picture of a run: held-out pass@1 of every policy version, with its 95 % interval.

Drawn without a display. Versions that were promoted are joined by a line; refused ones are crosses beside it.
"""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from evals.report_form import Report, VersionReport

_PROMOTED, _REFUSED = "#1f5fa8", "#b03030"


def plot_versions(report: Report, path: Path) -> None:
    """Write a PNG of pass@1 over versions to `path`.

    Versions of which there is no held-out evaluation are shown with the gate's pass@1, hollow and without an interval;
    those that have neither are left out.

    Raises:
        OSError: the file cannot be written.
    """
    figure = Figure(figsize=(8, 4.5), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    _draw(axes, [version for version in report.versions if version.promoted], "promoted", "o", _PROMOTED, line=True)
    _draw(axes, [version for version in report.versions if not version.promoted], "refused", "X", _REFUSED, line=False)
    _label(axes)
    if axes.has_data():
        figure.legend(loc="outside lower center", ncols=2, frameon=False)
    FigureCanvasAgg(figure).print_png(str(path))


def _draw(axes: Axes, versions: Sequence[VersionReport], name: str, marker: str, colour: str, *, line: bool) -> None:
    measured = [version for version in versions if version.pass_at_1 is not None]
    if measured:
        values = [100 * (version.pass_at_1 or 0.0) for version in measured]
        below = [value - 100 * (version.pass_at_1_low or 0.0) for value, version in zip(values, measured, strict=True)]
        above = [100 * (version.pass_at_1_high or 0.0) - value for value, version in zip(values, measured, strict=True)]
        axes.errorbar(
            [version.version for version in measured],
            values,
            yerr=[[max(0.0, length) for length in below], [max(0.0, length) for length in above]],
            fmt=f"{marker}-" if line else marker,
            color=colour,
            capsize=4,
            markersize=8,
            label=f"{name}: held-out pass@1, 95 % interval",
        )
    gated = [version for version in versions if version.pass_at_1 is None and version.gate_pass_at_1 is not None]
    if gated:
        axes.plot(
            [version.version for version in gated],
            [100 * (version.gate_pass_at_1 or 0.0) for version in gated],
            marker,
            color=colour,
            markerfacecolor="none",
            markersize=8,
            label=f"{name}: gate pass@1 (other tasks)",
        )


def _label(axes: Axes) -> None:
    axes.set_title("pass@1 by policy version")
    axes.set_xlabel("policy version (0 is the base model)")
    axes.set_ylabel("pass@1 [%]")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(axis="y", alpha=0.3)
    if axes.has_data():
        axes.set_ylim(bottom=0)
    else:
        axes.text(0.5, 0.5, "nothing was evaluated yet", ha="center", transform=axes.transAxes)
