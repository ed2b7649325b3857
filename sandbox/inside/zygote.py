"""The warm process from which every run of a slot is forked: preloaded, frozen, without privileges, knowing no job.

It reads from its control pipe only how long and how much (`sandbox.inside.frames`); what is to run goes past it into
the run's process. After each run it kills and reaps whatever is left, and empties the scratch folder. It ends with its
control pipe, and at anything that it does not expect: the orchestrator then starts another.
"""

from __future__ import annotations

import fcntl
import gc
import os
import select
import sys
from _signal import SIG_DFL, SIG_IGN, SIGINT, SIGXCPU, SIGXFSZ, signal  # pyright: ignore
from contextlib import suppress

from sandbox.inside import child
from sandbox.inside.buffer import CHUNK, Buffer, Outbox
from sandbox.inside.children import end_children
from sandbox.inside.frames import (
    ANSWER,
    EXIT,
    REQUEST,
    RUN,
    RUN_FAILED,
    RUN_OVER,
    SIGNAL,
    TIMEOUT,
    Gone,
    read_exactly,
    write_all,
)
from sandbox.inside.jail import Refused
from sandbox.inside.scratch import Scratch
from sandbox.inside.watch import ERROR_TAIL, Capture, Watch

TYPE_CHECKING = False  # importing `typing` is left to the preloaded modules
if TYPE_CHECKING:
    from resource import struct_rusage
    from typing import Any, NoReturn

    from sandbox.inside.jail import Jail

_SIGKILL, _SIGXCPU = 9, 24
_PRELOADED = (
    "bisect", "collections", "copy", "datetime", "decimal", "enum", "fractions", "functools", "heapq", "itertools",
    "json", "math", "operator", "random", "re", "string", "typing",
)  # fmt: skip
"""What programs use often. Every module makes every fork dearer: `dataclasses` and `statistics` together by 75 us, and
hardly one program in a hundred wants them."""
_COLLECT_EVERY = 20_000
"""New objects between two collections of a run: a small one ends before the first, which would touch many pages."""
_SPARE_BYTES = 4096
_OUTPUT_BYTES, _RESULT_BYTES = 4 * CHUNK, 20 * CHUNK
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
_SAMPLE = """
import math
from typing import List

class Sample:
    def __init__(self, values: List[int]) -> None:
        self.values = values

def f(values):
    seen = {}
    for index, value in enumerate(sorted(values)):
        seen[str(value)] = [index, value / 2, f"{value:>4}", (lambda x: x + 1)(value)]
    return {key: tuple(value) for key, value in seen.items()}
"""


