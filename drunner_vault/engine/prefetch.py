"""Small files of a directory fetched from the disk before they are asked for.

One after the other, each would wait for the disk. Several threads have several on their way, which disks of today
answer at the same time, and older ones in a better order.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

_THREADS = 8
_FILES = 16  # of one job
_JOBS = 16  # on the way: 256 files, which bounds what waits in the page cache
_START = 64 << 10  # bytes of each file
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY


class Prefetch:
    """Of one directory. directory: a descriptor, which may be closed. names: files in it, in the order in which they
    will be read. Whoever reads them calls `advance` for each."""

    def __init__(self, directory: int, names: Iterator[bytes]) -> None:
        self._directory = os.dup(directory)
        self._names = enumerate(names)
        self._pool = ThreadPoolExecutor(_THREADS, "prefetch")
        self._read = 0
        for _ in range(_JOBS):
            self._submit()

    def advance(self) -> None:
        """One more has been read."""
        self._read += 1
        if self._read % _FILES == 0:
            self._submit()

    def close(self) -> None:
        """Nothing more is wanted."""
        self._pool.shutdown(cancel_futures=True)
        os.close(self._directory)

    def _submit(self) -> None:
        names = list(itertools.islice(self._names, _FILES))
        if names:
            self._pool.submit(self._fetch, names)

    def _fetch(self, names: list[tuple[int, bytes]]) -> None:
        for number, name in names:
            if number < self._read:
                continue  # it would stay in the page cache
            with contextlib.suppress(OSError):  # whoever reads it in earnest will say so
                fd = os.open(name, _FLAGS | os.O_NOATIME, dir_fd=self._directory)
                try:
                    os.pread(fd, _START, 0)
                finally:
                    os.close(fd)
