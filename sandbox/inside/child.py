"""One run in its own process: read what is to run, set limits, run test after test, send back claims.

The claim on each test goes to descriptor 3 as one line of JSON: `results` (the encoded results of the test's calls),
`token` (the test ran to its end) or `error`. All of it is a claim by untrusted code: nobody outside believes what would
turn a failure into a success. Nothing here holds an expected value of a call test; for a test that runs in the
candidate's process its code is necessarily here (evidence "weak"). A test that runs in a slot of its own, apart from
the candidate, is the kind `remote` there and `serve` in the candidate's (`sandbox.inside.proxy`).

Each test finds the candidate's module newly executed. What cannot be made new in one process (files, threads, memory
that ran out) makes this one ask for a fresh one for the tests that are left.
"""

from __future__ import annotations

import atexit
import builtins
import fcntl
import gc
import marshal
import os
import resource
import sys
from _thread import _count as count_threads  # pyright: ignore
from contextlib import suppress

from sandbox.inside.encoding import Encoder, ResultTooLarge, quote
from sandbox.inside.frames import FRESH, READY, read_exactly, write_all
from sandbox.inside.proxy import Conversation, NotData, claim_of, run_remotely, serve
from sandbox.inside.system import PDEATHSIG, control_process

TYPE_CHECKING = False  # importing `typing` is left to the preloaded modules
if TYPE_CHECKING:
    from types import CodeType, ModuleType, TracebackType
    from typing import Any, NoReturn

    from sandbox.inside.jail import Jail
    from sandbox.inside.watch import Capture

RESULT_DESCRIPTOR, TALK_DESCRIPTOR = 3, 4
SOURCE_NAME = "<candidate>"
_MAX_TEXT = 400
_MAX_NAME = 80
_MAX_FRAMES = 12
_OPEN_FILES = 64
_HIGHEST_DESCRIPTOR = 1 << 16
_SIGKILL = 9
_RECURSION = 1000
_OUT_OF_MEMORY = b'{"error":{"stage":"run","names":["MemoryError"],"text":"","line":null,"errno":null,"frames":[]}}\n'


class Limits:
    """What a request asks for; the arguments are the fields of `frames.REQUEST`, in order."""

    def __init__(
        self,
        payload: int,
        wall_s: float,
        cpu_s: float,
        turn_s: float,
        memory_bytes: int,
        output_bytes: int,
        result_bytes: int,
        file_bytes: int,
        threads: int,
        tests: int,
        is_program: int,
        is_talking: int,
    ) -> None:
        self.payload = payload
        self.wall_s = wall_s
        self.cpu_s = cpu_s
        self.turn_s = turn_s
        self.memory_bytes = memory_bytes
        self.output_bytes = output_bytes
        self.result_bytes = result_bytes
        self.file_bytes = file_bytes
        self.threads = threads
        self.tests = tests
        self.is_program = bool(is_program)
        self.is_talking = bool(is_talking)


def rehearse(code: str) -> None:
    """Compile and run trusted sample code as a candidate's, so that forks find warm what each of them will use."""
    builtins.exit = builtins.quit = sys.exit  # pyright: ignore  (the interpreter runs without `site`)
    for known in [known for known in sys.modules if known.split(".")[0] == "sandbox"]:
        del sys.modules[known]
    run = _Run({"code": code, "setup": "", "entry_point": "f", "tests": [], "token": ""}, 1 << 20, ".")
    for _ in range(20):
        run.claim({"kind": "calls", "calls": ["f([3, 1, 2])", "f([])"]})
        run.claim({"kind": "calls", "calls": ["f(missing)"]})


def run(
    limits: Limits,
    jail: Jail,
    control: int,
    captures: tuple[Capture, Capture, Capture],
    talk: tuple[int, int] | None,
) -> NoReturn:
    """Be a run's process: never returns. What is to run is read from `control`, which is closed before it runs.

    `talk` are the descriptors of a conversation with another slot, to read and to write; None when there is none.
    """
    result = captures[2].writer
    try:
        payload = marshal.loads(read_exactly(control, limits.payload))
        stdin = _stdin(payload["tests"][0].get("stdin"))
        _set_up(limits, jail, (stdin, *(capture.writer for capture in captures), *(talk or ())))
        os.write(RESULT_DESCRIPTOR, READY)
    except BaseException as error:
        _tell(repr(error), result)
        os._exit(1)
    gc.enable()
    status = 1
    try:
        status = _Run(payload, limits.result_bytes, jail.scratch).run()
    except MemoryError:
        # The tests that are left need a process with memory to spare.
        os.write(RESULT_DESCRIPTOR, _OUT_OF_MEMORY if limits.is_program else _OUT_OF_MEMORY + FRESH)
    finally:
        os._exit(status)


