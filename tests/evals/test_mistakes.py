"""Error patterns in a report: before and after training, on the same tasks and on each round's own."""

from pathlib import Path

import pytest
from matplotlib.figure import Figure

from evals import mistakes_plot
from evals.mistakes_plot import chosen, plot_mistakes
from evals.mistakes_sheets import mistakes_sheets
from evals.report import build_report
from evals.report_form import Report
from evals.report_mistakes import MistakesReport, shortened
from protocols.records import EvaluatedTask, EvaluationPurpose, FilterCount, LedgerRecord, TestOutcome
from tests.evals.journal import candidate, critique, entries, execution

SHORT = TestOutcome(passed=False, error_class="wrong_answer", expected="[1, 2, 3]", actual="[1, 2]")
END = "wrong_answer: off by one at the end of a list"


def failing(subject: str, outcome: TestOutcome) -> LedgerRecord:
    run = execution(subject, 0, 1, outcome.error_class)
    return type(run)(**{name: getattr(run, name) for name in run.__struct_fields__} | {"outcomes": (outcome,)})


def evaluated(purpose: EvaluationPurpose, version: int, task: str, **mistakes: int) -> EvaluatedTask:
    return EvaluatedTask(
        id=f"{purpose} {version} {task}",
        task_id=task,
        purpose=purpose,
        version=version,
        round=0,
        samples=4,
        correct=4 - sum(mistakes.values()),
        executable=4,
        prompt_tokens=0,
        completion_tokens=0,
        mistakes={name.replace("_", " "): count for name, count in mistakes.items()},
    )


@pytest.fixture
def report() -> Report:
    syntax = TestOutcome(passed=False, error_class="syntax")
    return build_report(
        entries(
            [
                candidate("a", 0, (0.2, 0.8, 0.8)),
                candidate("b", 0, (0.8,)),
                candidate("good", 0, (0.8,)),
                failing("a", SHORT),
                failing("b", syntax),
                execution("good", 2, 2, None),
                critique("q", "a", verified=True),
                critique("r", "a", verified=False),
                candidate("later", 1, (0.8,)),
                failing("later", SHORT),
                evaluated("held_out", 0, "e1", off_by_one=3),
                evaluated("held_out", 0, "e2", off_by_one=1, syntax=2),
                evaluated("held_out", 1, "e1", off_by_one=1),
                evaluated("held_out", 1, "e2"),
            ]
        )
    )


def place(report: Report, name: str) -> MistakesReport:
    return next(one for one in report.mistakes if one.place == name)


class TestCounts:
    def test_answers_to_training_tasks_count_as_often_as_they_were_given(self, report: Report) -> None:
        training = place(report, "training")
        assert training.answers == {0: 5, 1: 1}
        assert training.patterns == {END: {0: 3, 1: 1}, "syntax": {0: 1}}

    def test_held_out_answers_are_of_the_same_tasks_for_every_version(self, report: Report) -> None:
        held_out = place(report, "held_out")
        assert held_out.answers == {0: 8, 1: 8}
        assert held_out.patterns == {"off by one": {0: 4, 1: 1}, "syntax": {0: 2}}

    def test_places_of_which_nothing_is_known_are_left_out(self, report: Report) -> None:
        assert [one.place for one in report.mistakes] == ["training", "held_out"]
        assert build_report([]).mistakes == ()

    def test_what_was_criticised_of_each_mistake(self, report: Report) -> None:
        first, second = report.critiqued
        assert (first.pattern, first.failed, first.critiques, first.verified) == (END, 4, 2, 1)
        assert (second.pattern, second.critiques) == ("syntax", 0)

    def test_rare_mistakes_are_shown_as_one(self) -> None:
        many = MistakesReport(
            place="gate", answers={0: 9}, patterns={"a": {0: 4}, "b": {0: 3}, "c": {0: 1}, "d": {0: 1, 1: 5}}
        )
        assert shortened(many, 3) == (("a", {0: 4}), ("b", {0: 3}), ("2 other patterns", {0: 2, 1: 5}))
        assert len(shortened(many, 4)) == 4


class TestSheets:
    def test_the_table_says_from_what_to_what(self, report: Report) -> None:
        training, held_out, critiqued, _ = mistakes_sheets(report)
        assert training.rows[0] == (END, "3 (60 %)", "1 (100 %)")
        assert held_out.rows == (("off by one", "4", "1", "4 → 1"), ("syntax", "2", "0", "2 → 0"))
        assert critiqued.rows == ((END, "4", "2", "1"),)


class TestRejects:
    def test_three_of_each_reason_are_shown_and_the_same_ones_again(self) -> None:
        refused = [
            FilterCount(
                id=f"{7 * number % 10}",
                task_id=f"t{number}",
                round=0,
                reason="near_duplicate" if number else "too_long",
                kind="answer",
                code=f"def f():\n    return {number}",
                resembles="x",
            )
            for number in range(10)
        ]
        report = build_report(entries([*refused]))
        assert report.filters == {"near_duplicate": 9, "too_long": 1}
        assert [one.task_id for one in report.rejects["near_duplicate"]] == ["t3", "t6", "t9"]  # ids 1, 2 and 3
        rows = mistakes_sheets(report)[-1].rows
        assert len(rows) == 4
        assert rows[0] == ("near_duplicate", "t3", "0", "x", "def f(): ⏎     return 3")

    def test_of_earlier_versions_runs_only_the_task_is_known(self) -> None:
        report = build_report(entries([FilterCount(id="f", task_id="t", round=0, reason="truncated")]))
        assert mistakes_sheets(report)[-1].rows == (("truncated", "t", "0", "–", ""),)


class TestPlot:
    @pytest.fixture
    def drawn(self, monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
        figures: list[Figure] = []

        def remember(*args: object, **options: object) -> Figure:
            figures.append(Figure(*args, **options))  # pyright: ignore[reportArgumentType]
            return figures[-1]

        monkeypatch.setattr(mistakes_plot, "Figure", remember)
        return figures

    def test_bars_are_shares_of_each_versions_answers(
        self, report: Report, tmp_path: Path, drawn: list[Figure]
    ) -> None:
        plot_mistakes(report, tmp_path / "p.png")
        assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
        _, held_out = drawn[0].axes
        widths = [[bar.get_width() for bar in container] for container in held_out.containers]
        assert widths == [[50.0, 25.0], [12.5, 0.0]]
        assert [label.get_text() for label in held_out.get_yticklabels()] == ["off by one", "syntax"]

    def test_nothing_known_is_said(self, tmp_path: Path, drawn: list[Figure]) -> None:
        plot_mistakes(build_report([]), tmp_path / "p.png")
        assert drawn[0].axes[0].texts[0].get_text() == "no failed answer is known yet"

    def test_of_many_versions_some_are_drawn_the_first_and_last_among_them(self) -> None:
        assert chosen([0, 1, 2]) == [0, 1, 2]
        assert chosen(list(range(21))) == [0, 5, 10, 15, 20]
