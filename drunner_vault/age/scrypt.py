"""Passphrases (C2SP age.md, "The scrypt recipient type")."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from drunner_vault.age import encoding
from drunner_vault.age.header import Stanza, damaged_header
from drunner_vault.age.primitives import WRAPPED_KEY_LENGTH, RandomBytes, unwrap_file_key, wrap_file_key
from drunner_vault.errors import BadKey, KeyProblem, UnsupportedArchive

KIND = "scrypt"
DEFAULT_WORK_FACTOR = 18
MAX_WORK_FACTOR = 20

_SALT_PREFIX = b"age-encryption.org/v1/scrypt"
_SALT_LENGTH = 16
_BLOCK_SIZE = 8
_DECIMAL = re.compile(r"[1-9][0-9]*")


class ScryptRecipient:
    """Encrypts with a passphrase; must be a file's only recipient.

    passphrase: any text that is not empty, used as its UTF-8 bytes. work_factor: log2 of scrypt's N, 1 to 20; each
    step doubles time and memory, 18 takes 256 MiB. Raises BadKey for an empty passphrase or another work factor.
    """

    def __init__(
        self, passphrase: str, work_factor: int = DEFAULT_WORK_FACTOR, random: RandomBytes = os.urandom
    ) -> None:
        if not 1 <= work_factor <= MAX_WORK_FACTOR:
            raise BadKey(f"a work factor of {work_factor} is out of range: it goes from 1 to {MAX_WORK_FACTOR}")
        self._passphrase = _passphrase_bytes(passphrase)
        self._work_factor = work_factor
        self._random = random
        self.labels = frozenset({f"scrypt {random(_SALT_LENGTH).hex()}"})

    def __repr__(self) -> str:
        return f"<ScryptRecipient, work factor {self._work_factor}>"

    def wrap(self, file_key: bytes) -> Stanza:
        salt = self._random(_SALT_LENGTH)
        wrap_key = _derive(self._passphrase, salt, self._work_factor)
        arguments = (encoding.encode(salt).decode(), str(self._work_factor))
        return Stanza(KIND, arguments, wrap_file_key(wrap_key, file_key))


class ScryptIdentity:
    """Decrypts with a passphrase.

    max_work_factor: the highest log2 of scrypt's N it will work for; a file that asks more is refused before any
    memory is taken. 20 takes 1 GiB. Raises BadKey for an empty passphrase.
    """

    def __init__(self, passphrase: str, max_work_factor: int = MAX_WORK_FACTOR) -> None:
        self._passphrase = _passphrase_bytes(passphrase)
        self._max_work_factor = max_work_factor

    def __repr__(self) -> str:
        return "<ScryptIdentity>"

    def unwrap(self, stanzas: Sequence[Stanza]) -> bytes | None:
        for stanza in stanzas:
            if stanza.kind == KIND and (file_key := self._unwrap(stanza)) is not None:
                return file_key
        return None

    def _unwrap(self, stanza: Stanza) -> bytes | None:
        salt, work_factor = _parameters_of(stanza)
        if work_factor > self._max_work_factor:
            raise UnsupportedArchive(
                f"the passphrase of this file has work factor {_described(work_factor)}; "
                f"at most {_described(self._max_work_factor)} is accepted",
                "decrypt the file with age on a host with enough memory",
            )
        return unwrap_file_key(_derive(self._passphrase, salt, work_factor), stanza.body)


def _passphrase_bytes(passphrase: str) -> bytes:
    if not passphrase:
        raise BadKey("the passphrase is empty", "choose a passphrase of several words")
    # Bytes of the environment that are not UTF-8 come as lone surrogates; age uses the bytes as they are.
    return passphrase.encode("utf-8", "surrogateescape")


def _parameters_of(stanza: Stanza) -> tuple[bytes, int]:
    """The salt and the work factor, after all that can be checked without a passphrase has been."""
    if len(stanza.arguments) != 2:
        raise damaged_header("a scrypt stanza must have two arguments")
    text, work_factor = stanza.arguments
    try:
        salt = encoding.decode(text.encode("ascii"))
    except ValueError as error:
        raise damaged_header(f"the salt of a scrypt stanza is {error}") from error
    if not _DECIMAL.fullmatch(work_factor):
        raise damaged_header("the work factor of a scrypt stanza is not a plain decimal number")
    # A longer body could hold a key that opens under several passphrases, and so tell which one was tried.
    if len(salt) != _SALT_LENGTH or len(stanza.body) != WRAPPED_KEY_LENGTH:
        raise damaged_header("a scrypt stanza has the wrong length")
    # Whatever has more than three digits is out of any range; Python refuses to read numbers of thousands of digits.
    return salt, int(work_factor[:4])


def _derive(passphrase: bytes, salt: bytes, work_factor: int) -> bytes:
    try:
        return Scrypt(_SALT_PREFIX + salt, 32, 1 << work_factor, _BLOCK_SIZE, 1).derive(passphrase)
    except MemoryError as error:
        raise KeyProblem(
            f"there is not enough memory for a passphrase of work factor {_described(work_factor)}",
            "use a host with more memory, or a key file in place of the passphrase",
        ) from error


def _described(work_factor: int) -> str:
    """The work factor with the memory scrypt takes for it, 128 · N · r bytes."""
    if work_factor > 30:
        return "over 30 (more than 1 TiB)"
    size = 128 * _BLOCK_SIZE << work_factor
    for unit, length in (("GiB", 1 << 30), ("MiB", 1 << 20)):
        if size >= length:
            return f"{work_factor} ({size // length} {unit})"
    return f"{work_factor} ({size // 1024} KiB)"
