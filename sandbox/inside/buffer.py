"""Memory through which what one run says passes on its way out, and of which nothing is left for the next run to find.

A zygote's heap is inherited by every fork. So what a candidate said is never an object on it: it is read into these
pages, copied from page to page, written out of them, and they are wiped before the next fork.
"""

from __future__ import annotations

import mmap
import os

from sandbox.inside.frames import write_all

CHUNK = 1 << 16
_OUTBOX_BYTES = 1 << 20


class Buffer:
    """Pages that hold up to `size` bytes."""

    def __init__(self, size: int) -> None:
        self._pages = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self._view = memoryview(self._pages)
        self._most = 0
        self.used = 0

    @property
    def size(self) -> int:
        """Bytes that it can hold."""
        return len(self._view)

    def read(self, descriptor: int) -> int:
        """Append what one call gives, 64 KiB at most, and return how much that was.

        Raises:
            BlockingIOError: there is nothing now.
        """
        count = os.readv(descriptor, [self._view[self.used : self.used + CHUNK]])
        self._grow(count)
        return count

    def append(self, part: memoryview | bytes) -> None:
        """Append `part`, for which there must be room."""
        self._view[self.used : self.used + len(part)] = part
        self._grow(len(part))

    def _grow(self, count: int) -> None:
        self.used += count
        self._most = max(self._most, self.used)

    def find(self, text: bytes) -> int:
        """Return where `text` begins, or -1."""
        return self._pages.find(text, 0, self.used)

    def begins_with(self, text: bytes) -> bool:
        """Whether it holds `text` first."""
        return self._pages.find(text, 0, min(self.used, len(text))) == 0

    def view(self, start: int = 0, end: int | None = None) -> memoryview:
        """Return a part of what it holds."""
        return self._view[max(0, start) : self.used if end is None else end]

    def drop(self, count: int) -> None:
        """Forget the first `count` bytes; the others move up."""
        left = self.used - count
        if left:
            self._view[:left] = self._view[count : self.used]
        self.used = left

    def wipe(self) -> None:
        """Forget everything, and leave no trace of it."""
        if self._most > CHUNK:
            self._pages.madvise(mmap.MADV_DONTNEED)
        else:
            self._view[: self._most] = bytes(self._most)
        self.used = self._most = 0


class Outbox:
    """Gathers answers, so that a run of many tests is told in few writes.

    Args:
        descriptor: where they go.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._buffer = Buffer(_OUTBOX_BYTES)

    def add(self, *parts: memoryview | bytes) -> None:
        """Take the parts of one answer."""
        if self._buffer.used + sum(map(len, parts)) > self._buffer.size:
            self.flush()
        for part in parts:
            if len(part) > self._buffer.size - self._buffer.used:
                self.flush()
                write_all(self._descriptor, part)
            else:
                self._buffer.append(part)

    def flush(self) -> None:
        """Send all that was taken."""
        if self._buffer.used:
            write_all(self._descriptor, self._buffer.view())
            self._buffer.used = 0

    def wipe(self) -> None:
        """Leave no trace of what was sent."""
        self._buffer.wipe()