def _tell(text: str, result: int) -> None:
    """Say why there will be no run, on the result descriptor, wherever it is by now."""
    for descriptor in (result, RESULT_DESCRIPTOR):
        with suppress(OSError):
            os.write(descriptor, text[:_MAX_TEXT].encode())
            return


def _stdin(text: str | None) -> int:
    if text is None:
        return os.open("/dev/null", os.O_RDONLY)
    descriptor = os.memfd_create("stdin")
    write_all(descriptor, text.encode("utf-8", "surrogatepass"))
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _set_up(limits: Limits, jail: Jail, descriptors: tuple[int, ...]) -> None:
    os.setsid()
    control_process(PDEATHSIG, _SIGKILL)
    # Lifted out of the way first: a pipe may sit on one of the numbers wanted below.
    lifted = [fcntl.fcntl(descriptor, fcntl.F_DUPFD, 100) for descriptor in descriptors]
    for number, descriptor in enumerate(lifted):
        os.dup2(descriptor, number, inheritable=True)
    jail.enclose()
    os.closerange(len(descriptors), _HIGHEST_DESCRIPTOR)
    _set_limits(limits, jail)
    jail.filter()


def _set_limits(limits: Limits, jail: Jail) -> None:
    # The watch holds the exact CPU limit of each test; this one stands in for a watch that is gone.
    cpu = int(limits.cpu_s * limits.tests) + 2
    processes = limits.threads + jail.other_processes
    for which, soft, hard in (
        (resource.RLIMIT_CORE, 0, 0),
        (resource.RLIMIT_CPU, cpu, cpu + 1),
        (resource.RLIMIT_FSIZE, limits.file_bytes, limits.file_bytes),
        (resource.RLIMIT_NOFILE, _OPEN_FILES, _OPEN_FILES),
        (resource.RLIMIT_NPROC, processes, processes),
        (resource.RLIMIT_AS, limits.memory_bytes, limits.memory_bytes),
    ):
        resource.setrlimit(which, (soft, hard))


class _Run:
    def __init__(self, payload: dict[str, Any], result_bytes: int, scratch: str) -> None:
        self._payload = payload
        self._result_bytes = result_bytes
        self._scratch = scratch
        self._stage = "compile"
        self._code: CodeType | None = None
        self._results: list[str] = []
        # Only where they may be changed: looking at them all makes the kernel copy many pages of the zygote's.
        self._builtins = dict(builtins.__dict__) if "builtins" in payload["code"] else None
        self._seeds = "random" in str(payload)
        if self._seeds:
            _seed()

    def run(self) -> int:
        """Run the tests, send a claim on each, and return the exit status."""
        tests = self._payload["tests"]
        if tests[0]["kind"] == "program":
            return self._run_program(tests[0])
        if tests[0]["kind"] == "serve":
            return self._serve()
        for number, test in enumerate(tests):
            if number > 0 and self._is_spoilt():
                os.write(RESULT_DESCRIPTOR, FRESH)
                return 0
            claim = self.claim(test)
            _flush()
            _send(claim)
        return 0

    def claim(self, test: dict[str, Any]) -> str:
        """Run one test and return what there is to say of it."""
        self._results = []
        try:
            self._go("candidate", test)
        except MemoryError:
            raise
        except BaseException as error:
            return self._failure(error)
        return f'{{"results":[{",".join(self._results)}],"token":"{self._payload["token"]}"}}'

    def _serve(self) -> int:
        """Load the candidate and answer calls from another slot; a claim is sent only if it cannot be loaded."""
        try:
            scope = self._load("candidate")
        except MemoryError:
            raise
        except BaseException as error:
            _flush()
            _send(self._failure(error))
            return 1
        conversation = Conversation(TALK_DESCRIPTOR, TALK_DESCRIPTOR + 1)
        serve(conversation, scope, self._result_bytes, lambda error: _describe(error, "run"))
        return 0

    def _is_spoilt(self) -> bool:
        """Whether what the last test left would show in the next one; mends what can be mended here."""
        if count_threads() > 0:
            return True
        if self._builtins is not None:
            builtins.__dict__.clear()
            builtins.__dict__.update(self._builtins)
        if self._seeds:
            _seed()
        sys.setrecursionlimit(_RECURSION)
        try:
            os.chdir(self._scratch)
            return bool(os.listdir())
        except OSError:
            return True

    def _run_program(self, test: dict[str, Any]) -> int:
        try:
            self._go("__main__", test)
        except MemoryError:
            raise
        except SystemExit as error:
            return _exit_program(error)
        except BaseException as error:
            _send(self._failure(error))
            sys.__excepthook__(type(error), error, error.__traceback__)
            _end_program()
            return 1
        return _end_program()

    def _go(self, name: str, test: dict[str, Any]) -> None:
        if test["kind"] == "remote":
            self._stage = "run"
            _new_module(name)
            conversation = Conversation(TALK_DESCRIPTOR, TALK_DESCRIPTOR + 1)
            run_remotely(test["code"], self._payload["setup"], self._payload["entry_point"], conversation)
        else:
            self._run_test(test, self._load(name))

    def _load(self, name: str) -> dict[str, Any]:
        self._stage = "compile"
        if self._code is None:
            self._code = compile(self._payload["code"], SOURCE_NAME, "exec", dont_inherit=True)
        self._stage = "load"
        scope = _new_module(name).__dict__
        exec(self._code, scope)
        entry_point = self._payload["entry_point"]
        if name != "__main__" and entry_point is not None and entry_point not in scope:
            self._stage = "entry_point"
            raise NameError(f"{entry_point} is not defined")
        self._stage = "run"
        return scope

    def _run_test(self, test: dict[str, Any], scope: dict[str, Any]) -> None:
        if test["kind"] in ("calls", "code") and self._payload["setup"]:
            # In a scope of its own: an import in it must not mend a candidate that lacks it.
            scope = dict(scope)
            exec(compile(self._payload["setup"], "<setup>", "exec", dont_inherit=True), scope)
        if test["kind"] == "code":
            exec(compile(test["code"], "<test>", "exec", dont_inherit=True), scope)
        encoder = Encoder(self._result_bytes)
        for call in test.get("calls", ()):
            value = eval(compile(call, "<test>", "eval", dont_inherit=True), scope)
            self._results.append(encoder.encode(value))

    def _failure(self, error: BaseException) -> str:
        return f'{{"results":[{",".join(self._results)}],"error":{_describe(error, self._stage)}}}'


