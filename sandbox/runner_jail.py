"""What separates a job from the machine: namespaces, a small read-only file system, and a user of its own.

Used by the runner only. Everything that can be had is taken; what was got is told as a tier, such as
`process+uid+net+pid+files`, and the orchestrator's canaries decide whether that is enough. Python 3.11 offers neither
`unshare` nor `mount`; they are called through `_ctypes`, the C half of ctypes, because importing the whole costs every
job 7 ms of CPU and this 1 ms.
"""

# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUntypedBaseClass=false
# (`_ctypes` has no complete types)

from __future__ import annotations

import os
import sys
from _ctypes import (  # pyright: ignore
    FUNCFLAG_CDECL,  # pyright: ignore
    FUNCFLAG_USE_ERRNO,  # pyright: ignore
    CFuncPtr,
    _SimpleCData,  # pyright: ignore
    dlopen,  # pyright: ignore
    dlsym,  # pyright: ignore
    get_errno,
)

_NEWNS, _NEWUTS, _NEWIPC, _NEWUSER, _NEWPID, _NEWNET = 0x20000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000
_ALL = _NEWNS | _NEWUTS | _NEWIPC | _NEWPID | _NEWNET
_NOSUID, _NODEV, _BIND, _REC, _PRIVATE = 2, 4, 4096, 16384, 1 << 18
_ATTR_RDONLY, _ATTR_NOSUID, _ATTR_NODEV = 1, 2, 4
_DETACH = 2
_AT_FDCWD, _AT_RECURSIVE, _MOUNT_SETATTR = -100, 0x8000, 442
_PDEATHSIG, _NO_NEW_PRIVS = 1, 38
_SIGKILL = 9
_CAPABILITY_VERSION = 0x20080522
_INNER_ID = 65534
_DEVICES = ("/dev/null", "/dev/zero", "/dev/urandom", "/dev/random")
_LIBRARIES = ("/usr/lib", "/usr/lib64", "/usr/local/lib", "/usr/share/zoneinfo", "/lib", "/lib64")
_INSIDE_SCRATCH = "/tmp"


class _Int(_SimpleCData):  # pyright: ignore[reportMissingTypeArgument]
    _type_ = "i"


class _Function(CFuncPtr):
    _flags_ = FUNCFLAG_CDECL | FUNCFLAG_USE_ERRNO
    _restype_ = _Int


_libc = dlopen(None, 0)  # pyright: ignore[reportArgumentType]


def _call(name: str, *arguments: bytes | int | None) -> None:
    """Call a function of the C library that returns 0 on success; integers are passed as `int`, bytes as pointers."""
    if _Function(dlsym(_libc, name))(*arguments) != 0:
        number = get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


