"""Messages between this program and a process that it has started to read or make many small files.

A message is a letter and a number, and perhaps a descriptor; what follows it depends on the letter.
"""

from __future__ import annotations

import contextlib
import marshal
import socket
import struct
from typing import Any

_HEAD = struct.Struct("<cQ")
_SO_SNDBUFFORCE = 32  # asm-generic/socket.h: SO_SNDBUF beyond net.core.wmem_max, for root
_BUFFER = 4 << 20  # bytes on their way: several batches, so that neither side waits for the other to turn to it
READY = b"!"  # what a helper says first


class Channel:
    """One end of it. Raises EOFError or OSError when the other side has gone."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        with contextlib.suppress(OSError):  # it is only slower without
            connection.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, _BUFFER)

    def tell(self, letter: bytes, number: int = 0, descriptor: int | None = None) -> None:
        """Send a message."""
        descriptors = [] if descriptor is None else [descriptor]
        socket.send_fds(self._connection, [_HEAD.pack(letter, number)], descriptors)

    def hear(self) -> tuple[bytes, int, int | None]:
        """The next message: its letter, its number, and the descriptor that came with it."""
        data, descriptors, _, _ = socket.recv_fds(self._connection, _HEAD.size, 1)
        if not data:
            raise EOFError
        data += self._receive(_HEAD.size - len(data))
        letter, number = _HEAD.unpack(data)
        return letter, number, descriptors[0] if descriptors else None

    def give(self, letter: bytes, value: Any, descriptor: int | None = None) -> None:
        """Send a message whose number is the size of a value that follows it. value: built-in types only."""
        data = marshal.dumps(value)
        self.tell(letter, len(data), descriptor)
        self._connection.sendall(data)

    def take(self, size: int) -> Any:
        """The value that follows a message."""
        return marshal.loads(self._receive(size))  # noqa: S302 (from a process of ours)

    def close(self) -> None:
        """Close this end."""
        self._connection.close()

    def _receive(self, size: int) -> bytearray:
        buffer = bytearray(size)
        view = memoryview(buffer)
        while view:
            count = self._connection.recv_into(view)
            if not count:
                raise EOFError
            view = view[count:]
        return buffer


def serve(descriptor: int) -> Channel:
    """The helper's own end, when it is ready for messages."""
    channel = Channel(socket.socket(fileno=descriptor))
    channel.tell(READY)
    return channel
