"""A store in memory: the promises at their plainest, for tests of everything above it."""

from __future__ import annotations

import datetime as dt
import hashlib
import itertools
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace

from drunner_vault.clock import SYSTEM_CLOCK, Clock
from drunner_vault.errors import AlreadyExists, Locked, NotFound
from drunner_vault.stores.store import Leftover, StoredObject, Upload, check_key, is_below


@dataclass(frozen=True)
class _Held:
    data: bytes
    facts: StoredObject


class MemoryStore:
    """See Store. clock: tells when objects appear, and which locks still hold. etags: True if objects have ETags, a new
    one for each write."""

    can_lock = True

    def __init__(self, name: str = "memory", clock: Clock = SYSTEM_CLOCK, *, etags: bool = True) -> None:
        self.name = name
        self._clock = clock
        self._guard = threading.Lock()
        self._objects: dict[str, _Held] = {}
        self._unfinished: dict[str, _MemoryUpload] = {}
        self._handles = itertools.count()
        self._etags = etags
        self._writes = itertools.count(1)

    def begin(self, key: str, lock: dt.datetime | None = None) -> Upload:
        """See Store."""
        with self._guard:
            if check_key(key) in self._objects:
                raise self._taken(key)
            upload = _MemoryUpload(self, key, lock, str(next(self._handles)))
            self._unfinished[upload.handle] = upload
            return upload

    def read(self, key: str, offset: int, length: int) -> bytes:
        """See Store."""
        return self._held(key).data[offset : offset + length]

    def stat(self, key: str) -> StoredObject:
        """See Store."""
        return self._held(key).facts

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        """See Store."""
        with self._guard:
            found = [held.facts for key, held in self._objects.items() if is_below(key, prefix)]
        return (replace(facts, locked_until=None) for facts in found)

    def delete(self, key: str) -> None:
        """See Store."""
        with self._guard:
            held = self._objects.get(check_key(key))
            if held and held.facts.locked_until and held.facts.locked_until > self._clock.now():
                raise Locked(f"{key} in {self.name} is locked until {held.facts.locked_until}", "wait until then")
            self._objects.pop(key, None)

    def lock(self, key: str, until: dt.datetime) -> None:
        """See Store."""
        held = self._held(key)
        if held.facts.locked_until is None or held.facts.locked_until < until:
            self._objects[key] = replace(held, facts=replace(held.facts, locked_until=until))

    def leftovers(self, prefix: str = "") -> Iterator[Leftover]:
        """See Store."""
        with self._guard:
            unfinished = list(self._unfinished.values())
        return (upload.leftover() for upload in unfinished if is_below(upload.key, prefix))

    def discard(self, leftover: Leftover) -> None:
        """See Store."""
        self._unfinished.pop(leftover.handle, None)

    def overwrite(self, key: str, data: bytes) -> None:
        """Create or replace an object, as anyone with s3:PutObject can. It is not locked. For tests."""
        with self._guard:
            self._write(check_key(key), data, None)

    def finish(self, handle: str, key: str, data: bytes, lock: dt.datetime | None) -> str:
        """For uploads: create the object and return its ETag."""
        with self._guard:
            if key in self._objects:
                raise self._taken(key)
            self._unfinished.pop(handle, None)
            return self._write(key, data, lock)

    def now(self) -> dt.datetime:
        """The store's clock."""
        return self._clock.now()

    def _write(self, key: str, data: bytes, lock: dt.datetime | None) -> str:
        digest = hashlib.md5(data, usedforsecurity=False).hexdigest()
        etag = f"{digest}-{next(self._writes)}" if self._etags else ""
        self._objects[key] = _Held(data, StoredObject(key, len(data), self._clock.now(), lock, etag))
        return etag

    def _held(self, key: str) -> _Held:
        with self._guard:
            held = self._objects.get(check_key(key))
        if held is None:
            raise NotFound(f"there is no {key} in {self.name}", "see what there is: drunner-vault archives STORE")
        return held

    def _taken(self, key: str) -> AlreadyExists:
        return AlreadyExists(f"{key} exists already in {self.name}", "choose another name")


class _MemoryUpload:
    def __init__(self, store: MemoryStore, key: str, lock: dt.datetime | None, handle: str) -> None:
        self.key = key
        self.handle = handle
        self.etag = ""
        self._store = store
        self._lock = lock
        self._data = bytearray()
        self._active = store.now()
        self._committed = False

    def write(self, data: bytes) -> None:
        self._data += data
        self._active = self._store.now()

    def commit(self) -> None:
        if not self._committed:
            self.etag = self._store.finish(self.handle, self.key, bytes(self._data), self._lock)
            self._committed = True

    def abort(self) -> None:
        self._store.discard(self.leftover())

    def leftover(self) -> Leftover:
        return Leftover(self.key, self._active, len(self._data), self.handle)
