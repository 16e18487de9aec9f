"""The cryptographic steps that several parts of age share. Nothing here knows a file."""

from __future__ import annotations

from collections.abc import Callable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

RandomBytes = Callable[[int], bytes]
"""Returns that many unpredictable bytes. `os.urandom` everywhere but in tests."""

FILE_KEY_LENGTH = 16
WRAPPED_KEY_LENGTH = FILE_KEY_LENGTH + 16

_ZERO_NONCE = bytes(12)


def hkdf(key: bytes, salt: bytes, info: bytes) -> bytes:
    """HKDF-SHA256 (RFC 5869), 32 bytes out."""
    return HKDF(SHA256(), 32, salt, info).derive(key)


def wrap_file_key(wrap_key: bytes, file_key: bytes) -> bytes:
    """Seal a file key. The nonce is zero: every wrap key is used once."""
    return ChaCha20Poly1305(wrap_key).encrypt(_ZERO_NONCE, file_key, None)


def unwrap_file_key(wrap_key: bytes, body: bytes) -> bytes | None:
    """Open a wrapped file key; None if it was wrapped with another key. The caller has checked the body's length."""
    try:
        return ChaCha20Poly1305(wrap_key).decrypt(_ZERO_NONCE, body, None)
    except InvalidTag:
        return None
