"""`eval`: have one policy version answer a set of tasks, and write what came of it to a folder. Changes no run.

What the model wrote is kept in that folder: the same command again asks for nothing and starts no server.
"""

import re
import sys
import tempfile
from functools import partial
from pathlib import Path

import msgspec
import trio
from rich.console import Console

from commands.assembly import base_version, executor_of
from commands.exit_code import DONE
from commands.measuring import Job, Measuring
from commands.model_cache import CACHE
from commands.sandboxes import open_sandbox
from commands.serving import check_managed_port, is_managed, open_serving
from dashboard.events import configure_events
from evals.answer_store import AnswerStore
from evals.datasets import load_tasks
from evals.measured import (
    ANSWERS,
    RESULTS,
    TABLE,
    TASKS,
    Measured,
    TaskReport,
    measured_json,
    measured_notes,
    measured_sheets,
)
from evals.table import markdown_sheets, print_sheets
from ledger.memory import MemoryLedger
from ledger.run_folder import RunFolder, replace_text
from ledger.sqlite import open_ledger
from protocols.errors import RunFolderError, SettingsError
from protocols.records import PolicyVersion
from protocols.settings import EndpointSettings, Settings, load_settings, parse_settings
from trainer.model_folder import resolve_model

ROLES = ("policy", "judge", "critic")


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line asks for; None takes what the settings say."""

    target: Path
    """A settings file, or a run's folder."""
    overrides: tuple[str, ...] = ()
    tasks: str | None = None
    """Source of the tasks; None: the held-out set."""
    version: int | None = None
    """Of a run; None: its current one."""
    endpoint: str | None = None
    """URL of the server that is to answer."""
    endpoint_model: str | None = None
    samples: int | None = None
    temperature: float | None = None
    as_written: bool = False
    """Measure answers as they stand, with their own tests and prints."""
    output: Path | None = None
    """Folder for the results; None: see `_folder`."""
    as_json: bool = False


def evaluate_command(request: Request) -> int:
    """Evaluate, write the folder, and print.

    Raises:
        RefineError: see `protocols.errors`.
    """
    settings, version = _target(request)
    source = request.tasks or settings.tasks.held_out
    if source is None:
        raise SettingsError("there is no held-out set in these settings; give --tasks SOURCE")
    name = version.name if request.endpoint is None else f"{request.endpoint_model or 'endpoint'}-{version.name}"
    job = Job(
        settings=settings,
        version=version,
        name=name,
        source=source,
        tasks=load_tasks(source, limit=settings.tasks.limit),
        as_written=request.as_written,
        folder=request.output or _folder(request, settings, name, source),
    )
    measured, reports = trio.run(_evaluate, job, Console(stderr=True))
    _write(job.folder, measured, reports)
    if request.as_json:
        text = msgspec.json.format(msgspec.json.encode(measured_json(measured)), indent=2).decode()
        sys.stdout.write(text + "\n")
    else:
        print_sheets(measured_sheets(measured), measured_notes(measured), sys.stdout)
        sys.stdout.write(f"results, tasks and answers: {job.folder}\n")
    return DONE


def _target(request: Request) -> tuple[Settings, PolicyVersion]:
    target = request.target
    if target.is_dir():
        folder = RunFolder(target)
        settings = parse_settings(folder.stored_settings(), str(folder.settings), request.overrides)
        version = trio.run(_version_of_run, folder, request.version)
    else:
        settings, version = load_settings(target, request.overrides), base_version()
        if request.version:
            raise SettingsError(
                f"version {request.version} is of no run: {target} is a settings file; give a run's folder"
            )
    return _adjusted(settings, request), version


