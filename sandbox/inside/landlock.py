"""Landlock: what the kernel lets a process do with files, networks and signals, without any privilege.

The rules are made once; each run binds itself to them. Not governed by them, and therefore filtered: modes, owners and
times of files; visible to candidates all the same: whether a path exists.
"""

from __future__ import annotations

import contextlib
import os
from struct import pack

from sandbox.inside.system import call

NEEDED_VERSION = 6
"""The first that keeps signals and abstract sockets inside (Linux 6.12)."""

_CREATE, _ADD_RULE, _RESTRICT = 444, 445, 446
_VERSION_FLAG, _PATH_BENEATH = 1, 1
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1, 2, 4, 8
_ALL_FILES = (1 << 16) - 1
_DEVICE_NODES = (1 << 6) | (1 << 11)
_MAKE_SOCKET = 1 << 9
_IOCTL_DEVICE = 1 << 15
_SCRATCH = _ALL_FILES & ~(_DEVICE_NODES | _MAKE_SOCKET | _IOCTL_DEVICE | _EXECUTE)
_TCP = 3
_SCOPES = 3


def version() -> int:
    """Return the kernel's version of Landlock; 0 when there is none."""
    try:
        return call("syscall", _CREATE, None, 0, _VERSION_FLAG)
    except OSError:
        return 0


def rules(scratch: str, readable: tuple[str, ...], devices: tuple[str, ...]) -> int:
    """Return a descriptor of rules: all of `scratch`, `readable` to read and execute, `devices` to read and write.

    Raises:
        OSError: the kernel refused.
    """
    wanted = pack("=QQQ", _ALL_FILES, _TCP, _SCOPES)
    ruleset = call("syscall", _CREATE, wanted, len(wanted), 0)
    _allow(ruleset, scratch, _SCRATCH)
    for path in readable:
        if os.path.exists(path):
            _allow(ruleset, path, _READ_FILE | _EXECUTE | (_READ_DIR if os.path.isdir(path) else 0))
    for path in devices:
        _allow(ruleset, path, _READ_FILE | _WRITE_FILE)
    return ruleset


def _allow(ruleset: int, path: str, access: int) -> None:
    with contextlib.suppress(PermissionError):  # what this user cannot open needs no rule
        parent = os.open(path, os.O_PATH | os.O_CLOEXEC)
        try:
            call("syscall", _ADD_RULE, ruleset, _PATH_BENEATH, pack("=Qi", access, parent), 0)
        finally:
            os.close(parent)


def restrict(ruleset: int) -> None:
    """Bind this process to the rules, for good; needs no_new_privs.

    Raises:
        OSError: the kernel refused.
    """
    call("syscall", _RESTRICT, ruleset, 0)
