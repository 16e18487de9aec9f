"""Digests of a long stream, made in a thread of its own while the next bytes come."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

_BATCH = 256 << 10  # bytes that are handed over at once
_BATCHES = 16  # under way at the most, which bounds memory


class Alongside:
    """Hands pieces of data to `take`, one after the other, a few MiB behind whoever gives them.

    take: works for long without the interpreter's lock, as digests do, and never waits for anything. Less than a batch
    in all needs no thread.
    """

    def __init__(self, take: Callable[[bytes | memoryview], object]) -> None:
        self._take = take
        self._pool: ThreadPoolExecutor | None = None
        self._under_way: deque[Future[None]] = deque()
        self._batch: list[bytes | memoryview] = []
        self._size = 0

    def give(self, data: bytes | memoryview) -> None:
        """The next piece, which must not change any more. Raises what `take` has raised."""
        self._batch.append(data)
        self._size += len(data)
        if self._size >= _BATCH:
            self._send()

    def settle(self) -> None:
        """All pieces are taken when this returns; further ones may be given. Raises what `take` has raised."""
        while self._under_way:
            self._under_way.popleft().result()
        self._run(self._batch)
        self._batch, self._size = [], 0
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None

    def _send(self) -> None:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(1, "digest")
        self._under_way.append(self._pool.submit(self._run, self._batch))
        self._batch, self._size = [], 0
        while len(self._under_way) > _BATCHES or self._under_way[0].done():
            self._under_way.popleft().result()
            if not self._under_way:
                return

    def _run(self, batch: list[bytes | memoryview]) -> None:
        for data in batch:
            self._take(data)