class Zygote:
    """Serves runs until the control pipe ends.

    Args:
        config: what the orchestrator sent when the slot was started.
        jail: entered; locked here.
        control, report: the slot's two pipes.
        parts: what its isolation has besides, for the tier.
    """

    def __init__(self, config: dict[str, Any], jail: Jail, control: int, report: int, parts: list[str]) -> None:
        self._config = config
        self._jail = jail
        self._control = control
        self._report = report
        self._tier = "+".join([jail.tier, *parts])
        self._parallel = os.cpu_count() or 1
        self._buffers = [Buffer(_OUTPUT_BYTES), Buffer(_OUTPUT_BYTES), Buffer(_RESULT_BYTES)]
        self._outbox = Outbox(report)
        self._scratch = Scratch(jail.scratch, config["scratch_bytes"], config["scratch_files"])

    def serve(self) -> NoReturn:
        """Get ready, say so, and run what comes; never returns."""
        status = 1
        try:
            self._get_ready()
            write_all(self._report, f"{self._tier}\n".encode())
            while True:
                if read_exactly(self._control, 1) == RUN:
                    self._run_one(REQUEST.unpack(read_exactly(self._control, REQUEST.size)))
        except Gone:
            status = 0
        except Refused as error:
            write_all(2, f"refused: {error}".encode())
        except BaseException as error:
            sys.__excepthook__(type(error), error, error.__traceback__)
            sys.stderr.flush()
        finally:
            os._exit(status)

    def _get_ready(self) -> None:
        signal(SIGINT, SIG_DFL)
        signal(SIGXCPU, SIG_DFL)
        signal(SIGXFSZ, SIG_IGN)  # a file that grows too large is then an error that the program sees
        self._jail.lock()
        sys.path += self._config["path"]
        _preload((*_PRELOADED, *self._config["preload"]))
        child.rehearse(_SAMPLE)
        self._jail.close()
        gc.collect()
        gc.freeze()
        gc.set_threshold(_COLLECT_EVERY, 10, 10)

    def _run_one(self, request: tuple[Any, ...]) -> None:
        limits = child.Limits(*request)
        most = limits.output_bytes, limits.output_bytes, limits.result_bytes + _SPARE_BYTES
        self._make_room(most)
        first, second, third = (Capture(buffer, limit) for buffer, limit in zip(self._buffers, most, strict=True))
        captures = (first, second, third)
        talk = None
        if limits.is_talking:
            talk = self._config["conversation"]
            _renew(talk)
        self._scratch.begin()
        pid = os.fork()
        if pid == 0:
            child.run(limits, self._jail, self._control, captures, talk)
        for capture in captures:
            os.close(capture.writer)
        watch = self._watch(pid, limits, captures)
        end = watch.follow()
        status, usage = self._end(pid)
        for capture in captures:
            capture.close()
        self._answer(watch, *self._told(end, status, watch, limits), usage)
        self._clear()

    def _make_room(self, most: tuple[int, int, int]) -> None:
        for place, size in enumerate(most):
            if self._buffers[place].size <= size + CHUNK:
                self._buffers[place] = Buffer(size + 2 * CHUNK)

    def _watch(self, pid: int, limits: child.Limits, captures: tuple[Capture, Capture, Capture]) -> Watch:
        parallel = max(1, min(self._parallel, limits.threads))
        measured = None if self._jail.own_processes else self._scratch
        tests = 0 if limits.is_program else limits.tests
        clocks = limits.wall_s, limits.cpu_s, limits.turn_s
        return Watch(pid, self._control, captures, self._outbox, *clocks, tests, parallel, measured)

    def _end(self, pid: int) -> tuple[int, struct_rusage]:
        """Kill the run's process and all that it started; it is not reaped yet, so its number is still its own."""
        os.kill(pid, _SIGKILL)
        if self._jail.own_processes:
            with suppress(ProcessLookupError):
                os.kill(-1, _SIGKILL)
        else:
            with suppress(ProcessLookupError):
                os.killpg(pid, _SIGKILL)
        _, status, usage = os.wait4(pid, 0)
        end_children(kill=not self._jail.own_processes)
        return os.waitstatus_to_exitcode(status), usage

    @staticmethod
    def _told(end: int, status: int, watch: Watch, limits: child.Limits) -> tuple[int, int]:
        """Tell a signal from an exit, and a spent CPU limit from other signals."""
        if end != EXIT or status >= 0:
            return end, status
        spent = -status == _SIGXCPU or (-status == _SIGKILL and watch.cpu_s >= 0.8 * limits.cpu_s)
        return (TIMEOUT if spent else SIGNAL), -status

    def _answer(self, watch: Watch, end: int, status: int, usage: struct_rusage) -> None:
        out, err, claim = self._buffers
        if not watch.ready:
            text = (
                bytes(claim.view(0, 2000)) or f"it took too long, or was killed (end {end}, status {status})".encode()
            )
            write_all(self._report, ANSWER.pack(RUN_FAILED, end, status, 0.0, 0.0, 0, 0, len(text), 0) + text)
            raise Gone
        tail = err.view(err.used - ERROR_TAIL)
        used = watch.cpu_s, watch.wall_s, usage.ru_maxrss * 1024
        last = ANSWER.pack(RUN_OVER, end, status, *used, out.used, len(tail), claim.used)
        self._outbox.add(last, out.view(), tail, claim.view())
        self._outbox.flush()

    def _clear(self) -> None:
        """Leave nothing of a run: not in memory that the next one inherits, not in the scratch folder."""
        for buffer in (*self._buffers, self._outbox):
            buffer.wipe()
        self._scratch.clear()


def _preload(names: tuple[str, ...]) -> None:
    """Import modules, none of which may start a thread of its own: a fork would lose it.

    Raises:
        Refused: one cannot be imported.
    """
    os.environ.update(_ONE_THREAD)
    try:
        _import_random()
        for name in names:
            __import__(name)
        if "numpy" in sys.modules:
            __import__("numpy.random")  # else it comes with its first use, seeded with anything
    except ImportError as error:
        raise Refused(f"a module cannot be preloaded: {error}") from error
    finally:
        for variable in _ONE_THREAD:
            del os.environ[variable]


def _import_random() -> None:
    """Import `random` without what it would do in each fork: take a new seed, 0.1 ms for numbers that must be the same.

    Whoever uses it without a seed then goes on from this one, whether or not its code names the module.
    """
    register = os.register_at_fork
    os.register_at_fork = lambda **_: None  # pyright: ignore
    try:
        __import__("random")
    finally:
        os.register_at_fork = register
    sys.modules["random"].seed(0)


def _renew(talk: tuple[int, int]) -> None:
    """Undo what a run before did to the conversation, which outlives it: messages not read, flags of the two ends."""
    unread = bytearray(CHUNK)
    for descriptor in talk:
        fcntl.fcntl(descriptor, fcntl.F_SETFL, 0)
    while select.select([talk[0]], [], [], 0)[0] and os.readv(talk[0], [unread]):
        unread[:] = bytes(CHUNK)
