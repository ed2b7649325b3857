"""`run`: check everything that can be checked, then begin, or go on with what was begun."""

import signal
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import structlog
import trio
from rich.console import Console

from actors.failures import fatal
from actors.pipeline import Pipeline
from commands.assembly import build_pipeline, current_version, executor_of, probe_texts
from commands.exit_code import DONE, INTERRUPTED
from commands.model_cache import CACHE
from commands.report import show_report
from commands.sandboxes import open_sandbox
from commands.serving import Serving, check_managed_port, check_servable, open_serving
from commands.task_sets import TaskSets, load_task_sets, run_references
from dashboard.events import configure_events
from dashboard.terminal import Status, line, make_status, show_progress
from dashboard.trackers import check_trackers, open_trackers
from dashboard.tracking import Curves, TrackedLedger, TrackedTrainer, open_curves
from endpoints.machine import this_machine
from ledger.queries import read_records
from ledger.run_folder import RunFolder
from ledger.sqlite import open_ledger
from protocols.errors import UsageError
from protocols.ports import Ledger, Sandbox
from protocols.records import Evaluation, PolicyVersion, RoundSettled, TrainingReport
from protocols.settings import Settings, flatten_settings, load_settings
from trainer.model_folder import resolve_model
from trainer.process import TrainerProcess, worker_command
from trainer.targets import check_stored_targets

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

PROJECT = "adaptive-critique-refinement"
"""Name of the project or experiment in trackers that know such."""
CLOSING_S = 30.0
"""For ending the trainer and closing connections."""


def run_command(config: Path, overrides: tuple[str, ...]) -> int:
    """Run the rounds of `config`; return the exit code.

    Raises:
        RefineError: see `protocols.errors`; after a `UsageError` nothing half-made is left.
    """
    return trio.run(_run, load_settings(config, overrides), Console())


async def _run(settings: Settings, console: Console) -> int:
    folder = RunFolder(Path(settings.run.folder) / settings.run.name)
    folder.check(settings)
    check_servable(settings)
    check_trackers(settings.run.trackers)
    tasks = load_task_sets(settings.tasks)
    check_managed_port(settings)
    configure_events(console, None)
    async with open_sandbox(settings.sandbox) as sandbox:
        await sandbox.check()
        return await _run_in(sandbox, settings, folder, tasks, console)


async def _run_in(sandbox: Sandbox, settings: Settings, folder: RunFolder, tasks: TaskSets, console: Console) -> int:
    model = await resolve_model(settings.model.name, CACHE, partial(_say, console))
    check_stored_targets(model, settings.train.targets)
    created = folder.create(settings)
    configure_events(console, folder.events)
    if not created and _is_over(folder, settings):
        show_report(folder, as_json=False)
        return DONE
    begun = trio.Event()
    try:
        return await _begin(settings, folder, tasks, sandbox, model, console, begun)
    except BaseException as error:
        if created and not begun.is_set() and isinstance(fatal(error), UsageError):
            configure_events(console, None)
            folder.remove()
        raise


def _is_over(folder: RunFolder, settings: Settings) -> bool:
    """Whether every round was settled before and its last version measured, so that nothing needs to be started."""
    if not folder.ledger.exists() or len(read_records(folder.ledger, RoundSettled)) < settings.run.rounds:
        return False
    standing = [v.number for v in read_records(folder.ledger, PolicyVersion) if v.state in ("base", "promoted")]
    measured = {(e.version, e.purpose) for e in read_records(folder.ledger, Evaluation)}
    return settings.tasks.held_out is None or (max(standing, default=0), "held_out") in measured


