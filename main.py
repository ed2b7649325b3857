"""The command line: parses, and hands over to `commands`.

Exit codes: 0 done; 1 a program did not pass (`sandbox run`); 2 something given cannot be used (nothing half-made is
left); 3 another failure; 4 the run paused itself; 130 interrupted; 141 whoever read the output has left (`| head`). A
run that was paused, interrupted or killed goes on with the same command.
"""

import argparse
import json
import os
import select
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from actors.failures import fatal, first
from commands.compare import compare_command
from commands.curate import curate_command
from commands.evaluate import Request, evaluate_command
from commands.exit_code import FAILED, INTERRUPTED, PAUSED, READER_LEFT, WRONG_USE
from commands.export import ExportRequest, export_command
from commands.report import report_command, status_command
from commands.run import run_command
from commands.sandbox import sandbox_batch_command, sandbox_check_command, sandbox_run_command
from protocols.errors import RefineError, RunPaused, UsageError


class _Options(argparse.Namespace):
    """What the command line was given; which fields there are depends on the command."""

    command: "Callable[[_Options], int]"
    config: Path
    target: Path
    run: Path
    runs: list[Path]
    plot: Path
    set: list[str]
    model: str | None
    name: str | None
    tasks: str | None
    version: int | None
    json: bool
    program: Path | None
    tests: Path | None
    batch: Path | None
    settings: Path | None
    endpoint: str | None
    endpoint_model: str | None
    samples: int | None
    temperature: float | None
    as_written: bool
    output: Path | None
    dry_run: bool
    merged: bool

    def overrides(self) -> tuple[str, ...]:
        """Return the settings' overrides, the short options among them."""
        named = {"model.name": getattr(self, "model", None), "run.name": getattr(self, "name", None)}
        return (*self.set, *(f"{key}={json.dumps(value)}" for key, value in named.items() if value is not None))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    options = _parser().parse_args(arguments, _Options())
    try:
        code = options.command(options)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        if not _reader_left():
            raise
        return READER_LEFT
    except (RefineError, BaseExceptionGroup) as error:
        shown = fatal(error) or first(error)
        if isinstance(shown, KeyboardInterrupt):
            return INTERRUPTED
        if not isinstance(shown, RefineError):
            raise
        return _tell(shown)


def _reader_left() -> bool:
    """Return whether nobody reads standard output any more; then let what is left of it go nowhere."""
    output = select.poll()
    output.register(sys.stdout.fileno(), 0)
    if not any(event & (select.POLLERR | select.POLLHUP) for _, event in output.poll(0)):
        return False
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter's own last flush would fail
    return True


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
    _add_sandbox(commands)
    _add_compare(commands)
    _add_curate(commands)
    _add_export(commands)
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
        description="Have a policy version answer a set of tasks, and measure pass@k with its interval. Tables, JSON, "
        "per-task results and the answers are written to a folder; the same command again asks for nothing. Answers "
        "are reduced to what the entry point needs, as EvalPlus does. Tasks: this project's own form, HumanEval, "
        "HumanEval+, MBPP, MBPP+, LiveCodeBench.",
    )
    parser.add_argument("target", type=Path, metavar="CONFIG_OR_RUN", help="settings file, or a run's folder")
    parser.add_argument("--tasks", metavar="SOURCE", help="tasks file or hf:NAME[:SPLIT]; default: the held-out set")
    parser.add_argument("--version", type=int, metavar="N", help="policy version of a run; default: the current one")
    parser.add_argument("--endpoint", metavar="URL", help="have this OpenAI-compatible server answer; ends in /v1")
    parser.add_argument("--endpoint-model", metavar="NAME", help="model to ask for there; default: its first one")
    parser.add_argument("--samples", type=_count, metavar="N", help="answers a task; default: evaluate.samples")
    parser.add_argument("--temperature", type=_heat, metavar="T", help="0 is greedy; default: evaluate.temperature")
    parser.add_argument("--as-written", action="store_true", help="measure answers with their own tests and prints")
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="default: in evaluations/, of a run or here")
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


_TESTS_HELP = """\
the tests file is one JSON object, in one of these forms:
  {"kind": "calls", "entry_point": "f", "cases": [{"args": [1], "expected": 41}]}
      calls f(1); a case may have "kwargs", and a "tolerance" for numbers
  {"kind": "stdio", "cases": [{"stdin": "3\\n", "stdout": "6"}]}
      runs the program once per case; "comparison" may be "lines" (default: white space at line ends does not matter),
      "exact", "tokens" or "floats" (with "tolerance", default 1e-6)
  {"kind": "asserts", "setup": "", "asserts": ["assert f(1) == 41"]}
  {"kind": "check", "entry_point": "f", "code": "def check(candidate): ..."}
  {"kind": "unittest", "code": "class TestF(unittest.TestCase): ..."}
each may have "limits": {"cpu_s", "wall_s", "memory_bytes", "output_bytes", "file_bytes", "processes"}, per test

a batch has one such pair on each line:
  {"id": "any", "code": "def f(x): ...", "tests": {...}}   or, with paths relative to the batch:
  {"file": "f.py", "tests": "f.json"}

outcomes: pass, wrong, early_exit, bad_result, output_limit, timeout, memory, crash, syntax, runtime_error, violation,
sandbox_failure. A program's outcome is that of its first test that failed.
exit codes: 0 passed; 1 did not; 2 a file cannot be used; 3 no sandbox to be had
"""


