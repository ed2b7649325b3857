"""`compare`: runs, and evaluations by themselves, side by side; read from their folders alone."""

import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from commands.exit_code import DONE
from evals.arm import Arm, arm_of_measured, read_arm
from evals.comparison import compare
from evals.comparison_plot import plot_comparison
from evals.comparison_sheets import comparison_sheets
from evals.measured import RESULTS, measured_of
from evals.table import print_sheets
from ledger.run_folder import RunFolder
from protocols.errors import UsageError
from protocols.settings import with_defaults


def compare_command(runs: Sequence[Path], plot: Path, *, as_json: bool) -> int:
    """Compare what is in the folders `runs`, of runs or of evaluations, and draw their curves into the file `plot`.

    Raises:
        RunFolderError: one of them is neither.
        LedgerError: a journal cannot be read.
        UsageError: a folder is given twice, or the plot cannot be written.
    """
    comparison = compare([_arm(name, run) for name, run in zip(_names(runs), runs, strict=True)])
    try:
        plot_comparison(comparison, plot)
    except OSError as error:
        raise UsageError(f"the plot {plot} cannot be written: {error.strerror}") from error
    if as_json:
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(comparison), indent=2).decode() + "\n")
        return DONE
    print_sheets(comparison_sheets(comparison), (), sys.stdout)
    sys.stdout.write(f"plot: {plot}\n")
    return DONE


def _arm(name: str, path: Path) -> Arm:
    results = path / RESULTS
    if not results.is_file():
        folder = RunFolder(path)
        return read_arm(name, with_defaults(folder.stored_settings()), folder.ledger)
    try:
        return arm_of_measured(name, measured_of(msgspec.json.decode(results.read_bytes())))
    except (OSError, msgspec.MsgspecError, TypeError) as error:
        raise UsageError(f"the evaluation in {path} cannot be read: {error}") from error


def _names(runs: Sequence[Path]) -> list[str]:
    """Return the folders' last names, or the whole paths where two are called alike."""
    places = [run.resolve() for run in runs]
    twice = next((str(run) for run, place in zip(runs, places, strict=True) if places.count(place) > 1), None)
    if twice is not None:
        raise UsageError(f"the run {twice} is given twice; a run is compared with others")
    names = [place.name for place in places]
    return names if len(set(names)) == len(names) else [str(run) for run in runs]
