"""What a recipient and an identity are: the two small interfaces everything else in age is written against."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from drunner_vault.age.header import Stanza


class Recipient(Protocol):
    """Someone a file is encrypted for. Needs no secret, save a passphrase."""

    @property
    def labels(self) -> frozenset[str]:
        """What this recipient demands of the others: a file's recipients must all have equal labels.

        Classic keys have none; post-quantum keys share one, as a classic key beside them would void their promise;
        a passphrase has one that nothing else has, so it stays alone.
        """
        ...

    def wrap(self, file_key: bytes) -> Stanza:
        """Wrap a file key of 16 bytes. Every call uses fresh randomness."""
        ...


class Identity(Protocol):
    """Someone who can open a file. Its repr shows no secret."""

    def unwrap(self, stanzas: Sequence[Stanza]) -> bytes | None:
        """Return the file key, 16 bytes, or None if no stanza is for this identity.

        Stanzas of kinds it does not know are passed over. Raises DamagedArchive for a malformed stanza of its own
        kind, UnsupportedArchive for one that asks more than this program gives.
        """
        ...
