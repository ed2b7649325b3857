"""Filters of system calls, built from tables of names: one for the zygote and all its runs, a small one for each run.

The zygote's filter is an allow-list. What a run must not have but the zygote needs in order to set it up is taken away
by a second, small filter, because loading a large one costs each run 0.2 ms. Another processor's way of calling, and
the x32 one, kill. Where arguments decide, their low 32 bits do, as the kernel reads them.
"""

# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUntypedBaseClass=false
# (`_ctypes` has no complete types)

from __future__ import annotations

import errno
import os
from _ctypes import Array, _SimpleCData, addressof  # pyright: ignore
from struct import pack

from sandbox.inside.syscalls import ABSENT, FILES, KILLED, MODES, NUMBERS, PROCESS, ZYGOTE
from sandbox.inside.system import call

TYPE_CHECKING = False  # importing `typing` is left to the preloaded modules
if TYPE_CHECKING:
    from typing import Any

ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
ALLOW, KILL = 0x7FFF0000, 0x80000000
EPERM, ENOSYS = 0x00050000 | errno.EPERM, 0x00050000 | errno.ENOSYS

_X32 = 0x40000000
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _AND, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x54, 0x06
_SET_SECCOMP, _MODE_FILTER = 22, 2
_CLONE_THREAD, _CLONE_NEW = 0x10000, 0x7E020080
_UNIX, _STREAM, _TYPE_BITS = 1, 1, 0xF
_IOCTL = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)
"""Is it a terminal, its size, bytes to read, non-blocking, close on exec and not."""
_FCNTL = (0, 1, 2, 3, 4, 5, 6, 7, 36, 37, 38, 1030, 1032)
"""Duplicates, flags, locks, size of a pipe; not: who gets signals, leases, notices."""
_PRCTL = (2, 3, 15, 16, 21, 39, 0x53564D41)
"""What is only asked, and names."""

Instruction = tuple[int, int, int, int]


def _returns(action: int) -> list[Instruction]:
    return [(_RETURN, 0, 0, action)]


def _argument(index: int) -> Instruction:
    return (_LOAD, 0, 0, 16 + 8 * index)


def _one_of(index: int, values: tuple[int, ...]) -> list[Instruction]:
    checks = [part for value in values for part in ((_EQUAL, 0, 1, value), *_returns(ALLOW))]
    return [_argument(index), *checks, *_returns(EPERM)]


_ONLY_THREADS = [
    _argument(0),
    (_ANY_BIT, 0, 1, _CLONE_NEW),
    *_returns(EPERM),
    (_ANY_BIT, 0, 1, _CLONE_THREAD),
    *_returns(ALLOW),
    *_returns(EPERM),
]
_ONLY_STREAMS = [
    _argument(0),
    (_EQUAL, 1, 0, _UNIX),
    *_returns(EPERM),
    _argument(1),
    (_AND, 0, 0, _TYPE_BITS),
    (_EQUAL, 0, 1, _STREAM),
    *_returns(ALLOW),
    *_returns(EPERM),
]


def zygote_program(machine: str) -> bytes:
    """Return the filter of a zygote and of all its runs on `machine` (`x86_64` or `aarch64`)."""
    rules = {name: _returns(ALLOW) for name in (*FILES, *PROCESS, *MODES, *ZYGOTE)}
    rules |= {name: _returns(KILL) for name in KILLED}
    rules |= {name: _returns(ENOSYS) for name in ABSENT}
    rules |= {
        "ioctl": _one_of(1, _IOCTL),
        "fcntl": _one_of(1, _FCNTL),
        "prlimit64": _one_of(0, (0,)),
        "socketpair": _ONLY_STREAMS,
    }
    return _program(machine, rules, EPERM)


def run_program(machine: str, *, modes: bool) -> bytes:
    """Return what is taken from a run besides; `modes` leaves it the calls that change modes and times of files."""
    refused = [name for name in ZYGOTE if name not in ("clone", "prctl")] + ([] if modes else MODES)
    rules = {name: _returns(EPERM) for name in refused}
    return _program(machine, rules | {"clone": _ONLY_THREADS, "prctl": _one_of(0, _PRCTL)}, ALLOW)


def _program(machine: str, rules: dict[str, list[Instruction]], default: int) -> bytes:
    code: list[Instruction] = [
        (_LOAD, 0, 0, 4),
        (_EQUAL, 1, 0, ARCHITECTURES[machine]),
        *_returns(KILL),
        (_LOAD, 0, 0, 0),
    ]
    if machine == "x86_64":
        code += [(_AT_LEAST, 0, 1, _X32), *_returns(KILL)]
    numbers = NUMBERS[machine]
    for name, body in rules.items():
        if name in numbers:
            code += [(_EQUAL, 0, len(body), numbers[name]), *body]
    return b"".join([pack("<HBBI", *instruction) for instruction in (*code, *_returns(default))])


class _Byte(_SimpleCData):  # pyright: ignore[reportMissingTypeArgument]
    _type_ = "B"


class Filter:
    """A program that is ready to be loaded."""

    def __init__(self, program: bytes) -> None:
        buffer: Any = type("Buffer", (Array,), {"_type_": _Byte, "_length_": len(program)})
        self._program = buffer.from_buffer_copy(program)
        self._description = pack("@H6xQ", len(program) // 8, addressof(self._program))

    def load(self) -> None:
        """Bind this process, and all that it forks, to it. It cannot be undone; needs no_new_privs.

        Raises:
            OSError: the kernel has no such filters.
        """
        call("prctl", _SET_SECCOMP, _MODE_FILTER, self._description, 0, 0)


def machine() -> str:
    """Return this processor's name in the tables.

    Raises:
        OSError: there is no table for it.
    """
    name = os.uname().machine
    if name not in ARCHITECTURES:
        raise OSError(errno.ENOTSUP, f"no table of system calls for {name}")
    return name
