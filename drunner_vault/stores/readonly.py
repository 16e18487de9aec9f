"""A store that is only looked at, whatever the code above it tries."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

from drunner_vault.errors import AccessDenied
from drunner_vault.stores.store import Leftover, Store, StoredObject, Upload


class ReadOnlyStore:
    """See Store. Every method that would change something raises AccessDenied."""

    def __init__(self, inner: Store) -> None:
        self._inner = inner
        self.name = inner.name

    @property
    def can_lock(self) -> bool:
        """See Store."""
        return self._inner.can_lock

    def begin(self, key: str, lock: dt.datetime | None = None) -> Upload:
        """See Store."""
        raise self._refusal(f"store {key}")

    def read(self, key: str, offset: int, length: int) -> bytes:
        """See Store."""
        return self._inner.read(key, offset, length)

    def stat(self, key: str) -> StoredObject:
        """See Store."""
        return self._inner.stat(key)

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        """See Store."""
        return self._inner.list(prefix)

    def delete(self, key: str) -> None:
        """See Store."""
        raise self._refusal(f"delete {key}")

    def lock(self, key: str, until: dt.datetime) -> None:
        """See Store."""
        raise self._refusal(f"lock {key}")

    def leftovers(self, prefix: str = "") -> Iterator[Leftover]:
        """See Store."""
        return self._inner.leftovers(prefix)

    def discard(self, leftover: Leftover) -> None:
        """See Store."""
        raise self._refusal(f"remove the leftovers of {leftover.key}")

    def _refusal(self, action: str) -> AccessDenied:
        return AccessDenied(f"cannot {action}: {self.name} was opened for reading only", "")
