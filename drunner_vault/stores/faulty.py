"""A store that fails on demand: what everything above it must live through, tried for every call in turn."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Callable, Iterator
from enum import Enum
from functools import partial
from typing import TypeVar

from drunner_vault.errors import AccessDenied, Unavailable
from drunner_vault.stores.store import Leftover, Store, StoredObject, Upload

Result = TypeVar("Result")


class Fault(Enum):
    """How a call can fail."""

    BEFORE = "nothing was done, and trying again may help"
    AFTER = "it was done, and the answer was lost"
    REFUSED = "a plain no"
    HANG = "no answer until the time limit"
    CUT = "half of it was done, or half of the answer came"
    DEAD = "this and every later call fails"


class Faults:
    """Which call fails, and how: the `number`-th, counted from 1 over all stores and uploads that share this plan; and
    the `times - 1` after it. calls: how many were made. hang: called in place of waiting for the time limit."""

    def __init__(
        self, number: int = 0, fault: Fault = Fault.BEFORE, times: int = 1, hang: Callable[[], None] = lambda: None
    ) -> None:
        self.calls = 0
        self._number = number
        self._fault = fault
        self._times = times
        self._hang = hang
        self._guard = threading.Lock()

    def call(self, action: Callable[[], Result], half: Callable[[], object] = lambda: None) -> Result:
        """Do it, or fail as planned. half: does it by half."""
        fault = self._next()
        if fault is None:
            return action()
        if fault is Fault.AFTER:
            action()
        elif fault is Fault.CUT:
            half()
        elif fault is Fault.HANG:
            self._hang()
        elif fault is Fault.REFUSED:
            raise AccessDenied("refused, as planned", "this is a test")
        raise Unavailable(f"failed, as planned: {fault.value}", "this is a test")

    def _next(self) -> Fault | None:
        with self._guard:
            self.calls += 1
            reached = self.calls >= self._number > 0
            due = reached and (self._fault is Fault.DEAD or self.calls < self._number + self._times)
            return self._fault if due else None


class FaultyStore:
    """See Store. faults: the plan; without one, nothing fails."""

    def __init__(self, inner: Store, faults: Faults | None = None) -> None:
        self._inner = inner
        self._faults = faults or Faults()
        self.name = inner.name

    @property
    def can_lock(self) -> bool:
        """See Store."""
        return self._inner.can_lock

    def begin(self, key: str, lock: dt.datetime | None = None) -> Upload:
        """See Store."""
        return _FaultyUpload(self._faults.call(partial(self._inner.begin, key, lock)), self._faults)

    def read(self, key: str, offset: int, length: int) -> bytes:
        """See Store."""
        half = partial(self._inner.read, key, offset, length // 2)
        return self._faults.call(partial(self._inner.read, key, offset, length), half)

    def stat(self, key: str) -> StoredObject:
        """See Store."""
        return self._faults.call(partial(self._inner.stat, key))

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        """See Store."""
        return iter(self._faults.call(lambda: list(self._inner.list(prefix))))

    def delete(self, key: str) -> None:
        """See Store."""
        self._faults.call(partial(self._inner.delete, key))

    def lock(self, key: str, until: dt.datetime) -> None:
        """See Store."""
        self._faults.call(partial(self._inner.lock, key, until))

    def leftovers(self, prefix: str = "") -> Iterator[Leftover]:
        """See Store."""
        return iter(self._faults.call(lambda: list(self._inner.leftovers(prefix))))

    def discard(self, leftover: Leftover) -> None:
        """See Store."""
        self._faults.call(partial(self._inner.discard, leftover))


class _FaultyUpload:
    """etag: stays empty if the answer to the `commit` that took effect was lost: it is then not known."""

    def __init__(self, inner: Upload, faults: Faults) -> None:
        self._inner = inner
        self._faults = faults
        self.etag = ""

    def write(self, data: bytes) -> None:
        self._faults.call(partial(self._inner.write, data), partial(self._inner.write, data[: len(data) // 2]))

    def commit(self) -> None:
        has_appeared = bool(self._inner.etag)  # by an earlier call
        self._faults.call(self._inner.commit)
        if not has_appeared:
            self.etag = self._inner.etag

    def abort(self) -> None:
        self._faults.call(self._inner.abort)
