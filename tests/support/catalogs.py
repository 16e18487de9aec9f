"""Archives in stores in memory, for tests of what is made of them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cache

from drunner_vault.age import X25519Identity, read_outline
from drunner_vault.archive import HashingSink, Sidecar, archive_name, archive_service
from drunner_vault.clock import Clock, isoformat
from drunner_vault.stores.memory import MemoryStore
from drunner_vault.stores.store import Store, StoredObject, put
from support.archives import make, some_files

IDENTITY = X25519Identity.generate()
NOW = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)
HOUR = dt.timedelta(hours=1)


class Nowhere:
    """A sink for what is only hashed."""

    def write(self, data: bytes) -> None:
        """See Sink."""


@dataclass
class Hands:
    """A clock that is set by hand."""

    moment: dt.datetime = NOW
    clock: Clock = field(init=False)

    def __post_init__(self) -> None:
        self.clock = Clock(now=lambda: self.moment)


class Watched(MemoryStore):
    """A store in memory that remembers its calls. on_read: called with a key before it is read."""

    def __init__(self, clock: Clock | None = None) -> None:
        super().__init__(clock=clock or Clock(now=lambda: NOW))
        self.fetched = 0
        self.reads: list[str] = []
        self.deletes: list[str] = []
        self.on_read: Callable[[str], None] = lambda _key: None

    def read(self, key: str, offset: int, length: int) -> bytes:
        self.on_read(key)
        self.reads.append(key)
        data = super().read(key, offset, length)
        self.fetched += len(data)
        return data

    def delete(self, key: str) -> None:
        self.deletes.append(key)
        super().delete(key)


class NoLocks(Watched):
    """A store that cannot lock."""

    can_lock = False


@cache
def sealed(size: int = 0) -> bytes:
    """An encrypted archive."""
    return make(some_files(5, large=size), recipients=[IDENTITY.recipient()])


@cache
def clear() -> bytes:
    """An archive in the clear."""
    return make(some_files(5))


def sidecar_of(data: bytes, name: str, host: str = "there", service: str = "") -> Sidecar:
    """The sidecar of an archive under this name."""
    sink = HashingSink(Nowhere())
    sink.write(data)
    facts = Sidecar(name, 0, "", "0" * 32, isoformat(NOW), host, service or archive_service(name) or "")
    if data.startswith(b"age"):
        outline = read_outline(data, len(data))
        facts = replace(facts, age_header=outline.head, recipients=list(outline.header.recipient_types))
    return sink.measured(facts)


def key_of(created: dt.datetime, service: str = "notes", host: str = "there", *, encrypted: bool = True) -> str:
    """The key that we would give it."""
    return f"{host}/{service}/{archive_name(service, created, encrypted=encrypted)}"


def add(
    store: Store,
    created: dt.datetime,
    service: str = "notes",
    host: str = "there",
    *,
    data: bytes | None = None,
    sidecar: bool = True,
    lock: dt.datetime | None = None,
) -> str:
    """Store an archive with its sidecar; returns its key."""
    key = key_of(created, service, host)
    whole = sealed() if data is None else data
    put(store, key, whole, lock)
    if sidecar:
        put(store, key + ".json", sidecar_of(whole, key.rpartition("/")[2], host).encode(), lock)
    return key


def daily(days: Iterable[int], until: dt.datetime = NOW) -> Iterator[dt.datetime]:
    """Moments so many days before, the given order kept."""
    return (until - number * DAY for number in days)


def keys(store: Store) -> set[str]:
    return {item.key for item in store.list()}


def dump(store: Store) -> dict[str, tuple[bytes, StoredObject]]:
    """All that a store holds, with all that is known of it."""
    return {key: (store.read(key, 0, 1 << 30), store.stat(key)) for key in keys(store)}
