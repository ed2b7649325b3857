"""`train`: one LoRA job by the project's trainer and by TRL's `SFTTrainer`, padded and packed, on the same tokens.

Each turn is a process of its own, in turn over the rounds, with the same allocator settings, threads, rank, precision
and rate; a step is 8 examples, a pass through the model 4 padded examples or 1,024 tokens, of which ours takes fewer
where more would only cost memory (`trainer.memory`), two passes of a narrow model side by side (`trainer.lanes`). What
is measured is the job without its first step, in which libraries compile kernels: tokens of the examples, counted
without padding and each on its own, by wall time and by CPU time, and the peak resident memory of the whole process.
Ours computes beginnings that examples of a pass have in common once; TRL does not. The plain loop of the tests is run
once and ours is held against its loss at every step. Further models also take one step on 16 examples of 300 tokens,
with and without gradient checkpointing: that much memory it needs above the model's own.

Examples: reference answers, of MBPP's published file where TRAIN_TASKS names it, else of the project's own training
tasks; every fourth one is made into a critique of a spoilt answer. TRAIN_EXAMPLES=500 and TRAIN_ROUNDS change how many
there are; what was run is in the results. TRAIN_MODELS lists further model folders, separated by colons. Not done:
evaluation, checkpoints, writing of adapters; start-up is not counted.
"""

import json
import os
import random
import subprocess
import sys
import tempfile
import venv
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import trio

from benchmarks.report import Goal, Row, at_least, at_most, machine, publish, row, versions
from commands.model_cache import CACHE
from evals.datasets import load_tasks
from method.examples import answer_example
from protocols import prompts
from protocols.records import Example, Message, Task
from protocols.settings import EMBEDDED_MODEL
from trainer.allocator import find_mimalloc, worker_environment
from trainer.model_folder import resolve_model

PROJECT = Path(__file__).resolve().parent.parent
PEERS = PROJECT / ".bench" / "train"
TRL = "trl==1.16.0"
EXAMPLES = int(os.environ.get("TRAIN_EXAMPLES", "64"))
ROUNDS = int(os.environ.get("TRAIN_ROUNDS", "5"))
TASKS = os.environ.get("TRAIN_TASKS", str(PROJECT / "tasks" / "train.jsonl"))
MODELS = tuple(filter(None, os.environ.get("TRAIN_MODELS", "").split(":")))
LARGE_EXAMPLES, LARGE_TOKENS, LARGE_PROMPT = 16, 300, 100
THREADS = 2
BATCH_EXAMPLES = 8
PASS_EXAMPLES = 4
PASS_TOKENS = 1024
RATE = 2e-4
RANK = 16
OURS, PLAIN, PADDED, PACKED = "ours", "plain", "TRL padded", "TRL packed"
LARGE_STEP = f"a step of {LARGE_EXAMPLES} x {LARGE_TOKENS} tokens"
TURN_S = 3600.0

Turn = dict[str, Any]


class Outcome(msgspec.Struct):
    """What one turn came to."""

    losses: list[float]
    marks: list[tuple[float, float]]
    """When each step ended: wall and CPU seconds."""
    peak_bytes: int


