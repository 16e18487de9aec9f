"""Archives in stores in memory, with signed sidecars, for tests of what is decided about them."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache

from drunner_vault.age import X25519Identity, read_outline
from drunner_vault.archive import Head, Rest, archive_name, archive_service, archive_stamp
from drunner_vault.archive.sidecar import (
    HashingSink,
    assemble,
    encode_rest,
    place_of,
    state_head,
    state_place,
)
from drunner_vault.catalog.archive import Archive
from drunner_vault.catalog.catalog import Catalog, CatalogReader
from drunner_vault.catalog.identity import IDENTITY_KEY, StoreRoot, read_identity
from drunner_vault.catalog.records import Record, RecordKind, parse_stamp, record_key, state_record
from drunner_vault.catalog.signers import HostSigners
from drunner_vault.clock import Clock, isoformat
from drunner_vault.signing import AllowedSigner, SigningKey, parse_allowed_signer
from drunner_vault.stores.memory import MemoryStore
from drunner_vault.stores.store import Store, StoredObject, put
from support.archives import make, some_files

IDENTITY = X25519Identity.generate()
HOST = "there"  # the host that made the archives, unless a test says otherwise
HOST_KEY = SigningKey.generate()  # its signing key
STORE_ID = "5" * 32
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

    def __init__(self, clock: Clock | None = None, *, etags: bool = True) -> None:
        super().__init__(clock=clock or Clock(now=lambda: NOW), etags=etags)
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
    """An archive that is not encrypted."""
    return make(some_files(5))


@cache
def head_and_rest(data: bytes) -> tuple[Head, Rest]:
    """What a sidecar says about these bytes; without names."""
    sink = HashingSink(Nowhere())
    sink.write(data)
    digests = sink.digests()
    outline = read_outline(data, len(data)) if data.startswith(b"age") else None
    head = Head(
        archive="",
        host="",
        workload="",
        id="0" * 32,
        size=digests.size,
        sha256=digests.sha256,
        recipients=tuple(outline.header.recipient_types) if outline else (),
    )
    return head, Rest(age_header=outline.head if outline else b"", chunks=digests.chunks)


def head_of(data: bytes, key: str) -> Head:
    """The head of an archive with the key HOST/WORKLOAD/NAME."""
    host, workload, name = key.split("/")[-3:]
    created = parse_stamp(archive_stamp(name) or "")
    head, _ = head_and_rest(data)
    return replace(head, archive=name, host=host, workload=workload, created=isoformat(created) if created else "")


def sidecar_of(
    data: bytes,
    key: str,
    *,
    etag: str = "",
    store: str = STORE_ID,
    sign: SigningKey | None = HOST_KEY,
    placed_by: SigningKey | None = None,
    head: Head | None = None,
) -> bytes:
    """The sidecar of an archive. sign: the host's key, None for an unsigned one. placed_by: who has seen the bytes in
    the store, the host itself unless said otherwise. head: in place of the honest one."""
    _, rest = head_and_rest(data)
    stated = head or head_of(data, key)
    seen_by = placed_by or sign
    place = place_of(stated, store, etag, isoformat(NOW))
    return assemble(
        state_head(stated, rest, sign.sign if sign else None),
        state_place(place, seen_by.sign if seen_by else None),
        encode_rest(rest),
    )


def sidecar_v1(data: bytes, key: str, *, signer: str = "") -> bytes:
    """A sidecar as version 1 wrote it, not signed."""
    head, (_, rest) = head_of(data, key), head_and_rest(data)
    document = {
        "format": "drunner-vault-sidecar", "version": 1, "archive": head.archive, "size": head.size,
        "sha256": head.sha256, "id": head.id, "created": head.created, "host": head.host, "service": head.workload,
        "age_header": None, "recipients": list(head.recipients), "sealed_to": [], "signer": signer, "problems": 0,
        "chunk_size": rest.chunk_size, "chunks": list(rest.chunks),
    }  # fmt: skip
    return json.dumps(document, indent=1).encode() + b"\n"


def key_of(created: dt.datetime, service: str = "notes", host: str = HOST, *, encrypted: bool = True) -> str:
    """The key that we would give it."""
    return f"{host}/{service}/{archive_name(service, created, encrypted=encrypted)}"


def identify(store: Store, identity: str = STORE_ID) -> None:
    """Give a store its identity, unless it has one."""
    if not read_identity(store):
        document = {"format": "drunner-vault-store", "version": 1, "id": identity}
        put(store, IDENTITY_KEY, json.dumps(document, separators=(",", ":")).encode() + b"\n")


def add(
    store: Store,
    created: dt.datetime,
    service: str = "notes",
    host: str = HOST,
    *,
    data: bytes | None = None,
    sidecar: bool = True,
    lock: dt.datetime | None = None,
    sign: SigningKey | None = HOST_KEY,
    head: Callable[[Head], Head] = lambda head: head,
) -> str:
    """Store an archive with its sidecar, as a backup does; returns its key. head: changes what the sidecar states."""
    key = key_of(created, service, host)
    whole = sealed() if data is None else data
    identify(store)
    etag = put(store, key, whole, lock)
    if sidecar:
        stated = head(head_of(whole, key))
        document = sidecar_of(whole, key, etag=etag, store=read_identity(store), sign=sign, head=stated)
        put(store, key + ".json", document, lock)
    return key


def add_record(
    store: Store,
    key: str,
    kind: RecordKind,
    at: dt.datetime,
    *,
    sign: SigningKey | None = HOST_KEY,
    change: Callable[[Record], Record] = lambda record: record,
    **details: object,
) -> str:
    """Store a record about an archive, as this program does; returns its key. change: what it states instead."""
    data = store.read(key, 0, 1 << 30)
    head = head_of(data, key)
    record = Record(
        kind=kind,
        archive=head.archive,
        host=head.host,
        workload=head.workload,
        size=head.size,
        sha256=head.sha256,
        store=read_identity(store),
        etag=store.stat(key).etag,
        at=at,
        details=details,
    )
    name = record_key(key, kind, at)
    put(store, name, state_record(change(record), sign.sign if sign else None).encode())
    return name


def trusting(*keys: tuple[SigningKey, str]) -> list[AllowedSigner]:
    """Lines of allowed signers, each a key and the host that it is for."""
    return [parse_allowed_signer(key.public().allowed_line(host)) for key, host in keys]


def signers(
    lines: Sequence[AllowedSigner] | None = None,
    own: SigningKey | None = None,
    own_host: str = "here",
    now: dt.datetime = NOW,
) -> HostSigners:
    """Whose signatures count: those of HOST_KEY for HOST, unless lines are given."""
    chosen = trusting((HOST_KEY, HOST)) if lines is None else lines
    return HostSigners(chosen, own.public() if own else None, own_host, now)


OWN = HostSigners((), HOST_KEY.public(), HOST, NOW)
"""As the host itself sees it."""


def root_of(store: Store, prefix: str = "") -> StoreRoot:
    """The store as a command opens it."""
    return StoreRoot(store, read_identity(store), None, prefix)


def catalog(
    store: Store,
    service: str | None = None,
    host: str | None = None,
    *,
    by: HostSigners | None = None,
    now: dt.datetime = NOW,
    prefix: str = "",
) -> Catalog:
    """What is known of a store's archives. by: whose signatures count."""
    return CatalogReader(by or signers(now=now), now).read(root_of(store, prefix), service, host)


def archives(
    store: Store, service: str | None = None, host: str | None = None, *, by: HostSigners | None = None
) -> list[Archive]:
    """The archives of a store, newest first."""
    return list(catalog(store, service, host, by=by).archives)


def daily(days: Iterable[int], until: dt.datetime = NOW) -> Iterator[dt.datetime]:
    """Moments so many days before, the given order kept."""
    return (until - number * DAY for number in days)


def keys(store: Store) -> set[str]:
    """The keys of all objects but the store's identity."""
    return {item.key for item in store.list()} - {IDENTITY_KEY}


def dump(store: Store) -> dict[str, tuple[bytes, StoredObject]]:
    """All that a store holds, with all that is known of it."""
    return {key: (store.read(key, 0, 1 << 30), store.stat(key)) for key in keys(store)}


def service_of(key: str) -> str:
    """The service in an archive's key."""
    return archive_service(key.rpartition("/")[2]) or ""
