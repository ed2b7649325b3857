"""Calls to the C library that Python 3.11 does not offer, through `_ctypes`, the C half of ctypes.

Nothing else of ctypes is imported: every module that a zygote holds makes each of its forks dearer.
"""

# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUntypedBaseClass=false
# (`_ctypes` has no complete types)

from __future__ import annotations

import os
from _ctypes import (  # pyright: ignore
    FUNCFLAG_CDECL,  # pyright: ignore
    FUNCFLAG_USE_ERRNO,  # pyright: ignore
    CFuncPtr,
    _SimpleCData,  # pyright: ignore
    dlopen,  # pyright: ignore
    dlsym,  # pyright: ignore
    get_errno,
)

PDEATHSIG, SET_DUMPABLE, NO_NEW_PRIVS, CHILD_SUBREAPER = 1, 4, 38, 36


class _Int(_SimpleCData):  # pyright: ignore[reportMissingTypeArgument]
    _type_ = "i"


class _Function(CFuncPtr):
    _flags_ = FUNCFLAG_CDECL | FUNCFLAG_USE_ERRNO
    _restype_ = _Int


_libc = dlopen(None, 0)  # pyright: ignore[reportArgumentType]
_functions: dict[str, _Function] = {}


def call(name: str, *arguments: bytes | int | None) -> int:
    """Call a function of the C library that returns an `int`; integers are passed as `int`, bytes as pointers.

    Raises:
        OSError: it returned -1.
    """
    if name not in _functions:
        _functions[name] = _Function(dlsym(_libc, name))
    result = _functions[name](*arguments)
    if result == -1:
        number = get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
    return result


def control_process(option: int, value: int) -> None:
    """Call `prctl` with one argument.

    Raises:
        OSError: the kernel refused.
    """
    call("prctl", option, value, 0, 0, 0)
