"""The live display of a run: where each stage is, the version served, and how fast it goes.

On a terminal it is one panel, renewed in place; elsewhere a line now and then. The same figures go to `status.json`,
from which `main.py status` reads them.
"""

from collections.abc import Callable
from pathlib import Path

import msgspec
import trio
from rich.console import Console
from rich.live import Live
from rich.table import Table

from actors.bottleneck import bottleneck
from actors.pipeline import PipelineStatistics
from ledger.run_folder import replace_text

RENEW_S = 1.0
LINE_EVERY_S = 20.0
"""Without a terminal, a line is printed this often."""


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """What `status.json` holds."""

    at: float
    """Unix time, in seconds."""
    elapsed_s: float
    verdict: str
    candidates_per_s: float
    in_flight: int
    """Requests to endpoints."""
    pipeline: PipelineStatistics


async def show_progress(console: Console, status: Callable[[], Status], file: Path) -> None:
    """Show and store `status` until cancelled.

    Args:
        console: where to show.
        status: gives the present figures.
        file: `status.json`; a full disk does not stop the display.
    """
    with Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else _Lines(console) as view:
        while True:
            present = status()
            view.update(panel(present) if console.is_terminal else line(present), refresh=True)
            await trio.to_thread.run_sync(_store, file, present)
            await trio.sleep(RENEW_S)


def panel(status: Status) -> Table:
    """Return the display of `status` for a terminal."""
    statistics = status.pipeline
    table = Table(title=line(status), title_justify="left", expand=False)
    for column in ("stage", "waiting", "in hand", "done", "quarantined", "oldest"):
        table.add_column(column, justify="left" if column == "stage" else "right")
    for stage in statistics.stages:
        table.add_row(
            stage.name,
            f"{stage.waiting}/{stage.room}",
            f"{stage.in_hand}/{stage.concurrency}",
            str(stage.done),
            str(stage.quarantined),
            f"{stage.oldest_s:.0f} s",
        )
    table.add_row("curator", f"{statistics.curator.pending} examples", "", str(statistics.curator.batches), "", "")
    progress = statistics.trainer.progress
    training = f"step {progress.step}/{progress.steps}, loss {progress.loss:.3f}" if progress else ""
    active = training if statistics.trainer.training is not None else ""
    table.add_row("trainer", str(statistics.trainer.waiting), active, str(statistics.trainer.jobs), "", "")
    done, of = statistics.publisher.evaluated
    table.add_row("publisher", "", f"{statistics.publisher.activity} {done}/{of}", "", "", "")
    return table


def line(status: Status) -> str:
    """Return `status` in one line."""
    statistics = status.pipeline
    publisher = statistics.publisher
    solved = f", pass@1 {publisher.pass_at_1:.1%}" if publisher.pass_at_1 is not None else ""
    stages = " ".join(f"{stage.name} {stage.done}" for stage in statistics.stages)
    training = statistics.trainer.progress
    step = f", step {training.step}/{training.steps}" if training and statistics.trainer.training is not None else ""
    return (
        f"{status.elapsed_s:.0f} s, round {min(statistics.settled + 1, statistics.rounds)}/{statistics.rounds}, "
        f"version {publisher.version}{solved}; {stages}; {status.candidates_per_s:.1f} candidates/s, "
        f"{status.in_flight} in flight; {status.verdict}{step}"
    )


def make_status(
    statistics: PipelineStatistics, *, at: float, elapsed_s: float, candidates: int, in_flight: int, down: str | None
) -> Status:
    """Return the status that these figures make.

    Args:
        statistics: of every actor.
        at: Unix time, in seconds.
        elapsed_s: seconds since this command began.
        candidates: responses generated per task handled, times tasks handled.
        in_flight: requests to endpoints.
        down: name of an endpoint that does not answer.
    """
    return Status(
        at=at,
        elapsed_s=elapsed_s,
        verdict=bottleneck(statistics, down),
        candidates_per_s=candidates / elapsed_s if elapsed_s > 0 else 0.0,
        in_flight=in_flight,
        pipeline=statistics,
    )


def _store(file: Path, status: Status) -> None:
    try:
        replace_text(file, msgspec.json.encode(status).decode())
    except OSError:
        return  # the ledger is what must not be lost; it reports a full disk by itself


class _Lines:
    """Stands for the live display where there is no terminal."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._last = float("-inf")

    def __enter__(self) -> "_Lines":
        return self

    def __exit__(self, *exception: object) -> None:
        return None

    def update(self, line: object, *, refresh: bool) -> None:
        """Print `line`, unless one was printed lately."""
        now = trio.current_time()
        if refresh and now - self._last >= LINE_EVERY_S:
            self._last = now
            self._console.print(line, highlight=False, markup=False, soft_wrap=True)
