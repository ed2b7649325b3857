"""`eval`: serve one policy version, have it answer a set of tasks, and print what passed. Changes no run."""

import tempfile
from functools import partial
from pathlib import Path

import msgspec
import trio
from rich.console import Console

from commands.assembly import base_version, evaluator_of, executor_of
from commands.exit_code import DONE
from commands.model_cache import CACHE
from commands.sandboxes import open_sandbox
from commands.serving import check_managed_port, open_serving
from dashboard.events import configure_events
from evals.datasets import load_tasks
from ledger.memory import MemoryLedger
from ledger.run_folder import RunFolder
from ledger.sqlite import open_ledger
from protocols.errors import RunFolderError, SettingsError
from protocols.ports import Sandbox
from protocols.records import Evaluation, PolicyVersion, Task
from protocols.settings import Settings, load_settings, parse_settings
from trainer.model_folder import resolve_model


def evaluate_command(
    target: Path, overrides: tuple[str, ...], tasks: str | None, version: int | None, *, as_json: bool
) -> int:
    """Evaluate and print.

    Args:
        target: a settings file, or a run's folder.
        overrides: of the settings file's keys; a run's own settings are as they are.
        tasks: source of the tasks; None takes the held-out set.
        version: of a run; None takes its current one.
        as_json: print one JSON object instead of a table.

    Raises:
        RefineError: see `protocols.errors`.
    """
    if target.is_dir():
        folder = RunFolder(target)
        settings = parse_settings(folder.stored_settings(), str(folder.settings))
        chosen = trio.run(_version_of_run, folder, version)
    else:
        settings, chosen = load_settings(target, overrides), base_version()
        if version:
            raise SettingsError(f"version {version} is of no run: {target} is a settings file; give a run's folder")
    source = tasks or settings.tasks.held_out
    if source is None:
        raise SettingsError("there is no held-out set in these settings; give --tasks SOURCE")
    evaluation = trio.run(_evaluate, settings, chosen, source, Console(stderr=True))
    console = Console()
    if as_json:
        console.out(msgspec.json.format(msgspec.json.encode(evaluation), indent=2).decode(), highlight=False)
    else:
        console.print(_summary(evaluation, chosen.name, source), highlight=False, soft_wrap=True)
    return DONE


def _summary(evaluation: Evaluation, name: str, source: str) -> str:
    speed = evaluation.completion_tokens / max(evaluation.seconds, 1e-9)
    others = "".join(f", pass@{k} {share:.1%}" for k, share in sorted(evaluation.pass_at_k.items()) if k > 1)
    return (
        f"{name} on {source}: {len(evaluation.results)} tasks, pass@1 {evaluation.pass_at_1:.1%} "
        f"(95 % interval {evaluation.low:.1%} to {evaluation.high:.1%}){others}, executable "
        f"{evaluation.executable_share:.1%}, {speed:.0f} tokens/s"
    )


async def _version_of_run(folder: RunFolder, number: int | None) -> PolicyVersion:
    async with open_ledger(folder.ledger, read_only=True) as ledger:
        versions = {version.number: version for version in await ledger.find(PolicyVersion)}
    if number is None:
        return max((v for v in versions.values() if v.state in ("base", "promoted")), key=lambda v: v.number)
    if number not in versions or (number > 0 and versions[number].adapter is None):
        raise RunFolderError(f"the run in {folder.path} has no version {number}; it has {sorted(versions)}")
    return versions[number]


async def _evaluate(settings: Settings, version: PolicyVersion, source: str, console: Console) -> Evaluation:
    tasks = load_tasks(source, limit=settings.tasks.limit)
    check_managed_port(settings)
    configure_events(console, None)
    async with open_sandbox(settings.sandbox) as sandbox:
        await sandbox.check()
        model = await resolve_model(settings.model.name, CACHE, partial(console.print, highlight=False, markup=False))
        return await _evaluate_in(sandbox, settings, version, tasks, model)


async def _evaluate_in(
    sandbox: Sandbox, settings: Settings, version: PolicyVersion, tasks: tuple[Task, ...], model: str
) -> Evaluation:
    ledger = MemoryLedger()

    async def prepare() -> PolicyVersion:
        await trio.lowlevel.checkpoint()
        return version

    with tempfile.TemporaryDirectory(prefix="eval-") as logs:
        async with trio.open_nursery() as nursery:
            serving = await open_serving(settings, model, prepare, Path(logs) / "vllm.log", nursery)
            try:
                evaluator = evaluator_of(settings, serving.policy, executor_of(settings, sandbox, ledger), ledger)
                evaluation = await evaluator.evaluate(
                    version,
                    tasks,
                    purpose="held_out",
                    round=0,
                    samples=settings.evaluate.samples,
                    temperature=settings.evaluate.temperature,
                    staged=False,
                )
            finally:
                with trio.CancelScope(shield=True):
                    await serving.aclose()
            nursery.cancel_scope.cancel()
    return evaluation
