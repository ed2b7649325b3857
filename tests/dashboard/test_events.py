"""Events: JSON lines with bound keys in the file, one short line each on the terminal."""

import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from rich.console import Console

from dashboard.events import configure_events


@pytest.fixture(autouse=True)
def untouched_logging() -> Iterator[None]:
    """Leave logging as it was found, whatever a test configures."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    for handler in root.handlers:
        if handler not in handlers:
            handler.close()
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def lines(file: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def console() -> tuple[Console, io.StringIO]:
    text = io.StringIO()
    return Console(file=text, width=40), text


def test_an_event_is_one_json_object_a_line_with_its_keys(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    configure_events(None, file)
    log = structlog.get_logger("actors.publisher")
    log.info("version_promoted", version=1, name="v0001-abc")
    log.warning("version_refused", version=2, reason='it "fell"\nby much')
    first, second = lines(file)
    assert {key: first[key] for key in ("event", "level", "version", "name")} == {
        "event": "version_promoted",
        "level": "info",
        "version": 1,
        "name": "v0001-abc",
    }
    assert str(first["timestamp"]).endswith("Z")
    assert second["reason"] == 'it "fell"\nby much'


def test_bound_keys_stand_in_every_event(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    configure_events(None, file)
    structlog.contextvars.bind_contextvars(run="demo")
    log = structlog.get_logger("x").bind(task="task1")
    log.info("task_generated")
    log.info("task_judged", round=2)
    assert [(one["run"], one["task"]) for one in lines(file)] == [("demo", "task1")] * 2


def test_the_terminal_gets_one_short_line_without_markup(tmp_path: Path) -> None:
    shown, text = console()
    configure_events(shown, tmp_path / "events.jsonl")
    log = structlog.get_logger("x")
    log.info("version_promoted", version=1, reason="[red]not markup[/red]", adapter=None)
    log.warning("actor_failed", actor="judge", error="a long error text that goes on for more than one line's width")
    promoted, failed = text.getvalue().splitlines()
    assert promoted[8:] == "    version_promoted version=1 reason=[red]not markup[/red]"
    assert promoted[2] == promoted[5] == ":"
    assert failed[9:].startswith("!  actor_failed actor=judge error=a long error text")


def test_debug_events_are_left_out(tmp_path: Path) -> None:
    shown, text = console()
    configure_events(shown, tmp_path / "events.jsonl")
    structlog.get_logger("x").debug("channel_filled")
    assert text.getvalue() == ""
    assert lines(tmp_path / "events.jsonl") == []


def test_an_exception_is_part_of_its_event(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    configure_events(None, file)
    try:
        raise ValueError("odd")
    except ValueError:
        structlog.get_logger("x").exception("handling_failed")
    (event,) = lines(file)
    assert "ValueError: odd" in str(event["exception"])


def test_what_libraries_log_has_the_same_form_and_their_chatter_is_left_out(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    configure_events(None, file)
    logging.getLogger("httpx").info("HTTP Request: POST ...")
    logging.getLogger("httpx").warning("pool is full")
    (event,) = lines(file)
    assert (event["event"], event["level"]) == ("pool is full", "warning")


def test_configured_again_it_writes_to_the_new_places_only(tmp_path: Path) -> None:
    early, late = tmp_path / "early.jsonl", tmp_path / "late.jsonl"
    configure_events(None, early)
    log = structlog.get_logger("x")
    log.info("one")
    configure_events(None, late)
    log.info("two")
    assert [one["event"] for one in lines(early)] == ["one"]
    assert [one["event"] for one in lines(late)] == ["two"]


def test_a_file_is_added_to(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    for event in ("before_the_crash", "after_it"):
        configure_events(None, file)
        structlog.get_logger("x").info(event)
    assert [one["event"] for one in lines(file)] == ["before_the_crash", "after_it"]


def test_a_terminal_that_went_away_does_not_stop_the_run(capsys: pytest.CaptureFixture[str]) -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError("gone")

    configure_events(Console(file=Gone()), None)
    structlog.get_logger("x").info("version_promoted")
    assert "could not be printed" in capsys.readouterr().err
