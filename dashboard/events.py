"""Events: one JSON object a line in the run's log file, one short line on the terminal.

Events are past-tense nouns with bound keys (`version_promoted version=1`), never sentences made of them.
"""

import logging
import sys
from pathlib import Path
from typing import Any

import structlog
from rich.console import Console

_QUIET = ("timestamp", "level", "event", "logger", "_record", "_from_structlog")
_MARKS = {"warning": "! ", "error": "!!", "critical": "!!"}


def configure_events(console: Console | None, file: Path | None) -> None:
    """Send structlog's events to `file` (all, as JSON lines) and to `console` (info and above, short).

    Args:
        console: None prints nothing.
        file: appended to; None writes nothing.
    """
    handlers: list[logging.Handler] = []
    if file is not None:
        to_file = logging.FileHandler(file, encoding="utf-8")
        to_file.setFormatter(_formatter(structlog.processors.JSONRenderer()))
        handlers.append(to_file)
    if console is not None:
        handlers.append(_ConsoleHandler(console))
    root = logging.getLogger()
    for handler in root.handlers[:]:
        root.removeHandler(handler)
        handler.close()
    for handler in handlers:
        root.addHandler(handler)
    root.setLevel(logging.INFO)
    for noisy in ("httpx", "httpx2", "httpcore", "httpcore2", "openai", "matplotlib", "trio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


def _formatter(renderer: Any) -> structlog.stdlib.ProcessorFormatter:
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            structlog.stdlib.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
        ],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
    )


class _ConsoleHandler(logging.Handler):
    """Prints above a live display instead of through it."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console
        self.setFormatter(_formatter(_short))

    def emit(self, record: logging.LogRecord) -> None:
        """Print one event."""
        try:
            self._console.print(self.format(record), highlight=False, markup=False, soft_wrap=True)
        except OSError:
            sys.stderr.write("an event could not be printed\n")


def _short(logger: object, name: str, event: Any) -> str:
    clock = str(event.get("timestamp", ""))[11:19]
    fields = " ".join(f"{key}={value}" for key, value in event.items() if key not in _QUIET and value is not None)
    return f"{clock} {_MARKS.get(event.get('level', ''), '  ')} {event.get('event', '')} {fields}".rstrip()
