"""The whole loop on real parts: real vLLM, judging, criticism and training, two published versions. Minutes."""

import json
import math
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from evals.datasets import load_tasks
from ledger.queries import count_records, last_sequence, read_records
from method.overlap import overlap_index, overlaps
from protocols.records import Candidate, Evaluation, Example, PolicyVersion, TrainingReport, Verdict

pytestmark = pytest.mark.real

ROOT = Path(__file__).parent.parent
SETTINGS = """
[run]
name = "whole"
rounds = 2
tasks_per_round = 3
[tasks]
limit = 5
[server]
compiled = false
[decide]
references = "train"
[generate]
candidates = 2
temperature = [0.3]
top_p = 1.0
max_tokens = 48
[judge]
calibrate = 1.0
max_pairs = 1
max_tokens = 80
[critique]
per_task = 1
per_round = 2
max_tokens = 64
[curate]
min_size = 2
[train]
learning_rate = 1e-3
layers = 4
batch_examples = 2
[gate]
samples = 1
temperature = 0.0
tolerance = 1.0
[evaluate]
samples = 1
temperature = 0.0
ks = [1]
"""


class Done(NamedTuple):
    """A run that has ended."""

    folder: Path
    output: str
    report: Mapping[str, Any]

    @property
    def ledger(self) -> Path:
        return self.folder / "ledger.sqlite"

    def versions(self) -> list[PolicyVersion]:
        return [version for version in read_records(self.ledger, PolicyVersion) if version.state == "promoted"]


def command(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "main.py"), *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Done:
    folder = tmp_path_factory.mktemp("whole")
    (folder / "tasks").symlink_to(ROOT / "tasks")
    (folder / "config.toml").write_text(SETTINGS, encoding="utf-8")
    ran = command(folder, "run", "config.toml")
    assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr[-3000:]
    told = command(folder, "report", "runs/whole", "--json")
    assert told.returncode == 0, told.stderr
    return Done(folder=folder / "runs" / "whole", output=ran.stdout, report=json.loads(told.stdout))


def test_two_versions_are_trained_and_published_in_turn(done: Done) -> None:
    first, second = done.versions()
    assert (first.number, first.parent, second.number, second.parent) == (1, 0, 2, 1)
    assert all(report.losses and all(map(math.isfinite, report.losses)) for report in _trainings(done))
    assert len({report.content_hash for report in _trainings(done)}) == 2


def test_what_is_served_is_proven_to_be_what_was_trained(done: Done) -> None:
    for version in done.versions():
        assert version.probes
        assert version.canary is not None
        assert 0 < version.canary < 0.1


def test_the_second_round_is_answered_by_the_version_that_the_first_one_made(done: Done) -> None:
    by_round = {candidate.round: candidate.version for candidate in read_records(done.ledger, Candidate)}
    assert by_round == {0: 0, 1: 1}


def test_answers_are_judged_by_the_real_model(done: Done) -> None:
    assert read_records(done.ledger, Verdict)
    (judge,) = done.report["judges"]
    assert judge["calls"] > 0
    assert judge["tokens"] > 0


def test_every_version_is_measured_on_the_held_out_tasks(done: Done) -> None:
    held_out = {task.id for task in load_tasks(str(ROOT / "tasks" / "held_out.jsonl"), limit=5)}
    measured = {
        evaluation.version: {result.task_id for result in evaluation.results}
        for evaluation in read_records(done.ledger, Evaluation)
        if evaluation.purpose == "held_out"
    }
    assert measured == dict.fromkeys((0, 1, 2), held_out)


def test_nothing_held_out_is_trained_on_by_id_or_by_overlap(done: Done) -> None:
    evaluated = [task for name in ("gate", "held_out") for task in load_tasks(str(ROOT / "tasks" / f"{name}.jsonl"))]
    examples = read_records(done.ledger, Example)
    assert examples
    assert not {example.task_id for example in examples} & {task.id for task in evaluated}
    index = overlap_index(evaluated)
    assert [overlaps(index, example) for example in examples] == [None] * len(examples)


def test_the_report_has_the_fields_that_scripts_read(done: Done) -> None:
    assert {"versions", "judges", "decisions", "tokens", "seconds", "records"} <= done.report.keys()
    assert [version["version"] for version in done.report["versions"]] == [0, 1, 2]
    for version in done.report["versions"]:
        assert {
            "version",
            "adapter",
            "candidates",
            "executable_share",
            "examples",
            "promoted",
            "reason",
        } <= version.keys()
        assert version["pass_at_1_low"] <= version["pass_at_1"] <= version["pass_at_1_high"]
    (judge,) = done.report["judges"]
    assert {"name", "reliability", "position_bias", "calls", "tokens"} <= judge.keys()
    assert done.report["records"] == count_records(done.ledger)


def test_the_terminal_ends_with_the_table_and_the_plot_is_drawn(done: Done) -> None:
    assert "Policy versions" in done.output
    assert (done.folder / "pass_at_1.png").read_bytes().startswith(b"\x89PNG")


def test_the_same_command_again_finds_nothing_to_do_and_starts_nothing(done: Done) -> None:
    before, server_log = last_sequence(done.ledger), (done.folder / "logs" / "vllm.log").read_bytes()
    again = command(done.folder.parent.parent, "run", "config.toml")
    assert again.returncode == 0, again.stderr
    assert last_sequence(done.ledger) == before
    assert (done.folder / "logs" / "vllm.log").read_bytes() == server_log


def _trainings(done: Done) -> list[TrainingReport]:
    return read_records(done.ledger, TrainingReport)