def main() -> None:
    """Run the benchmark, print its figures and write its results."""
    on = machine()
    _make_peers()
    rows: list[Row] = []
    goals: list[Goal] = []
    with tempfile.TemporaryDirectory(prefix="train-") as folder:
        for number, model in enumerate((EMBEDDED_MODEL, *MODELS)):
            name, path = _name(model), trio.run(resolve_model, model, CACHE)
            turn = _turn(path, EXAMPLES if number == 0 else max(2 * BATCH_EXAMPLES, EXAMPLES * 3 // 8), folder)
            outcomes = _measure(turn, name)
            truth = _run(turn | {"contender": PLAIN})
            rows += _rows(name, turn, outcomes)
            goals += _goals(name, outcomes, truth, turn)
            if number > 0:
                large = _large_step(turn)
                rows += [
                    row(f"{one}, {name}", "peak memory above the model", "GiB", [most]) for one, most in large.items()
                ]
                goals.append(at_most(f"{name}: {LARGE_STEP}: GiB above the model", 4.0, large[LARGE_STEP]))
    publish(
        "train",
        on=on,
        with_versions=versions(("torch", "transformers", "peft")) | {"trl": TRL.partition("==")[2]},
        settings={
            "examples": EXAMPLES,
            "examples_of_further_models": max(2 * BATCH_EXAMPLES, EXAMPLES * 3 // 8),
            "rounds": ROUNDS,
            "threads": THREADS,
            "batch_examples": BATCH_EXAMPLES,
            "pass_examples": PASS_EXAMPLES,
            "pass_tokens": PASS_TOKENS,
            "rank": RANK,
            "precision": "bfloat16",
            "allocator": "mimalloc" if find_mimalloc() else "glibc, told to keep its memory",
            "tasks": Path(TASKS).name,
        },
        rows=rows,
        targets=goals,
    )


def _make_peers() -> None:
    """Make the peers' environment: the project's own versions, and TRL."""
    ready = PEERS / ".ready"
    if ready.is_file():
        return
    venv.create(PEERS, with_pip=True)
    wanted = ("torch", "transformers", "peft", "accelerate", TRL)
    pip = (str(PEERS / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check")
    subprocess.run((*pip, "--constraint", str(PROJECT / "requirements.lock"), *wanted), check=True)
    ready.touch()


def _turn(model: str, count: int, folder: str) -> Turn:
    """Return what is alike for all contenders; the examples are rendered once, with the model's own template."""
    script = (
        "import json, sys; from transformers import AutoTokenizer; from protocols.records import Example; "
        "from trainer.rendering import render_all; import msgspec; "
        "examples = msgspec.json.decode(sys.stdin.buffer.read(), type=tuple[Example, ...]); "
        f"found = render_all(AutoTokenizer.from_pretrained({model!r}), examples, {PASS_TOKENS}).rendered; "
        "print(json.dumps([{'ids': one.ids, 'learnt': one.learnt} for one in found]))"
    )
    answer = subprocess.run(
        (sys.executable, "-c", script), input=msgspec.json.encode(_examples(count)), capture_output=True, check=True
    )
    return {
        "model": model,
        "examples": json.loads(answer.stdout),
        "project": str(PROJECT),
        "folder": folder,
        "batch_examples": BATCH_EXAMPLES,
        "pass_examples": PASS_EXAMPLES,
        "pass_tokens": PASS_TOKENS,
        "rate": RATE,
        "rank": RANK,
        "alpha": 2 * RANK,
        "threads": THREADS,
    }


def _examples(count: int) -> list[Example]:
    tasks = [task for task in load_tasks(TASKS) if task.reference is not None]
    random.Random(0).shuffle(tasks)
    return [_example(number, tasks[number % len(tasks)]) for number in range(count)]


def _example(number: int, task: Task) -> Example:
    """Return the task's reference as an answer; every fourth time as the mended end of a critique."""
    answer = answer_example(task, task.reference or "", origin="reference", round=0, version=0)
    if number % 4 != 3:
        return answer
    spoilt = prompts.answer_text((task.reference or "").replace("return", "return not"))
    turns = (
        Message(role="assistant", content=spoilt),
        Message(role="user", content="This failed 2 of 3 tests. Say what is wrong, then give the mended code."),
        Message(
            role="assistant",
            content=f"The result is negated before it is returned.\n\n{answer.messages[-1].content}",
            loss=True,
        ),
    )
    return msgspec.structs.replace(answer, id=f"{answer.id}-critique", messages=(*answer.messages[:-1], *turns))


def _measure(turn: Turn, name: str) -> dict[str, list[Outcome]]:
    outcomes: dict[str, list[Outcome]] = defaultdict(list)
    contenders = (OURS, PADDED, PACKED)
    for number in range(ROUNDS):
        for contender in contenders if number % 2 == 0 else contenders[::-1]:
            outcome = _run(turn | {"contender": contender})
            outcomes[contender].append(outcome)
            figures = f"{_speed(outcome, turn, 0):8.1f} tokens/s  {outcome.peak_bytes / 2**30:.2f} GiB"
            print(f"{name} {contender:<12} {figures}", flush=True)
    return outcomes


def _large_step(turn: Turn) -> dict[str, float]:
    """Return the peak memory of one large step above the size of the model's weights, in GiB."""
    examples = [
        {
            "ids": list(range(LARGE_TOKENS * number, LARGE_TOKENS * (number + 1))),  # nothing in common
            "learnt": [at >= LARGE_PROMPT for at in range(LARGE_TOKENS)],
        }
        for number in range(LARGE_EXAMPLES)
    ]
    large = {**turn, "contender": OURS, "examples": examples, "batch_examples": LARGE_EXAMPLES, "pass_tokens": 2048}
    weights = sum(file.stat().st_size for file in Path(turn["model"]).glob("*.safetensors"))
    outcomes = {
        LARGE_STEP: _run(large),
        f"{LARGE_STEP}, gradient checkpointing": _run(large | {"gradient_checkpointing": True}),
    }
    return {name: (outcome.peak_bytes - weights) / 2**30 for name, outcome in outcomes.items()}


def _run(turn: Turn) -> Outcome:
    own = turn["contender"] in (OURS, PLAIN)
    program = (sys.executable if own else str(PEERS / "bin" / "python"), "-m", "benchmarks.train_contenders")
    environment = worker_environment(os.environ, THREADS, find_mimalloc())
    done = subprocess.run(
        program if own else (program[0], str(PROJECT / "benchmarks" / "train_contenders.py")),
        input=json.dumps(turn),
        capture_output=True,
        text=True,
        cwd=PROJECT,
        env={**environment, "HF_HUB_OFFLINE": "1"},
        timeout=TURN_S,
        check=False,
    )
    if done.returncode != 0:
        raise SystemExit(f"{turn['contender']} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return msgspec.json.decode(done.stdout.splitlines()[-1], type=Outcome)


def _speed(outcome: Outcome, turn: Turn, clock: int) -> float:
    """Return tokens a second after the first step; `clock` 0 is the wall's, 1 the CPU's."""
    tokens = sum(len(example["ids"]) - 1 for example in turn["examples"])
    steps = len(outcome.marks)
    return tokens * (steps - 1) / steps / (outcome.marks[-1][clock] - outcome.marks[0][clock])


def _rows(name: str, turn: Turn, outcomes: dict[str, list[Outcome]]) -> list[Row]:
    rows: list[Row] = []
    for contender, turns in outcomes.items():
        who = f"{contender}, {name}"
        rows += [
            row(who, "speed", "tokens/s", [_speed(one, turn, 0) for one in turns]),
            row(who, "speed by CPU", "tokens/CPU-s", [_speed(one, turn, 1) for one in turns]),
            row(who, "peak memory", "GiB", [one.peak_bytes / 2**30 for one in turns]),
        ]
    return rows


def _goals(name: str, outcomes: dict[str, list[Outcome]], truth: Outcome, turn: Turn) -> list[Goal]:
    def best(measure: Any, contenders: Sequence[str], choose: Any) -> float:
        return choose(sorted(map(measure, outcomes[one]))[len(outcomes[one]) // 2] for one in contenders)

    def speed(outcome: Outcome) -> float:
        return _speed(outcome, turn, 0)

    def peak(outcome: Outcome) -> float:
        return outcome.peak_bytes

    apart = max(abs(mine / true - 1) for mine, true in zip(outcomes[OURS][0].losses, truth.losses, strict=True))
    trl = (PADDED, PACKED)
    faster = best(speed, [OURS], max) / best(speed, trl, max)
    leaner = best(peak, [OURS], min) / best(peak, trl, min)
    return [
        at_least(f"{name}: tokens/s, ours against the better of TRL's", 2.0, faster),
        at_most(f"{name}: peak memory, ours against the leaner of TRL's", 0.5, leaner),
        at_most(f"{name}: largest difference of a step's loss from the plain loop's", 0.01, apart),
    ]


def _name(model: str) -> str:
    return "135M" if model == EMBEDDED_MODEL else Path(model).name
