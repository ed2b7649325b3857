"""The live display and `status.json`."""

import io
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
import trio
import trio.testing
from rich.console import Console

from actors.curator import CuratorStatistics
from actors.pipeline import PipelineStatistics
from actors.publisher import PublisherStatistics
from actors.stage import StageStatistics
from actors.trainer import TrainerStatistics
from dashboard import terminal
from dashboard.terminal import LINE_EVERY_S, Status, line, make_status, panel, show_progress
from protocols.ports import TrainingProgress

PROGRESS = TrainingProgress(step=3, steps=12, loss=0.8124, learning_rate=1e-4, tokens_per_s=300.0)


def stage(name: str, *, waiting: int = 0, in_hand: int = 0, oldest_s: float = 0.0, held: int = 0) -> StageStatistics:
    return StageStatistics(
        name=name,
        waiting=waiting,
        room=16,
        in_hand=in_hand,
        concurrency=8,
        done=41,
        quarantined=1,
        oldest_s=oldest_s,
        held=held,
    )


def statistics(
    *stages: StageStatistics,
    training: int | None = None,
    activity: str = "idle",
    pass_at_1: float | None = None,
    settled: int = 1,
) -> PipelineStatistics:
    names = [one.name for one in stages]
    rest = [stage(name) for name in ("generator", "executor", "judge", "critic") if name not in names]
    return PipelineStatistics(
        settled=settled,
        rounds=3,
        stages=(*stages, *rest),
        curator=CuratorStatistics(pending=17, batches=2, ended=5),
        trainer=TrainerStatistics(waiting=0, training=training, progress=PROGRESS, jobs=2),
        publisher=PublisherStatistics(activity=activity, version=2, evaluated=(4, 40), pass_at_1=pass_at_1),
    )


def status(present: PipelineStatistics, down: str | None = None, elapsed_s: float = 100.0) -> Status:
    return make_status(present, at=1e9, elapsed_s=elapsed_s, candidates=250, in_flight=7, down=down)


def rendered(present: Status) -> str:
    text = io.StringIO()
    Console(file=text, width=140).print(panel(present))
    return text.getvalue()


@pytest.mark.parametrize(
    ("present", "verdict"),
    [
        (statistics(), "idle"),
        (statistics(training=3), "trainer-bound"),
        (statistics(activity="evaluating v0003 (gate)"), "evaluating v0003 (gate)"),
        (statistics(stage("generator", in_hand=8)), "generator-bound"),
        (statistics(stage("executor", waiting=16, in_hand=8), stage("generator", in_hand=8)), "sandbox-bound"),
        (statistics(stage("judge", waiting=9, in_hand=8), stage("executor", waiting=2)), "judge-bound"),
        (
            statistics(stage("critic", in_hand=1, oldest_s=400.0), stage("judge", waiting=16)),
            "critic-bound (oldest task 400 s)",
        ),
        (
            statistics(
                stage("generator", in_hand=8, oldest_s=300.0),
                stage("executor", waiting=16, in_hand=8, held=8),
                stage("judge", waiting=8, in_hand=8, held=3),
                stage("critic", waiting=4, in_hand=8),
            ),
            "critic-bound",
        ),
        (statistics(*(stage(n, in_hand=8, held=8) for n in ("judge", "critic")), training=3), "trainer-bound"),
    ],
)
def test_the_verdict_names_what_holds_the_run_back(present: PipelineStatistics, verdict: str) -> None:
    assert status(present).verdict == verdict


def test_an_endpoint_that_is_down_comes_before_everything() -> None:
    assert status(statistics(stage("judge", waiting=16)), down="hosted").verdict == "endpoint down: hosted"


def test_the_line_holds_round_version_speed_and_verdict() -> None:
    shown = line(status(statistics(stage("judge", waiting=3), training=3, pass_at_1=0.512)))
    assert shown == (
        "100 s, round 2/3, version 2, pass@1 51.2%; judge 41 generator 41 executor 41 critic 41; "
        "2.5 candidates/s, 7 in flight; judge-bound, step 3/12"
    )


def test_the_line_says_nothing_that_is_not_known_and_counts_no_round_too_many() -> None:
    shown = line(status(statistics(settled=3)))
    assert "pass@1" not in shown
    assert "step" not in shown
    assert "round 3/3" in shown


def test_nothing_is_divided_by_no_time() -> None:
    assert status(statistics(), elapsed_s=0.0).candidates_per_s == 0.0


def test_the_panel_has_a_row_for_every_actor() -> None:
    shown = rendered(status(statistics(stage("judge", waiting=3, in_hand=2, oldest_s=12.0), training=3)))
    rows = {row.split()[1]: row for row in shown.splitlines() if row.startswith(("│", "|"))}
    assert {"generator", "executor", "judge", "critic", "curator", "trainer", "publisher"} <= set(rows)
    assert all(part in rows["judge"] for part in ("3/16", "2/8", "41", "12 s"))
    assert "17 examples" in rows["curator"]
    assert "step 3/12, loss 0.812" in rows["trainer"]
    assert "idle 4/40" in rows["publisher"]


def test_a_trainer_that_is_idle_shows_no_progress() -> None:
    assert "loss" not in rendered(status(statistics()))


@pytest.fixture(autouse=True)
def no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are written at once: the autojump clock knows nothing of threads."""

    async def at_once(function: Callable[..., None], *arguments: object) -> None:
        await trio.lowlevel.checkpoint()
        function(*arguments)

    monkeypatch.setattr(trio.to_thread, "run_sync", at_once)


def read(file: Path) -> bytes:
    return file.read_bytes()


async def shown_for(seconds: float, console: Console, file: Path) -> None:
    with trio.move_on_after(seconds):
        await show_progress(console, lambda: status(statistics(stage("judge", waiting=3))), file)


async def test_without_a_terminal_a_line_is_printed_now_and_then(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    text = io.StringIO()
    await shown_for(2.5 * LINE_EVERY_S, Console(file=text, width=30), tmp_path / "status.json")
    assert text.getvalue().splitlines() == [line(status(statistics(stage("judge", waiting=3))))] * 3


async def test_on_a_terminal_the_panel_is_renewed_in_place(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    text = io.StringIO()
    await shown_for(2.5, Console(file=text, width=140, force_terminal=True), tmp_path / "status.json")
    assert text.getvalue().count("publisher") >= 3
    assert "\x1b[" in text.getvalue()


async def test_the_same_figures_are_stored(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    file = tmp_path / "status.json"
    await shown_for(1.5, Console(file=io.StringIO()), file)
    stored = msgspec.json.decode(read(file), type=Status)
    assert stored == status(statistics(stage("judge", waiting=3)))


async def test_a_full_disk_does_not_stop_the_display(
    tmp_path: Path, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0

    def full(path: Path, text: str) -> None:
        nonlocal calls
        calls += 1
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(terminal, "replace_text", full)
    await shown_for(3.5, Console(file=io.StringIO()), tmp_path / "status.json")
    assert calls == 4
