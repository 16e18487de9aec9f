"""Messages between this program and a process that it has started to read or make many small files.

A message is a letter and a number, and perhaps a descriptor; what follows it depends on the letter.
"""

from __future__ import annotations

import contextlib
import errno
import marshal
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_HEAD = struct.Struct("<cQ")
_SO_SNDBUFFORCE = 32  # asm-generic/socket.h: SO_SNDBUF beyond net.core.wmem_max, for root
_BUFFER = 4 << 20  # bytes on their way: several batches, so that neither side waits for the other to turn to it
_PACKAGES = Path(__file__).resolve().parents[3]
_END_SECONDS = 30
_READY = b"!"
_START = "import sys; sys.path.append(sys.argv[1]); from {0} import main; main(int(sys.argv[2]))"


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


class Helper(Channel):
    """The channel to a process of its own, which runs a module's `main`, with the descriptor of its end.

    It sees the standard library and this package only, and ends when the channel is closed. purpose: what it does, for
    the error if it ends too early. Whoever uses it asks `ready` first, and does the work itself if it is not.
    """

    def __init__(self, module: str, purpose: str) -> None:
        ours, theirs = socket.socketpair()
        self._process: subprocess.Popen[bytes] | None = None
        with theirs, contextlib.suppress(OSError):
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _START.format(module), str(_PACKAGES), str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # an interrupt of the terminal is ours to handle
            )
        super().__init__(ours)
        self._purpose = purpose

    def ready(self) -> bool:
        """Whether it has started, which is waited for. It may not: for want of room, or of a Python to run it."""
        try:
            return self.hear()[0] == _READY
        except (EOFError, OSError):
            return False

    @contextlib.contextmanager
    def needed(self) -> Iterator[None]:
        """What is done in here needs the other side. Raises OSError if it has ended too early."""
        try:
            yield
        except (EOFError, ConnectionError) as cause:
            reason = f"the process that {self._purpose} ended with {self._wait()}"
            raise OSError(errno.EPIPE, reason, b"") from cause

    def close(self) -> None:
        """Close the channel, and see the process end."""
        super().close()
        self._wait()

    def _wait(self) -> int | None:
        if self._process is None:
            return None
        try:
            return self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()


def serve(descriptor: int) -> Channel:
    """The helper's own end, when it is ready for messages."""
    channel = Channel(socket.socket(fileno=descriptor))
    channel.tell(_READY)
    return channel
