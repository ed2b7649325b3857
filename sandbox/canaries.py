"""Programs that prove the sandbox before anything real runs: harmless ones must pass, hostile ones must not.

Isolation is judged by what these programs can do, never by reading the system's settings. What a tier does not promise
(no network, for one) is not probed.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from protocols.errors import SandboxUnavailable
from protocols.ports import Job, JobResult, Limits
from protocols.records import AssertTest, ErrorClass, StdioTest, Test

_LIMITS = Limits(cpu_s=2.0, wall_s=5.0, memory_bytes=256 << 20)
_CALL = AssertTest(code="assert f(20) == 21")


@dataclass(frozen=True)
class Canary:
    """One probe: a program, what must come of it, and what to do when something else does."""

    name: str
    code: str
    wanted: tuple[ErrorClass | None, ...]
    """Classes of which one must come; None means that its test must pass."""
    remedy: str
    test: Test = _CALL
    promised: tuple[str, ...] = ("namespaces", "landlock", "unsafe")
    """Tiers that promise it; under others the probe is left out."""
    limits: Limits = _LIMITS


_HARMLESS = Canary(
    name="harmless function",
    code="import csv, zlib\n\ndef f(x):\n    return x + 1\n",
    wanted=(None,),
    remedy="use a Python interpreter whose folder every user can read, or raise the memory limit",
)

CANARIES: tuple[Canary, ...] = (
    _HARMLESS,
    Canary(
        name="harmless program",
        code="print(sum(map(int, input().split())))",
        test=StdioTest(stdin="20 1\n", stdout="21\n"),
        wanted=(None,),
        remedy="check that pipes and memfd_create work here",
    ),
    Canary(
        name="empty environment",
        code="import os\n\ndef f(x):\n    return 21 if set(os.environ) <= {'LANG', 'PYTHONHASHSEED', 'TZ'} else 0\n",
        wanted=(None,),
        remedy="the interpreter adds environment variables: use a plain CPython",
    ),
    Canary(
        name="wall-clock limit",
        code="import time\n\ndef f(x):\n    time.sleep(60)\n    return x + 1\n",
        wanted=("timeout",),
        remedy="run on Linux 5.3 or later (pidfd_open)",
        limits=Limits(cpu_s=1.0, wall_s=0.3),
    ),
    Canary(
        name="memory limit",
        code="def f(x):\n    held = bytearray(1 << 30)\n    return x + 1\n",
        wanted=("memory",),
        remedy="address-space limits do not work here: run on Linux itself, or in a virtual machine",
    ),
    Canary(
        name="process limit",
        code="import os\n\ndef f(x):\n    if os.fork() == 0:\n        os._exit(0)\n    return x + 1\n",
        wanted=("forbidden",),
        promised=("namespaces", "landlock"),
        remedy="system calls are not filtered here: use a kernel with seccomp filters, as all distributions have them",
    ),
    Canary(
        name="forbidden system call",
        code="import ctypes\n\ndef f(x):\n    ctypes.CDLL(None).ptrace(0, 0, 0, 0)\n    return x + 1\n",
        wanted=("forbidden",),
        remedy="system calls are not filtered here: use a kernel with seccomp filters, as all distributions have them",
        promised=("namespaces", "landlock"),
    ),
    Canary(
        name="early exit",
        code="import os\n\ndef f(x):\n    os._exit(0)\n",
        wanted=("crash",),
        remedy="report this as a fault of the sandbox",
    ),
    Canary(
        name="killing the zygote",
        code="import os\n\ndef f(x):\n    os.kill(os.getppid(), 9)\n    return x + 1\n",
        wanted=(None, "forbidden"),
        remedy="process namespaces do not hold: use another kernel or container runtime",
        promised=("namespaces", "landlock"),
    ),
    Canary(
        name="writing outside the scratch folder",
        code="def f(x):\n    open('/var/tmp/sandbox-canary', 'w').close()\n    return x + 1\n",
        wanted=("forbidden", "other"),
        remedy="mount namespaces do not hold: use another kernel or container runtime",
        promised=("namespaces", "landlock"),
    ),
    Canary(
        name="reading the account file",
        code="def f(x):\n    open('/etc/passwd').close()\n    return x + 1\n",
        wanted=("forbidden", "other"),
        remedy="mount namespaces do not hold: use another kernel or container runtime",
        promised=("namespaces", "landlock"),
    ),
    Canary(
        name="network",
        code="import socket\n\ndef f(x):\n    socket.create_connection(('127.0.0.1', 9), timeout=1)\n",
        wanted=("forbidden",),
        remedy="network namespaces do not hold: use another kernel or container runtime",
        promised=("namespaces", "landlock"),
    ),
    _HARMLESS,
)


@dataclass(frozen=True)
class Probed:
    """What one canary showed."""

    name: str
    came: str
    """Error class, or `pass`."""
    held: bool
    """Whether it came out as it must."""


Tell = Callable[[Probed], None]
"""Is told of each canary when it has been run."""


async def probe(run: Callable[[Job], Awaitable[JobResult]], tell: Tell = lambda probed: None) -> str:
    """Run all canaries, one after another, and return the tier under which they ran.

    Raises:
        SandboxUnavailable: one came out otherwise than it must; names it and its remedy.
    """
    tier = ""
    for canary in CANARIES:
        if tier and tier.split("+")[0] not in canary.promised:
            continue
        tier = await _probe_one(canary, run, tell)
    return tier


async def _probe_one(canary: Canary, run: Callable[[Job], Awaitable[JobResult]], tell: Tell) -> str:
    entry_point = None if isinstance(canary.test, StdioTest) else "f"
    result = await run(Job(code=canary.code, tests=(canary.test,), entry_point=entry_point, limits=canary.limits))
    held = result.error_class in canary.wanted
    tell(Probed(canary.name, result.error_class or "pass", held))
    if not held:
        came = result.error_class or "success"
        raise SandboxUnavailable(
            f"The probe {canary.name!r} gave {came} under {result.tier!r} "
            f"({result.outcomes[0].message}). What helps: {canary.remedy}."
        )
    return result.tier
