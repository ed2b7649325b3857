"""What separates a slot from the machine: namespaces or Landlock, a filter of system calls, a user of its own.

Entered once, in three steps: by the slot's host before it forks; by the zygote, which keeps no privilege at all; and,
the last of it, by each run. What was got is told as a tier whose first part is what was asked for: `namespaces` (a
small read-only file system of its own, no network, no other processes), `landlock` (the same by the kernel's rules on
the machine's own file system), or `unsafe` for nothing but limits. What was asked for and cannot be had is an error
that names the step; nothing is taken silently instead. The orchestrator's canaries decide whether it holds.
"""

from __future__ import annotations

import os
import sys

from sandbox.inside import landlock, seccomp
from sandbox.inside.system import CHILD_SUBREAPER, NO_NEW_PRIVS, SET_DUMPABLE, call, control_process

_NEWNS, _NEWUTS, _NEWIPC, _NEWUSER, _NEWPID, _NEWNET = 0x20000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000
_ALL = _NEWNS | _NEWUTS | _NEWIPC | _NEWPID | _NEWNET
_NOSUID, _NODEV, _BIND, _REC, _PRIVATE = 2, 4, 4096, 16384, 1 << 18
_ATTR_RDONLY, _ATTR_NOSUID, _ATTR_NODEV = 1, 2, 4
_DETACH = 2
_AT_FDCWD, _AT_RECURSIVE, _MOUNT_SETATTR = -100, 0x8000, 442
_CAPABILITY_VERSION = 0x20080522
_INNER_ID = 65534
_SPARE_PROCESSES = 64
"""What a user who runs other things as well may start of them while a slot lives."""
_INSIDE_SCRATCH = "/tmp"
_LOADER_CACHE = "/etc/ld.so.cache"
DEVICES = ("/dev/null", "/dev/zero", "/dev/urandom", "/dev/random")
LIBRARIES = ("/usr/lib", "/usr/lib64", "/usr/local/lib", "/usr/share/zoneinfo", "/lib", "/lib64")


class Refused(Exception):
    """An isolation that was asked for cannot be had; the text names the step and the kernel's answer."""


