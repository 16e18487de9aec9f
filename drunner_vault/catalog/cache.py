"""What was read of small objects in a store, kept on this host so that the next listing need not read it again.

Only objects with an ETag are kept. An entry that is not as this host has written it, by its MAC, is fetched again; and
what is kept is verified at each use like what comes from the store. So a cache that was changed changes no decision.
"""

from __future__ import annotations

import contextlib
import hmac
import json
import secrets
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from drunner_vault.durable import new_file
from drunner_vault.errors import AlreadyExists, StorageError
from drunner_vault.stores.store import StoredObject

_MAC = 32  # bytes, before the data of an entry
_LARGEST = 256 << 20  # bytes of a cache file; nothing is added to a larger one
_SCHEMA = """
CREATE TABLE IF NOT EXISTS objects (
    store TEXT, key TEXT, size INTEGER, etag TEXT, data BLOB, PRIMARY KEY (store, key)
) WITHOUT ROWID
"""


class ObjectCache:
    """The beginnings of objects by store identity, key, size and ETag. May be used from several threads.

    A cache that cannot be used is no reason to fail: it then keeps nothing.
    """

    def __init__(self, path: Path | None) -> None:
        """path: of the SQLite file, made with its directory when something is first kept; None for no cache. The key of
        the MAC is beside it."""
        self._path = path
        self._secret = b""
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._added = 0

    def read(self, store: str, item: StoredObject, limit: int, fetch: Callable[[], bytes]) -> bytes:
        """Return at most `limit` bytes of an object, from the cache or by `fetch`.

        store: its identity. limit: the same at each call for the same key. Raises what `fetch` raises.
        """
        if not (store and item.etag) or self._path is None:
            return fetch()
        found = self._find(store, item)
        if found is not None and len(found) <= limit:
            return found
        data = fetch()
        self._keep(store, item, data)
        return data

    def retain(self, store: str, keys: Iterable[str]) -> None:
        """Forget the objects of a store that it no longer has. keys: of all that it has."""
        with self._lock, self._tolerated():
            connection = self._open(make=False)
            if connection is None:
                return
            known = {str(row[0]) for row in connection.execute("SELECT key FROM objects WHERE store = ?", (store,))}
            gone = known.difference(keys)
            connection.executemany("DELETE FROM objects WHERE store = ? AND key = ?", ((store, key) for key in gone))
            connection.commit()

    def close(self) -> None:
        """Write what was kept."""
        with self._lock, self._tolerated():
            if self._connection is not None:
                self._connection.commit()
                self._connection.close()
                self._connection = None

    def _find(self, store: str, item: StoredObject) -> bytes | None:
        with self._lock, self._tolerated():
            connection = self._open(make=False)
            if connection is not None:
                row = connection.execute(
                    "SELECT data FROM objects WHERE store = ? AND key = ? AND size = ? AND etag = ?",
                    (store, item.key, item.size, item.etag),
                ).fetchone()
                return self._opened(store, item, bytes(row[0])) if row else None
        return None

    def _opened(self, store: str, item: StoredObject, entry: bytes) -> bytes | None:
        """The data of an entry; None if it is not as this host has written it."""
        mac, data = entry[:_MAC], entry[_MAC:]
        return data if hmac.compare_digest(mac, self._mac(store, item, data)) else None

    def _mac(self, store: str, item: StoredObject, data: bytes) -> bytes:
        facts = json.dumps([store, item.key, item.size, item.etag]).encode()
        return hmac.digest(self._secret, facts + b"\n" + data, "sha256")

    def _keep(self, store: str, item: StoredObject, data: bytes) -> None:
        with self._lock, self._tolerated():
            connection = self._open(make=True)
            if connection is not None and self._added < _LARGEST:
                self._added += len(data)
                row = (store, item.key, item.size, item.etag, self._mac(store, item, data) + data)
                connection.execute("INSERT OR REPLACE INTO objects VALUES (?, ?, ?, ?, ?)", row)

    def _open(self, *, make: bool) -> sqlite3.Connection | None:
        if self._connection is None and self._path is not None and (make or self._path.exists()):
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._connection = sqlite3.connect(self._path, timeout=5, check_same_thread=False)
            self._path.chmod(0o600)
            self._added = self._path.stat().st_size
            self._connection.execute(_SCHEMA)
            self._secret = self._secret or _secret(self._path.with_suffix(".key"))
        return self._connection

    @contextlib.contextmanager
    def _tolerated(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError):
            self._path, self._connection = None, None


def _secret(path: Path) -> bytes:
    """The key in a file, which is made if it is not there. Raises OSError."""
    try:
        with contextlib.suppress(AlreadyExists), new_file(path) as stream:
            stream.write(secrets.token_bytes(_MAC))
    except StorageError as error:
        raise OSError(error.message) from error
    return path.read_bytes()
