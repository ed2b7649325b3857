"""Talks with one started runner, and ends it: the job goes in, bounded report lines come out.

The runner's standard input stays open while it works, because its end tells the runner that nobody waits any more.
"""

import contextlib
import os
import signal

import trio

from protocols.errors import SandboxError

_END_S = 10.0
_MAX_ERROR_BYTES = 4000


async def talk(process: trio.Process, request: bytes, most_bytes: int) -> tuple[list[bytes], str]:
    """Send `request`, read until the runner has said all, and return its lines and what it wrote to standard error.

    Raises:
        SandboxError: it wrote more than `most_bytes`.
    """
    report, errors = bytearray(), bytearray()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_send, process, request)
        nursery.start_soon(_receive_errors, process, errors)
        await _receive(process, report, most_bytes)
    if len(report) > most_bytes:
        raise SandboxError(f"the sandbox's runner reported more than {most_bytes} bytes")
    return bytes(report).splitlines(), errors.decode("utf-8", "replace").strip()


async def _send(process: trio.Process, request: bytes) -> None:
    assert process.stdin is not None
    # It may have ended early; its report, or the lack of one, tells why.
    with contextlib.suppress(trio.BrokenResourceError):
        await process.stdin.send_all(request)


async def _receive(process: trio.Process, report: bytearray, most_bytes: int) -> None:
    assert process.stdout is not None
    while len(report) <= most_bytes and (chunk := await process.stdout.receive_some()):
        report += chunk


async def _receive_errors(process: trio.Process, errors: bytearray) -> None:
    assert process.stderr is not None
    while chunk := await process.stderr.receive_some():
        errors += chunk[: max(0, _MAX_ERROR_BYTES - len(errors))]


async def end(process: trio.Process) -> None:
    """Kill the runner and its process group, reap it and close its pipes; cancellation does not interrupt this.

    Raises:
        SandboxError: the kernel did not let it go within ten seconds.
    """
    with trio.CancelScope(shield=True):
        # Not reaped yet, so the number is still its own, also when it has ended by itself.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        try:
            with trio.fail_after(_END_S):
                await process.wait()
        except trio.TooSlowError as error:
            raise SandboxError(f"the sandbox's process {process.pid} could not be ended") from error
        finally:
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream is not None:
                    await stream.aclose()