class Jail:
    """The isolation of one slot.

    Args:
        tier: `namespaces`, `landlock` or `unsafe`.
        scratch: absolute path of an empty folder that belongs to this slot.
        user_id: user and group id that candidates run as, where this process may choose it.
        scratch_bytes: what the files of one run may take together.
        scratch_files: how many files and folders one run may have.
        packages: files and folders besides the interpreter's own that candidates may read.
    """

    def __init__(
        self,
        tier: str,
        scratch: str,
        user_id: int,
        scratch_bytes: int,
        scratch_files: int,
        packages: tuple[str, ...] = (),
    ) -> None:
        self.scratch = scratch
        self._tier = tier
        self._user_id = user_id if _may_become(user_id) else None
        self._options = f"size={scratch_bytes},nr_inodes={scratch_files},mode=777".encode()
        self._packages = packages
        self._is_user = False
        self._rules: int | None = None
        self._filter: seccomp.Filter | None = None
        self.own_processes = tier == "namespaces"
        """Whether the slot has a process namespace, so that the zygote may kill everything it sees."""
        self.other_processes = 1
        """Processes beside a run's own that count against its user's limit."""
        if self._user_id is None and not self.own_processes:
            self.other_processes = _SPARE_PROCESSES + _processes_of(os.geteuid())

    @property
    def tier(self) -> str:
        """What was got, for the record."""
        return self._tier if self._user_id is None else f"{self._tier}+uid"

    def enter(self) -> None:
        """First step, by the host: whatever needs privileges. Processes forked from here on are in it.

        Raises:
            Refused: it cannot be had here.
        """
        if self._tier == "namespaces":
            try:
                self._enter_namespaces()
            except OSError as error:
                raise Refused(f"namespaces: {error.strerror} {error.filename or ''}".strip()) from error
            return
        if self._tier == "landlock" and landlock.version() < landlock.NEEDED_VERSION:
            raise Refused(f"landlock: version {landlock.NEEDED_VERSION} is needed, this is {landlock.version()}")
        control_process(CHILD_SUBREAPER, 1)
        if self._user_id is not None:
            os.chown(self.scratch, self._user_id, self._user_id)

    def lock(self) -> None:
        """Second step, by the zygote: give up every privilege, for good.

        Raises:
            Refused: the interpreter cannot be used without them.
        """
        if self._user_id is not None and not self._is_user:
            self._become_user()
        elif self.own_processes:
            call("capset", _CAPABILITY_VERSION.to_bytes(4, sys.byteorder) + bytes(4), bytes(24))
        control_process(NO_NEW_PRIVS, 1)
        control_process(SET_DUMPABLE, 0)
        if not self.own_processes:
            control_process(CHILD_SUBREAPER, 1)
        os.chdir(self.scratch)
        if not os.access(os.__file__, os.R_OK):
            raise Refused(
                f"the interpreter's own modules cannot be read by user {os.geteuid()}, whom candidates run as; "
                "use an interpreter whose folder every user can read"
            )

    def close(self) -> None:
        """Third step, by the zygote when it needs nothing more: filter its system calls, get ready those of its runs.

        Raises:
            Refused: there are no filters, or no rules.
        """
        if self._tier == "unsafe":
            return
        try:
            if self._tier == "landlock":
                readable = (*LIBRARIES, _LOADER_CACHE, os.path.join(sys.base_prefix, "lib"), *self._packages)
                self._rules = landlock.rules(self.scratch, readable, DEVICES)
            machine = seccomp.machine()
            self._filter = seccomp.Filter(seccomp.run_program(machine, modes=self._tier == "namespaces"))
            seccomp.Filter(seccomp.zygote_program(machine)).load()
        except OSError as error:
            raise Refused(f"{self._tier}: {error.strerror or error}") from error

    def enclose(self) -> None:
        """Last step, by a run's process, before it closes its descriptors: what the zygote still had is gone."""
        if self._rules is not None:
            landlock.restrict(self._rules)

    def filter(self) -> None:
        """The very last, after which a process can set nothing up any more."""
        if self._filter is not None:
            self._filter.load()

    def _become_user(self) -> None:
        user = self._user_id
        assert user is not None
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
        self._is_user = True

    def _enter_namespaces(self) -> None:
        if self._user_id is not None:
            try:
                call("unshare", _ALL)
            except OSError:
                # No CAP_SYS_ADMIN: then as anybody else does, from the other user's account.
                os.chown(self.scratch, self._user_id, self._user_id)
                self._become_user()
                control_process(SET_DUMPABLE, 1)  # else the maps below belong to root
                self._enter_user_namespace()
        else:
            self._enter_user_namespace()
        self._change_root()

    @staticmethod
    def _enter_user_namespace() -> None:
        user, group = os.geteuid(), os.getegid()
        call("unshare", _ALL | _NEWUSER)
        for name, text in (
            ("setgroups", "deny"),
            ("uid_map", f"{_INNER_ID} {user} 1"),
            ("gid_map", f"{_INNER_ID} {group} 1"),
        ):
            with open(f"/proc/self/{name}", "w") as file:
                file.write(text)

    def _change_root(self) -> None:
        root = self.scratch
        call("mount", None, b"/", None, _REC | _PRIVATE, None)
        call("mount", b"tmpfs", root.encode(), b"tmpfs", _NOSUID | _NODEV, b"size=1m,mode=755")
        for path in (*LIBRARIES, os.path.join(sys.base_prefix, "lib"), *self._packages):
            _bind(path, root)
        os.mkdir(f"{root}/dev")
        for path in DEVICES:
            _bind_file(path, root)
        os.mkdir(root + _INSIDE_SCRATCH)
        call("mount", b"tmpfs", (root + _INSIDE_SCRATCH).encode(), b"tmpfs", _NOSUID | _NODEV, self._options)
        _set_attributes(root, _ATTR_RDONLY, 0)
        os.chdir(root)
        call("pivot_root", b".", b".")
        call("umount2", b".", _DETACH)
        self.scratch = _INSIDE_SCRATCH


def _may_become(user_id: int) -> bool:
    """Try it out: a root that maps one user only (a rootless container) has the number but not the power."""
    if os.geteuid() != 0:
        return False
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups([])
            os.setresgid(user_id, user_id, user_id)
            os.setresuid(user_id, user_id, user_id)
        except BaseException:
            os._exit(1)
        os._exit(0)
    return os.waitpid(pid, 0)[1] == 0


def _processes_of(user_id: int) -> int:
    count = 0
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            try:
                count += len(os.listdir(f"{entry.path}/task")) if entry.stat().st_uid == user_id else 0
            except OSError:
                continue
    return count


def _bind(path: str, root: str) -> None:
    target = root + path
    if os.path.lexists(target):
        return
    if os.path.islink(path):
        os.makedirs(os.path.dirname(target), exist_ok=True)
        os.symlink(os.readlink(path), target)
    elif os.path.isdir(path):
        os.makedirs(target)
        call("mount", path.encode(), target.encode(), None, _BIND | _REC, None)
        _set_attributes(target, _ATTR_RDONLY | _ATTR_NOSUID | _ATTR_NODEV, _AT_RECURSIVE)
    elif os.path.isfile(path):
        os.makedirs(os.path.dirname(target), exist_ok=True)
        _bind_file(path, root)
        _set_attributes(target, _ATTR_RDONLY | _ATTR_NOSUID | _ATTR_NODEV, 0)


def _bind_file(path: str, root: str) -> None:
    os.close(os.open(root + path, os.O_CREAT | os.O_WRONLY))
    call("mount", path.encode(), (root + path).encode(), None, _BIND, None)


def _set_attributes(path: str, attributes: int, flags: int) -> None:
    wanted = attributes.to_bytes(8, sys.byteorder) + bytes(24)
    call("syscall", _MOUNT_SETATTR, _AT_FDCWD, path.encode(), flags, wanted, len(wanted))
