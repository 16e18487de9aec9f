"""Writing large files in a thread of its own, past the page cache, while the next bytes are made.

What is restored or backed up is synced in the end in any case, so the page cache would save nobody a wait.
"""

from __future__ import annotations

import mmap
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

from drunner_vault.uncached import write_at

_BUFFER = 2 << 20  # bytes that are written at once
_BUFFERS = 3


class WriteBehind:
    """Writes in the order in which it is asked to. Use as a context, or `close` it.

    After a failure it goes on with what it was asked for; the first failure is raised by whatever is called next.
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, "write")
        self._under_way: deque[tuple[Future[None], mmap.mmap | None]] = deque()
        self._free: list[mmap.mmap] = []
        self._made = 0

    def __enter__(self) -> WriteBehind:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def buffer(self) -> mmap.mmap:
        """Aligned memory to fill; waits for one to be written if there are enough. Raises OSError."""
        while not self._free and self._made == _BUFFERS:
            self._wait()
        if self._free:
            return self._free.pop()
        self._made += 1
        return mmap.mmap(-1, _BUFFER)

    def submit(self, job: Callable[[], None], buffer: mmap.mmap | None = None) -> None:
        """Have a job done after all others. buffer: free again when it is done."""
        self._under_way.append((self._pool.submit(job), buffer))
        while self._under_way and _went_well(self._under_way[0][0]):
            self._wait()

    def settle(self) -> None:
        """Everything is written when this returns, though not synced. Raises OSError."""
        while self._under_way:
            self._wait()

    def close(self) -> None:
        """End the thread when it has done all that it was asked for, which is little."""
        self._pool.shutdown()
        self._under_way.clear()
        self._free.clear()

    def _wait(self) -> None:
        job, buffer = self._under_way.popleft()
        if buffer is not None:
            self._free.append(buffer)
        job.result()


def _went_well(job: Future[None]) -> bool:
    return job.done() and job.exception() is None


class BehindFile:
    """A new file, written from its start to its end through a WriteBehind. fd: is not closed. name: the `filename` of
    errors."""

    def __init__(self, behind: WriteBehind, fd: int, name: str | bytes) -> None:
        self._behind = behind
        self._fd = fd
        self._name = name
        self._buffer: mmap.mmap | None = None
        self._filled = 0
        self._at = 0

    def write(self, data: bytes) -> None:
        """Take all of `data`. Raises OSError, perhaps for what came before."""
        view = memoryview(data)
        while view:
            if self._buffer is None:
                self._buffer = self._behind.buffer()
            part = view[: _BUFFER - self._filled]
            self._buffer[self._filled : self._filled + len(part)] = part
            self._filled += len(part)
            view = view[len(part) :]
            if self._filled == _BUFFER:
                self._send()

    def finish(self, then: Callable[[], None]) -> None:
        """Write what is left; `then` is called in the writing thread, when all is written, and also if that failed."""
        write, buffer = self._rest(), self._buffer
        self._buffer = None

        def last() -> None:
            try:
                write()
            finally:
                then()

        self._behind.submit(last, buffer)

    def flush(self) -> None:
        """Everything is written when this returns, though not synced. It has to be the end. Raises OSError."""
        self._behind.settle()
        self._rest()()  # for most files this is all, and needs no thread
        self._buffer = None

    def _send(self) -> None:
        self._behind.submit(self._rest(), self._buffer)
        self._buffer, self._filled, self._at = None, 0, self._at + self._filled

    def _rest(self) -> Callable[[], None]:
        """Writes what the buffer holds now."""
        fd, name, buffer, filled, at = self._fd, self._name, self._buffer, self._filled, self._at

        def write() -> None:
            try:
                if buffer is not None:
                    write_at(fd, buffer, filled, at)
            except OSError as cause:
                cause.filename = name
                raise

        return write