def _adjusted(settings: Settings, request: Request) -> Settings:
    """Return the settings with the short options laid over them; a k that needs more samples is left out."""
    evaluate = settings.evaluate
    samples = evaluate.samples if request.samples is None else request.samples
    changes = {
        "samples": samples,
        "ks": tuple(k for k in evaluate.ks if k <= samples) or (1,),
        "temperature": evaluate.temperature if request.temperature is None else request.temperature,
    }
    settings = settings.model_copy(update={"evaluate": evaluate.model_copy(update=changes)})
    if request.endpoint is None:
        return settings
    if not request.endpoint.startswith(("http://", "https://")):
        raise SettingsError(f"--endpoint must start with http:// or https://, got {request.endpoint!r}")
    endpoint = EndpointSettings(
        name="endpoint", url=request.endpoint.rstrip("/"), model=request.endpoint_model, roles=ROLES
    )
    return settings.model_copy(update={"endpoints": (endpoint,)})


def _folder(request: Request, settings: Settings, name: str, source: str) -> Path:
    """Return where results go: beside a run's other files, or under `evaluations/` for a settings file."""
    stem = re.sub(r"\.jsonl(\.gz)?$", "", source.removeprefix("hf:").rsplit("/", 1)[-1])
    place = request.target / "evaluations" if request.target.is_dir() else Path("evaluations")
    first = name if request.target.is_dir() or request.endpoint is not None else f"{settings.run.name}-{name}"
    return place / re.sub(r"[^\w.-]+", "-", f"{first}-{stem}")


async def _version_of_run(folder: RunFolder, number: int | None) -> PolicyVersion:
    async with open_ledger(folder.ledger, read_only=True) as ledger:
        versions = {version.number: version for version in await ledger.find(PolicyVersion)}
    if number is None:
        return max((v for v in versions.values() if v.state in ("base", "promoted")), key=lambda v: v.number)
    if number not in versions or (number > 0 and versions[number].folder is None):
        raise RunFolderError(f"the run in {folder.path} has no version {number}; it has {sorted(versions)}")
    return versions[number]


async def _evaluate(job: Job, console: Console) -> tuple[Measured, tuple[TaskReport, ...]]:
    settings = job.settings
    check_managed_port(settings)
    configure_events(console, None)
    async with open_sandbox(settings.sandbox) as sandbox:
        await sandbox.check()
        store = AnswerStore(_made(job.folder) / ANSWERS, job.asked)
        measuring = Measuring(job, executor_of(settings, sandbox, MemoryLedger()), store)
        if store.holds(measuring.requests()):
            return await measuring.measure(None)
        return await _ask(job, measuring, await _model(settings, console))


def _made(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(f"the folder {folder} cannot be made: {error.strerror}") from error
    return folder


async def _ask(job: Job, measuring: Measuring, model: str) -> tuple[Measured, tuple[TaskReport, ...]]:
    """Serve the version while it is measured."""

    async def prepare() -> PolicyVersion:
        await trio.lowlevel.checkpoint()
        return job.version

    with tempfile.TemporaryDirectory(prefix="eval-") as logs:
        async with trio.open_nursery() as nursery:
            serving = await open_serving(job.settings, model, prepare, Path(logs) / "vllm.log", nursery)
            try:
                outcome = await measuring.measure(serving.policy)
            finally:
                with trio.CancelScope(shield=True):
                    await serving.aclose()
            nursery.cancel_scope.cancel()
    return outcome


async def _model(settings: Settings, console: Console) -> str:
    """Return the base model's folder; an external server has its own, and needs none of ours."""
    if not is_managed(settings):
        await trio.lowlevel.checkpoint()
        return settings.model.name
    return await resolve_model(settings.model.name, CACHE, partial(console.print, highlight=False, markup=False))


def _write(folder: Path, measured: Measured, reports: tuple[TaskReport, ...]) -> None:
    results = msgspec.json.format(msgspec.json.encode(measured_json(measured)), indent=2).decode()
    replace_text(folder / RESULTS, results + "\n")
    replace_text(folder / TASKS, "".join(msgspec.json.encode(report).decode() + "\n" for report in reports))
    replace_text(folder / TABLE, markdown_sheets(measured_sheets(measured), measured_notes(measured)))
