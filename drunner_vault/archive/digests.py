"""BLAKE3 of data that is in memory, hex: what the index says of members, frames and shards."""

from __future__ import annotations

from collections.abc import Iterable

from blake3 import blake3

_WITH_LOCK = 2047  # bytes that the library hashes without giving up the interpreter's lock; hashlib has the same bound
_SHORT = 4 * _WITH_LOCK


def digest_of(data: bytes) -> str:
    """The digest of `data`.

    Where other threads are at work, giving up the lock and getting it back takes several times as long as hashing a
    small file. So what is short is hashed in pieces for which it is kept.
    """
    size = len(data)
    if not _WITH_LOCK < size <= _SHORT:
        return blake3(data).hexdigest()
    hasher = blake3(data[:_WITH_LOCK])
    for at in range(_WITH_LOCK, size, _WITH_LOCK):
        hasher.update(data[at : at + _WITH_LOCK])
    return hasher.hexdigest()


def data_digest(content: Iterable[bytes]) -> str:
    """What the index has as the digest of a file with this stored data: BLAKE3, hex."""
    digest = blake3()
    for piece in content:
        digest.update(piece)
    return digest.hexdigest()
