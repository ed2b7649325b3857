"""The two fixed-size headers that a slot's pipes carry; what follows each is counted in it.

A request tells the zygote how long and how much, never what: the payload behind it is read by the run's own process, so
that nothing of one job stays in the zygote for the next one to find. An answer is written by the zygote alone; the
bytes behind it are a candidate's. `sandbox.slot` is the other end.
"""

from __future__ import annotations

import os
from struct import Struct

REQUEST = Struct("<IdddQQQQIIBB")
"""Bytes of payload; wall and CPU seconds for each test, seconds for the whole run; bytes of memory, output, result and
each file; threads; tests; whether it is a program, whether it talks to another slot meanwhile."""

MESSAGE_HEAD = 4
"""Bytes that tell a message's length, in the conversation of two slots."""
ANSWER = Struct("<BBiddQIII")
"""Kind, end, status, CPU and wall seconds, peak bytes, lengths of standard output, standard error and claim."""

TEST_DONE, RUN_OVER, RUN_FAILED = 1, 2, 3
"""Kinds of answer. Each run ends with exactly one of the last two; after a failed one the zygote ends."""

ENDS = ("exit", "signal", "timeout", "output_limit", "turn")
"""`turn`: the run's whole time was over, though no test's was, or it was told to stop."""
EXIT, SIGNAL, TIMEOUT, OUTPUT_LIMIT, TURN = range(5)

RUN, STOP = b"R", b"X"
"""What a request begins with. A stop ends the run that is under way, as a turn's end does, and means nothing when there
is none."""

READY = b"S"
"""First byte on a run's result descriptor: set up, the candidate's code comes now."""
FRESH = b"F"
"""Last byte there: the process is spoilt for further tests, they need a fresh one."""


class Gone(Exception):
    """The other end was closed."""


def read_exactly(descriptor: int, length: int) -> bytes:
    """Return the next `length` bytes.

    Raises:
        Gone: there are fewer.
    """
    data = b""
    while len(data) < length:
        chunk = os.read(descriptor, length - len(data))
        if not chunk:
            raise Gone
        data += chunk
    return data


def write_all(descriptor: int, data: bytes | memoryview) -> None:
    """Write `data`, however many calls it takes."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
