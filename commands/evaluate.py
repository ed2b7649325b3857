"""`eval`: have one policy version answer a set of tasks, and write what came of it to a folder. Changes no run.

What the model wrote is kept in that folder: the same command again asks for nothing and starts no server.
"""

import re
import tempfile
from functools import partial
from pathlib import Path

import msgspec
import trio
from rich.console import Console

from actors.evaluator import Evaluator, Sample, as_written
from actors.executor import Executor
from commands.assembly import base_version, evaluator_of, executor_of
from commands.exit_code import DONE
from commands.model_cache import CACHE
from commands.sandboxes import open_sandbox
from commands.serving import check_managed_port, chosen_dtype, is_managed, open_serving
from dashboard.events import configure_events
from evals.answer_store import AnswerStore, StoredAnswers
from evals.datasets import load_tasks
from evals.measured import (
    ANSWERS,
    RESULTS,
    TABLE,
    TASKS,
    AnswerReport,
    Measured,
    TaskReport,
    by_topic,
    count_mistakes,
    digests,
    measured_json,
    measured_notes,
    measured_sheets,
)
from evals.table import markdown_sheets, print_sheets
from ledger.memory import MemoryLedger
from ledger.run_folder import RunFolder, replace_text
from ledger.sqlite import open_ledger
from method.mistake import mistake
from method.sanitizing import sanitized
from protocols.errors import RunFolderError, SettingsError
from protocols.ports import Answering, ChatRequest
from protocols.records import Evaluation, PolicyVersion, Task
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


class _Job(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be measured, all settings resolved."""

    settings: Settings
    version: PolicyVersion
    name: str
    source: str
    tasks: tuple[Task, ...]
    as_written: bool
    folder: Path

    @property
    def asked(self) -> str:
        """Whom the answers are of, as exactly as answers may differ."""
        settings = self.settings
        policies = [endpoint for endpoint in settings.endpoints if "policy" in endpoint.roles]
        served = [f"{endpoint.url} {endpoint.model or ''}" for endpoint in policies]
        dtype = chosen_dtype(settings) if is_managed(settings) else ""
        return " ".join([settings.model.name, dtype, self.version.name, *served])


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
    job = _Job(
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
    console = Console()
    if request.as_json:
        text = msgspec.json.format(msgspec.json.encode(measured_json(measured)), indent=2).decode()
        console.out(text, highlight=False)
    else:
        print_sheets(measured_sheets(measured), measured_notes(measured), console.file)
        console.out(f"results, tasks and answers: {job.folder}", highlight=False)
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
    if number not in versions or (number > 0 and versions[number].adapter is None):
        raise RunFolderError(f"the run in {folder.path} has no version {number}; it has {sorted(versions)}")
    return versions[number]


async def _evaluate(job: _Job, console: Console) -> tuple[Measured, tuple[TaskReport, ...]]:
    settings = job.settings
    check_managed_port(settings)
    configure_events(console, None)
    async with open_sandbox(settings.sandbox) as sandbox:
        await sandbox.check()
        store = AnswerStore(_made(job.folder) / ANSWERS, job.asked)
        measuring = _Measuring(job, executor_of(settings, sandbox, MemoryLedger()), store)
        if store.holds(measuring.requests()):
            return await measuring.measure(None)
        return await _ask(job, measuring, await _model(settings, console))


def _made(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(f"the folder {folder} cannot be made: {error.strerror}") from error
    return folder


async def _ask(job: _Job, measuring: "_Measuring", model: str) -> tuple[Measured, tuple[TaskReport, ...]]:
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


class _Measuring:
    """Asks, runs and counts."""

    def __init__(self, job: _Job, executor: Executor, store: AnswerStore) -> None:
        self._job = job
        self._executor = executor
        self._store = store
        self._reports: dict[str, TaskReport] = {}
        self._failing: list[str] = []

    def requests(self) -> list[ChatRequest]:
        """Return everything that will be asked."""
        evaluator, evaluate = self._evaluator(None), self._job.settings.evaluate
        return [evaluator.request(task, "held_out", evaluate.samples, evaluate.temperature) for task in self._job.tasks]

    async def measure(self, policy: Answering | None) -> tuple[Measured, tuple[TaskReport, ...]]:
        """Return the outcome; with `policy` None, everything that is asked must be in the store."""
        job, evaluate = self._job, self._job.settings.evaluate
        await self._run_references()
        evaluation = await self._evaluator(policy).evaluate(
            job.version,
            job.tasks,
            purpose="held_out",
            round=0,
            samples=evaluate.samples,
            temperature=evaluate.temperature,
            staged=False,
        )
        reports = tuple(self._reports[task.id] for task in job.tasks)
        return self._measured(evaluation, reports), reports

    def _evaluator(self, policy: Answering | None) -> Evaluator:
        return evaluator_of(
            self._job.settings,
            StoredAnswers(self._store, policy),
            self._executor,
            MemoryLedger(),
            read=as_written if self._job.as_written else sanitized,
            observe=self._observe,
        )

    def _observe(self, task: Task, samples: tuple[Sample, ...]) -> None:
        self._reports[task.id] = TaskReport(
            task_id=task.id,
            topic=task.topic,
            difficulty=task.difficulty,
            samples=len(samples),
            correct=sum(sample.solved for sample in samples),
            answers=tuple(map(_answer_report, samples)),
        )

    async def _run_references(self) -> None:
        async def run(task: Task) -> None:
            result = await self._executor.measure(task, task.reference)
            if any(not outcome.passed for outcome in result.outcomes):
                self._failing.append(task.id)

        async with trio.open_nursery() as nursery:
            for task in self._job.tasks:
                if task.reference is not None and task.tests:
                    nursery.start_soon(run, task)

    def _measured(self, evaluation: Evaluation, reports: tuple[TaskReport, ...]) -> Measured:
        job, settings = self._job, self._job.settings
        return Measured(
            name=job.name,
            model=settings.model.name,
            endpoints=tuple(endpoint.url for endpoint in settings.endpoints if "policy" in endpoint.roles),
            source=job.source,
            sampling={
                "samples": settings.evaluate.samples,
                "temperature": settings.evaluate.temperature,
                "top_p": settings.generate.top_p,
                "max_tokens": settings.generate.max_tokens,
                "stop": settings.generate.stop,
                "seed": settings.run.seed,
                "sanitised": not job.as_written,
            },
            evaluation=evaluation,
            by_topic=by_topic(job.tasks, evaluation.results),
            mistakes=count_mistakes(reports),
            failing_references=tuple(sorted(self._failing)),
            digests=digests(job.tasks),
            reused_answers=self._store.used,
        )


def _answer_report(sample: Sample) -> AnswerReport:
    outcomes = sample.result.outcomes
    failed = next((outcome for outcome in outcomes if not outcome.passed), None)
    return AnswerReport(
        solved=sample.solved,
        error_class=sample.result.error_class,
        mistake=mistake(outcomes),
        message=failed.message if failed is not None else "",
        code=sample.code,
    )


def _write(folder: Path, measured: Measured, reports: tuple[TaskReport, ...]) -> None:
    results = msgspec.json.format(msgspec.json.encode(measured_json(measured)), indent=2).decode()
    replace_text(folder / RESULTS, results + "\n")
    replace_text(folder / TASKS, "".join(msgspec.json.encode(report).decode() + "\n" for report in reports))
    replace_text(folder / TABLE, markdown_sheets(measured_sheets(measured), measured_notes(measured)))
