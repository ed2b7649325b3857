"""`export`: one trained version as a folder of its own, with a card; whole or not at all. Changes no run.

A whole model is copied where the run published merged weights, and otherwise merged anew by a trainer worker.
"""

import errno
import functools
import shutil
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import trio
from rich.console import Console

from commands.exit_code import DONE
from commands.model_cache import CACHE
from endpoints.machine import this_machine
from evals.model_card import Subject, model_card
from evals.version_record import VersionRecord, read_version
from ledger.run_folder import RunFolder
from protocols.errors import NoSpaceLeft, RunFolderError, UsageError
from protocols.settings import Settings, parse_settings
from trainer.licence import Licence, stored_licence
from trainer.model_folder import resolve_model
from trainer.process import open_trainer
from trainer.unpacked_folder import sync, sync_tree

CARD = "README.md"
ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_FILES = (ADAPTER_CONFIG, "adapter_model.safetensors")
MODEL_FILES = ("config.json", "model*.safetensors")
MERGED = "merged"
NOT_THE_RECIPE = {"step_deadline_s", "checkpoint_steps", "processes", "gpus", "colocated"}
"""Settings of training that say where and how safely, and change nothing in what is learnt."""


class ExportRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line asks for."""

    run: Path
    output: Path
    """Folder that is to appear; its parent exists."""
    version: int | None = None
    """None: the last promoted one."""
    merged: bool = False
    """The whole model instead of the adapter alone; always, where all weights were trained."""


class _AdapterConfig(msgspec.Struct):
    """What of PEFT's file is used here."""

    base_model_name_or_path: str = ""


def export_command(request: ExportRequest) -> int:
    """Write the folder and say what it holds.

    Raises:
        UsageError: the output exists or its parent does not; no such run or version; its adapter is gone.
        LedgerError: the run's journal cannot be read.
        TrainingError: the trainer worker could not merge.
    """
    run = RunFolder(request.run)
    settings = parse_settings(run.stored_settings(), str(run.settings))
    _check_output(request.output)
    record = read_version(run.ledger, request.version)
    folder = _version_folder(run, record)
    whole = request.merged or record.version.adapter is None
    with _appearing(request.output) as staged:
        if whole:
            _fill_whole(settings, record, folder, staged)
        else:
            for name in ADAPTER_FILES:
                shutil.copyfile(folder / name, staged / name)
        card = model_card(_subject(settings, record, folder, merged=whole))
        (staged / CARD).write_text(card, encoding="utf-8")
    version = record.version
    what = "whole model" if whole else "adapter"
    reason = "" if version.state == "promoted" else f": {version.reason}"
    sys.stdout.write(f"version {version.number} ({version.state}{reason})\n{what} and card: {request.output}\n")
    return DONE


def _check_output(output: Path) -> None:
    if output.exists() or output.is_symlink():
        raise UsageError(f"{output} exists already; export makes a new folder and replaces nothing")
    if not output.absolute().parent.is_dir():
        raise UsageError(f"{output} cannot be made: the folder {output.absolute().parent} does not exist")


def _version_folder(run: RunFolder, record: VersionRecord) -> Path:
    """Return the folder of the adapter or whole model, also when the run's folder was moved since."""
    stored = Path(record.version.folder or "")
    what, files = ("whole model", MODEL_FILES) if record.version.adapter is None else ("adapter", ADAPTER_FILES)
    for folder in (run.adapters / stored.name, stored):
        if all(any(folder.glob(name)) for name in files):
            return folder
    raise RunFolderError(
        f"the {what} of version {record.version.number} is no longer whole in {run.adapters / stored.name}: "
        f"expected {' and '.join(files)}"
    )


@contextmanager
def _appearing(output: Path) -> Generator[Path]:
    """Yield a hidden folder beside `output` that takes its name in the end; of a failure nothing is left.

    Raises:
        NoSpaceLeft: the disk is full.
        RunFolderError: it cannot be written for another reason.
    """
    staged: Path | None = None
    try:
        staged = Path(tempfile.mkdtemp(prefix=f".{output.name}.", dir=output.absolute().parent))
        yield staged
        for path in staged.rglob("*"):
            path.chmod(0o755 if path.is_dir() else 0o644)
        staged.chmod(0o755)
        sync_tree(staged)
        staged.rename(output)
        sync(output.absolute().parent)
    except OSError as error:
        kind = NoSpaceLeft if error.errno in (errno.ENOSPC, errno.EDQUOT) else RunFolderError
        raise kind(f"the export to {output} failed: {error}") from error
    finally:
        if staged is not None:
            shutil.rmtree(staged, ignore_errors=True)


def _fill_whole(settings: Settings, record: VersionRecord, folder: Path, staged: Path) -> None:
    if record.version.adapter is None:
        shutil.copytree(folder, staged, dirs_exist_ok=True)
    elif (folder / MERGED).is_dir():
        shutil.copytree(folder / MERGED, staged, dirs_exist_ok=True)
    else:
        trio.run(_merge, settings, folder.absolute(), staged, Console(stderr=True))


async def _merge(settings: Settings, adapter: Path, staged: Path, console: Console) -> None:
    tell = functools.partial(console.print, highlight=False, markup=False)
    model = await resolve_model(settings.model.name, CACHE, tell)
    tell(f"merging the adapter into {model}")
    with tempfile.TemporaryDirectory(prefix="export-") as logs:
        async with open_trainer(
            log_path=Path(logs) / "trainer.log",
            threads=len(this_machine().cores),
            step_deadline_s=settings.train.step_deadline_s,
        ) as trainer:
            await trainer.merge(model, adapter, staged)


def _subject(settings: Settings, record: VersionRecord, adapter: Path, *, merged: bool) -> Subject:
    name = settings.model.name
    path, licence = Path(name).expanduser(), _licence(name, adapter)
    recipe = settings.train.model_dump(mode="json", exclude=NOT_THE_RECIPE)
    return Subject(
        run=settings.run.name,
        record=record,
        form="adapter" if not merged else "trained" if record.version.adapter is None else "merged",
        base_model=path.name if path.exists() else name,
        base_is_local=path.exists(),
        licence=licence.words if licence else None,
        licence_identifier=licence.identifier if licence else None,
        training={**recipe, "seed": settings.run.seed},
    )


def _licence(model: str, adapter: Path) -> Licence | None:
    """Return what the base model's folder tells: the one that the settings name, or the one that was trained on."""
    for name in (model, _trained_on(adapter)):
        path = Path(name).expanduser()
        folder = path.parent if path.suffix == ".gguf" else path
        if (licence := stored_licence(folder)) is not None:
            return licence
    return None


def _trained_on(adapter: Path) -> str:
    """Return the base model's folder or name, as the adapter has it; nothing, where there is no adapter."""
    if not (adapter / ADAPTER_CONFIG).is_file():
        return ""
    config = msgspec.json.decode((adapter / ADAPTER_CONFIG).read_bytes(), type=_AdapterConfig)
    return config.base_model_name_or_path