def _add_sandbox(commands: Any) -> None:
    parser = commands.add_parser(
        "sandbox",
        help="prove the sandbox, or run a program in it",
        description="Run untrusted programs in isolation and tell what happened.",
    )
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    check = actions.add_parser(
        "check",
        help="probe the sandbox with harmless and hostile programs, and measure it",
        description="Run every probe, print how it came out, the isolation that holds here (the tier) and runs per "
        "second. Exit code 3, with the probe that failed and what helps, when no isolation is to be had.",
    )
    _add_sandbox_options(check)
    check.set_defaults(command=_sandbox_check)
    run = actions.add_parser(
        "run",
        help="run a program against tests",
        description="Run one program against its tests, or a batch of such pairs, and print what happened.",
        epilog=_TESTS_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    run.add_argument("program", type=Path, nargs="?", metavar="FILE", help="the program, a Python file")
    run.add_argument("--tests", type=Path, metavar="FILE", help="its tests, a JSON file (see below)")
    run.add_argument("--batch", type=Path, metavar="FILE", help="many programs with their tests, a JSON lines file")
    _add_sandbox_options(run)
    run.set_defaults(command=_sandbox_run)


def _add_sandbox_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON: one object, or one a line for a batch")
    parser.add_argument("--settings", type=Path, metavar="CONFIG", help="settings file whose [sandbox] section holds")
    _add_set(parser)


def _add_compare(commands: Any) -> None:
    parser = commands.add_parser(
        "compare",
        help="print runs side by side",
        description="Print what several runs came to, with paired intervals of every two, and draw their curves of "
        "held-out pass@1. Where each task has one sample, McNemar's exact test is added.",
    )
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="folders of runs, or of what eval wrote")
    parser.add_argument("--plot", type=Path, default=Path("compare.png"), metavar="FILE", help="default: compare.png")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(command=_compare)


def _add_curate(commands: Any) -> None:
    parser = commands.add_parser(
        "curate",
        help="curate a run's work anew, with other settings",
        description="Make and filter the examples of a run once more, and print what these settings keep beside what "
        "the run kept; nothing is asked or trained, and the run's own examples stay. The examples are written to a "
        "file, as chat messages with the turns that carry loss.",
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="a run's folder, for example runs/demo")
    parser.add_argument("--dry-run", action="store_true", help="write no file")
    parser.add_argument("--output", type=Path, metavar="FILE", help="default: examples.jsonl in the run's folder")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="SECTION.KEY=VALUE",
        help="a setting of [curate] or [tasks], decide.references, critique.unverified, train.mode; may be given "
        "several times",
    )
    parser.set_defaults(command=_curate)


def _add_export(commands: Any) -> None:
    parser = commands.add_parser(
        "export",
        help="write a version to a folder of its own, with a model card",
        description="Write the adapter of a version (in PEFT's form), or the whole model with it merged in, to a new "
        "folder, with a card that tells where it comes from. A rejected version may be exported; its card says so.",
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="a run's folder, for example runs/demo")
    parser.add_argument("--output", type=Path, required=True, metavar="FOLDER", help="a folder that does not exist yet")
    parser.add_argument("--version", type=int, metavar="N", help="policy version; default: the last promoted one")
    parser.add_argument("--merged", action="store_true", help="the whole model, with config and tokenizer")
    parser.set_defaults(command=_export)


def _add_overrides(parser: argparse.ArgumentParser) -> None:
    _add_set(parser)
    parser.add_argument("--model", metavar="NAME", help="base model: embedded, a local folder, or a hub name")
    parser.add_argument("--name", metavar="NAME", help="name of the run's folder")


def _add_set(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="SECTION.KEY=VALUE",
        help="override one setting, in TOML's notation; may be given several times",
    )


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a number from 1 on, got {text!r}")
    return int(text)


def _heat(text: str) -> float:
    try:
        temperature = float(text)
    except ValueError:
        temperature = -1.0
    if not 0 <= temperature <= 2:
        raise argparse.ArgumentTypeError(f"expected a temperature from 0 to 2, got {text!r}")
    return temperature


def _run(options: _Options) -> int:
    return run_command(options.config, options.overrides())


def _evaluate(options: _Options) -> int:
    request = Request(
        target=options.target,
        overrides=options.overrides(),
        tasks=options.tasks,
        version=options.version,
        endpoint=options.endpoint,
        endpoint_model=options.endpoint_model,
        samples=options.samples,
        temperature=options.temperature,
        as_written=options.as_written,
        output=options.output,
        as_json=options.json,
    )
    return evaluate_command(request)


def _report(options: _Options) -> int:
    return report_command(options.run, as_json=options.json)


def _compare(options: _Options) -> int:
    return compare_command(options.runs, options.plot, as_json=options.json)


def _curate(options: _Options) -> int:
    overrides = tuple(options.set)
    return curate_command(options.run, overrides, options.output, dry=options.dry_run, as_json=options.json)


def _export(options: _Options) -> int:
    assert options.output is not None
    return export_command(
        ExportRequest(run=options.run, output=options.output, version=options.version, merged=options.merged)
    )


def _status(options: _Options) -> int:
    return status_command(options.run)


def _sandbox_check(options: _Options) -> int:
    return sandbox_check_command(options.settings, options.overrides(), as_json=options.json)


def _sandbox_run(options: _Options) -> int:
    overrides = options.overrides()
    if options.batch is not None and options.program is None and options.tests is None:
        return sandbox_batch_command(options.batch, options.settings, overrides, as_json=options.json)
    if options.batch is None and options.program is not None and options.tests is not None:
        return sandbox_run_command(options.program, options.tests, options.settings, overrides, as_json=options.json)
    raise UsageError(
        "sandbox run takes either a program and its tests (FILE --tests FILE) or a batch (--batch FILE); "
        "see main.py sandbox run --help"
    )


if __name__ == "__main__":
    sys.exit(main())
