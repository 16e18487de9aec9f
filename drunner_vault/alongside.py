"""Digests of a long stream, made in a thread of its own while the next bytes come."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import Queue

_BATCH = 256 << 10  # bytes that are handed over at once
_BATCHES = 16  # waiting at the most, which bounds memory
_Batch = list[bytes | memoryview]


class Alongside:
    """Hands pieces of data to `take`, one after the other, a few MiB behind whoever gives them.

    take: works for long without the interpreter's lock, as digests do, and never waits for anything. Less than a batch
    in all needs no thread. Whoever has been interrupted may just drop it.
    """

    def __init__(self, take: Callable[[bytes | memoryview], object]) -> None:
        self._take = take
        self._waiting: Queue[_Batch] | None = None
        self._failure: BaseException | None = None
        self._batch: _Batch = []
        self._size = 0

    def give(self, data: bytes | memoryview) -> None:
        """The next piece, which must not change any more. Raises what `take` has raised."""
        self._batch.append(data)
        self._size += len(data)
        if self._size >= _BATCH:
            self._send()

    def settle(self) -> None:
        """All pieces are taken when this returns; further ones may be given. Raises what `take` has raised."""
        if self._waiting is not None:
            self._waiting.put([])
            self._waiting.join()
            self._waiting = None
        self._raise()
        batch, self._batch, self._size = self._batch, [], 0
        self._run(batch)
        self._raise()

    def _send(self) -> None:
        self._raise()
        if self._waiting is None:
            self._waiting = Queue(_BATCHES)
            # a daemon, since a signal may end its starter before anybody knows of it, and nobody could then end it
            threading.Thread(target=self._follow, args=(self._waiting,), name="digest", daemon=True).start()
        batch, self._batch, self._size = self._batch, [], 0
        self._waiting.put(batch)

    def _raise(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _follow(self, waiting: Queue[_Batch]) -> None:
        """Take what is waiting, up to an empty batch."""
        batch: _Batch | None = None
        while batch != []:
            batch = waiting.get()
            self._run(batch)
            waiting.task_done()

    def _run(self, batch: _Batch) -> None:
        if self._failure is None:
            try:
                for data in batch:
                    self._take(data)
            except BaseException as error:
                self._failure = error
