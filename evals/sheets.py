"""A report as sheets: titled tables of text cells, whatever they are printed on.

Shares are shown in per cent; a dash stands for what was not measured.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from evals.report_form import Report, VersionReport

NONE = "–"
_CODE_LENGTH = 50
"""Characters of code in a cell."""
_SECOND_K = 4
"""The k whose pass@k has a column of its own beside pass@1, where it was measured."""

_VERSION_CAPTION = (
    "cand.: distinct candidates for training tasks; exec.: share of its responses that could be executed; pass@k: on "
    "the held-out tasks, in per cent; ans., crit.: examples made of its work; verif.: critiques verified, of all; "
    "judge: the panel's reliability; tok/s, s: of its training."
)


_JUDGE_CAPTIONS = {
    "consensus": "reliability: measured by agreement among candidates, because no task with tests has proved anything"
}
_DRIFT_CAPTION = "v: on that version's candidates; !: not what it was on the versions before (beyond chance, 1 %)"
_CONSENSUS_CAPTION = (
    "written: tests for training tasks; dropped: those that the reference fails; right: share that the reference "
    "passes, where it drops none; trials: tasks with tests of their own; decided: where a candidate passed a written "
    "test; consensus, majority, random: how often the response so chosen is right, in per cent"
)


class Sheet(NamedTuple):
    """One table."""

    title: str
    columns: tuple[str, ...]
    """The first holds names, the others figures."""
    rows: tuple[tuple[str, ...], ...]
    caption: str = ""
    """What the columns mean, where their names do not say it."""


def version_sheet(report: Report) -> Sheet:
    """Return what became of each policy version, one a row."""
    k = _second_k(report)
    columns = (
        "v",
        "outcome",
        "cand.",
        "exec.",
        "pass@1 [95 %]",
        f"pass@{k} [95 %]",
        "ans.",
        "crit.",
        "verif.",
        "judge",
    )
    rows = tuple(_version_row(version, k) for version in report.versions)
    return Sheet("Policy versions", (*columns, "tok/s", "s"), rows, _VERSION_CAPTION)


def sheets(report: Report) -> tuple[Sheet, ...]:
    """Return every sheet of the report; those without rows are left out."""
    temperatures = tuple(
        (f"{heat.temperature:g}", str(heat.responses), str(heat.solved), percent(heat.share))
        for heat in report.success_by_temperature
    )
    every = (
        version_sheet(report),
        _training(report),
        _judges(report),
        _reliabilities(report),
        _comparisons(report),
        _consensus(report),
        _counts("Decisions", "decision", report.decisions),
        _counts("Examples by origin", "origin", report.origins),
        _counts("Examples refused by curation", "reason", report.filters),
        Sheet("Success by temperature", ("temperature", "responses", "solved", "share"), temperatures),
        _errors(report),
        _costs(report),
    )
    return tuple(sheet for sheet in every if sheet.rows)


def notes(report: Report) -> tuple[str, ...]:
    """Return the reasons of the versions that were not promoted, one a line."""
    return tuple(
        f"version {version.version} ({_outcome(version)}): {version.reason}"
        for version in report.versions
        if not version.promoted
    )


def percent(share: float | None) -> str:
    """Return a share in per cent with one decimal."""
    return NONE if share is None else f"{share * 100:.1f}"


def with_interval(value: float | None, low: float | None, high: float | None) -> str:
    """Return a share in per cent with its interval, where there is one."""
    if value is None:
        return NONE
    return percent(value) if low is None or high is None else f"{percent(value)} [{low * 100:.0f}–{high * 100:.0f}]"


def one_line(code: str) -> str:
    """Return code as one short line."""
    text = " ⏎ ".join(line.rstrip() for line in code.splitlines() if line.strip())
    return text if len(text) <= _CODE_LENGTH else text[: _CODE_LENGTH - 1] + "…"


def _second_k(report: Report) -> int:
    ks = {k for version in report.versions for k in version.pass_at_k if k > 1}
    return _SECOND_K if _SECOND_K in ks or not ks else max(ks)


def _version_row(version: VersionReport, k: int) -> tuple[str, ...]:
    return (
        str(version.version),
        _outcome(version),
        str(version.candidates),
        percent(version.executable_share),
        with_interval(version.pass_at_1, version.pass_at_1_low, version.pass_at_1_high),
        with_interval(version.pass_at_k.get(k), *version.pass_at_k_intervals.get(k, (None, None))),
        str(version.examples.get("answer", 0)),
        str(version.examples.get("critique", 0)),
        f"{version.critiques_verified}/{version.critiques}",
        _figure(version.judge_reliability, 2),
        _figure(version.tokens_per_s, 0),
        _figure(version.seconds, 0),
    )


def _outcome(version: VersionReport) -> str:
    return version.state or "on trial"


def _training(report: Report) -> Sheet:
    columns = ("version", "trained on", "replayed", "loss first", "loss last", "canary", "gate before", "gate")
    rows = tuple(
        (
            str(version.version),
            str(sum(count for kind, count in version.trained_on.items() if kind != "replayed")),
            str(version.trained_on.get("replayed", 0)),
            _figure(version.loss_first, 3),
            _figure(version.loss_last, 3),
            _figure(version.canary, 4),
            percent(version.gate_pass_at_1_before),
            percent(version.gate_pass_at_1),
        )
        for version in report.versions
        if version.version > 0
    )
    return Sheet("Training and gate", columns, rows)


def _judges(report: Report) -> Sheet:
    columns = ("judge", "reliability", "proved", "position bias", "abst. %", "calls", "tok/call", "s/call", "cost/call")
    rows = tuple(
        (
            judge.name,
            f"{judge.reliability:.3f} [{judge.reliability_low:.2f}–{judge.reliability_high:.2f}]",
            f"{judge.proved:g}",
            f"{judge.position_bias:+.3f}",
            percent(judge.abstention_rate),
            str(judge.calls),
            _figure(judge.tokens_per_call, 0),
            _figure(judge.seconds / judge.calls if judge.calls else None, 2),
            _figure(judge.cost_per_call, 5),
        )
        for judge in report.judges
    )
    return Sheet("Judges", columns, rows, _JUDGE_CAPTIONS.get(report.judge_evidence or "", ""))


def _reliabilities(report: Report) -> Sheet:
    """Return each judge's reliability by perspective and by version, where anything was proved."""
    perspectives = sorted({name for judge in report.judges for name in judge.perspectives})
    versions = sorted({version for judge in report.judges for version in judge.versions})
    rows = tuple(
        (
            judge.name,
            *(_figure(judge.perspectives.get(name), 2) for name in perspectives),
            *(_figure(judge.versions.get(v), 2) + ("!" if v in judge.drifted_at else "") for v in versions),
        )
        for judge in report.judges
        if judge.perspectives or judge.versions
    )
    columns = ("judge", *perspectives, *(f"v{version}" for version in versions))
    return Sheet("Reliability by perspective and by version", columns, rows, _DRIFT_CAPTION)


