"""Watches one run from outside its process: holds clocks and caps, cuts what it says into tests, tells how it ended.

Inside the sandbox but not in the candidate's process. A line on the result descriptor ends a test: the next one has its
own time and its own share of output. CPU time is read from the process's own clock, so it is exact and cannot be
talked away. Nothing here understands what the lines say.
"""

from __future__ import annotations

import os
import select
import time

from sandbox.inside.buffer import Buffer, Outbox
from sandbox.inside.frames import ANSWER, EXIT, OUTPUT_LIMIT, READY, TEST_DONE, TIMEOUT, TURN, read_exactly
from sandbox.inside.scratch import Scratch

ERROR_TAIL = 2000
"""Bytes of standard error that are told, the last ones."""
_SET_UP_S = 10.0
"""How long a run's process may take to set itself up: trusted code, on a machine that may be busy."""
_LOOK_S = 0.05
"""How often a scratch folder without a quota of its own is measured."""


class Capture:
    """What a run writes to one pipe, up to a limit for each test.

    Args:
        buffer: what holds it; empty, with room for `limit` bytes and one chunk.
        limit: bytes.
    """

    def __init__(self, buffer: Buffer, limit: int) -> None:
        self.reader, self.writer = os.pipe()
        self.data = buffer
        self._limit = limit
        os.set_blocking(self.reader, False)

    def read(self) -> bool:
        """Take what is there; return whether more may come."""
        if self.full:
            return False
        try:
            return self.data.read(self.reader) > 0
        except BlockingIOError:
            return False

    def drain(self) -> None:
        """Take all that is there."""
        while self.read():
            pass

    @property
    def full(self) -> bool:
        """Whether the limit was passed."""
        return self.data.used > self._limit

    def close(self) -> None:
        """Close the reading end."""
        os.close(self.reader)


class Watch:
    """Watches the process `pid`, from its fork to its end or to the reason for killing it.

    The wall clock starts when it is set up (setting up counts as CPU time of its first test). One that never was
    (`ready` is false) has run no candidate's code.

    Args:
        pid: the run's process.
        control: where a stop may come from, once the process is set up.
        captures: standard output, standard error, results.
        outbox: takes the answer on each test.
        wall_s: per test.
        cpu_s: per test.
        turn_s: for the whole run.
        tests: lines that end the run; 0 for a program, whose end is its own.
        parallel: processors that it may keep busy at once.
        scratch: the folder to measure now and then; None where a quota sees to it.
    """

    def __init__(
        self,
        pid: int,
        control: int,
        captures: tuple[Capture, Capture, Capture],
        outbox: Outbox,
        wall_s: float,
        cpu_s: float,
        turn_s: float,
        tests: int,
        parallel: int,
        scratch: Scratch | None,
    ) -> None:
        self.ready = False
        self.cpu_s = self.wall_s = 0.0
        """Of the test at which the run ended."""
        self._out, self._err, self._result = captures
        self._captures = captures
        self._outbox = outbox
        self._clock = (~pid << 3) | 2
        self._limits = (wall_s, cpu_s)
        self._wanted = self._left = tests
        self._parallel = parallel
        self._scratch = scratch
        self._look_at = 0.0
        self._begun = time.monotonic()
        self._turn_s = turn_s
        self._deadline = self._begun + _SET_UP_S
        self._cpu_begun = 0.0
        self._pid = pid
        self._control = control

    def follow(self) -> int:
        """Return the run's end, once it has come. The process is not reaped, and alive unless the end is `EXIT`."""
        ended = os.pidfd_open(self._pid)
        try:
            end = self._poll(ended)
        finally:
            os.close(ended)
        self._measure()
        return end

    def _poll(self, ended: int) -> int:
        poll = select.poll()
        poll.register(ended, select.POLLIN)
        by_descriptor = {capture.reader: capture for capture in self._captures}
        for descriptor in by_descriptor:
            poll.register(descriptor, select.POLLIN)
        while (wait_s := self._wait_s()) > 0:
            ready = [descriptor for descriptor, _ in poll.poll(wait_s * 1000 + 0.5)]
            for descriptor in ready:
                if descriptor in by_descriptor and not by_descriptor[descriptor].read():
                    poll.unregister(descriptor)
            end = self._look(poll, has_ended=ended in ready)
            if end is not None:
                return end
            if self._control in ready:
                read_exactly(self._control, 1)
                return TURN
        return TURN if time.monotonic() >= self._deadline else TIMEOUT

    def _look(self, poll: select.poll, *, has_ended: bool) -> int | None:
        """Take in what has come; return the run's end, if it has come as well."""
        if has_ended:
            for capture in self._captures:
                capture.drain()
        if self._is_scratch_full(at_once=has_ended or self._result.data.find(b"\n") >= 0):
            return OUTPUT_LIMIT
        self._cut_tests(poll)
        if any(capture.full for capture in self._captures):
            return OUTPUT_LIMIT
        return EXIT if has_ended or self._is_done() else None

    def _wait_s(self) -> float:
        """Return how long nothing needs a look; 0 when a limit was reached."""
        self._measure()
        if not self.ready:
            return max(0.0, self._deadline - time.monotonic())
        wall_s, cpu_s = self._limits
        left = min(wall_s - self.wall_s, self._deadline - time.monotonic())
        cpu_left = cpu_s - self.cpu_s
        if cpu_left <= 0 or left <= 0:
            return 0.0
        return min(left, max(cpu_left / self._parallel, 0.002), _LOOK_S if self._scratch is not None else left)

    def _measure(self) -> None:
        self.wall_s = time.monotonic() - self._begun
        self.cpu_s = time.clock_gettime(self._clock) - self._cpu_begun

    def _is_done(self) -> bool:
        return self._left == 0 < self._wanted

    def _is_scratch_full(self, *, at_once: bool) -> bool:
        """Look now and then, and `at_once` when a test or the process has ended: before it counts as done."""
        now = time.monotonic()
        if self._scratch is None or not self.ready or (now < self._look_at and not at_once):
            return False
        self._look_at = now + _LOOK_S
        return self._scratch.is_full()

    def _cut_tests(self, poll: select.poll) -> None:
        result = self._result.data
        if not self.ready and result.begins_with(READY):
            self._start_clocks()
            poll.register(self._control, select.POLLIN)
            result.drop(1)
        while self._left and self.ready and (length := result.find(b"\n") + 1):
            self._end_test(result.view(0, length - 1))
            result.drop(length)

    def _start_clocks(self) -> None:
        self.ready = True
        self._begun = time.monotonic()
        self._look_at = self._begun + _LOOK_S
        self._deadline = self._begun + self._turn_s

    def _end_test(self, claim: memoryview) -> None:
        self._out.drain()
        self._err.drain()
        self._measure()
        out, err = self._out.data, self._err.data
        tail = err.view(err.used - ERROR_TAIL)
        sizes = out.used, len(tail), len(claim)
        self._outbox.add(ANSWER.pack(TEST_DONE, EXIT, 0, self.cpu_s, self.wall_s, 0, *sizes), out.view(), tail, claim)
        out.used = err.used = 0
        self._begun += self.wall_s
        self._cpu_begun += self.cpu_s
        self.cpu_s = self.wall_s = 0.0
        self._left -= 1
