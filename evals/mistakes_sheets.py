"""The sheets of a report that tell of error patterns, and of what curation refused."""

from collections.abc import Mapping

from evals.report_form import Report
from evals.report_mistakes import CritiquedReport, MistakesReport, shortened
from evals.sheets import NONE, Sheet, one_line

_MOST = 15
"""Rows."""
_TITLES = {
    "training": "Error patterns before and after training: training tasks",
    "gate": "Error patterns before and after training: gate tasks",
    "held_out": "Error patterns before and after training: held-out tasks",
}
_CAPTIONS = {
    "training": "Failed answers of each version, and their share of all its answers in per cent; the tasks differ.",
    "gate": "Failed answers of each version to the same tasks; last column: first version to last.",
    "held_out": "Failed answers of each version to the same tasks; last column: first version to last.",
}


def mistakes_sheets(report: Report) -> tuple[Sheet, ...]:
    """Return the sheets, those without rows among them."""
    refused = tuple(
        (reason, reject.task_id, str(reject.round), reject.resembles or NONE, one_line(reject.code))
        for reason, rejects in sorted(report.rejects.items())
        for reject in rejects
    )
    return (
        *map(_patterns, report.mistakes),
        _critiqued(report.critiqued),
        Sheet(
            "Samples of what curation refused",
            ("reason", "task", "round", "resembles", "code"),
            refused,
            "Up to three of each reason, drawn at random; report.json has them in full.",
        ),
    )


def _patterns(report: MistakesReport) -> Sheet:
    versions = sorted(report.answers)
    columns = ("first failure", *(f"v{number}" for number in versions))
    shares = report.place == "training"
    rows = tuple(
        (
            name,
            *(_cell(counts.get(number, 0), report.answers[number] if shares else None) for number in versions),
            *(() if shares else (_change(counts, versions[0], versions[-1]),)),
        )
        for name, counts in shortened(report, _MOST)
    )
    return Sheet(_TITLES[report.place], columns if shares else (*columns, "change"), rows, _CAPTIONS[report.place])


def _cell(count: int, answers: int | None) -> str:
    return str(count) if not answers else f"{count} ({100 * count / answers:.0f} %)"


def _change(counts: Mapping[int, int], first: int, last: int) -> str:
    return f"{counts.get(first, 0)} → {counts.get(last, 0)}"


def _critiqued(found: tuple[CritiquedReport, ...]) -> Sheet:
    rows = tuple(
        (one.pattern, str(one.failed), str(one.critiques), str(one.verified)) for one in found if one.critiques
    )
    return Sheet("Critiques by error pattern", ("first failure", "failed answers", "critiques", "verified"), rows)
