"""What the benchmark of what is learnt runs and compares; the runs themselves take hours and are not tested here."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks import learn
from benchmarks.learn_outcome import Outcome, keep_outcome
from evals.arm import Arm, Point
from evals.evaluation import make_evaluation
from ledger.run_folder import RunFolder
from protocols.errors import SettingsError
from protocols.records import TaskResult

CHECKED, ALL = range(602, 610), range(601, 700)


@pytest.fixture
def mbpp(tmp_path: Path) -> Path:
    folder = tmp_path / "mbpp"
    folder.mkdir()
    for name, ids in (("sanitized-train", CHECKED), ("train", ALL), ("validation", range(511, 520))):
        text = "".join(json.dumps({"task_id": number}) + "\n" for number in ids)
        (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")
    return folder


def arm(name: str, *passed: int) -> Arm:
    """Return an arm whose versions pass so many of ten samples of each of two tasks."""
    points = tuple(
        Point(
            version=version,
            sampled_tokens=0,
            evaluation=make_evaluation(
                results=[TaskResult(task_id=task, samples=10, correct=count) for task in ("a", "b")],
                purpose="held_out",
                version=version,
                round=0,
                executable_share=1.0,
                prompt_tokens=0,
                completion_tokens=0,
                seconds=0.0,
                ks=(1,),
                seed=0,
            ),
        )
        for version, count in enumerate(passed)
    )
    return Arm(
        name=name, settings={}, points=points, digests={}, examples=0, tokens={"sampled": 0, "training": 0}, seconds=0.0
    )


def test_the_gate_has_tasks_of_the_full_set_that_no_arm_trains_on(mbpp: Path, tmp_path: Path) -> None:
    sets = learn.task_sets(mbpp, tmp_path / "work")
    gate = [json.loads(line)["task_id"] for line in Path(sets["gate"]).read_text(encoding="utf-8").splitlines()]
    assert len(gate) == learn.GATE_TASKS
    assert set(gate) <= set(ALL) - set(CHECKED)
    assert [Path(sets[kind]).name for kind in ("train", "held_out")] == ["sanitized-train.jsonl", "validation.jsonl"]


def test_a_missing_file_is_named(mbpp: Path, tmp_path: Path) -> None:
    (mbpp / "validation.jsonl").unlink()
    with pytest.raises(SettingsError, match=r"validation\.jsonl is not there"):
        learn.task_sets(mbpp, tmp_path)


def test_an_arm_that_does_not_exist_is_named(mbpp: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(learn, "FOLDER", tmp_path)
    for name, value in (("LEARN_MODEL", "m"), ("LEARN_MBPP", str(mbpp)), ("LEARN_ARMS", "full,other")):
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match="no arm is called other"):
        learn.main()


def test_each_promise_compares_the_last_versions_of_the_arms_that_are_there() -> None:
    found = learn.targets([arm(learn.FULL, 2, 5), arm(learn.REJECTION_SAMPLING, 2, 4)])
    assert [(goal.value, goal.reached) for goal in found] == [(0.1, True), (0.3, True)]
    assert found[0].text.startswith("full above rejection_sampling")
    assert found[1].text.startswith("full above untouched")


def test_a_promise_that_is_not_kept_is_told() -> None:
    (against, _) = learn.targets([arm(learn.FULL, 2, 3), arm(learn.REJECTION_SAMPLING, 2, 6)])
    assert (against.value, against.reached) == (-0.3, False)


def outcome_after(rounds: int, of: Arm) -> Outcome:
    sampled = {"Generation": 4000, "Verdict": 2000, "Critique": 1000}
    return Outcome(arm=of, candidates=8, rounds=rounds, sampled=sampled, processor="another")


def run_of(rounds: int, count: int) -> Callable[[RunFolder, str], Outcome]:
    return lambda _, name: outcome_after(rounds, arm(name, 2, count))


Keep = Callable[[str, int, int], Path]


@pytest.fixture
def keep(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Keep:
    """Keeps an arm's outcome: its name, the rounds that are over, and the pass count of its last version."""
    monkeypatch.setattr(learn, "FOLDER", tmp_path / "here")

    def keep(name: str, rounds: int, count: int) -> Path:
        keep_outcome(tmp_path / "kept", outcome_after(rounds, arm(name, 2, count)))
        return tmp_path / "kept"

    return keep


def test_what_came_of_an_arm_elsewhere_is_compared_too(keep: Keep) -> None:
    kept = keep(learn.FULL, 3, 5)
    found = learn.outcome(learn.FULL, kept)
    assert found is not None
    assert (found.arm, found.processor) == (arm(learn.FULL, 2, 5), "another")
    (measured,) = [row for row in learn.rows([found]) if (row.contender, row.unit) == (learn.FULL, "share")]
    assert (measured.median, "3 rounds" in measured.notes) == (0.5, True)
    assert learn.outcome("no_judge", kept) is None


@pytest.mark.parametrize(("rounds", "count"), [(2, 5), (3, 4), (4, 5)])
def test_a_run_of_another_length_is_not_compared(
    keep: Keep, monkeypatch: pytest.MonkeyPatch, rounds: int, count: int
) -> None:
    kept = keep(learn.FULL, 3, 5)
    monkeypatch.setattr(learn, "outcome_of", run_of(rounds, 4))
    assert learn.outcome(learn.FULL, kept) == outcome_after(3, arm(learn.FULL, 2, count))


def test_only_arms_of_one_model_set_and_length_are_kept_together(monkeypatch: pytest.MonkeyPatch) -> None:
    places: set[Path] = set()
    for model in ("models/a", "models/b"):
        for train in ("sanitized-train.jsonl", "train.jsonl"):
            for rounds in ("1", "3"):
                monkeypatch.setenv("LEARN_ROUNDS", rounds)
                places.add(learn.kept_folder(model, {"train": train}))
    assert len(places) == 8


@pytest.mark.parametrize(
    ("name", "candidates"), [(learn.REJECTION_SAMPLING, 14), ("no_judge", 12), ("no_critique", 10)]
)
def test_arms_that_ask_fewer_sample_more_candidates(keep: Keep, name: str, candidates: int) -> None:
    assert learn.candidates_of(name, keep(learn.FULL, 3, 5)) == candidates


def test_an_arm_that_is_measured_by_an_unfinished_one_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(learn, "FOLDER", tmp_path)
    monkeypatch.setattr(learn, "outcome_of", run_of(1, 5))
    with pytest.raises(SettingsError, match="full, which is not done"):
        learn.candidates_of(learn.REJECTION_SAMPLING, tmp_path / "kept")
