import io
import re

import msgspec
import pytest

from evals.report import build_report
from evals.report_form import Report
from evals.table import WIDTH, markdown, print_report
from tests.evals.journal import REFUSAL, entries, small_run


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True

    def shown(self) -> str:
        return re.sub(r"\x1b\[[\d;]*m", "", self.getvalue())


@pytest.fixture(scope="module")
def report() -> Report:
    return build_report(entries(small_run()))


def rows(text: str, title: str) -> list[list[str]]:
    section = text.split(f"## {title}\n\n")[1].split("\n\n")[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines()]


def test_the_version_table_says_what_became_of_each(report: Report) -> None:
    heading, _, base, first, second = rows(markdown(report), "Policy versions")
    assert heading[:6] == ["v", "outcome", "cand.", "exec.", "pass@1 [95 %]", "pass@4 [95 %]"]
    assert base[:5] == ["0", "base", "3", "75.0", "25.0 [10–40]"]
    assert base[5].startswith("75.0 [")
    assert base[6:] == ["1", "1", "1/2", "0.67", "–", "–"]
    assert first[:2] == ["1", "promoted"]
    assert second[:6] == ["2", "rejected", "0", "–", "–", "–"]
    assert second[-2:] == ["100", "10"]


def test_reasons_of_refused_versions_stand_below(report: Report) -> None:
    assert f"- version 2 (rejected): {REFUSAL}" in markdown(report).replace("\n  ", " ")


@pytest.mark.parametrize(
    "title",
    ["Judges", "Decisions", "Examples by origin", "Examples refused by curation", "Training and gate"],
)
def test_every_other_table_is_there(report: Report, title: str) -> None:
    assert len(rows(markdown(report), title)) > 2


def test_markdown_lines_stay_within_the_width_also_with_large_figures(report: Report) -> None:
    large = msgspec.structs.replace(
        report.versions[2],
        version=12,
        candidates=99_999,
        executable_share=1.0,
        pass_at_1=1.0,
        pass_at_1_low=1.0,
        pass_at_1_high=1.0,
        pass_at_k={4: 1.0},
        pass_at_k_intervals={4: (1.0, 1.0)},
        examples={"answer": 9999, "critique": 9999},
        critiques=999,
        critiques_verified=999,
        tokens_per_s=99_999.0,
        seconds=99_999.0,
        reason="word " * 100,
    )
    text = markdown(msgspec.structs.replace(report, versions=(*report.versions, large)))
    assert max(map(len, text.splitlines())) <= WIDTH


def test_every_row_of_a_markdown_table_has_as_many_cells(report: Report) -> None:
    odd = msgspec.structs.replace(report, filters={"a | b": 1, "c": 2})
    for block in markdown(odd).split("\n\n"):
        lines = [line.replace("\\|", "") for line in block.splitlines() if line.startswith("|")]
        assert len({line.count("|") for line in lines}) <= 1


@pytest.mark.parametrize("columns", [80, 120, 300])
def test_a_terminal_gets_tables_within_its_width(report: Report, monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    terminal = Terminal()
    print_report(report, terminal)
    text = terminal.shown()
    assert "rejected" in text
    assert "| --" not in text
    assert max(map(len, text.splitlines())) <= min(columns, WIDTH)


def test_a_file_gets_markdown(report: Report) -> None:
    file = io.StringIO()
    print_report(report, file)
    assert file.getvalue() == markdown(report)


def test_brackets_are_shown_as_they_are(report: Report) -> None:
    odd = msgspec.structs.replace(report.versions[2], reason="[red]not markup[/red]")
    terminal = Terminal()
    print_report(msgspec.structs.replace(report, versions=(odd,)), terminal)
    assert "[red]not markup[/red]" in terminal.shown()
    assert "[95" in terminal.shown()


def test_a_run_without_anything_can_be_shown() -> None:
    assert "Policy versions" in markdown(build_report([]))
