import json
from pathlib import Path

import msgspec
import pytest
import trio

from evals.report import UNDECIDED, build_report, read_report, report_json
from evals.report_form import Report, VersionReport
from ledger.sqlite import open_ledger
from protocols.records import LedgerRecord
from tests.evals.journal import (
    REFUSAL,
    candidate,
    decision,
    entries,
    execution,
    rubric,
    score,
    small_run,
    training,
    trial,
    verdict,
    written,
)


@pytest.fixture(scope="module")
def report() -> Report:
    return build_report(entries(small_run()))


@pytest.fixture
def base(report: Report) -> VersionReport:
    return report.versions[0]


def test_every_version_is_there_refused_ones_with_the_reason(report: Report) -> None:
    shown = [(version.version, version.state, version.promoted, version.reason) for version in report.versions]
    assert shown == [(0, "base", True, ""), (1, "promoted", True, "no fall"), (2, "rejected", False, REFUSAL)]


def test_what_a_version_generated(base: VersionReport) -> None:
    assert base.candidates == 3
    assert base.executable_share == 3 / 4  # of its four responses, the one of `broken` is not
    assert base.examples == {"answer": 1, "critique": 1}
    assert (base.critiques, base.critiques_verified) == (2, 1)


def test_a_version_that_generated_nothing_has_no_share(report: Report) -> None:
    assert (report.versions[2].candidates, report.versions[2].executable_share) == (0, None)


def test_pass_at_k_is_the_held_out_evaluations(report: Report, base: VersionReport) -> None:
    assert (base.pass_at_1, base.pass_at_1_low, base.pass_at_1_high) == (0.25, 0.1, 0.4)
    assert base.pass_at_k == {1: 0.25, 4: 0.75}
    assert base.pass_at_k_intervals[4][0] < 0.75 < base.pass_at_k_intervals[4][1]
    assert report.versions[2].pass_at_1 is None
    assert report.versions[2].pass_at_k == {}


def test_the_gates_figures_are_of_the_version_and_of_the_one_before(report: Report) -> None:
    shown = [(version.gate_pass_at_1, version.gate_pass_at_1_before) for version in report.versions]
    assert shown == [(0.5, None), (0.5, 0.5), (0.25, 0.5)]


def test_how_a_version_was_made(report: Report) -> None:
    _, first, second = report.versions
    assert (first.loss_first, first.loss_last, first.tokens_per_s, first.seconds) == (2.0, 1.0, 100.0, 10.0)
    assert first.trained_on == {"answer": 1, "critique": 1, "replayed": 0}
    assert second.trained_on == {"answer": 2, "replayed": 1}
    assert (first.adapter, first.canary) == ("adapters/v0001-abc", 0.03)


def test_judges_are_measured_against_executions(report: Report) -> None:
    steady, odd = report.judges
    assert report.judge_evidence == "tests"
    # Of three pairs one was right (bad < reference), one wrong (reference of t2 fails), one proved nothing (equal E).
    assert (steady.name, steady.reliability, steady.calls) == ("j", pytest.approx(2 / 4), 6)
    assert steady.position_bias == pytest.approx(1 / 3)
    assert steady.tokens == 6 * 110
    assert (odd.name, odd.reliability, odd.abstentions) == ("k", 0.5, 1)


def test_a_judges_interval_is_that_of_its_posterior(report: Report) -> None:
    steady = report.judges[0]
    # Beta(2, 2): its quantiles at 2.5 and 97.5 per cent, from a table.
    assert (steady.reliability_low, steady.reliability_high) == pytest.approx((0.0943, 0.9057), abs=1e-4)
    assert steady.proved == 2


def test_reliability_is_told_by_perspective_and_by_version(report: Report) -> None:
    steady, odd = report.judges
    assert steady.versions == {0: pytest.approx(2 / 3), 1: pytest.approx(1 / 3)}
    assert odd.versions == {}
    said = [
        msgspec.structs.replace(verdict("bad", "reference", "right"), perspectives={"correctness": "left"}),
        msgspec.structs.replace(verdict("reference", "bad", "left"), perspectives={"correctness": "right"}),
    ]
    runs = [execution("reference", 4, 4, None), execution("bad", 1, 4, "wrong_answer")]
    (judge,) = build_report(entries([*runs, *said])).judges
    assert judge.perspectives == {"correctness": pytest.approx(1 / 3)}


