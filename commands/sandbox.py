"""`sandbox check` and `sandbox run`: prove the sandbox, and run programs against tests in it."""

import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import trio

from commands.exit_code import DONE, NO_SANDBOX, NOT_PASSED
from commands.sandbox_answer import Answer, BatchAnswer, answer_of, lines_of, no_verdict
from commands.sandbox_batch import Pair, read_batch, read_job, read_program
from commands.sandboxes import limits_of, open_sandbox, repeating, workers_of
from protocols.errors import SandboxError, SandboxUnavailable
from protocols.ports import Job, Sandbox
from protocols.records import AssertTest
from protocols.settings import SandboxSettings, Settings, default_settings, load_settings
from sandbox.canaries import Probed

_RATE_S = 2.0
_TRIVIAL = Job(
    code="def f(x):\n    return x + 1\n",
    tests=tuple(AssertTest(code=f"assert f({x}) == {x + 1}") for x in range(3)),
    entry_point="f",
)


class _CheckAnswer(msgspec.Struct, frozen=True, kw_only=True):
    tier: str
    probes: tuple[Probed, ...]
    runs_per_s: float | None
    """Of a trivial program with three tests; None when the sandbox does not hold."""
    workers: int
    message: str = ""


def sandbox_check_command(config: Path | None, overrides: tuple[str, ...], *, as_json: bool) -> int:
    """Probe the sandbox and print what was found.

    Raises:
        SettingsError: the settings cannot be used.
    """
    return trio.run(_check, _settings(config, overrides).sandbox, as_json)


def sandbox_run_command(
    program: Path, tests: Path, config: Path | None, overrides: tuple[str, ...], *, as_json: bool
) -> int:
    """Run one program against its tests and print what happened.

    Raises:
        UsageError: the settings, the program's file or the tests file cannot be used.
    """
    settings = _settings(config, overrides).sandbox
    job = read_job(read_program(program), tests, limits_of(settings))
    return trio.run(_run_one, settings, job, as_json)


def sandbox_batch_command(batch: Path, config: Path | None, overrides: tuple[str, ...], *, as_json: bool) -> int:
    """Run every program of a batch and print what happened, one after another, in the batch's order.

    Raises:
        UsageError: the settings or the batch cannot be used.
    """
    settings = _settings(config, overrides).sandbox
    pairs = read_batch(batch, limits_of(settings))
    return trio.run(_run_batch, settings, pairs, as_json)


def _settings(config: Path | None, overrides: tuple[str, ...]) -> Settings:
    return default_settings("sandbox", overrides) if config is None else load_settings(config, overrides)


async def _check(settings: SandboxSettings, as_json: bool) -> int:
    probes: list[Probed] = []

    def tell(probed: Probed) -> None:
        probes.append(probed)
        if not as_json:
            sys.stdout.write(f"  {'held' if probed.held else 'FAILED':8}{probed.name}: {probed.came}\n")
            sys.stdout.flush()

    workers = workers_of(settings)
    tier, rate, message = "", None, ""
    try:
        async with open_sandbox(settings) as sandbox:
            tier = await sandbox.check(tell)
            rate = await _runs_per_s(sandbox, workers)
    except SandboxError as error:
        message = str(error)
    if as_json:
        answer = _CheckAnswer(tier=tier, probes=tuple(probes), runs_per_s=rate, workers=workers, message=message)
        _print_json(answer)
    elif rate is not None:
        sys.stdout.write(f"tier: {tier}\n{rate:.0f} runs/s (a trivial program with 3 tests; {workers} workers)\n")
    return DONE if rate is not None else _no_sandbox(message)


async def _runs_per_s(sandbox: Sandbox, workers: int) -> float:
    """Return how many trivial jobs are run per second, each worker kept busy."""
    start, done = trio.current_time(), 0

    async def keep_busy() -> None:
        nonlocal done
        while trio.current_time() < start + _RATE_S:
            await sandbox.run(_TRIVIAL)
            done += 1

    async with trio.open_nursery() as nursery:
        for _ in range(2 * workers):
            nursery.start_soon(keep_busy)
    return done / (trio.current_time() - start)


async def _run_one(settings: SandboxSettings, job: Job, as_json: bool) -> int:
    try:
        async with open_sandbox(settings) as sandbox:
            answer = answer_of(await repeating(sandbox, settings).run(job))
    except SandboxError as error:
        answer = no_verdict(str(error), len(job.tests))
    _print_answer(answer, as_json)
    return _no_sandbox(answer.message) if answer.outcome == "sandbox_failure" else _code([answer])


async def _run_batch(settings: SandboxSettings, pairs: tuple[Pair, ...], as_json: bool) -> int:
    start = trio.current_time()
    answers: list[Answer] = []

    def take(pair: Pair, answer: Answer) -> None:
        answers.append(answer)
        if as_json:
            _print_json(BatchAnswer(id=pair.id, **msgspec.structs.asdict(answer)))
        else:
            sys.stdout.write(f"{pair.id}: {lines_of(answer)}\n")

    try:
        async with open_sandbox(settings) as sandbox:
            await sandbox.check()
            await _in_order(repeating(sandbox, settings), pairs, 2 * workers_of(settings), take)
    except SandboxUnavailable as error:
        return _no_sandbox(str(error))
    counts = ", ".join(f"{count} {kind}" for kind, count in Counter(answer.outcome for answer in answers).most_common())
    rate = len(answers) / max(trio.current_time() - start, 1e-9)
    sys.stderr.write(f"{len(answers)} programs: {counts}; {rate:.0f} runs/s\n")
    return _code(answers)


async def _in_order(
    sandbox: Sandbox, pairs: Sequence[Pair], at_once: int, take: Callable[[Pair, Answer], None]
) -> None:
    """Run all jobs, `at_once` at the same time, and hand each answer over as soon as those before it are there."""
    answers: dict[int, Answer] = {}
    left = iter(enumerate(pairs))
    taken = 0

    async def work() -> None:
        nonlocal taken
        for place, pair in left:
            answers[place] = await _answer(sandbox, pair.job)
            while taken in answers:
                take(pairs[taken], answers.pop(taken))
                taken += 1

    async with trio.open_nursery() as nursery:
        for _ in range(at_once):
            nursery.start_soon(work)


async def _answer(sandbox: Sandbox, job: Job) -> Answer:
    try:
        return answer_of(await sandbox.run(job))
    except SandboxUnavailable:
        raise
    except SandboxError as error:
        return no_verdict(str(error), len(job.tests))


def _code(answers: Sequence[Answer]) -> int:
    if any(answer.outcome == "sandbox_failure" for answer in answers):
        return NO_SANDBOX
    return DONE if all(answer.outcome == "pass" for answer in answers) else NOT_PASSED


def _no_sandbox(message: str) -> int:
    sys.stderr.write(f"error: {message}\n")
    return NO_SANDBOX


def _print_answer(answer: Answer, as_json: bool) -> None:
    if as_json:
        _print_json(answer)
    elif answer.outcome != "sandbox_failure":
        sys.stdout.write(lines_of(answer) + "\n")


def _print_json(answer: msgspec.Struct) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(answer) + b"\n")
    sys.stdout.flush()
