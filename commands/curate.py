"""`curate`: what settings of curation keep of a run's work, beside what the run kept. Nothing is asked or trained."""

import sys
from pathlib import Path

import msgspec

from commands.assembly import curation_rule
from commands.exit_code import DONE
from commands.task_sets import load_task_sets
from evals.recuration import Recuration, read_work, recurate
from evals.recuration_sheets import recuration_json, recuration_sheets
from evals.table import print_sheets
from ledger.queries import stream_entries
from ledger.run_folder import RunFolder, replace_text
from method.overlap import overlap_index
from protocols.errors import RunFolderError, SettingsError
from protocols.settings import parse_settings

CONCERNED = ("curate.", "tasks.", "decide.references", "critique.unverified", "train.mode", "run.seed")
"""Settings that say what is made and kept of work that is done; others say what work is done."""


def curate_command(run: Path, overrides: tuple[str, ...], output: Path | None, *, dry: bool, as_json: bool) -> int:
    """Print what the run's settings, with `overrides`, keep; unless `dry`, write the examples to a file.

    Args:
        run: the run's folder.
        overrides: of settings that concern curation.
        output: JSON lines, one example each; None: `examples.jsonl` in the run's folder.
        dry: write nothing.
        as_json: print one JSON object.

    Raises:
        SettingsError: an override concerns work that was not done, or is wrong.
        TasksError: the evaluation tasks cannot be read.
        RunFolderError: it is not a run's folder, or the file cannot be written.
        LedgerError: its journal cannot be read.
    """
    folder = RunFolder(run)
    for override in overrides:
        if not override.strip().startswith(CONCERNED):
            raise SettingsError(
                f"override {override!r} concerns work that the run has not done; "
                f"here may be set: {', '.join(f'{key}*' if key.endswith('.') else key for key in CONCERNED)}"
            )
    settings = parse_settings(folder.stored_settings(), str(folder.settings), overrides)
    work = read_work(stream_entries(folder.ledger))
    again = recurate(work, curation_rule(settings), overlap_index(load_task_sets(settings.tasks).evaluated))
    path = output or run / "examples.jsonl"
    if not dry:
        _write(path, again)
    if as_json:
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(recuration_json(work, again)), indent=2).decode())
        sys.stdout.write("\n")
        return DONE
    print_sheets(recuration_sheets(work, again), (), sys.stdout)
    if not dry:
        sys.stdout.write(f"examples: {path}\n")
    return DONE


def _write(path: Path, again: Recuration) -> None:
    """Write every example that is kept, with the number of the batch that was the first to hold it."""
    first: dict[str, int] = {}
    for batch in again.batches:
        for example in batch.examples:
            first.setdefault(example.id, batch.number)
    lines = [
        msgspec.json.encode({**msgspec.structs.asdict(example), "batch": first.get(example.id)}).decode() + "\n"
        for example in again.kept
    ]
    try:
        replace_text(path, "".join(lines))
    except OSError as error:
        raise RunFolderError(f"the examples cannot be written to {path}: {error.strerror}") from error