def judged(task_id: str, version: int, *, right: bool) -> list[LedgerRecord]:
    """A candidate that is worse than the reference, and one judge's opinion of it."""
    name = f"{task_id} of v{version}"
    forward, backward = ("right", "left") if right else ("left", "right")
    return [
        candidate(name, version, (0.8,), task_id=task_id),
        execution("reference", 4, 4, None, task_id=task_id),
        execution(name, 1, 4, "wrong_answer", task_id=task_id),
        verdict(name, "reference", forward, task_id=task_id),
        verdict("reference", name, backward, task_id=task_id),
    ]


@pytest.mark.parametrize(("later", "drifted"), [(9, ()), (5, (1,))])
def test_a_judge_that_is_not_what_it_was_is_reported(later: int, drifted: tuple[int, ...]) -> None:
    """Of 40 opinions on version 0's candidates nine in ten are right; then of 40 on version 1's as many, or half."""
    records = [
        record
        for version, share in ((0, 9), (1, later))
        for number in range(40)
        for record in judged(f"{version}/{number}", version, right=number % 10 < share)
    ]
    (judge,) = build_report(entries(records)).judges
    assert judge.drifted_at == drifted


def test_marks_measure_a_judge_as_comparisons_do() -> None:
    runs = [execution("reference", 4, 4, None), execution("bad", 1, 4, "wrong_answer")]
    marks = [rubric("reference", 5), rubric("bad", 2), rubric("unread", None)]
    (judge,) = build_report(entries([*runs, *marks])).judges
    assert judge.reliability == pytest.approx(2 / 3)
    assert (judge.calls, judge.abstentions) == (3, 1)
    assert judge.perspectives["readability"] == pytest.approx(2 / 3)


def test_the_share_of_calls_saved_is_that_of_comparisons_not_asked() -> None:
    decisions = [
        msgspec.structs.replace(decision(str(asked), "skip"), compared=asked, comparable=possible)
        for asked, possible in ((0, 4), (1, 2), (2, 2))
    ]
    done = build_report(entries(decisions)).comparisons
    assert (done.asked, done.possible, done.saved) == (3, 8, 1 - 3 / 8)


def test_cost_is_known_where_the_endpoint_has_a_price(report: Report) -> None:
    assert report.judges[0].cost is None
    priced = [msgspec.structs.replace(verdict(*ids, "tie"), cost=0.25) for ids in (("a", "b"), ("b", "a"))]
    (judge,) = build_report(entries(priced)).judges
    assert (judge.cost, judge.cost_per_call) == (0.5, 0.25)


def test_consensus_is_held_against_chance_and_majority(report: Report) -> None:
    assert report.consensus == ()
    records = [
        written("w1", 0, 3, dropped=1, unusable=2),
        trial("t1", 0, consensus=1.0, random=0.5, majority=0.0, right=2),
        trial("t2", 0, consensus=0.5, random=0.5, majority=0.5, right=4, decided=False),
        trial("t3", 1, consensus=1.0, random=1.0, majority=1.0, right=None),
    ]
    first, second = build_report(entries(records)).consensus
    assert (first.written, first.dropped, first.unusable, first.trials, first.decided) == (4, 1, 2, 2, 1)
    assert (first.consensus, first.random, first.majority) == (0.75, 0.5, 0.25)
    assert first.right_tests == 6 / 8
    assert (second.version, second.written, second.right_tests) == (1, 0, None)


def test_judges_of_tasks_without_tests_are_measured_by_agreement_and_the_report_says_so() -> None:
    guessed = [
        msgspec.structs.replace(execution(name, passed, 2, None), evidence="consensus")
        for name, passed in (("a", 1), ("b", 2))
    ]
    scores = tuple(score(name, share) for name, share in (("a", 1.0), ("b", 0.5)))
    decided = msgspec.structs.replace(decision("d", "skip"), task_id="t1", scores=scores)
    report = build_report(entries([*guessed, verdict("a", "b", "left"), verdict("b", "a", "right"), decided]))
    assert report.judge_evidence == "consensus"
    assert report.judges[0].reliability == pytest.approx(2 / 3)


