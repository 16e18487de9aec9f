"""Making many small files on another processor, while this one decodes those that come next.

Making a small file is a handful of system calls, and most of a restore's time where files are small. Threads do not
help: each call ends in a wait for the interpreter's lock. So they are made by a process of its own, which gets whole
batches, and the directories they belong to as descriptors.
"""

from __future__ import annotations

import marshal
import os
import socket
import subprocess
import sys

from drunner_vault.engine import filler_process
from drunner_vault.engine.filler_process import HEAD, receive
from drunner_vault.tar import Entry, Kind

LARGEST = 64 << 10  # bytes of a file that is made this way
_BATCH_BYTES = 512 << 10
_BATCH_FILES = 256
_END_SECONDS = 30
_NOTHING = marshal.dumps((0, b""))


class Filler:
    """Whoever uses it calls `settle` before anything that needs its files to be there."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", filler_process.__file__, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # an interrupt of the terminal is ours to handle
            )
        self._channel = ours
        self._known: set[int] = set()
        self._directory = -1
        self._files: list[tuple[bytes, bytes, int, int, int, int, bytes]] = []
        self._bytes = 0

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
        self._tell(b"L", directory)
        return True

    def settle(self) -> None:
        """Everything is made when this returns. Raises OSError, with the path as its filename."""
        self._send()
        self._tell(b"S", 0)
        try:
            letter, size = HEAD.unpack(receive(self._channel, HEAD.size))
            details = receive(self._channel, size) if letter == b"E" else _NOTHING
            number, path = marshal.loads(details)  # noqa: S302 (from a process of ours)
        except EOFError as cause:
            raise self._gone() from cause
        if number:
            raise OSError(number, os.strerror(number), path)

    def close(self) -> None:
        """End it. What was not settled may or may not be there."""
        self._channel.close()
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _enter(self, directory: int) -> None:
        self._directory = directory
        if directory not in self._known:
            self._known.add(directory)
            socket.send_fds(self._channel, [HEAD.pack(b"D", directory)], [directory])

    def _send(self) -> None:
        if self._files:
            batch = marshal.dumps((self._directory, self._files))
            self._tell(b"F", len(batch), batch)
            self._files, self._bytes = [], 0

    def _tell(self, letter: bytes, number: int, more: bytes = b"") -> None:
        try:
            self._channel.sendall(HEAD.pack(letter, number) + more)
        except ConnectionError as cause:
            raise self._gone() from cause

    def _gone(self) -> OSError:
        return OSError(0, f"the process that makes small files ended with {self._process.poll()}", b"")
