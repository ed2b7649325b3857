from pathlib import Path

import pytest
from matplotlib.figure import Figure

from evals import plot
from evals.plot import plot_versions
from evals.report import build_report
from tests.evals.journal import entries, evaluation, small_run

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    figures: list[Figure] = []

    def remember(*args: object, **options: object) -> Figure:
        figures.append(Figure(*args, **options))  # pyright: ignore[reportArgumentType]
        return figures[-1]

    monkeypatch.setattr(plot, "Figure", remember)
    return figures


def test_it_is_a_png_with_title_and_axes(tmp_path: Path, drawn: list[Figure]) -> None:
    plot_versions(build_report(entries(small_run())), tmp_path / "versions.png")
    assert (tmp_path / "versions.png").read_bytes().startswith(PNG)
    (axes,) = drawn[0].axes
    assert axes.get_title() == "pass@1 by policy version"
    assert "version" in axes.get_xlabel()
    assert "pass@1" in axes.get_ylabel()


def test_promoted_versions_are_joined_and_refused_ones_are_crosses(tmp_path: Path, drawn: list[Figure]) -> None:
    records = [*small_run(), evaluation("held_out", 2, (1, 0, 0, 0), 0.0, 0.2)]
    plot_versions(build_report(entries(records)), tmp_path / "versions.png")
    promoted, refused = (container[0] for container in drawn[0].axes[0].containers)
    assert (list(promoted.get_xdata()), list(promoted.get_ydata())) == ([0, 1], [25.0, 50.0])
    assert (list(refused.get_xdata()), refused.get_marker(), refused.get_linestyle()) == ([2], "X", "None")


def test_a_refused_version_without_held_out_answers_shows_the_gates(tmp_path: Path, drawn: list[Figure]) -> None:
    plot_versions(build_report(entries(small_run())), tmp_path / "versions.png")
    crosses = [line for line in drawn[0].axes[0].lines if line.get_marker() == "X"]
    assert [list(line.get_ydata()) for line in crosses] == [[25.0]]


def test_an_empty_report_says_so(tmp_path: Path, drawn: list[Figure]) -> None:
    plot_versions(build_report([]), tmp_path / "versions.png")
    assert drawn[0].axes[0].texts[0].get_text() == "nothing was evaluated yet"
