"""The program that runs one job inside the sandbox: sent to a fresh interpreter by `sandbox.bundle`, never imported.

Standard input: eight bytes of length, then the job (`marshal`, from the orchestrator, hence trusted); it stays open,
and its end means that the orchestrator is gone. Standard output: one JSON line with the tier once the isolation stands,
then one per test, in order. It belongs to the runner alone: a test's process has it closed.

Two processes: a watchdog, which ends everything when the orchestrator goes away, and the worker (first process of the
job's own process namespace where there is one), which forks once per test. After two tests timed out the rest are
reported as timed out without being run, so that an endless loop costs two deadlines and not one per test.
"""

from __future__ import annotations

import gc
import marshal
import os
import select
import sys

from sandbox.runner_jail import Jail
from sandbox.runner_supervision import SetUpFailed, run_test

TYPE_CHECKING = False  # importing `typing` would cost every job many milliseconds
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, NoReturn

MAX_TIMEOUTS = 2
_MAX_JOB_BYTES = 64 << 20
_SIGKILL = 9
_NOT_RUN = (
    '{"end":"timeout","status":0,"complete":false,"cpu_s":0.0,"peak_bytes":0,"out":"","err":"",'
    '"claim":"","not_run":true}'
)
_PRELOADED = (
    "bisect", "collections", "copy", "dataclasses", "datetime", "decimal", "enum", "fractions", "functools", "heapq",
    "itertools", "json", "math", "operator", "random", "re", "statistics", "string", "typing",
)  # fmt: skip


def main() -> NoReturn:
    """Read the job, isolate, run it, exit: 0 when every test was reported."""
    job = marshal.loads(_read_job())
    report = os.dup(1)
    _silence(1)
    jail = Jail(os.getcwd(), job["user_id"], 4 * job["limits"]["file_bytes"])
    _preload(job)
    jail.enter()
    worker = os.fork()
    if worker == 0:
        _be_worker(job, jail, report)
    os.close(report)
    _watch(worker)


def _read_job() -> bytes:
    length = int.from_bytes(_read_exactly(8), "big")
    if length > _MAX_JOB_BYTES:
        sys.exit(f"the job has {length} bytes, {_MAX_JOB_BYTES} are allowed")
    return _read_exactly(length)


def _read_exactly(length: int) -> bytes:
    data = bytearray()
    while len(data) < length:
        chunk = os.read(0, length - len(data))
        if not chunk:
            sys.exit("the orchestrator went away while it sent the job")
        data += chunk
    return bytes(data)


def _silence(descriptor: int) -> None:
    null = os.open("/dev/null", os.O_RDWR)
    os.dup2(null, descriptor)
    os.close(null)


def _preload(job: dict[str, Any]) -> None:
    """Import here, once, what the candidate mentions: each test's process would otherwise do it anew."""
    text = job["code"] + job["setup"]
    for name in _PRELOADED:
        if f"import {name}" in text or f"from {name} " in text:
            __import__(name)


def _watch(worker: int) -> NoReturn:
    """Wait until the worker has ended, or until nobody waits for it any more."""
    ended = os.pidfd_open(worker)
    poll = select.poll()
    poll.register(ended, select.POLLIN)
    poll.register(0, select.POLLIN)
    if ended not in [descriptor for descriptor, _ in poll.poll()]:
        os.kill(worker, _SIGKILL)
    _, status = os.waitpid(worker, 0)
    os._exit(0 if status == 0 else 1)


def _be_worker(job: dict[str, Any], jail: Jail, report: int) -> NoReturn:
    _silence(0)
    compile("def sample(values):\n    return [value + 1 for value in values]\n", "<sample>", "exec")
    gc.freeze()
    status = 1
    try:
        _write(report, f'{{"tier":"{jail.tier}"}}')
        for line in _run_tests(job, jail):
            _write(report, line)
        status = 0
    except SetUpFailed as error:
        sys.stderr.write(f"a test's process could not be set up: {error}")
        sys.stderr.flush()
    except BaseException as error:
        sys.__excepthook__(type(error), error, error.__traceback__)
    finally:
        os._exit(status)


def _run_tests(job: dict[str, Any], jail: Jail) -> Iterator[str]:
    timeouts = 0
    for test in job["tests"]:
        if timeouts >= MAX_TIMEOUTS:
            yield _NOT_RUN
            continue
        end, line = run_test(job, test, jail)
        timeouts += end == "timeout"
        yield line


def _write(descriptor: int, line: str) -> None:
    data = line.encode() + b"\n"
    while data:
        data = data[os.write(descriptor, data) :]


if __name__ == "__main__":
    main()
