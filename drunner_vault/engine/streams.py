"""Byte streams to and from the engine: pieces that arrive become reads, writes become pieces that leave."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType


class PieceSource:
    """Reads of any size over pieces of any size, as an HTTP response gives them."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self._piece = b""
        self._at = 0

    def read(self, size: int) -> bytes:
        """Up to `size` bytes, none only at the end."""
        while self._at == len(self._piece):
            following = next(self._pieces, None)
            if following is None:
                return b""
            self._piece, self._at = following, 0
        data = self._piece[self._at : self._at + size]
        self._at += len(data)
        return data


class Upload:
    """Bytes written here are read by `consume` in a thread of its own, through a pipe that bounds what is under way."""

    def __init__(self, consume: Callable[[Iterator[bytes]], None]) -> None:
        reading, self._writing = os.pipe()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(consume, reading), name="upload", daemon=True)
        self._thread.start()

    def __enter__(self) -> Upload:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._writing)
        self._thread.join()
        if self._failure is not None and (error is None or isinstance(error, BrokenPipeError)):
            raise self._failure

    def write(self, data: bytes) -> None:
        """Send `data`. Raises BrokenPipeError when the other side has given up; leaving the context tells why."""
        view = memoryview(data)
        while view:
            view = view[os.write(self._writing, view) :]

    def _run(self, consume: Callable[[Iterator[bytes]], None], reading: int) -> None:
        try:
            with os.fdopen(reading, "rb", buffering=0) as pipe:
                consume(iter(lambda: pipe.read(1 << 20) or b"", b""))
        except BaseException as failure:
            self._failure = failure
