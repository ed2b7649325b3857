"""What the log of a vLLM server says about why it ended. Pure: text in, error class out."""

import re
from pathlib import Path

from protocols.errors import ModelDoesNotFit, PortTaken, ServerDied, ServerError

TAIL_LINES = 30
_TAIL_BYTES = 64 << 10

_PORT = re.compile(r"address already in use|errno 98\b|errno 48\b", re.IGNORECASE)
_MEMORY = re.compile(
    r"out of memory|outofmemory|not enough memory|can't allocate memory|cannot allocate memory|MemoryError"
    r"|no available memory for the cache blocks|bad_alloc"
    r"|free memory on device .* is less than desired|is less than desired (cpu|gpu) memory utilization"
    r"|larger than the available kv cache memory",
    re.IGNORECASE,
)
_KILLED = 128 + 9


def classify(tail: str, exit_code: int | None = None) -> type[ServerError]:
    """Return which error the end of a server is.

    Args:
        tail: the last lines of its log.
        exit_code: how it ended; 137 (killed) without a word in the log is the kernel's out-of-memory killer.
    """
    if _PORT.search(tail):
        return PortTaken
    if _MEMORY.search(tail) or exit_code == _KILLED:
        return ModelDoesNotFit
    return ServerDied


def read_tail(path: Path, lines: int = TAIL_LINES, *, start: int = 0) -> str:
    """Return the last `lines` lines of the log at `path`, but nothing before byte `start`; empty when there is none."""
    try:
        with path.open("rb") as file:
            end = file.seek(0, 2)
            file.seek(max(start, end - _TAIL_BYTES))
            data = file.read(_TAIL_BYTES)
    except OSError:
        return ""
    return "\n".join(data.decode(errors="replace").splitlines()[-lines:])
