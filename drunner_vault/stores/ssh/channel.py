"""Messages, and the bytes of an archive, through a pair of pipes between two of our programs.

    frame    kind (1 byte), length (4 bytes, big-endian), payload
    M        a message: one JSON object
    D        a piece of an archive
    E        its end
    K        nothing, a sign of life

What comes out of a pipe that was closed without a word is never taken for the end of an archive, nor for a message.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import threading
from collections.abc import Iterator
from typing import Any

_MESSAGE, _DATA, _END, _ALIVE = b"MDEK"
_LONGEST_MESSAGE = 4 << 20
_PIECE = 256 << 10
_LONGEST = max(_LONGEST_MESSAGE, _PIECE)
_HEAD = 5
_BEAT = 15.0  # seconds between signs of life


class Gone(Exception):
    """The other end has closed the pipe, or has not been heard of for too long."""


class Malformed(Exception):
    """What comes out of the pipe is not from a program of ours."""


class Channel:
    """One end. reading, writing: descriptors, which stay the caller's. patience: seconds without a byte after which
    the other end counts as gone; None where something else sees to that."""

    def __init__(self, reading: int, writing: int, patience: float | None = None) -> None:
        self._reading = reading
        self._writing = writing
        self._patience = patience
        self._sending = threading.Lock()
        self._piece = b""
        self._ended = True
        self.heard = False

    def send(self, **message: Any) -> None:
        """Send a message. Raises Gone."""
        self._send(_MESSAGE, json.dumps(message).encode())

    def receive(self) -> dict[str, Any]:
        """The next message. Raises Gone, Malformed."""
        kind, payload = self._next()
        if kind != _MESSAGE:
            raise Malformed("it sends data where a message should be")
        return _message(payload)

    def write(self, data: bytes) -> None:
        """Send bytes of an archive. Raises Gone."""
        view = memoryview(data)
        for start in range(0, len(view), _PIECE):
            self._send(_DATA, view[start : start + _PIECE])

    def end(self) -> None:
        """The archive is complete. Raises Gone."""
        self._send(_END, b"")

    def begin_reading(self) -> None:
        """From here on, `read` gives an archive."""
        self._ended = False

    def read(self, size: int) -> bytes:
        """Up to `size` bytes of an archive; none only at its end. Raises Gone if it has none, Malformed."""
        while not self._piece and not self._ended:
            kind, payload = self._next()
            if kind == _MESSAGE:
                raise Malformed("it sends a message in the middle of an archive")
            self._piece, self._ended = payload, kind == _END
        data, self._piece = self._piece[:size], self._piece[size:]
        return data

    @contextlib.contextmanager
    def alive(self, every: float = _BEAT) -> Iterator[None]:
        """Inside the block the other end hears of us, even while there is nothing to send. every: so many seconds."""
        done = threading.Event()

        def beat() -> None:
            with contextlib.suppress(OSError):
                while not done.wait(every):
                    self._beat()

        thread = threading.Thread(target=beat, name="sign of life", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def _send(self, kind: int, payload: bytes | memoryview) -> None:
        with self._sending:
            try:
                self._write_all(bytes((kind,)) + len(payload).to_bytes(4) + payload)
            except OSError as cause:
                raise Gone from cause

    def _beat(self) -> None:
        """A sign of life, unless something is being sent anyway, or a full pipe would make us wait."""
        if self._sending.acquire(blocking=False):
            try:
                if select.select([], [self._writing], [], 0)[1]:
                    os.write(self._writing, bytes((_ALIVE,)) + bytes(4))
            finally:
                self._sending.release()

    def _write_all(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._writing, view) :]

    def _next(self) -> tuple[int, bytes]:
        while True:
            head = self._exactly(_HEAD)
            kind, length = head[0], int.from_bytes(head[1:])
            if kind not in (_MESSAGE, _DATA, _END, _ALIVE) or length > _LONGEST:
                raise Malformed(f"it begins with {(head + self._some(200)).decode(errors='replace')!r}")
            self.heard = True
            payload = self._exactly(length)
            if kind != _ALIVE:
                return kind, payload

    def _exactly(self, length: int) -> bytes:
        data = bytearray()
        while len(data) < length:
            piece = self._some(length - len(data))
            if not piece:
                if data and not self.heard:
                    raise Malformed(f"it sends no more than {data.decode(errors='replace')!r}")
                raise Gone
            data += piece
        return bytes(data)

    def _some(self, size: int) -> bytes:
        if self._patience is not None and not select.select([self._reading], [], [], self._patience)[0]:
            raise Gone
        try:
            return os.read(self._reading, size)
        except OSError as cause:
            raise Gone from cause


def _message(payload: bytes) -> dict[str, Any]:
    try:
        message = json.loads(payload)
    except (ValueError, RecursionError) as cause:
        raise Malformed("its message is no JSON") from cause
    if not isinstance(message, dict):
        raise Malformed("its message is no object")
    return message
