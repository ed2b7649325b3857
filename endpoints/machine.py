"""What this machine has that decides how a server is started: cores, memory, devices, compiler, libraries to preload.

Looked at once, before the start; the decisions themselves are in `server_plan`, which is pure.
"""

import os
import platform
import shutil
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path

import msgspec

_LIBRARY_FOLDERS = (
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/lib/x86_64-linux-gnu",
    "/usr/lib64",
    "/usr/lib",
    "/usr/local/lib",
)
_ALLOCATORS = (
    "libtcmalloc_minimal.so.4",
    "libtcmalloc.so.4",
    "libtcmalloc_minimal.so",
    "libtcmalloc.so",
    "libmimalloc.so",
)
"""The first that is there. Debian has tcmalloc; mimalloc comes with this project's locked packages."""
_OPENMP = ("libiomp5.so",)
_BFLOAT16_FLAGS = {"avx512f", "amx_bf16", "bf16"}
"""AVX-512 without its bfloat16 instructions is enough for oneDNN's kernels; `bf16` is what ARM calls its own."""
_CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")
_CGROUP_USE = Path("/sys/fs/cgroup/memory.current")
_CGROUP_PARTS = Path("/sys/fs/cgroup/memory.stat")


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """One machine, as a server's plan needs it."""

    cores: tuple[int, ...]
    """Numbers of the cores that this process may use."""
    free_bytes: int
    """Memory that a new process can get without anything being pushed out."""
    architecture: str
    """As `platform.machine()` says."""
    gpu: bool
    bfloat16: bool
    """Whether matrices are multiplied in bfloat16 by fast kernels here. Without them it is the slow way: on a processor
    with AVX2 alone, products of 32 rows take 4 to 5 times as long as in float32."""
    allocator: str | None
    """Path of a faster allocator than the C library's; None when none is installed."""
    openmp: str | None
    """Path of Intel's OpenMP; None when it is not installed."""
    compiler: bool
    """Whether there is a C++ compiler (`CXX`, or g++, as torch looks for it), which compiling for a CPU needs."""
    python: str
    """Interpreter that has vLLM."""


def this_machine() -> Machine:
    """Return what is there now."""
    environment_lib = str(Path(sys.prefix) / "lib")
    packaged_lib = str(Path(sysconfig.get_path("purelib")) / "cmeel.prefix" / "lib")
    flags = _cpu_flags()
    return Machine(
        cores=_cores(),
        free_bytes=_free_bytes(),
        architecture=platform.machine(),
        gpu=any(Path(device).exists() for device in ("/dev/nvidia0", "/dev/kfd")),
        bfloat16=not flags or bool(flags & _BFLOAT16_FLAGS),
        allocator=_find(_ALLOCATORS, (environment_lib, *_LIBRARY_FOLDERS, packaged_lib)),
        openmp=_find(_OPENMP, (environment_lib, *_LIBRARY_FOLDERS)),
        compiler=shutil.which(os.environ.get("CXX", "g++")) is not None,
        python=sys.executable,
    )


def _cores() -> tuple[int, ...]:
    if hasattr(os, "sched_getaffinity"):
        return tuple(sorted(os.sched_getaffinity(0)))
    return tuple(range(os.cpu_count() or 1))


def _cpu_flags() -> frozenset[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return frozenset()
    line = next((line for line in lines if line.lower().startswith(("flags", "features"))), "")
    return frozenset(line.partition(":")[2].split())


def _free_bytes() -> int:
    """The least of what the system has free and what the control group still allows; 0 when neither tells."""
    known = [value for value in (_system_free(), _group_free()) if value is not None]
    return min(known, default=0)


def _system_free() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable:")), None)


def _group_free() -> int | None:
    """The file cache counts as used there, but makes room when it must."""
    try:
        limit, use = _CGROUP_LIMIT.read_text().strip(), int(_CGROUP_USE.read_text())
        parts = dict(line.split() for line in _CGROUP_PARTS.read_text().splitlines())
        cache = int(parts.get("inactive_file", 0)) + int(parts.get("active_file", 0))
        return None if limit == "max" else max(0, int(limit) - use + cache)
    except (OSError, ValueError):
        return None


def _find(names: Iterable[str], folders: Iterable[str]) -> str | None:
    folders = tuple(folders)
    paths = (Path(folder) / name for name in names for folder in folders)
    return next((str(path) for path in paths if path.exists()), None)