async def _begin(
    settings: Settings,
    folder: RunFolder,
    tasks: TaskSets,
    sandbox: Sandbox,
    model: str,
    console: Console,
    begun: trio.Event,
) -> int:
    start = trio.current_time()
    trainer = TrainerProcess(
        log_path=folder.trainer_log,
        threads=max(1, len(this_machine().cores) // settings.train.processes),
        step_deadline_s=settings.train.step_deadline_s,
        command=worker_command(settings.train.processes),
        gpus=settings.train.gpus,
    )
    async with (
        open_ledger(folder.ledger) as journal,
        _open_curves(settings, folder, journal) as curves,
        trio.open_nursery() as nursery,
    ):
        ledger = TrackedLedger(journal, curves)
        try:
            executor = executor_of(settings, sandbox, ledger)
            usable: list[TaskSets] = []

            async def prepare() -> PolicyVersion:
                usable.append(await run_references(tasks, settings.tasks, ledger, executor))
                return await current_version(ledger, model, probe_texts(settings, usable[0].gate), trainer)

            serving = await open_serving(settings, model, prepare, folder.server_log, nursery)
            tracked = TrackedTrainer(trainer, curves)
            pipeline = await build_pipeline(settings, folder, model, usable[0], ledger, executor, tracked, serving)
            begun.set()
            version = serving.policy.current.number
            log.info("run_began", run=settings.run.name, tasks=len(usable[0].train), version=version)
            await _drive(settings, folder, pipeline, serving, console, start)
            with trio.CancelScope(shield=True), trio.move_on_after(CLOSING_S):
                await serving.aclose()
        finally:
            with trio.CancelScope(shield=True), trio.move_on_after(CLOSING_S):
                await trainer.aclose()
        nursery.cancel_scope.cancel()
    statistics = pipeline.statistics()
    if statistics.settled < statistics.rounds:
        console.print("interrupted; the same command goes on", highlight=False)
        return INTERRUPTED
    show_report(folder, as_json=False)
    return DONE


@asynccontextmanager
async def _open_curves(settings: Settings, folder: RunFolder, ledger: Ledger) -> AsyncGenerator[Curves]:
    flat = {key: str(value) for key, value in flatten_settings(settings.model_dump(mode="json")).items()}
    set_up = partial(
        open_trackers, settings.run.trackers, project=PROJECT, run=settings.run.name, settings=flat, folder=folder.path
    )
    trackers = await trio.to_thread.run_sync(set_up, abandon_on_cancel=True)
    steps = sum(report.steps for report in await ledger.find(TrainingReport))
    async with open_curves(trackers, steps) as curves:
        yield curves


async def _drive(
    settings: Settings,
    folder: RunFolder,
    pipeline: Pipeline,
    serving: Serving,
    console: Console,
    start: float,
) -> None:
    """Run the pipeline with its display until it ends, or until it is told to stop."""

    def status() -> Status:
        statistics = pipeline.statistics()
        return make_status(
            statistics,
            at=time.time(),
            elapsed_s=trio.current_time() - start,
            candidates=statistics.stages[0].done * settings.generate.candidates,
            in_flight=sum(endpoint.gate.inside for endpoint in serving.endpoints),
            down=next((endpoint.name for endpoint in serving.endpoints if endpoint.ailing), None),
        )

    async with trio.open_nursery() as watchers:
        watchers.start_soon(show_progress, console, status, folder.status)
        with trio.CancelScope() as scope:
            watchers.start_soon(_watch_signals, pipeline, scope, settings.run.grace_s, status)
            await pipeline.run()
        watchers.cancel_scope.cancel()


async def _watch_signals(
    pipeline: Pipeline, scope: trio.CancelScope, grace_s: float, status: Callable[[], Status]
) -> None:
    """First signal: drain; second: stop at once. SIGUSR1 logs what waits for what."""
    draining = False
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGUSR1) as signals:
        async for number in signals:
            if number == signal.SIGUSR1:
                log.info("status_asked", status=line(status()))
            elif draining:
                scope.cancel()
            else:
                draining = True
                log.warning("draining_began", grace_s=grace_s, hint="Ctrl-C again stops at once; nothing is lost")
                pipeline.stop()
                scope.deadline = trio.current_time() + grace_s


def _say(console: Console, message: str) -> None:
    with suppress(OSError):
        console.print(message, highlight=False, markup=False)
