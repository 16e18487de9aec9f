"""A file of lines that several commands add to: durable, one writer at a time, the oldest lines dropped."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from drunner_vault.durable import make_directory, replace_file, storage_error


class LineFile:
    """One such file. most: lines that are kept. least_line: bytes; a file that cannot hold too many lines of that size
    need not be counted."""

    def __init__(self, path: Path, most: int, least_line: int) -> None:
        self._path = path
        self._most = most
        self._least_line = least_line

    def read(self) -> list[bytes]:
        """Return all lines, the oldest first; a crash may leave one that is cut. Raises StorageError."""
        try:
            return self._path.read_bytes().splitlines()
        except FileNotFoundError:
            return []
        except OSError as cause:
            raise storage_error("read", self._path, cause) from cause

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the file. The directory itself is the lock, so none is left behind. Raises OSError."""
        make_directory(self._path.parent)
        fd = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)

    def append(self, lines: Sequence[bytes]) -> None:
        """Add lines, durably. Only while the file is held. Raises OSError, StorageError."""
        if not lines:
            return
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(fd, "r+b", buffering=0) as file:
            size = file.seek(0, os.SEEK_END)
            torn = size > 0 and os.pread(file.fileno(), 1, size - 1) != b"\n"
            file.write(b"\n" * torn + b"".join(line + b"\n" for line in lines))
            os.fsync(file.fileno())
        if size > self._most * self._least_line:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        lines = self._path.read_bytes().splitlines(keepends=True)
        if len(lines) > self._most:
            replace_file(self._path, b"".join(lines[-self._most :]))
