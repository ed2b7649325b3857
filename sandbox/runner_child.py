"""One test in its own process: set limits, drop privileges, run the candidate, send back a claim.

Runs inside the sandbox. The claim goes to descriptor 3 as one line of JSON: `results` (the encoded results of the
test's calls), `token` (the in-process test ran to its end) or `error`. All of it is a claim by untrusted code: the
runner and the orchestrator believe nothing that would turn a failure into a success. Nothing here holds an expected
value of a call test; for an in-process test the test's own code is necessarily here (evidence "weak").
"""

from __future__ import annotations

import atexit
import builtins
import fcntl
import gc
import os
import resource
import sys
from _signal import SIG_DFL, SIG_IGN, SIGINT, SIGXCPU, SIGXFSZ, signal  # pyright: ignore

from sandbox.runner_encoding import Encoder, ResultTooLarge, quote

TYPE_CHECKING = False  # importing `typing` would cost every job many milliseconds
if TYPE_CHECKING:
    from types import ModuleType, TracebackType
    from typing import Any, NoReturn

    from sandbox.runner_jail import Jail

READY = b"S"
"""First byte on the result descriptor: set up, the candidate's code comes now."""
RESULT_DESCRIPTOR = 3
SOURCE_NAME = "<candidate>"
_MAX_TEXT = 400
_MAX_NAME = 80
_MAX_FRAMES = 12
_OPEN_FILES = 64
_HIGHEST_DESCRIPTOR = 1024
_OUT_OF_MEMORY = b'{"error":{"stage":"run","names":["MemoryError"],"text":"","line":null,"errno":null,"frames":[]}}\n'


def run(
    job: dict[str, Any], test: dict[str, Any], token: str, jail: Jail, descriptors: tuple[int, int, int, int]
) -> NoReturn:
    """Be the test's process: never returns. `descriptors` become 0, 1, 2 and the result descriptor."""
    try:
        _set_up(job["limits"], jail, descriptors)
        os.write(RESULT_DESCRIPTOR, READY)
    except BaseException as error:
        os.write(descriptors[3], repr(error)[:_MAX_TEXT].encode())
        os._exit(1)
    gc.enable()
    status = 1
    try:
        status = _Run(job, test, token).run()
    except MemoryError:
        os.write(RESULT_DESCRIPTOR, _OUT_OF_MEMORY)
    finally:
        os._exit(status)


def _set_up(limits: dict[str, Any], jail: Jail, descriptors: tuple[int, int, int, int]) -> None:
    os.setsid()
    signal(SIGINT, SIG_DFL)
    signal(SIGXCPU, SIG_DFL)
    signal(SIGXFSZ, SIG_IGN)  # a file that grows too large is then an error that the program sees
    # Lifted out of the way first: a pipe may sit on one of the numbers wanted below.
    lifted = [_lift(descriptor) for descriptor in descriptors]
    for number, descriptor in enumerate(lifted):
        os.dup2(descriptor, number, inheritable=True)
    os.closerange(RESULT_DESCRIPTOR + 1, _HIGHEST_DESCRIPTOR)
    _set_limits(limits, jail)
    jail.drop()


def _lift(descriptor: int) -> int:
    return fcntl.fcntl(descriptor, fcntl.F_DUPFD, 100)