def _new_module(name: str) -> ModuleType:
    module = type(sys)(name)
    module.__dict__["__builtins__"] = builtins
    sys.modules["__main__"] = module
    sys.modules[name] = module
    sys.argv = [name]
    return module


def _seed() -> None:
    """Give the same random numbers each time, unless the test or the candidate seeds its own."""
    sys.modules["random"].seed(0)
    if "numpy.random" in sys.modules:
        sys.modules["numpy.random"].seed(0)


def _send(text: str) -> None:
    write_all(RESULT_DESCRIPTOR, text.encode() + b"\n")


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:
            continue


def _describe(error: BaseException, stage: str) -> str:
    if isinstance(error, NotData):
        stage = "not_data"
    if (claim := claim_of(error)) is not None:
        return claim
    if isinstance(error, ResultTooLarge):
        stage = "too_large"
    names = ",".join([quote(kind.__name__) for kind in type(error).__mro__])
    number = error.errno if isinstance(error, OSError) and type(error.errno) is int else None
    steps = _steps(error.__traceback__)
    line = error.lineno if stage == "compile" and isinstance(error, SyntaxError) else steps[-1][0] if steps else None
    frames = ",".join([f"[{line},{quote(name[:_MAX_NAME])}]" for line, name in steps[-_MAX_FRAMES:]])
    return (
        f'{{"stage":"{stage}","names":[{names}],"text":{quote(_text(error))},'
        f'"line":{"null" if line is None else line},"errno":{"null" if number is None else number},'
        f'"frames":[{frames}]}}'
    )


def _text(error: BaseException) -> str:
    try:
        return str(error.msg if isinstance(error, SyntaxError) else error)[:_MAX_TEXT]
    except Exception:
        return ""


def _steps(traceback: TracebackType | None) -> list[tuple[int, str]]:
    """Return line and function of the candidate's own code that the exception passed, outermost first."""
    steps: list[tuple[int, str]] = []
    while traceback is not None:
        code = traceback.tb_frame.f_code
        if code.co_filename == SOURCE_NAME:
            steps.append((traceback.tb_lineno, code.co_name))
        traceback = traceback.tb_next
    return steps


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
    _join_threads()
    atexit._run_exitfuncs()  # pyright: ignore[reportPrivateUsage]
    try:
        for stream in {sys.stdout, sys.stderr, sys.__stdout__}:
            if stream is not None:
                stream.flush()
    except Exception:
        return 120
    return 0


def _join_threads() -> None:
    threading = sys.modules.get("threading")
    if threading is not None:
        threading._shutdown()
