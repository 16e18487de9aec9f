"""What a store is: named objects that are either whole and durable, or not there.

Every implementation keeps these promises, and `stores/contract.py` tries each of them, in the tests and, for a
person, on their own bucket:

* **Atomic.** An object is seen (by `stat`, `read`, `list`) whole, or not at all. Until `commit` it is not seen.
* **Never overwritten.** One key is written once. Of two uploads to one key, one gets AlreadyExists. (An S3 server that
  knows no conditional writes leaves a moment in which both can win.)
* **Read after write.** When `commit` returns, every `stat`, `read` and `list` that begins later sees the object.
* **Durable.** When `commit` returns, the object outlives a crash of either side, and the store has proven that it
  holds what was written: its size, and a checksum where the store keeps one.
* **Precise absence.** NotFound means that the object is not there, and nothing else ever does. A missing permission is
  AccessDenied; a failure after which the same call may succeed is Unavailable, and no other is.
* **Identified writes.** If `Upload.etag` is not empty after `commit`, `stat` and `list` show the same ETag until the
  object is overwritten. (Many servers derive it from the content: then writing the same bytes again keeps it.)
* **Bounded.** No call waits for ever: one that gets no answer ends with Unavailable. No call holds more than 128 MiB.

Keys are paths relative to the store's root: names between single slashes, none of them `.`, `..`, empty, hidden (a
first `.`), over 255 bytes, or with control characters. All methods but those of one Upload may be called from several
threads at once.
"""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from drunner_vault.errors import AccessDenied, AlreadyExists, BadUsage, NotFound

SMALL = 4 << 20  # objects up to this size are read whole: sidecars and records
_MAX_NAME = 255


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One object. size: in bytes. modified: when it appeared, in UTC, by the store's clock. locked_until: None if it is
    not locked, or if this was learnt from a listing, which does not tell. etag: the object's ETag without quotes;
    empty in directories and over SSH, which have none."""

    key: str
    size: int
    modified: dt.datetime
    locked_until: dt.datetime | None = None
    etag: str = ""


@dataclass(frozen=True)
class Leftover:
    """What an upload that was neither committed nor aborted has left. active: when it last grew, in UTC. size: in
    bytes, 0 where the store does not tell. handle: the store's own name for it."""

    key: str
    active: dt.datetime
    size: int
    handle: str


class Upload(Protocol):
    """One object on its way in, for one thread at a time."""

    @property
    def etag(self) -> str:
        """After `commit`: the ETag of the object that this upload created, without quotes, as the store lists it.

        Empty before `commit`, and where the store has no ETags. Empty too if the store's answer was lost, unless the
        store shows an ETag that follows from the bytes written. No other ETag is read from the store after the answer:
        the object may have been overwritten since.
        """

    def write(self, data: bytes) -> None:
        """Take all of `data`. Raises StorageError; the upload is then only good for `abort`."""

    def commit(self) -> None:
        """Make the object appear. Raises AlreadyExists, NoSpace, AccessDenied, Unavailable, StorageError.

        After Unavailable it may be called again, and then finds out whether the first call took effect.
        """

    def abort(self) -> None:
        """Drop what was written. Does nothing after `commit` or a second time. Raises StorageError, or gives notice, if
        something is left behind, which `leftovers` will then show."""


class Store(Protocol):
    """See the top of this module for what each method promises.

    name: as a person wrote it, without secrets. can_lock: whether objects can be locked.
    """

    name: str

    @property
    def can_lock(self) -> bool:
        """Whether objects here can be locked against deletion."""

    def begin(self, key: str, lock: dt.datetime | None = None) -> Upload:
        """Start an object. lock: until when nobody may delete it, in UTC.

        Raises AlreadyExists if the key is taken, Unsupported for a lock where there are none.
        """

    def read(self, key: str, offset: int, length: int) -> bytes:
        """`length` bytes from `offset`; fewer only where the object ends. Raises NotFound."""

    def stat(self, key: str) -> StoredObject:
        """What is known of one object. Raises NotFound."""

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        """All objects below the directory `prefix`, in any order; of the whole store for an empty one.

        Sets size, modified and etag of each, and not locked_until.
        """

    def delete(self, key: str) -> None:
        """Remove an object for good; one that is not there is no error. Raises Locked, AccessDenied."""

    def lock(self, key: str, until: dt.datetime) -> None:
        """Lock an object until then; a lock can be made longer, never shorter. Raises NotFound, Unsupported."""

    def leftovers(self, prefix: str = "") -> Iterator[Leftover]:
        """Uploads below the directory `prefix` that have not ended: dead ones, and those that are still at work."""

    def discard(self, leftover: Leftover) -> None:
        """Remove a leftover; one that is gone is no error."""


@contextlib.contextmanager
def storing(store: Store, key: str, lock: dt.datetime | None = None) -> Iterator[Upload]:
    """An upload that is committed when the block ends, and aborted if it ends with an exception, be it a signal's.

    Read `etag` of the upload after the block.
    """
    with finishing(store.begin(key, lock)) as upload:
        yield upload


@contextlib.contextmanager
def finishing(upload: Upload) -> Iterator[Upload]:
    """Commits an upload that has begun when the block ends, and aborts it if it ends with an exception.

    Read `etag` of the upload after the block.
    """
    try:
        yield upload
        upload.commit()
    except BaseException:
        upload.abort()
        raise


def put(store: Store, key: str, data: bytes, lock: dt.datetime | None = None) -> str:
    """Store a small object and return its ETag, see `Upload.etag`. Raises AlreadyExists, unless what is there is
    exactly this: then it has been stored before, perhaps by a call whose answer got lost, and the ETag is empty."""
    try:
        with storing(store, key, lock) as upload:
            upload.write(data)
    except AlreadyExists:
        if not _holds(store, key, data):
            raise
        return ""
    return upload.etag


def _holds(store: Store, key: str, data: bytes) -> bool:
    try:
        return store.read(key, 0, len(data) + 1) == data
    except (NotFound, AccessDenied):
        return False


def read_small(store: Store, key: str) -> bytes:
    """All of a small object. Raises NotFound; BadUsage if it is not small."""
    data = store.read(key, 0, SMALL + 1)
    if len(data) > SMALL:
        raise BadUsage(f"{key} in {store.name} is over {SMALL} bytes long, and should be a small file", "look at it")
    return data


def check_key(key: str) -> str:
    """The key, if it is one. Raises BadUsage for what could name something outside of the store, or hide in it."""
    if not is_key(key):
        raise BadUsage(f"{key!r} cannot be the name of something in a store", "use names without . at their start")
    return key


def is_key(text: str) -> bool:
    """Whether a text can be the key of an object; others may have put what has no such name where a store is."""
    return all(map(_is_name, text.split("/")))


def _is_name(name: str) -> bool:
    hidden = name.startswith(".")
    return bool(name) and not hidden and name.isprintable() and len(name.encode()) <= _MAX_NAME and "\\" not in name


def is_below(key: str, prefix: str) -> bool:
    """Whether a key is below the directory `prefix`; every key is below the empty one."""
    return not prefix or key.startswith(prefix + "/")