class Jail:
    """The isolation of one job.

    Args:
        scratch: absolute path of an empty folder that belongs to this job.
        user_id: user and group id that tests run as; only root can change to it.
        scratch_bytes: what the files of one test may take together.
    """

    def __init__(self, scratch: str, user_id: int, scratch_bytes: int) -> None:
        self.scratch = scratch
        self._user_id = user_id if os.geteuid() == 0 else None
        self._options = f"size={scratch_bytes},nr_inodes=512,mode=777".encode()
        self._parts = ["process"] if self._user_id is None else ["process", "uid"]
        self._files = False

    @property
    def tier(self) -> str:
        """What was got, for the record."""
        return "+".join(self._parts)

    @property
    def own_processes(self) -> bool:
        """Whether the job has a process namespace, so that the runner may kill everything it sees."""
        return "pid" in self._parts

    def enter(self) -> None:
        """Take what isolation can be had. Processes forked from here on are in it."""
        if self._namespaces():
            self._parts += ["net", "pid"]
            self._enter_files()
        elif self._try_unshare(_NEWNET):
            self._parts.append("net")
        if not self._files and self._user_id is not None:
            os.chown(self.scratch, self._user_id, self._user_id)

    def _namespaces(self) -> bool:
        if self._user_id is not None:
            return self._try_unshare(_ALL)
        user, group = os.geteuid(), os.getegid()
        if not self._try_unshare(_ALL | _NEWUSER):
            return False
        for name, text in (
            ("setgroups", "deny"),
            ("uid_map", f"{_INNER_ID} {user} 1"),
            ("gid_map", f"{_INNER_ID} {group} 1"),
        ):
            with open(f"/proc/self/{name}", "w") as file:
                file.write(text)
        return True

    @staticmethod
    def _try_unshare(flags: int) -> bool:
        try:
            _call("unshare", flags)
        except OSError:
            return False
        return True

    def _enter_files(self) -> None:
        try:
            self._build_root()
        except OSError:
            if os.path.ismount(self.scratch):
                _call("umount2", self.scratch.encode(), _DETACH)
            return
        os.chdir(self.scratch)
        _call("pivot_root", b".", b".")
        _call("umount2", b".", _DETACH)
        self.scratch = _INSIDE_SCRATCH
        os.chdir(self.scratch)
        self._files = True
        self._parts.append("files")

    def _build_root(self) -> None:
        root = self.scratch
        _call("mount", None, b"/", None, _REC | _PRIVATE, None)
        _call("mount", b"tmpfs", root.encode(), b"tmpfs", _NOSUID | _NODEV, b"size=1m,mode=755")
        for path in (*_LIBRARIES, os.path.join(sys.base_prefix, "lib")):
            _bind_folder(path, root)
        os.mkdir(f"{root}/dev")
        for path in _DEVICES:
            os.close(os.open(root + path, os.O_CREAT | os.O_WRONLY))
            _call("mount", path.encode(), (root + path).encode(), None, _BIND, None)
        os.mkdir(root + _INSIDE_SCRATCH)
        self._mount_scratch(root + _INSIDE_SCRATCH)
        _set_attributes(root, _ATTR_RDONLY, 0)

    def _mount_scratch(self, path: str) -> None:
        _call("mount", b"tmpfs", path.encode(), b"tmpfs", _NOSUID | _NODEV, self._options)

    def clear_scratch(self) -> None:
        """Make the scratch folder empty again, whatever a test left in it."""
        if not os.listdir(self.scratch):
            return
        if self._files:
            os.chdir("/")
            _call("umount2", self.scratch.encode(), _DETACH)
            self._mount_scratch(self.scratch)
            os.chdir(self.scratch)
        else:
            _empty(self.scratch)

    def drop(self) -> None:
        """Give up every privilege. Called in a test's own process, as the last thing before the candidate's code."""
        if self._user_id is not None:
            os.setgroups([])
            os.setresgid(self._user_id, self._user_id, self._user_id)
            os.setresuid(self._user_id, self._user_id, self._user_id)
        else:
            _call("capset", _CAPABILITY_VERSION.to_bytes(4, sys.byteorder) + bytes(4), bytes(24))
        _call("prctl", _NO_NEW_PRIVS, 1, 0, 0, 0)
        _call("prctl", _PDEATHSIG, _SIGKILL, 0, 0, 0)

    @property
    def extra_processes(self) -> int:
        """Processes of the runner that count against a test's own process limit: none when it has its own user."""
        return 0 if self._user_id is not None else 2


def _bind_folder(path: str, root: str) -> None:
    target = root + path
    if os.path.islink(path):
        os.symlink(os.readlink(path), target)
    elif os.path.isdir(path) and not os.path.isdir(target):
        os.makedirs(target)
        _call("mount", path.encode(), target.encode(), None, _BIND | _REC, None)
        _set_attributes(target, _ATTR_RDONLY | _ATTR_NOSUID | _ATTR_NODEV, _AT_RECURSIVE)


def _set_attributes(path: str, attributes: int, flags: int) -> None:
    wanted = attributes.to_bytes(8, sys.byteorder) + bytes(24)
    _call("syscall", _MOUNT_SETATTR, _AT_FDCWD, path.encode(), flags, wanted, len(wanted))


def _empty(folder: str) -> None:
    import shutil  # rarely needed, and slow to import

    for entry in os.scandir(folder):
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path, ignore_errors=True)
        else:
            os.unlink(entry.path)
