"""A store whose calls are tried again while it is Unavailable, and never after a plain no."""

from __future__ import annotations

import datetime as dt
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from drunner_vault.errors import Unavailable
from drunner_vault.stores.store import Leftover, Store, StoredObject, Upload

Result = TypeVar("Result")


@dataclass(frozen=True)
class Patience:
    """How often a call is made at most, and how long is waited between: `first` seconds, doubled each time up to
    `longest`, each shortened by chance by up to a half, so that hosts do not come back all at once."""

    attempts: int = 5
    first: float = 0.5
    longest: float = 20.0
    sleep: Callable[[float], None] = time.sleep

    def insist(self, call: Callable[[], Result]) -> Result:
        """The call's result. Raises what it raises: Unavailable only after the last attempt."""
        for attempt in range(self.attempts - 1):
            try:
                return call()
            except Unavailable:
                self.sleep(min(self.longest, self.first * 2**attempt) * random.uniform(0.5, 1))  # noqa: S311
        return call()


class RetryingStore:
    """See Store.

    An upload's bytes are not kept, so a `write` that failed cannot be tried again: the upload ends. Its `commit` is,
    since it finds out what the first one did.
    """

    def __init__(self, inner: Store, patience: Patience | None = None) -> None:
        self._inner = inner
        self._insist = (patience or Patience()).insist
        self.name = inner.name

    @property
    def can_lock(self) -> bool:
        """See Store."""
        return self._inner.can_lock

    def begin(self, key: str, lock: dt.datetime | None = None) -> Upload:
        """See Store."""
        return _RetryingUpload(self._insist(partial(self._inner.begin, key, lock)), self._insist)

    def read(self, key: str, offset: int, length: int) -> bytes:
        """See Store."""
        return self._insist(partial(self._inner.read, key, offset, length))

    def stat(self, key: str) -> StoredObject:
        """See Store."""
        return self._insist(partial(self._inner.stat, key))

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        """See Store. The listing is complete before its first object is given, since it may have to begin anew."""
        return iter(self._insist(lambda: list(self._inner.list(prefix))))

    def delete(self, key: str) -> None:
        """See Store."""
        self._insist(partial(self._inner.delete, key))

    def lock(self, key: str, until: dt.datetime) -> None:
        """See Store."""
        self._insist(partial(self._inner.lock, key, until))

    def leftovers(self, prefix: str = "") -> Iterator[Leftover]:
        """See Store."""
        return iter(self._insist(lambda: list(self._inner.leftovers(prefix))))

    def discard(self, leftover: Leftover) -> None:
        """See Store."""
        self._insist(partial(self._inner.discard, leftover))


class _RetryingUpload:
    def __init__(self, inner: Upload, insist: Callable[[Callable[[], None]], None]) -> None:
        self._inner = inner
        self._insist = insist
        self.write = inner.write

    @property
    def etag(self) -> str:
        return self._inner.etag

    def commit(self) -> None:
        self._insist(self._inner.commit)

    def abort(self) -> None:
        self._insist(self._inner.abort)
