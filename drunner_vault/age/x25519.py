"""X25519 recipients and identities, the usual age keys (C2SP age.md, "The X25519 recipient type")."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from drunner_vault.age import bech32, encoding
from drunner_vault.age.header import Stanza, damaged_header
from drunner_vault.age.primitives import WRAPPED_KEY_LENGTH, RandomBytes, hkdf, unwrap_file_key, wrap_file_key
from drunner_vault.errors import BadKey

KIND = "X25519"
RECIPIENT_PREFIX = "age"
IDENTITY_PREFIX = "AGE-SECRET-KEY-"

_INFO = b"age-encryption.org/v1/X25519"
_KEY_LENGTH = 32


@dataclass(frozen=True, slots=True)
class X25519Recipient:
    """A public key of 32 bytes. `str()` gives its `age1…` form."""

    public: bytes
    random: RandomBytes = field(default=os.urandom, repr=False, compare=False)

    def __post_init__(self) -> None:
        if len(self.public) != _KEY_LENGTH:
            raise BadKey(f"an age recipient holds {_KEY_LENGTH} bytes, and this one {len(self.public)}")

    def __str__(self) -> str:
        return bech32.encode(RECIPIENT_PREFIX, self.public)

    @property
    def labels(self) -> frozenset[str]:
        return frozenset()

    def wrap(self, file_key: bytes) -> Stanza:
        ephemeral = X25519PrivateKey.from_private_bytes(self.random(_KEY_LENGTH))
        share = ephemeral.public_key().public_bytes_raw()
        try:
            secret = ephemeral.exchange(X25519PublicKey.from_public_bytes(self.public))
        except ValueError as error:
            # The shared secret is zero: anyone could open the file.
            raise BadKey("the age recipient is a point of low order, which is no real public key") from error
        wrap_key = hkdf(secret, share + self.public, _INFO)
        return Stanza(KIND, (encoding.encode(share).decode(),), wrap_file_key(wrap_key, file_key))


@dataclass(frozen=True, slots=True, repr=False)
class X25519Identity:
    """A secret key of 32 bytes. `str()` gives its `AGE-SECRET-KEY-1…` form; `repr()` only the public half."""

    secret: bytes

    def __post_init__(self) -> None:
        if len(self.secret) != _KEY_LENGTH:
            raise BadKey(f"an age identity holds {_KEY_LENGTH} bytes, and this one {len(self.secret)}")

    @classmethod
    def generate(cls, random: RandomBytes = os.urandom) -> X25519Identity:
        """Make a new identity."""
        return cls(random(_KEY_LENGTH))

    def recipient(self) -> X25519Recipient:
        """Return the public half."""
        return X25519Recipient(self._key().public_key().public_bytes_raw())

    def __str__(self) -> str:
        return bech32.encode(IDENTITY_PREFIX, self.secret)

    def __repr__(self) -> str:
        return f"<X25519Identity of {self.recipient()}>"

    def unwrap(self, stanzas: Sequence[Stanza]) -> bytes | None:
        for stanza in stanzas:
            if stanza.kind == KIND and (file_key := self._unwrap(stanza)) is not None:
                return file_key
        return None

    def _unwrap(self, stanza: Stanza) -> bytes | None:
        share = _share_of(stanza)
        try:
            secret = self._key().exchange(X25519PublicKey.from_public_bytes(share))
        except ValueError as error:
            raise damaged_header("the share of an X25519 stanza is a point of low order") from error
        return unwrap_file_key(hkdf(secret, share + self.recipient().public, _INFO), stanza.body)

    def _key(self) -> X25519PrivateKey:
        return X25519PrivateKey.from_private_bytes(self.secret)


def _share_of(stanza: Stanza) -> bytes:
    """The ephemeral share, after all that can be checked without a key has been."""
    if len(stanza.arguments) != 1:
        raise damaged_header("an X25519 stanza must have one argument")
    try:
        share = encoding.decode(stanza.arguments[0].encode("ascii"))
    except ValueError as error:
        raise damaged_header(f"the share of an X25519 stanza is {error}") from error
    # A longer body could hold a key that opens under several secrets, and so tell which one we hold.
    if len(share) != _KEY_LENGTH or len(stanza.body) != WRAPPED_KEY_LENGTH:
        raise damaged_header("an X25519 stanza has the wrong length")
    return share