def _comparisons(report: Report) -> Sheet:
    done = report.comparisons
    rows = ((str(done.asked), str(done.possible), percent(done.saved)),) if done.possible else ()
    return Sheet("Lazy judging: comparisons per judge", ("asked", "possible", "calls saved, %"), rows)


def _consensus(report: Report) -> Sheet:
    columns = ("version", "written", "dropped", "unusable", "right", "trials", "decided", "consensus", "majority")
    rows = tuple(
        (
            str(one.version),
            str(one.written),
            str(one.dropped),
            str(one.unusable),
            percent(one.right_tests),
            str(one.trials),
            str(one.decided),
            percent(one.consensus),
            percent(one.majority),
            percent(one.random),
        )
        for one in report.consensus
    )
    return Sheet("Consensus on tests that the policy wrote", (*columns, "random"), rows, _CONSENSUS_CAPTION)


def _errors(report: Report) -> Sheet:
    names = sorted({name for counts in report.error_patterns.values() for name in counts})
    versions = sorted(report.error_patterns)
    rows = tuple((name, *(str(report.error_patterns[version].get(name, 0)) for version in versions)) for name in names)
    return Sheet("Failed candidates by error class", ("class", *(f"version {number}" for number in versions)), rows)


def _costs(report: Report) -> Sheet:
    tokens = tuple((f"{name} tokens", str(count)) for name, count in report.tokens.items())
    seconds = tuple((f"{name} seconds", f"{value:.1f}") for name, value in report.seconds.items())
    return Sheet("Tokens and seconds", ("spent on", "amount"), (*tokens, *seconds))


def _counts(title: str, name: str, counts: Mapping[str, int]) -> Sheet:
    return Sheet(title, (name, "count"), tuple((key, str(count)) for key, count in _by_count(counts)))


def _by_count(counts: Mapping[str, int]) -> Sequence[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def _figure(value: float | None, decimals: int) -> str:
    return NONE if value is None else f"{value:.{decimals}f}"
