"""The command line: parses, and hands over to `commands`.

Exit codes: 0 done; 2 something given cannot be used (nothing half-made is left); 3 another failure; 4 the run paused
itself; 130 interrupted. A run that was paused, interrupted or killed goes on with the same command.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from actors.failures import fatal, first
from commands.evaluate import evaluate_command
from commands.exit_code import FAILED, INTERRUPTED, PAUSED, WRONG_USE
from commands.report import report_command, status_command
from commands.run import run_command
from protocols.errors import RefineError, RunPaused, UsageError


class _Options(argparse.Namespace):
    """What the command line was given; which fields there are depends on the command."""

    command: "Callable[[_Options], int]"
    config: Path
    target: Path
    run: Path
    set: list[str]
    model: str | None
    name: str | None
    tasks: str | None
    version: int | None
    json: bool

    def overrides(self) -> tuple[str, ...]:
        """Return the settings' overrides, the short options among them."""
        named = {"model.name": self.model, "run.name": self.name}
        return (*self.set, *(f"{key}={json.dumps(value)}" for key, value in named.items() if value is not None))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    options = _parser().parse_args(arguments, _Options())
    try:
        return options.command(options)
    except KeyboardInterrupt:
        return INTERRUPTED
    except (RefineError, BaseExceptionGroup) as error:
        shown = fatal(error) or first(error)
        if isinstance(shown, KeyboardInterrupt):
            return INTERRUPTED
        if not isinstance(shown, RefineError):
            raise
        return _tell(shown)


def _tell(error: RefineError) -> int:
    paused = isinstance(error, RunPaused)
    sys.stderr.write(f"{'paused' if paused else 'error'}: {error}\n")
    if paused:
        return PAUSED
    return WRONG_USE if isinstance(error, UsageError) else FAILED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="main.py",
        description="Refine a code language model from its own work (Adaptive Critique Refinement).",
        epilog="Start with: main.py run configs/demo.toml",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_run(commands)
    _add_eval(commands)
    _add_report(commands)
    _add_status(commands)
    return parser


def _add_run(commands: Any) -> None:
    parser = commands.add_parser(
        "run",
        help="run a configuration, or go on with it",
        description="Run the rounds of a configuration. The same command goes on with a run that was stopped. "
        "Ctrl-C lets what is under way come to its end; a second Ctrl-C stops at once; neither loses anything.",
    )
    parser.add_argument("config", type=Path, metavar="CONFIG", help="settings file, for example configs/demo.toml")
    _add_overrides(parser)
    parser.set_defaults(command=_run)


def _add_eval(commands: Any) -> None:
    parser = commands.add_parser(
        "eval",
        help="have a policy version answer a set of tasks",
        description="Serve a policy version and measure its pass@k; nothing is trained and no run is changed. "
        "Samples and temperature are those under [evaluate].",
    )
    parser.add_argument("target", type=Path, metavar="CONFIG_OR_RUN", help="settings file, or a run's folder")
    parser.add_argument("--tasks", metavar="SOURCE", help="tasks file or hf:NAME[:SPLIT]; default: the held-out set")
    parser.add_argument("--version", type=int, metavar="N", help="policy version of a run; default: the current one")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    _add_overrides(parser)
    parser.set_defaults(command=_evaluate)


def _add_report(commands: Any) -> None:
    parser = commands.add_parser(
        "report",
        help="print what a run came to",
        description="Print a run's tables from its ledger, and draw its pass_at_1.png; works while the run goes.",
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="a run's folder, for example runs/demo")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(command=_report)


def _add_status(commands: Any) -> None:
    parser = commands.add_parser(
        "status",
        help="print what a run is doing",
        description="Print where each stage of a run is, and what holds it back.",
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="a run's folder, for example runs/demo")
    parser.set_defaults(command=_status)


def _add_overrides(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="SECTION.KEY=VALUE",
        help="override one setting, in TOML's notation; may be given several times",
    )
    parser.add_argument("--model", metavar="NAME", help="base model: embedded, a local folder, or a hub name")
    parser.add_argument("--name", metavar="NAME", help="name of the run's folder")


def _run(options: _Options) -> int:
    return run_command(options.config, options.overrides())


def _evaluate(options: _Options) -> int:
    return evaluate_command(options.target, options.overrides(), options.tasks, options.version, as_json=options.json)


def _report(options: _Options) -> int:
    return report_command(options.run, as_json=options.json)


def _status(options: _Options) -> int:
    return status_command(options.run)


if __name__ == "__main__":
    sys.exit(main())
