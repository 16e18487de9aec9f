"""Post-quantum recipients and identities (C2SP age.md, "The MLKEM768-X25519 hybrid post-quantum recipient type").

HPKE (RFC 9180) in base mode with ML-KEM-768 and X25519 together: whoever wants the file key has to break both.
age from 1.3 and the npm package age-encryption read it; age 1.1 and 1.2, rage and pyrage do not.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from drunner_vault.age import bech32, encoding
from drunner_vault.age.header import Stanza, damaged_header
from drunner_vault.age.primitives import WRAPPED_KEY_LENGTH, RandomBytes
from drunner_vault.errors import BadKey, KeyProblem

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
    from cryptography.hazmat.primitives.hpke import MLKEM768X25519PrivateKey, MLKEM768X25519PublicKey, Suite

KIND = "mlkem768x25519"
RECIPIENT_PREFIX = "age1pq"
IDENTITY_PREFIX = "AGE-SECRET-KEY-PQ-"

_INFO = b"age-encryption.org/mlkem768x25519"
_SEED_LENGTH = 32
_MLKEM_SEED_LENGTH = 64
_MLKEM_PUBLIC_LENGTH = 1184
_MLKEM_SHARE_LENGTH = 1088
_X25519_LENGTH = 32
_PUBLIC_LENGTH = _MLKEM_PUBLIC_LENGTH + _X25519_LENGTH
_SHARE_LENGTH = _MLKEM_SHARE_LENGTH + _X25519_LENGTH


@dataclass(frozen=True, slots=True)
class HybridRecipient:
    """A public key of 1,216 bytes: ML-KEM-768's 1,184 and X25519's 32. `str()` gives its `age1pq1…` form.

    Raises BadKey for a key that is none, and KeyProblem where `cryptography` was built without ML-KEM.
    """

    public: bytes

    def __post_init__(self) -> None:
        if len(self.public) != _PUBLIC_LENGTH:
            raise BadKey(f"a post-quantum recipient holds {_PUBLIC_LENGTH:,} bytes, and this one {len(self.public):,}")
        self._key()

    def __str__(self) -> str:
        return bech32.encode(RECIPIENT_PREFIX, self.public)

    @property
    def labels(self) -> frozenset[str]:
        return frozenset({"postquantum"})

    def wrap(self, file_key: bytes) -> Stanza:
        # The randomness is that of OpenSSL: the library offers no other.
        try:
            sealed = _suite().encrypt(file_key, self._key(), _INFO)
        except ValueError as error:
            raise BadKey(
                "the post-quantum recipient holds a point of low order, which is no real public key"
            ) from error
        share, body = sealed[:_SHARE_LENGTH], sealed[_SHARE_LENGTH:]
        return Stanza(KIND, (encoding.encode(share).decode(),), body)

    def _key(self) -> MLKEM768X25519PublicKey:
        _suite()
        from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PublicKey
        from cryptography.hazmat.primitives.hpke import MLKEM768X25519PublicKey

        try:
            mlkem = MLKEM768PublicKey.from_public_bytes(self.public[:_MLKEM_PUBLIC_LENGTH])
        except ValueError as error:
            raise BadKey("the post-quantum recipient is not a valid ML-KEM-768 key") from error
        return MLKEM768X25519PublicKey(mlkem, X25519PublicKey.from_public_bytes(self.public[_MLKEM_PUBLIC_LENGTH:]))


@dataclass(frozen=True, slots=True, repr=False)
class HybridIdentity:
    """A seed of 32 bytes. `str()` gives its `AGE-SECRET-KEY-PQ-1…` form; `repr()` shows nothing of it."""

    seed: bytes

    def __post_init__(self) -> None:
        if len(self.seed) != _SEED_LENGTH:
            raise BadKey(f"a post-quantum identity holds {_SEED_LENGTH} bytes, and this one {len(self.seed)}")

    @classmethod
    def generate(cls, random: RandomBytes = os.urandom) -> HybridIdentity:
        """Make a new identity."""
        return cls(random(_SEED_LENGTH))

    def recipient(self) -> HybridRecipient:
        """Return the public half. Raises KeyProblem where `cryptography` was built without ML-KEM."""
        mlkem, scalar = self._halves()
        return HybridRecipient(mlkem.public_key().public_bytes_raw() + scalar.public_key().public_bytes_raw())

    def __str__(self) -> str:
        return bech32.encode(IDENTITY_PREFIX, self.seed)

    def __repr__(self) -> str:
        return "<HybridIdentity>"

    def unwrap(self, stanzas: Sequence[Stanza]) -> bytes | None:
        for stanza in stanzas:
            if stanza.kind == KIND and (file_key := self._unwrap(stanza)) is not None:
                return file_key
        return None

    def _unwrap(self, stanza: Stanza) -> bytes | None:
        share = _share_of(stanza)
        _refuse_low_order(share[_MLKEM_SHARE_LENGTH:])
        try:
            # ML-KEM gives a wrong secret for a wrong key, never an error, so all failures show here.
            return _suite().decrypt(share + stanza.body, self._key(), _INFO)
        except InvalidTag:
            return None

    def _key(self) -> MLKEM768X25519PrivateKey:
        mlkem, scalar = self._halves()
        from cryptography.hazmat.primitives.hpke import MLKEM768X25519PrivateKey

        return MLKEM768X25519PrivateKey(mlkem, scalar)

    def _halves(self) -> tuple[MLKEM768PrivateKey, X25519PrivateKey]:
        """Expand the seed as filippo.io/hpke-pq says: SHAKE256 to ML-KEM's 64-byte seed and X25519's scalar."""
        _suite()
        from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey

        expanded = hashlib.shake_256(self.seed).digest(_MLKEM_SEED_LENGTH + _X25519_LENGTH)
        mlkem = MLKEM768PrivateKey.from_seed_bytes(expanded[:_MLKEM_SEED_LENGTH])
        return mlkem, X25519PrivateKey.from_private_bytes(expanded[_MLKEM_SEED_LENGTH:])


@cache
def _suite() -> Suite:
    """The HPKE suite of age. Raises KeyProblem, always before anything else is done, where it cannot be had."""
    try:
        from cryptography.hazmat.primitives import hpke
        from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey

        MLKEM768PrivateKey.from_seed_bytes(bytes(_MLKEM_SEED_LENGTH))
        return hpke.Suite(hpke.KEM.MLKEM768_X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.CHACHA20_POLY1305)
    except (ImportError, AttributeError, UnsupportedAlgorithm) as error:
        raise KeyProblem(
            "post-quantum keys need ML-KEM and HPKE, which the Python package cryptography on this host lacks",
            "pip install --upgrade cryptography, or use keys that begin with age1 but not with age1pq1",
        ) from error


def _share_of(stanza: Stanza) -> bytes:
    """HPKE's encapsulated key, after all that can be checked without a key has been."""
    if len(stanza.arguments) != 1:
        raise damaged_header("a mlkem768x25519 stanza must have one argument")
    try:
        share = encoding.decode(stanza.arguments[0].encode("ascii"))
    except ValueError as error:
        raise damaged_header(f"the share of a mlkem768x25519 stanza is {error}") from error
    # A longer body could hold a key that opens under several secrets, and so tell which one we hold.
    if len(share) != _SHARE_LENGTH or len(stanza.body) != WRAPPED_KEY_LENGTH:
        raise damaged_header("a mlkem768x25519 stanza has the wrong length")
    return share


def _refuse_low_order(point: bytes) -> None:
    """X25519 must not contribute a zero secret. Any scalar shows a point of low order, so none of ours is used."""
    try:
        X25519PrivateKey.from_private_bytes(bytes(_X25519_LENGTH)).exchange(X25519PublicKey.from_public_bytes(point))
    except ValueError as error:
        raise damaged_header("the share of a mlkem768x25519 stanza holds a point of low order") from error
