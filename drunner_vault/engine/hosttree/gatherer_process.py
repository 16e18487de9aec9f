"""Reading a tree on another processor: the process that reads.

It is sent one message, G size, (root, place), and answers with

    F size   a list of entries with their data: (path, mode, uid, gid, mtime in ns, data) for small files that have no
             more to them, (entry as `PlainEntry`, data) for all else
    O size   the entry of a file whose data is to be read from the descriptor that comes with it; T 0 answers when it
             has been
    R size   (path, problem), something to report; N size: (path, text), something to note
    S size   the end: (errno, reason), which are 0 and empty unless the tree could not be read at all
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from drunner_vault.engine.hosttree.channel import Channel, serve
from drunner_vault.engine.hosttree.reader import OpenFile, Place, TreeReader
from drunner_vault.engine.trees import Report
from drunner_vault.errors import StorageError
from drunner_vault.tar import Entry, Kind

PlainEntry = tuple[
    bytes, str, int, int, int, int, int, bytes, tuple[int, int], dict[str, bytes] | None, list[tuple[int, int]] | None
]
_BATCH_BYTES = 512 << 10
_BATCH_FILES = 256
_OPEN = 32  # files that wait to be read: what is opened long before may have changed


def _plain(entry: Entry) -> PlainEntry:
    """An entry, of built-in types only."""
    xattrs = dict(entry.xattrs) or None
    segments = None if entry.segments is None else [tuple(segment) for segment in entry.segments]
    return (entry.path, entry.kind.value, *entry[2:9], xattrs, segments)  # type: ignore[return-value]


class _Sender:
    """Sends what is read, in the order in which it is."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._batch: list[object] = []
        self._bytes = 0
        self._open = 0

    def run(self, root: Path, place: Place) -> None:
        """All that comes after the place. Raises OSError if the other side has gone, StorageError for the root."""
        reader = TreeReader(root, self._telling(b"R"), self._telling(b"N"))
        for entry, content in reader.after(place):
            if isinstance(content, OpenFile):
                self._send_open(entry, content.fd)
            else:
                self._add(entry, b"".join(content))
        self._flush()
        self._wait_for(0)

    def send(self, letter: bytes, value: object, descriptor: int | None = None) -> None:
        """One message, and before it what has been collected."""
        self._flush()
        self._channel.give(letter, value, descriptor)

    def _send_open(self, entry: Entry, descriptor: int) -> None:
        self.send(b"O", _plain(entry), descriptor)
        self._open += 1
        self._wait_for(_OPEN)

    def _wait_for(self, most: int) -> None:
        """Until no more than so many files are still to be read."""
        while self._open > most:
            self._channel.hear()
            self._open -= 1

    def _add(self, entry: Entry, data: bytes) -> None:
        if entry.kind is Kind.FILE and not entry.xattrs and entry.segments is None:
            self._batch.append((entry.path, entry.mode, entry.uid, entry.gid, entry.mtime_ns, data))
        else:
            self._batch.append((_plain(entry), data))
        self._bytes += len(data)
        if self._bytes > _BATCH_BYTES or len(self._batch) == _BATCH_FILES:
            self._flush()

    def _flush(self) -> None:
        if self._batch:
            self._channel.give(b"F", self._batch)
            self._batch, self._bytes = [], 0

    def _telling(self, letter: bytes) -> Report:
        return lambda path, text: self.send(letter, (path, text))


def main(descriptor: int) -> None:
    """Serve whoever has the other end of this socket."""
    with contextlib.suppress(EOFError, ConnectionError):
        channel = serve(descriptor)
        _, size, _ = channel.hear()
        root, place = channel.take(size)
        sender, failure = _Sender(channel), (0, "")
        try:
            sender.run(Path(os.fsdecode(root)), Place(*place))
        except StorageError as error:
            cause = error.__cause__
            failure = (cause.errno or 1, cause.strerror or "") if isinstance(cause, OSError) else (1, str(error))
        sender.send(b"S", failure)
