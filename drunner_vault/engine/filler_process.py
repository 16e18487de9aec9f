"""A program of its own that makes small files in directories it is handed; see `filler`.

It imports the standard library only, so that it starts at once. On its channel come messages of nine bytes: a letter
and a number, and what belongs to them.

    D number   a directory is handed over, and called `number` from now on
    F size     `size` bytes follow: a marshalled (number of a directory, list of files); see `make`
    L number   the directory is no longer needed
    S 0        everything up to here is to be done; the answer is S 0, or E size and a marshalled (errno, path)
"""

from __future__ import annotations

import contextlib
import marshal
import os
import socket
import struct
import sys

HEAD = struct.Struct("<cQ")
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def make(directory: int, name: bytes, mode: int, uid: int, gid: int, mtime_ns: int, data: bytes) -> None:
    """A regular file that must not exist yet, with all it has. Raises OSError."""
    fd = os.open(name, _CREATE, 0o600, dir_fd=directory)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
        # the owner first, since changing it clears setuid bits; the time last
        os.fchown(fd, uid, gid)
        os.fchmod(fd, mode)
        os.utime(fd, ns=(mtime_ns, mtime_ns))
    finally:
        os.close(fd)


def receive(channel: socket.socket, size: int) -> bytes:
    """Exactly `size` bytes. Raises EOFError if the other side has gone."""
    buffer = bytearray(size)
    view = memoryview(buffer)
    while view:
        count = channel.recv_into(view)
        if not count:
            raise EOFError
        view = view[count:]
    return bytes(buffer)


class Server:
    """Does what comes, until something fails; from then on only says what that was."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._directories: dict[int, int] = {}
        self._failed: tuple[int, bytes] | None = None

    def run(self) -> None:
        """Until the other side has gone. Raises EOFError."""
        while True:
            data, descriptors, _, _ = socket.recv_fds(self._channel, HEAD.size, 1)
            data += receive(self._channel, HEAD.size - len(data)) if data else b""
            if not data:
                raise EOFError
            letter, number = HEAD.unpack(data)
            if letter == b"D":
                self._directories[number] = descriptors[0]
            elif letter == b"L":
                os.close(self._directories.pop(number))
            elif letter == b"F":
                self._fill(*marshal.loads(receive(self._channel, number)))  # noqa: S302 (from who started us)
            else:
                self._answer()

    def _fill(self, number: int, files: list[tuple[bytes, bytes, int, int, int, int, bytes]]) -> None:
        """files: of each its path, for errors, and what `make` takes."""
        directory = self._directories[number]
        for path, *facts in files:
            if self._failed is None:
                try:
                    make(directory, *facts)  # type: ignore[arg-type]
                except OSError as cause:
                    self._failed = (cause.errno or 0, path)

    def _answer(self) -> None:
        if self._failed is None:
            self._channel.sendall(HEAD.pack(b"S", 0))
            return
        details = marshal.dumps(self._failed)
        self._channel.sendall(HEAD.pack(b"E", len(details)) + details)


if __name__ == "__main__":
    with contextlib.suppress(EOFError, ConnectionError):
        Server(socket.socket(fileno=int(sys.argv[1]))).run()