def test_each_tasks_reference_is_its_own(report: Report) -> None:
    assert report.versions[0].judge_reliability == pytest.approx(2 / 3)
    assert report.versions[1].judge_reliability == 0.5


def test_counts(report: Report) -> None:
    assert report.decisions == {"replace": 1, "critique": 1, "skip": 1}
    assert report.origins == {"self": 2, "critic": 1}
    assert report.filters == {"duplicate": 1}
    assert report.critiques == {"written": 2, "verified": 1}
    assert report.error_patterns == {0: {"wrong_answer": 1, "syntax": 1}}
    assert report.records["Candidate"] == 4


def test_success_by_temperature_counts_responses(report: Report) -> None:
    shown = [(heat.temperature, heat.responses, heat.solved) for heat in report.success_by_temperature]
    assert shown == [(0.2, 1, 1), (0.8, 5, 3)]


def test_costs(report: Report) -> None:
    assert report.tokens == {
        "prompt": 10 + 8 * 100 + 2 * 50 + 5 * 20,
        "completion": 200 + 8 * 10 + 2 * 5 + 5 * 30,
        "training": 2000,
    }
    assert report.seconds == {
        "total": len(small_run()) - 1,
        "generate": 3.0,
        "execute": 3.0,
        "judge": 16.0,
        "critique": 2.0,
        "train": 20.0,
        "gate": 12.0,
        "held_out": 8.0,
    }


def test_the_second_execution_of_a_candidate_is_not_counted_again() -> None:
    records = [candidate("c", 0, (0.5,)), execution("c", 1, 1, None), execution("c", 1, 1, None, task_id="again")]
    assert build_report(entries(records)).success_by_temperature[0].responses == 1


def test_one_order_asked_twice_is_no_opinion() -> None:
    records = [verdict("a", "b", "left"), verdict("a", "b", "left")]
    assert build_report(entries(records)).judges[0].position_bias == 0.0


def test_a_version_on_trial_is_shown_as_such() -> None:
    (version,) = build_report(entries([training(1, (2.0,))])).versions
    assert (version.state, version.promoted, version.reason) == (None, False, UNDECIDED)


def test_an_empty_journal_has_an_empty_report() -> None:
    report = build_report([])
    assert (report.versions, report.judges, report.seconds) == ((), (), {"total": 0.0})


def test_the_json_form_has_what_is_promised(report: Report) -> None:
    data = report_json(report)
    assert set(data) == {
        "versions",
        "judges",
        "judge_evidence",
        "comparisons",
        "consensus",
        "decisions",
        "origins",
        "filters",
        "critiques",
        "error_patterns",
        "success_by_temperature",
        "tokens",
        "seconds",
        "records",
        "rejects",
        "mistakes",
        "critiqued",
    }
    wanted = {
        *("version", "adapter", "candidates", "executable_share", "pass_at_1", "pass_at_1_low", "pass_at_1_high"),
        *("pass_at_k", "examples", "promoted", "reason", "canary", "gate_pass_at_1", "gate_pass_at_1_before"),
        *("loss_first", "loss_last", "tokens_per_s", "seconds"),
    }
    for version in data["versions"]:
        assert wanted <= set(version)
    assert [version["promoted"] for version in data["versions"]] == [True, True, False]
    assert data["versions"][0]["pass_at_k"] == {"1": 0.25, "4": 0.75}
    assert {"name", "reliability", "position_bias", "abstentions", "calls", "tokens"} <= set(data["judges"][0])
    assert data["judges"][0]["tokens_per_call"] == 110
    assert data["judges"][1]["abstention_rate"] == 0.5
    assert data["comparisons"]["saved"] is None
    assert data["success_by_temperature"][1]["share"] == pytest.approx(3 / 5)
    assert json.loads(json.dumps(data, allow_nan=False)) == data


def test_it_can_be_read_from_a_journal(tmp_path: Path, report: Report) -> None:
    path = tmp_path / "journal.db"

    async def write() -> None:
        async with open_ledger(path, group_s=0, clock=lambda: 5.0) as ledger:
            await ledger.append(*small_run())

    trio.run(write)
    read = read_report(path)
    assert (read.versions, read.judges, read.records) == (report.versions, report.judges, report.records)
    assert read.seconds["total"] == 0.0
