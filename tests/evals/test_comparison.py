"""Runs side by side: what is compared with what, and what is not."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from matplotlib.figure import Figure

from evals import comparison_plot
from evals.arm import Arm, make_arm
from evals.bootstrap import paired_difference
from evals.comparison import Comparison, compare
from evals.comparison_plot import plot_comparison
from evals.comparison_sheets import comparison_sheets
from evals.mcnemar import two_sided
from protocols.records import AssertTest, LedgerRecord, Task, TaskResult
from tests.evals.journal import critique, entries, evaluation, example, generation, small_run, verdict, version

SETTINGS = {"run": {"name": "a", "rounds": 3}, "critique": {"per_task": 2}, "train": {"mode": "restart"}}


def task(id: str, instruction: str = "Add.") -> Task:
    return Task(id=id, kind="function", instruction=instruction, tests=(AssertTest(code="assert f()"),))


def arm(name: str, records: list[LedgerRecord], settings: dict[str, Any] | None = None) -> Arm:
    return make_arm(name, settings or SETTINGS, entries(records))


def measured(name: str, *correct: int, tasks: tuple[Task, ...] = ()) -> Arm:
    """A run of which only the base model was measured, one sample a task."""
    greedy = tuple(TaskResult(task_id=f"e{n}", samples=1, correct=count) for n, count in enumerate(correct))
    solved = sum(correct) / len(correct)
    held_out = msgspec.structs.replace(evaluation("held_out", 0, correct), results=greedy, pass_at_1=solved)
    return arm(name, [*tasks, version(0, "base"), held_out])


class TestCurve:
    def test_it_has_a_point_for_every_measured_version_that_was_the_policy(self) -> None:
        records = [*small_run(), evaluation("held_out", 2, (0, 0, 0, 0))]
        run = arm("a", records)  # version 2 was refused
        assert [point.version for point in run.points] == [0, 1]
        assert run.last.version == 1

    def test_sampled_tokens_are_those_written_for_training_data_before_the_version(self) -> None:
        before = [generation("g", 0), verdict("a", "b", "left"), critique("q", "a", verified=True)]
        first, second = arm(
            "a",
            [
                version(0, "base"),
                evaluation("held_out", 0, (1,)),
                *before,
                version(1, "promoted"),
                generation("h", 1),
                evaluation("held_out", 1, (1,)),
            ],
        ).points
        assert (first.sampled_tokens, second.sampled_tokens) == (0, 200 + 10 + 5)

    def test_a_run_in_which_nothing_is_measured_yet_is_shown_without_figures(self) -> None:
        comparison = compare([arm("new", [version(0, "base"), example("x", 0, "answer", "self")]), measured("b", 1)])
        assert (comparison.arms[0].pass_at_1, comparison.arms[0].curve, comparison.arms[0].examples) == (None, (), 1)
        assert comparison.pairs == ()


class TestPairs:
    def test_every_two_runs_are_paired_once_the_one_given_first_as_the_old_side(self) -> None:
        pairs = compare([measured(name, 1, 0) for name in "abc"]).pairs
        assert [(pair.old, pair.new) for pair in pairs] == [("a", "b"), ("a", "c"), ("b", "c")]

    def test_the_interval_is_that_of_a_paired_bootstrap(self) -> None:
        one, other = measured("a", 1, 0, 0, 1, 0), measured("b", 1, 1, 0, 1, 1)
        (pair,) = compare([one, other]).pairs
        expected = paired_difference(one.last.evaluation.results, other.last.evaluation.results, seed=0)
        assert (pair.difference, pair.low, pair.high, pair.tasks) == expected
        assert pair.difference == pytest.approx(0.4)

    def test_one_sample_a_task_adds_mcnemars_test(self) -> None:
        (pair,) = compare([measured("a", 1, 0, 0, 1, 0), measured("b", 0, 1, 1, 1, 1)]).pairs
        assert (pair.only_old, pair.only_new, pair.p_value) == (1, 3, two_sided(1, 3))

    def test_several_samples_a_task_do_not(self) -> None:
        sampled = arm("b", [version(0, "base"), evaluation("held_out", 0, (1, 0))])
        (pair,) = compare([sampled, measured("a", 1, 0)]).pairs
        assert (pair.tasks, pair.p_value) == (2, None)

    def test_only_tasks_that_both_answered_count_and_equal_ids_are_not_enough(self) -> None:
        ours = measured("a", 1, 1, 1, tasks=(task("e0"), task("e1"), task("e2")))
        theirs = measured("b", 0, 0, tasks=(task("e0"), task("e1", "Subtract.")))
        assert compare([ours, theirs]).pairs[0].tasks == 1

    def test_without_a_common_task_there_is_no_figure(self) -> None:
        ours, theirs = measured("a", 1, tasks=(task("e0"),)), measured("b", 1, tasks=(task("e0", "Other."),))
        (pair,) = compare([ours, theirs]).pairs
        assert (pair.tasks, pair.difference, pair.p_value) == (0, None, None)

    def test_a_runs_gain_is_over_its_own_base_model(self) -> None:
        gain = compare([arm("a", small_run()), measured("b", 1)]).arms[0].gain
        assert gain is not None
        assert (gain.old, gain.new, gain.difference) == ("a v0", "a v1", pytest.approx(0.25))
        assert compare([measured("b", 1)]).arms[0].gain is None


class TestSettings:
    def test_only_those_that_differ_are_shown_and_names_are_no_difference(self) -> None:
        other = {"run": {"name": "b", "rounds": 3}, "critique": {"per_task": 0}, "train": {"mode": "restart"}}
        comparison = compare([arm("a", []), arm("b", [], other)])
        assert comparison.settings == {"critique.per_task": {"a": 2, "b": 0}}

    def test_a_key_that_only_one_run_has_is_a_difference(self) -> None:
        other = {**SETTINGS, "curate": {"answers": "correct_only"}}
        comparison = compare([arm("a", []), arm("b", [], other)])
        assert comparison.settings == {"curate.answers": {"a": None, "b": "correct_only"}}


@pytest.fixture
def comparison() -> Comparison:
    return compare([arm("a", small_run()), measured("b", 1, 0, 1, 1)])


def test_the_sheets_say_what_the_comparison_holds(comparison: Comparison) -> None:
    runs, pairs = comparison_sheets(comparison)
    assert runs.rows[0][:3] == ("a", "1", "50.0 [30–70]")
    assert runs.rows[0][4].startswith("+25.0 [")
    assert pairs.rows[0][:2] == ("b − a", "4")
    assert pairs.rows[0][2].startswith("+25.0 [")


def test_its_json_is_plain(comparison: Comparison) -> None:
    data = json.loads(msgspec.json.encode(comparison))
    assert {"arms", "pairs", "settings"} == set(data)
    assert data["pairs"][0]["tasks"] == 4


class TestPlot:
    def test_each_measured_run_has_a_curve_over_versions_and_over_tokens(
        self, comparison: Comparison, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        figures: list[Figure] = []

        def remember(*args: object, **options: object) -> Figure:
            figures.append(Figure(*args, **options))  # pyright: ignore[reportArgumentType]
            return figures[-1]

        monkeypatch.setattr(comparison_plot, "Figure", remember)
        plot_comparison(comparison, tmp_path / "c.png")
        assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")
        for axes in figures[0].axes:
            curves = [list(container[0].get_ydata()) for container in axes.containers]
            assert curves == [[25.0, 50.0], [pytest.approx(75.0)]]

    def test_runs_without_figures_are_left_out(self, tmp_path: Path) -> None:
        plot_comparison(compare([arm("a", [])]), tmp_path / "c.png")
        assert (tmp_path / "c.png").exists()
