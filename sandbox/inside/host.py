"""The program that a slot's interpreter runs: sent to it by `sandbox.bundle`, never imported.

Standard input: eight bytes of length, then the slot's configuration (`marshal`, from the orchestrator, hence trusted),
then the zygote's requests; its end means that the orchestrator is gone. Standard output: the tier, once the isolation
stands, then the zygote's answers. Standard error: why there is no isolation to be had, or what went wrong.

Two processes: this one takes the isolation, forks the zygote (first process of a process namespace, where there is
one), and watches: it ends everything when the orchestrator goes away.
"""

from __future__ import annotations

import contextlib
import marshal
import os
import select
import sys

from sandbox.inside.children import end_children
from sandbox.inside.frames import Gone, read_exactly
from sandbox.inside.groups import Groups
from sandbox.inside.jail import Jail, Refused
from sandbox.inside.scratch import empty
from sandbox.inside.zygote import Zygote

TYPE_CHECKING = False  # importing `typing` is left to the preloaded modules
if TYPE_CHECKING:
    from typing import Any, NoReturn

_SIGKILL = 9
_INSIDE, _OUTSIDE = b"1", b"0"


def main() -> NoReturn:
    """Isolate, serve, exit: 0 when the orchestrator closed the slot, 1 at anything else."""
    try:
        config = marshal.loads(read_exactly(0, int.from_bytes(read_exactly(0, 8), "big")))
    except Gone:
        sys.exit("the orchestrator went away while it sent the configuration")
    control, report = os.dup(0), os.dup(1)
    config["conversation"] = tuple(_lowered(descriptor) for descriptor in config["conversation"])
    null = os.open("/dev/null", os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    os.close(null)
    groups = Groups(config["groups"])
    jail = _entered(config, groups)
    # The zygote waits until it is in its groups, so that nothing of its own is counted elsewhere.
    gate, opener = os.pipe()
    zygote = os.fork()
    if zygote == 0:
        os.close(opener)
        answer = os.read(gate, 1)
        os.close(gate)
        if not answer:
            os._exit(1)
        Zygote(config, jail, control, report, ["cgroup"] if answer == _INSIDE else []).serve()
    os.write(opener, _INSIDE if groups.add(zygote) else _OUTSIDE)
    os.close(opener)
    os.close(gate)
    for descriptor in (report, *config["conversation"]):
        os.close(descriptor)
    _watch(zygote, control, groups, "" if jail.own_processes else jail.scratch)


def _lowered(descriptor: int) -> int:
    """Return a low number for what may have come under a high one from an orchestrator with many descriptors."""
    low = os.dup(descriptor)
    os.close(descriptor)
    return low


def _entered(config: dict[str, Any], groups: Groups) -> Jail:
    jail = Jail(
        config["tier"],
        os.getcwd(),
        config["user_id"],
        config["scratch_bytes"],
        config["scratch_files"],
        tuple(config["packages"]),
    )
    try:
        jail.enter()
    except Refused as error:
        groups.remove()
        sys.stderr.write(f"refused: {error}")
        sys.stderr.flush()
        os._exit(1)
    return jail


def _watch(zygote: int, control: int, groups: Groups, scratch: str) -> NoReturn:
    """Wait until the zygote has ended, or until nobody holds the other end of the control pipe any more."""
    ended = os.pidfd_open(zygote)
    poll = select.poll()
    poll.register(ended, select.POLLIN)
    poll.register(control, 0)  # only its end, not what is in it
    if ended not in [descriptor for descriptor, _ in poll.poll()]:
        os.kill(zygote, _SIGKILL)
    _, status = os.waitpid(zygote, 0)
    end_children(kill=True)
    groups.remove()
    _remove(scratch)
    os._exit(0 if status == 0 else 1)


def _remove(scratch: str) -> None:
    """Remove the slot's folder, if it is one of the machine's: an orchestrator that was killed cannot."""
    if scratch:
        with contextlib.suppress(OSError):
            empty(scratch)
            os.rmdir(scratch)


if __name__ == "__main__":
    main()
