"""One archive in a store, as far as it is known without a key, and what it is worth."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from enum import Enum

from drunner_vault.catalog.grouping import Directory
from drunner_vault.signing import SignerKey
from drunner_vault.stores.store import StoredObject

AHEAD = dt.timedelta(days=1)  # an archive further in the future was made by a clock that ran ahead


class Standing(Enum):
    """What an archive is worth where something is decided without opening it. Only the first two decide anything."""

    PROVEN = "proven"  # an accepted key states what it is, and an accepted key has seen its bytes in this store
    STATED = "stated"  # an accepted key states what it is
    UNSIGNED = "unsigned"  # no sidecar, one of version 1, or one without a signature
    STRANGER = "stranger"  # signed by a key that does not count for this host
    MISPLACED = "misplaced"  # signed for another name, host, workload or directory
    OVERWRITTEN = "overwritten"  # the object is not the one that was seen
    UNREADABLE = "unreadable"  # its sidecar is malformed, or the signature is not valid
    UNKNOWN = "unknown"  # signed by an accepted key, and of a version, kind or feature that this program does not know


@dataclass(frozen=True, kw_only=True, slots=True)
class Archive:
    """One archive in a store.

    key: in the store.
    host, service: whose it is, by its directory; of an unsigned one elsewhere, as its sidecar says.
    created: by its name. modified: when it appeared here, by the store's clock.
    size: in bytes; 0 if only its sidecar or records are left. etag: as listed. stated_size: as its head says.
    standing: what it is worth. why: for people, in which way it is not proven.
    signer: fingerprint of the key that signed its head; empty if the signature is not valid or there is none.
    series: the key of its series; None unless the signer counts for its host.
    id, sha256, after, basis, recipients, sealed_to, problems: as in its head; unsigned heads prove nothing.
    has_sidecar: True if it was committed with one. sidecar: the key of the sidecar that says the above.
    missing: True if only its sidecar or records are left.
    fault: why it is not complete; empty if it is.
    verified, damaged, accepted, suspect, rehearsed, drilled, drill_failed: when an accepted record last said so.
    drill_seconds: how long its service took to come back.
    locked_until: None if it is not locked.
    objects: all that belong to it, in the order in which they are deleted.
    """

    key: str
    host: str
    service: str
    created: dt.datetime
    modified: dt.datetime
    size: int
    etag: str = ""
    stated_size: int = 0
    standing: Standing = Standing.UNSIGNED
    why: str = ""
    signer: str = ""
    series: SignerKey | None = None
    id: str = ""
    sha256: str = ""
    after: dt.datetime | None = None
    basis: str = ""
    recipients: tuple[str, ...] = ()
    sealed_to: tuple[str, ...] = ()
    problems: int = 0
    has_sidecar: bool = False
    sidecar: str = ""
    missing: bool = False
    fault: str = ""
    verified: dt.datetime | None = None
    damaged: dt.datetime | None = None
    accepted: dt.datetime | None = None
    suspect: dt.datetime | None = None
    rehearsed: dt.datetime | None = None
    drilled: dt.datetime | None = None
    drill_failed: dt.datetime | None = None
    drill_seconds: float | None = None
    locked_until: dt.datetime | None = None
    objects: tuple[StoredObject, ...] = ()

    @property
    def name(self) -> str:
        """Return its file name."""
        return self.key.rpartition("/")[2]

    @property
    def complete(self) -> bool:
        """Return True if all of it is in the store, and nobody has found damage since it was last verified."""
        return not self.fault

    @property
    def group(self) -> Directory:
        """Return host and service."""
        return self.host, self.service

    @property
    def keys(self) -> tuple[str, ...]:
        """Return the keys of all its objects."""
        return tuple(item.key for item in self.objects)

    @property
    def is_proven(self) -> bool:
        """Return True if it is known what it is, and that its bytes are in this store."""
        return self.standing is Standing.PROVEN and not self.missing

    @property
    def is_stated(self) -> bool:
        """Return True if it is known what it is, whether or not its bytes have been seen in this store."""
        return self.standing in (Standing.PROVEN, Standing.STATED) and not self.missing
