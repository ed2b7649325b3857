"""The report of a run, from its journal alone.

Training-side figures of a version (candidates, share executable, examples, error classes) are about what it generated
while it was the policy; a refused version generated nothing, and is shown with the reason all the same.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from evals.bootstrap import interval
from evals.report_form import (
    ComparisonReport,
    ConsensusReport,
    JudgeReport,
    RejectReport,
    Report,
    TemperatureReport,
    VersionReport,
)
from evals.report_judging import Judging, drifts
from evals.report_mistakes import Mistakes
from evals.report_tally import Agreement, Costs, Making, Versions, Work
from ledger.queries import Entry, stream_entries
from method.reliability import Reliability, panel_reliability
from protocols.records import LEDGER_KINDS, FilterCount, LedgerRecord

UNDECIDED = "not decided yet"
"""Reason of a version that is on trial."""


class _Tallies:
    def __init__(self) -> None:
        self.work, self.judging, self.making = Work(), Judging(), Making()
        self.versions, self.costs, self.agreement, self.mistakes = Versions(), Costs(), Agreement(), Mistakes()
        every = (self.work, self.judging, self.making, self.versions, self.costs, self.agreement, self.mistakes)
        self._takers = {kind: [tally.add for tally in every if kind in tally.KINDS] for kind in LEDGER_KINDS}
        self.records: Counter[type[LedgerRecord]] = Counter()
        self.first_at: float | None = None
        self.last_at = 0.0

    def add(self, entry: Entry[LedgerRecord]) -> None:
        self.first_at = entry.at if self.first_at is None else self.first_at
        self.last_at = entry.at
        kind = type(entry.record)
        self.records[kind] += 1
        for take in self._takers[kind]:
            take(entry.record)


def read_report(path: Path) -> Report:
    """Return the report of the journal at `path`; possible while the run goes on.

    Raises:
        LedgerError: it is no journal of this version.
    """
    return build_report(stream_entries(path))


def build_report(entries: Iterable[Entry[LedgerRecord]]) -> Report:
    """Return the report of a journal's `entries`, given in their order."""
    tallies = _Tallies()
    for entry in entries:
        tallies.add(entry)
    work, making, costs = tallies.work, tallies.making, tallies.costs
    total = tallies.last_at - tallies.first_at if tallies.first_at is not None else 0.0
    return Report(
        versions=_versions(tallies),
        judges=_judges(tallies.judging, tallies.work),
        judge_evidence=tallies.judging.evidence,
        comparisons=ComparisonReport(asked=making.compared, possible=making.comparable),
        consensus=_consensus(tallies.agreement),
        decisions=dict(making.decisions),
        origins=dict(making.origins),
        filters=dict(making.filters),
        critiques={"written": len(making.critiqued), "verified": sum(verified for _, verified in making.critiqued)},
        error_patterns={version: dict(counts) for version, counts in sorted(work.errors.items())},
        success_by_temperature=tuple(
            TemperatureReport(temperature=heat, responses=count, solved=work.solved_by_temperature[heat])
            for heat, count in sorted(work.by_temperature.items())
        ),
        tokens=dict(costs.tokens),
        seconds={"total": total, **costs.seconds},
        records={kind.__name__: count for kind, count in tallies.records.items()},
        rejects={reason: tuple(map(_reject, refused)) for reason, refused in sorted(making.refused.items())},
        mistakes=tallies.mistakes.reports(),
        critiqued=tallies.mistakes.critiqued(),
    )


def report_json(report: Report) -> dict[str, Any]:
    """Return `report` as plain data for a JSON file; keys of objects are strings."""
    data: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(report))
    for plain, version in zip(data["versions"], report.versions, strict=True):
        plain["promoted"] = version.promoted
    for plain, heat in zip(data["success_by_temperature"], report.success_by_temperature, strict=True):
        plain["share"] = heat.share
    for plain, judge in zip(data["judges"], report.judges, strict=True):
        for name in ("abstention_rate", "tokens_per_call", "cost_per_call"):
            plain[name] = getattr(judge, name)
    data["comparisons"]["saved"] = report.comparisons.saved
    return data


def _reject(refused: FilterCount) -> RejectReport:
    return RejectReport(
        task_id=refused.task_id,
        round=refused.round,
        kind=refused.kind,
        code=refused.code,
        resembles=refused.resembles,
    )


def _judges(judging: Judging, work: Work) -> tuple[JudgeReport, ...]:
    known, by_version = judging.reliabilities(), judging.by_version(work.version_of)
    return tuple(
        _judge(judging, name, known.get(name, Reliability()), {v: r[name] for v, r in by_version.items() if name in r})
        for name in sorted(judging.calls)
    )


