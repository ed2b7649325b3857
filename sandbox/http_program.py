"""What is sent to a sandbox service for one test, and how its answer becomes a report. Pure.

Only code and inputs are sent. The service speaks SandboxFusion's `POST /run_code`: it tells exit status, output and
time, so a program is sent as it is, and a test of a function as a driver (`sandbox.http_driver`) around the candidate
that prints its claim. The answer's texts are the candidate's words, and believed no more than a local claim.
"""

import builtins
import json
import re
import secrets
import signal
from pathlib import Path
from typing import Any, Literal

import msgspec

from protocols.ports import Job
from sandbox.decoding import BadResult, parse
from sandbox.plan import PlannedTest, Report

MAX_OUTPUT_BYTES = 60_000
"""What the real service can carry: a program that prints more blocks there, and looks as if it took too long."""
_MAX_RESULT_BYTES = 50_000
_FOLDER = Path(__file__).parent
_SHELL_SIGNAL = 128
"""Exit status of a shell, less the number of the signal that ended its command."""
_FRAME = re.compile(r'^  File ".*", line (\d{1,9}), in (.*)$', re.MULTILINE)
_SYNTAX_LINE = re.compile(r'^  File ".*", line (\d{1,9})$', re.MULTILINE)
_LAST_LINE = re.compile(r"^([A-Za-z_][\w.]*)(?:: (.*))?$")


class ServiceFailed(Exception):
    """The service itself failed: nothing is known of the candidate."""


class RunResult(msgspec.Struct, frozen=True):
    """What became of the one command."""

    status: str
    execution_time: float | None = None
    return_code: int | None = None
    stdout: str | None = None
    stderr: str | None = None


class Answer(msgspec.Struct, frozen=True):
    """The service's answer; fields that are not needed are ignored."""

    status: Literal["Success", "Failed", "SandboxError"]
    message: str | None = None
    run_result: RunResult | None = None


