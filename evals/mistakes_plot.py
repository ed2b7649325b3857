# pyright: reportUnknownMemberType=false
# (matplotlib's drawing methods take keyword arguments of unknown types)
"""A picture of error patterns: how often each version made which mistake, as bars beside each other."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from evals.report_form import Report
from evals.report_mistakes import MistakesReport, shortened

_MOST = 12
"""Patterns in one panel."""
_VERSIONS = 5
"""Versions in one panel: the first, the last, and some between."""
_NAMES = {"training": "training tasks", "gate": "gate tasks", "held_out": "held-out tasks"}


def plot_mistakes(report: Report, path: Path) -> None:
    """Write a PNG with one panel for each set of tasks of which mistakes are known.

    Raises:
        OSError: the file cannot be written.
    """
    places = report.mistakes
    figure = Figure(figsize=(7.5 * max(1, len(places)), 5.5), dpi=130, layout="constrained")
    panels: Sequence[Axes] = [figure.add_subplot(1, max(1, len(places)), number + 1) for number in range(len(places))]
    for axes, place in zip(panels, places, strict=True):
        _draw(axes, place)
    if panels:
        handles, labels = panels[-1].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=_VERSIONS, frameon=False)
    else:
        axes = figure.add_subplot()
        axes.text(0.5, 0.5, "no failed answer is known yet", ha="center", transform=axes.transAxes)
    FigureCanvasAgg(figure).print_png(str(path))


def _draw(axes: Axes, report: MistakesReport) -> None:
    rows = shortened(report, _MOST)
    versions = chosen(sorted(report.answers))
    height = 0.8 / len(versions)
    colours = colormaps["viridis"]
    for number, version in enumerate(versions):
        places = [row + (number - (len(versions) - 1) / 2) * height for row in range(len(rows))]
        shares = [100 * counts.get(version, 0) / max(1, report.answers[version]) for _, counts in rows]
        colour = colours(0.1 + 0.75 * number / max(1, len(versions) - 1))
        axes.barh(places, shares, height, color=colour, label=f"version {version}")
    axes.set_yticks(range(len(rows)), [name for name, _ in rows])
    axes.invert_yaxis()
    axes.set_xlabel("share of answers [%]")
    axes.set_title(f"First failures, {_NAMES[report.place]}")
    axes.grid(axis="x", alpha=0.3)


def chosen(versions: Sequence[int]) -> list[int]:
    """Return at most five of `versions`, spread evenly, the first and the last among them."""
    if len(versions) <= _VERSIONS:
        return list(versions)
    return [versions[round(number * (len(versions) - 1) / (_VERSIONS - 1))] for number in range(_VERSIONS)]