def _set_limits(limits: dict[str, Any], jail: Jail) -> None:
    cpu = max(1, -int(-limits["cpu_s"] // 1))
    processes = limits["processes"] + jail.extra_processes
    for name, soft, hard in (
        ("RLIMIT_CORE", 0, 0),
        ("RLIMIT_CPU", cpu, cpu + 1),
        ("RLIMIT_FSIZE", limits["file_bytes"], limits["file_bytes"]),
        ("RLIMIT_NOFILE", _OPEN_FILES, _OPEN_FILES),
        ("RLIMIT_NPROC", processes, processes),
        ("RLIMIT_AS", limits["memory_bytes"], limits["memory_bytes"]),
    ):
        resource.setrlimit(getattr(resource, name), (soft, hard))


class _Run:
    def __init__(self, job: dict[str, Any], test: dict[str, Any], token: str) -> None:
        self._job = job
        self._test = test
        self._token = token
        self._stage = "compile"
        self._results: list[str] = []
        self._encoder = Encoder(job["result_bytes"])

    def run(self) -> int:
        """Run the test, send its claim, and return the exit status."""
        program = self._test["kind"] == "program"
        try:
            self._go("__main__" if program else "candidate")
        except MemoryError:
            raise
        except BaseException as error:
            return self._failed(error, program)
        return _end_program() if program else self._finished()

    def _go(self, name: str) -> None:
        code = compile(self._job["code"], SOURCE_NAME, "exec", dont_inherit=True)
        self._stage = "load"
        scope = _new_module(name).__dict__
        exec(code, scope)
        entry_point = self._job["entry_point"]
        if self._test["kind"] != "program" and entry_point is not None and entry_point not in scope:
            self._stage = "entry_point"
            raise NameError(f"{entry_point} is not defined")
        self._run_test(scope)

    def _run_test(self, candidate: dict[str, Any]) -> None:
        self._stage = "run"
        scope = candidate
        if self._test["kind"] in ("calls", "code") and self._job["setup"]:
            # In a scope of its own: an import in it must not mend a candidate that lacks it.
            scope = dict(candidate)
            exec(compile(self._job["setup"], "<setup>", "exec", dont_inherit=True), scope)
        if self._test["kind"] == "code":
            exec(compile(self._test["code"], "<test>", "exec", dont_inherit=True), scope)
        for call in self._test.get("calls", ()):
            value = eval(compile(call, "<test>", "eval", dont_inherit=True), scope)
            self._results.append(self._encoder.encode(value))

    def _finished(self) -> int:
        _send(f'{{"results":[{",".join(self._results)}],"token":"{self._token}"}}')
        return 0

    def _failed(self, error: BaseException, program: bool) -> int:
        if program and isinstance(error, SystemExit):
            return _exit_program(error)
        claim = _describe(error, self._stage)
        _send(f'{{"results":[{",".join(self._results)}],"error":{claim}}}')
        if program:
            sys.__excepthook__(type(error), error, error.__traceback__)
            _end_program()
        return 1


def _new_module(name: str) -> ModuleType:
    builtins.exit = builtins.quit = sys.exit  # pyright: ignore  (the interpreter runs without `site`)
    for known in [known for known in sys.modules if known.split(".")[0] == "sandbox"]:
        del sys.modules[known]
    module = type(sys)(name)
    module.__dict__["__builtins__"] = builtins
    sys.modules["__main__"] = module
    sys.modules[name] = module
    sys.argv = [name]
    return module


def _send(text: str) -> None:
    data = text.encode() + b"\n"
    while data:
        data = data[os.write(RESULT_DESCRIPTOR, data) :]


def _describe(error: BaseException, stage: str) -> str:
    if isinstance(error, ResultTooLarge):
        stage = "too_large"
    names = ",".join([quote(kind.__name__) for kind in type(error).__mro__])
    number = error.errno if isinstance(error, OSError) and type(error.errno) is int else None
    line = error.lineno if stage == "compile" and isinstance(error, SyntaxError) else _line(error.__traceback__)
    text = quote(_text(error))
    return (
        f'{{"stage":"{stage}","names":[{names}],"text":{text},'
        f'"line":{"null" if line is None else line},"errno":{"null" if number is None else number},'
        f'"frames":[{_frames(error.__traceback__)}]}}'
    )


def _text(error: BaseException) -> str:
    try:
        return str(error.msg if isinstance(error, SyntaxError) else error)[:_MAX_TEXT]
    except Exception:
        return ""


def _frames(traceback: TracebackType | None) -> str:
    """Return the candidate's own lines that the exception passed, `[line, function]` each, the last ones only."""
    frames: list[str] = []
    while traceback is not None:
        code = traceback.tb_frame.f_code
        if code.co_filename == SOURCE_NAME:
            frames.append(f"[{traceback.tb_lineno},{quote(code.co_name[:_MAX_NAME])}]")
        traceback = traceback.tb_next
    return ",".join(frames[-_MAX_FRAMES:])


def _line(traceback: TracebackType | None) -> int | None:
    """Return the line of the candidate's own code that the exception passed last."""
    line = None
    while traceback is not None:
        if traceback.tb_frame.f_code.co_filename == SOURCE_NAME:
            line = traceback.tb_lineno
        traceback = traceback.tb_next
    return line


def _exit_program(error: SystemExit) -> int:
    if isinstance(error.code, int):
        status = error.code & 0xFF
    elif error.code is None:
        status = 0
    else:
        status = 1
        print(error.code, file=sys.stderr)
    return _end_program() or status


def _end_program() -> int:
    """Do what the interpreter does at its end: exit handlers, then flush; 120 is its status when flushing fails."""
    atexit._run_exitfuncs()  # pyright: ignore[reportPrivateUsage]
    try:
        for stream in {sys.stdout, sys.stderr, sys.__stdout__}:
            if stream is not None:
                stream.flush()
    except Exception:
        return 120
    return 0
