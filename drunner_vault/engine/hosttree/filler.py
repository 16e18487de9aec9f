"""Making many small files on another processor, while this one decodes those that come next: this program's side.

Files go over in whole batches, and the directories they belong to as descriptors.
"""

from __future__ import annotations

import os

from drunner_vault.engine.hosttree.helper import Helper
from drunner_vault.tar import Entry, Kind

LARGEST = 64 << 10  # bytes of a file that is made this way
_BATCH_BYTES = 512 << 10
_BATCH_FILES = 256


class Filler:
    """Whoever uses it calls `settle` before anything that needs its files to be there."""

    def __init__(self) -> None:
        self._helper = Helper("drunner_vault.engine.hosttree.filler_process", "makes small files")
        self._known: set[int] = set()
        self._directory = -1
        self._files: list[tuple[bytes, bytes, int, int, int, int, bytes]] = []
        self._bytes = 0

    def ready(self) -> bool:
        """Whether there is such a process, to be asked once; else this one has to make the files."""
        return self._helper.ready()

    @staticmethod
    def takes(entry: Entry) -> bool:
        """Whether this is a small plain file with nothing about it that could be refused."""
        return entry.kind is Kind.FILE and entry.size <= LARGEST and entry.segments is None and not entry.xattrs

    def add(self, directory: int, name: bytes, entry: Entry, data: bytes) -> None:
        """Have a file made soon. directory: a descriptor, which stays open until `leave`."""
        if directory != self._directory or len(self._files) == _BATCH_FILES or self._bytes > _BATCH_BYTES:
            self._send()
            self._enter(directory)
        self._files.append((entry.path, name, entry.mode, entry.uid, entry.gid, entry.mtime_ns, data))
        self._bytes += len(data)

    def leave(self, directory: int) -> bool:
        """No more files for this directory; whether there were any."""
        if directory not in self._known:
            return False
        self._send()
        self._known.remove(directory)
        self._directory = -1
        with self._helper.needed():
            self._helper.tell(b"L", directory)
        return True

    def settle(self) -> None:
        """Everything is made when this returns. Raises OSError, with the path as its filename."""
        self._send()
        with self._helper.needed():
            self._helper.tell(b"S")
            _, size, _ = self._helper.hear()
            number, path = self._helper.take(size)
        if number:
            raise OSError(number, os.strerror(number), path)

    def close(self) -> None:
        """End it. What was not settled may or may not be there."""
        self._helper.close()

    def _enter(self, directory: int) -> None:
        self._directory = directory
        if directory not in self._known:
            self._known.add(directory)
            with self._helper.needed():
                self._helper.tell(b"D", directory, directory)

    def _send(self) -> None:
        if self._files:
            with self._helper.needed():
                self._helper.give(b"F", (self._directory, self._files))
            self._files, self._bytes = [], 0
