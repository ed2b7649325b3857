"""Runs one test in a forked process and tells how it ended: the side of the runner that holds clocks and limits.

Inside the sandbox but not in the candidate's process. Ends are `exit`, `signal`, `timeout` and `output_limit`. When a
test is over, every process that it left is killed, and its scratch folder is emptied.
"""

from __future__ import annotations

import os
import select
import time

from sandbox import runner_child
from sandbox.runner_encoding import quote

TYPE_CHECKING = False  # importing `typing` would cost every job many milliseconds
if TYPE_CHECKING:
    from resource import struct_rusage
    from typing import Any

    from sandbox.runner_jail import Jail

_SIGKILL, _SIGXCPU = 9, 24
_CHUNK = 1 << 16


class SetUpFailed(Exception):
    """The test's process could not be set up: the sandbox's fault, no candidate's code has run."""


class _Capture:
    def __init__(self, limit: int) -> None:
        self.reader, self.writer = os.pipe()
        self.data = bytearray()
        self._limit = limit
        os.set_blocking(self.reader, False)

    def read(self) -> bool:
        """Take what is there; return whether more may come."""
        try:
            chunk = os.read(self.reader, _CHUNK)
        except BlockingIOError:
            return False
        self.data += chunk
        return bool(chunk) and not self.full

    @property
    def full(self) -> bool:
        return len(self.data) > self._limit

    def close(self) -> None:
        os.close(self.reader)


def run_test(job: dict[str, Any], test: dict[str, Any], jail: Jail) -> tuple[str, str]:
    """Run one test and return how it ended and its report (see `sandbox.report`), as JSON.

    Raises:
        SetUpFailed: the sandbox's own machinery failed.
    """
    token = os.urandom(16).hex()
    output_bytes = job["limits"]["output_bytes"]
    captures = (_Capture(output_bytes), _Capture(output_bytes), _Capture(job["result_bytes"] + 4096))
    start = time.monotonic()
    pid = _fork(job, test, token, jail, captures)
    end = _watch(pid, captures, job["limits"]["wall_s"])
    _kill_all(pid, jail)
    _, status, usage = os.wait4(pid, 0)
    wall_s = time.monotonic() - start
    _reap_rest()
    for capture in captures:
        capture.close()
    jail.clear_scratch()
    number = os.waitstatus_to_exitcode(status)
    if end == "exit" and number < 0:
        end, number = _end_by_signal(-number, usage, job["limits"]["cpu_s"]), -number
    return end, _report(end, number, usage, wall_s, token, captures)


def _fork(job: dict[str, Any], test: dict[str, Any], token: str, jail: Jail, captures: tuple[_Capture, ...]) -> int:
    stdin = _stdin(test.get("stdin"))
    out, err, result = (capture.writer for capture in captures)
    pid = os.fork()
    if pid == 0:
        runner_child.run(job, test, token, jail, (stdin, out, err, result))
    for descriptor in (stdin, out, err, result):
        os.close(descriptor)
    return pid


def _stdin(text: str | None) -> int:
    if text is None:
        return os.open("/dev/null", os.O_RDONLY)
    descriptor = os.memfd_create("stdin")
    data = text.encode("utf-8", "surrogatepass")
    while data:
        data = data[os.write(descriptor, data) :]
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _watch(pid: int, captures: tuple[_Capture, ...], wall_s: float) -> str:
    ended = os.pidfd_open(pid)
    try:
        return _poll(ended, captures, time.monotonic() + wall_s)
    finally:
        os.close(ended)


def _poll(ended: int, captures: tuple[_Capture, ...], deadline: float) -> str:
    poll = select.poll()
    poll.register(ended, select.POLLIN)
    open_captures = {capture.reader: capture for capture in captures}
    for descriptor in open_captures:
        poll.register(descriptor, select.POLLIN)
    while (left := deadline - time.monotonic()) > 0:
        ready = [descriptor for descriptor, _ in poll.poll(left * 1000)]
        for descriptor in ready:
            if descriptor != ended and not open_captures[descriptor].read():
                poll.unregister(descriptor)
        if any(capture.full for capture in captures):
            return "output_limit"
        if ended in ready:
            return _drain(captures)
    return "timeout"


def _drain(captures: tuple[_Capture, ...]) -> str:
    for capture in captures:
        while capture.read():
            pass
    return "output_limit" if any(capture.full for capture in captures) else "exit"


def _kill_all(pid: int, jail: Jail) -> None:
    """Kill the test's process and all that it started; it is not reaped yet, so its number is still its own."""
    for kill, target in ((os.kill, -1), (os.killpg, pid), (os.kill, pid)):
        if target != -1 or jail.own_processes:
            try:  # noqa: SIM105  (importing contextlib would cost every job milliseconds)
                kill(target, _SIGKILL)
            except (ProcessLookupError, PermissionError):
                pass


def _reap_rest() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def _end_by_signal(number: int, usage: struct_rusage, cpu_s: float) -> str:
    """Tell a spent CPU limit from other signals: the hard limit kills, a little before the accounts show all of it."""
    spent = usage.ru_utime + usage.ru_stime
    return "timeout" if number == _SIGXCPU or (number == _SIGKILL and spent >= 0.8 * cpu_s) else "signal"


def _report(
    end: str, status: int, usage: struct_rusage, wall_s: float, token: str, captures: tuple[_Capture, ...]
) -> str:
    out, err, result = (bytes(capture.data) for capture in captures)
    if not result.startswith(runner_child.READY):
        if end == "exit":
            raise SetUpFailed(result.decode("utf-8", "replace"))
        result = runner_child.READY
    complete = result.endswith(f'"token":"{token}"}}\n'.encode())
    fields = {
        "end": quote(end),
        "status": str(status),
        "complete": "true" if complete else "false",
        "cpu_s": repr(usage.ru_utime + usage.ru_stime),
        "wall_s": repr(wall_s),
        "peak_bytes": str(usage.ru_maxrss * 1024),
        "out": quote(out.decode("utf-8", "surrogateescape")),
        "err": quote(err[-2000:].decode("utf-8", "surrogateescape")),
        "claim": quote(result[1:].decode("utf-8", "surrogateescape")),
    }
    return "{" + ",".join([f'"{name}":{value}' for name, value in fields.items()]) + "}"
