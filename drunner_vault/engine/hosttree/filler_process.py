"""Making many small files on another processor: the process that makes them, in directories it is handed.

Messages, and what follows them:

    D number   a directory is handed over, and called `number` from now on
    F size     (number of a directory, list of files); see `make`
    L number   the directory is no longer needed
    S 0        everything up to here is to be done; the answer is S size, (errno, path), which are 0 and empty if it is
"""

from __future__ import annotations

import contextlib
import os

from drunner_vault.engine.hosttree.channel import Channel, serve
from drunner_vault.engine.hosttree.newfiles import CREATE, write_all


def make(directory: int, name: bytes, mode: int, uid: int, gid: int, mtime_ns: int, data: bytes) -> None:
    """A regular file that must not exist yet, with all it has. Raises OSError."""
    fd = os.open(name, CREATE, 0o600, dir_fd=directory)
    try:
        write_all(fd, data)
        # the owner first, since changing it clears setuid bits; the time last
        os.fchown(fd, uid, gid)
        os.fchmod(fd, mode)
        os.utime(fd, ns=(mtime_ns, mtime_ns))
    finally:
        os.close(fd)


class _Server:
    """Does what comes, until something fails; from then on only says what that was."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._directories: dict[int, int] = {}
        self._failed = (0, b"")

    def run(self) -> None:
        """Until the other side has gone. Raises EOFError."""
        while True:
            letter, number, descriptor = self._channel.hear()
            if letter == b"D" and descriptor is not None:
                self._directories[number] = descriptor
            elif letter == b"L":
                os.close(self._directories.pop(number))
            elif letter == b"F":
                self._fill(*self._channel.take(number))
            else:
                self._channel.give(b"S", self._failed)

    def _fill(self, number: int, files: list[tuple[bytes, bytes, int, int, int, int, bytes]]) -> None:
        """files: of each its path, for errors, and what `make` takes."""
        directory = self._directories[number]
        for path, *facts in files:
            if not self._failed[0]:
                try:
                    make(directory, *facts)  # type: ignore[arg-type]
                except OSError as cause:
                    self._failed = (cause.errno or 1, path)


def main(descriptor: int) -> None:
    """Serve whoever has the other end of this socket."""
    with contextlib.suppress(EOFError, ConnectionError):
        _Server(serve(descriptor)).run()
