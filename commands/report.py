"""`report` and `status`: what a run came to, and what it is doing; read from its folder alone."""

import json
import sys
import time
from pathlib import Path

import msgspec

from commands.exit_code import DONE
from dashboard.terminal import Status, line
from evals.mistakes_plot import plot_mistakes
from evals.plot import plot_versions
from evals.report import read_report, report_json
from evals.table import print_report
from ledger.run_folder import RunFolder, replace_text
from protocols.errors import RunFolderError

SILENT_S = 10.0
"""A run that has not written its status for so long is not running."""


def report_command(run: Path, *, as_json: bool) -> int:
    """Print the report of the run in folder `run`.

    Raises:
        RunFolderError: it is not a run's folder.
        LedgerError: its journal cannot be read.
    """
    show_report(RunFolder(run), as_json=as_json)
    return DONE


def show_report(folder: RunFolder, *, as_json: bool) -> None:
    """Print a run's tables (or one JSON object), and renew its report.json and its plots.

    Raises:
        RunFolderError: it is not a run's folder.
        LedgerError: its journal cannot be read.
    """
    folder.stored_settings()
    report = read_report(folder.ledger)
    data = json.dumps(report_json(report), indent=2)
    replace_text(folder.report, data)
    plot_versions(report, folder.plot)
    plot_mistakes(report, folder.patterns_plot)
    if as_json:
        sys.stdout.write(data + "\n")
        return
    print_report(report, sys.stdout)
    sys.stdout.write(f"report: {folder.report}\nplots: {folder.plot}, {folder.patterns_plot}\n")


def status_command(run: Path) -> int:
    """Print what the run in folder `run` is doing.

    Raises:
        RunFolderError: it is not a run's folder, or has written no status yet.
    """
    folder = RunFolder(run)
    folder.stored_settings()
    if not folder.status.is_file():
        raise RunFolderError(f"the run in {run} has not written its status yet")
    status = msgspec.json.decode(folder.status.read_bytes(), type=Status)
    silent_s = time.time() - status.at
    if silent_s > SILENT_S:
        sys.stdout.write(f"not running; last seen {silent_s:.0f} s ago\n")
    sys.stdout.write(line(status) + "\n")
    return DONE