class HttpProgram:
    """One test as a request to a service.

    Args:
        job: gives the code and the limits.
        planned: the test.
    """

    def __init__(self, job: Job, planned: PlannedTest) -> None:
        self._job = job
        self._request = planned.request()
        self._token = secrets.token_hex(16)

    @property
    def unsendable(self) -> Report | None:
        """What is known without asking: a program that is no text fails as one that does not parse."""
        if self._request["kind"] != "program":
            return None
        try:
            self._job.code.encode()
        except UnicodeEncodeError as error:
            claim = {"error": {"stage": "compile", "names": ["UnicodeEncodeError"], "text": str(error)}}
            return _report("exit", 1, claim=json.dumps(claim))
        return None

    def body(self) -> bytes:
        """Return the request's body."""
        limits = self._job.limits
        fields: dict[str, object] = {
            "language": "python",
            "code": self._job.code if self._request["kind"] == "program" else self._driver(),
            "stdin": str(self._request.get("stdin", "")).encode("utf-8", "replace").decode(),
            "compile_timeout": limits.wall_s,
            "run_timeout": limits.wall_s,
            "memory_limit_MB": -(-limits.memory_bytes // (1 << 20)),
            "files": {},
        }
        return json.dumps(fields).encode()

    def _driver(self) -> str:
        job = {
            "kind": self._request["kind"],
            "code": self._job.code,
            "setup": self._job.setup,
            "entry_point": self._job.entry_point,
            "calls": self._request.get("calls", []),
            "test": self._request.get("code", ""),
            "token": self._token,
            "result_bytes": _MAX_RESULT_BYTES,
        }
        encoder = (_FOLDER / "inside" / "encoding.py").read_text(encoding="utf-8")
        driver = (_FOLDER / "http_driver.py").read_text(encoding="utf-8")
        return f"JOB = {job!r}\nENCODER = {encoder!r}\n{driver}"

    def report(self, body: bytes) -> Report:
        """Return what the service's answer tells.

        Raises:
            ServiceFailed: it says that it failed itself, or its answer is not of the agreed form.
        """
        try:
            answer = msgspec.json.decode(body, type=Answer)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise ServiceFailed(f"its answer is not of the agreed form: {error}") from error
        result = answer.run_result
        if answer.status == "SandboxError" or result is None or result.status == "Error":
            raise ServiceFailed(f"it failed by itself: {(answer.message or '')[:200]!r}")
        out, err = result.stdout or "", result.stderr or ""
        wall_s = result.execution_time or 0.0
        end, status = _end(result, max(len(out), len(err)), self._job.limits.output_bytes)
        if self._request["kind"] != "program":
            return self._claimed(end, status, out, wall_s)
        # The service tells no CPU time: a program without threads cannot have used more than this.
        claim = _claim_of_traceback(err) if end == "exit" and status else ""
        return _report(end, status, out=out, err=err[-2000:], claim=claim, cpu_s=wall_s, wall_s=wall_s)

    def _claimed(self, end: str, status: int, out: str, wall_s: float) -> Report:
        claim = out.rstrip("\n")
        complete = f'"token": "{self._token}"' in claim
        cpu_s, peak_bytes = _usage(claim)
        return _report(
            end, status, claim=claim, complete=complete, cpu_s=cpu_s or wall_s, wall_s=wall_s, peak_bytes=peak_bytes
        )


def flooded() -> Report:
    """Return the report on a test whose answer is too large to be taken in."""
    return _report("output_limit", 0)


def _report(
    end: str, status: int, *, out: str = "", err: str = "", claim: str = "", complete: bool = False,
    cpu_s: float = 0.0, wall_s: float = 0.0, peak_bytes: int = 0,
) -> Report:  # fmt: skip
    return Report(
        end=end, status=status, complete=complete, cpu_s=cpu_s, wall_s=wall_s, peak_bytes=peak_bytes,
        out=out, err=err, claim=claim,
    )  # fmt: skip


def _end(result: RunResult, output_length: int, output_bytes: int) -> tuple[str, int]:
    if result.status == "TimeLimitExceeded":
        return ("output_limit" if output_length >= MAX_OUTPUT_BYTES else "timeout"), 0
    if result.return_code is None:
        raise ServiceFailed(f"it tells no exit status, but {result.status!r}")
    if output_length > output_bytes:
        return "output_limit", 0
    number = -result.return_code if result.return_code < 0 else result.return_code - _SHELL_SIGNAL
    if 0 < number < signal.NSIG:
        return ("timeout" if number == signal.SIGXCPU else "signal"), number
    return "exit", result.return_code


def _usage(claim: str) -> tuple[float, int]:
    """Return CPU seconds and peak bytes, as the driver claims them; zeros when it does not."""
    try:
        usage = parse(claim).get("usage")
    except BadResult:
        return 0.0, 0
    match usage:
        case [float() as cpu_s, int() as peak_bytes] if 0 <= cpu_s < 1e6 and 0 <= peak_bytes < 1 << 50:
            return cpu_s, peak_bytes
        case _:
            return 0.0, 0


def _claim_of_traceback(err: str) -> str:
    """Return what a program's traceback says in the form of a claim; empty when there is no traceback."""
    lines = err.rstrip().splitlines()
    last = _LAST_LINE.match(lines[-1]) if lines else None
    frames = [[int(line), name] for line, name in _FRAME.findall(err)]
    syntax_line = _SYNTAX_LINE.findall(err)
    if last is None or not (frames or syntax_line):
        return ""
    name, text = last.group(1).rsplit(".", 1)[-1], last.group(2) or ""
    syntax = not frames and name in ("SyntaxError", "IndentationError", "TabError")
    error = {
        "stage": "compile" if syntax else "run",
        "names": _names(name),
        "text": text,
        "line": int(syntax_line[-1]) if syntax else frames[-1][0] if frames else None,
        "errno": _errno(text),
        "frames": frames,
    }
    return json.dumps({"error": error})


def _names(name: str) -> list[str]:
    kind: Any = getattr(builtins, name, None)
    if isinstance(kind, type) and issubclass(kind, BaseException):
        return [base.__name__ for base in kind.__mro__]
    return [name]


def _errno(text: str) -> int | None:
    found = re.match(r"\[Errno (\d{1,4})\]", text)
    return int(found.group(1)) if found else None