def _judge(judging: Judging, name: str, record: Reliability, versions: dict[int, Reliability]) -> JudgeReport:
    low, high = record.overall.interval()
    proved = {version: known.overall for version, known in versions.items() if known.overall.count}
    return JudgeReport(
        name=name,
        reliability=record.mean,
        reliability_low=low,
        reliability_high=high,
        proved=record.overall.count,
        perspectives={one: tally.mean for one, tally in record.perspectives.items() if tally.count},
        versions={version: tally.mean for version, tally in proved.items()},
        drifted_at=drifts(proved),
        position_bias=record.position_bias,
        abstentions=judging.abstentions[name],
        calls=judging.calls[name],
        tokens=judging.tokens[name],
        seconds=judging.seconds[name],
        cost=judging.costs.get(name),
    )


def _consensus(agreement: Agreement) -> tuple[ConsensusReport, ...]:
    reports: list[ConsensusReport] = []
    for version in sorted({*agreement.written, *agreement.unusable, *agreement.trials}):
        trials = agreement.trials[version]
        known = [trial for trial in trials if trial.right_tests is not None and trial.tests]
        reports.append(
            ConsensusReport(
                version=version,
                written=agreement.written[version],
                dropped=agreement.dropped[version],
                unusable=agreement.unusable[version],
                trials=len(trials),
                decided=sum(trial.decided for trial in trials),
                right_tests=sum(t.right_tests or 0 for t in known) / sum(t.tests for t in known) if known else None,
                consensus=_mean([trial.consensus for trial in trials]),
                majority=_mean([trial.majority for trial in trials]),
                random=_mean([trial.random for trial in trials]),
            )
        )
    return tuple(reports)


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _versions(tallies: _Tallies) -> tuple[VersionReport, ...]:
    known = tallies.versions
    numbers = {*known.policies, *known.training, *tallies.work.candidates}
    judged = tallies.judging.by_version(tallies.work.version_of)
    panel = {version: panel_reliability(known) for version, known in judged.items()}
    critiques: Counter[int] = Counter()
    verified: Counter[int] = Counter()
    for candidate_id, is_verified in tallies.making.critiqued:
        version = tallies.work.version_of.get(candidate_id, -1)
        critiques[version] += 1
        verified[version] += is_verified
    return tuple(
        VersionReport(
            version=number,
            **_state(known, number),
            **_generated(tallies.work, number),
            **_evaluated(known, number),
            **_trained(known, tallies.making, number),
            examples=dict(tallies.making.examples.get(number, {})),
            critiques=critiques[number],
            critiques_verified=verified[number],
            judge_reliability=panel.get(number),
        )
        for number in sorted(numbers)
    )


def _state(known: Versions, number: int) -> dict[str, Any]:
    policy = known.policies.get(number)
    if policy is None:
        training = known.training.get(number)
        made = (
            {"adapter": training.adapter, "merged": training.merged} if training else {"adapter": None, "merged": None}
        )
        return {"name": f"v{number:04}", **made, "state": None, "reason": UNDECIDED, "canary": None}
    return {name: getattr(policy, name) for name in ("name", "adapter", "merged", "state", "reason", "canary")}


def _generated(work: Work, number: int) -> dict[str, Any]:
    responses = work.responses[number]
    return {
        "candidates": work.candidates[number],
        "executable_share": work.executable[number] / responses if responses else None,
    }


def _evaluated(known: Versions, number: int) -> dict[str, Any]:
    held_out, gate = known.held_out.get(number), known.gate.get(number)
    policy = known.policies.get(number)
    before = known.gate.get(policy.parent) if policy is not None and policy.parent is not None else None
    return {
        "pass_at_1": held_out.pass_at_1 if held_out else None,
        "pass_at_1_low": held_out.low if held_out else None,
        "pass_at_1_high": held_out.high if held_out else None,
        "pass_at_k": dict(held_out.pass_at_k) if held_out else {},
        "pass_at_k_intervals": {k: interval(held_out.results, k=k, seed=0) for k in held_out.pass_at_k}
        if held_out
        else {},
        "gate_pass_at_1": gate.pass_at_1 if gate else None,
        "gate_pass_at_1_before": before.pass_at_1 if before else None,
    }


def _trained(known: Versions, making: Making, number: int) -> dict[str, Any]:
    training = known.training.get(number)
    if training is None:
        nothing = dict.fromkeys(("loss_first", "loss_last", "tokens_per_s", "seconds"))
        return {"trained_on": {}, **nothing}
    batch = known.batches.get(training.id)
    kinds = (
        Counter(making.kind_of.get(example, "unknown") for example in batch.example_ids) if batch else Counter[str]()
    )
    return {
        "trained_on": {**kinds, "replayed": batch.replayed} if batch else {},
        "loss_first": training.losses[0] if training.losses else None,
        "loss_last": training.losses[-1] if training.losses else None,
        "tokens_per_s": training.tokens / training.seconds if training.seconds else None,
        "seconds": training.seconds,
    }
