"""The payload: chunks of 64 KiB, each sealed on its own, so that a file can be streamed and seeked.

Follows C2SP age.md, section "Payload" (the STREAM construction). Knows no header and no recipient.
"""

from __future__ import annotations

from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from drunner_vault.age.header import ANOTHER_COPY
from drunner_vault.age.primitives import hkdf
from drunner_vault.errors import DamagedArchive

CHUNK = 64 * 1024
TAG = 16
SEALED_CHUNK = CHUNK + TAG
NONCE_LENGTH = 16


class ChunkCipher:
    """Seals and opens the chunks of one file. Chunks are counted from 0."""

    def __init__(self, file_key: bytes, nonce: bytes) -> None:
        self._aead = ChaCha20Poly1305(hkdf(file_key, nonce, b"payload"))

    def seal(self, index: int, chunk: bytes | bytearray | memoryview, *, final: bool) -> bytes:
        """Return `chunk` encrypted, 16 bytes longer. An index must never be sealed twice with different bytes."""
        return self._aead.encrypt(_nonce(index, final=final), chunk, None)

    def open(self, index: int, sealed: bytes | memoryview, *, final: bool) -> bytes | None:
        """Return the plaintext of a chunk, or None if it is not the authentic chunk at this place."""
        try:
            return self._aead.decrypt(_nonce(index, final=final), sealed, None)
        except InvalidTag:
            return None


def _nonce(index: int, *, final: bool) -> bytes:
    return index.to_bytes(11, "big") + (b"\x01" if final else b"\x00")


@dataclass(frozen=True, slots=True)
class Geometry:
    """Where the chunks of a complete file lie.

    start: the offset of the first sealed chunk in the file, in bytes. sealed_size: from there to the end of the file.
    """

    start: int
    sealed_size: int

    @property
    def chunks(self) -> int:
        return -(-self.sealed_size // SEALED_CHUNK)

    @property
    def size(self) -> int:
        """How many bytes of plaintext the file holds."""
        return self.sealed_size - TAG * self.chunks

    def span(self, index: int) -> tuple[int, int]:
        """The offset in the file and the length of a sealed chunk, in bytes."""
        begin = index * SEALED_CHUNK
        return self.start + begin, min(SEALED_CHUNK, self.sealed_size - begin)

    def check(self) -> None:
        """Raise DamagedArchive if no complete file has this size."""
        last = self.sealed_size - (self.chunks - 1) * SEALED_CHUNK
        # Only an empty file ends in an empty chunk.
        if self.sealed_size < TAG or (self.chunks > 1 and last <= TAG):
            raise cut_short(max(self.chunks - 1, 0), self.start + self.sealed_size)


def cut_short(index: int, end: int) -> DamagedArchive:
    """The error for a file that ends, at byte `end`, before chunk `index` is complete."""
    return DamagedArchive(f"the file is cut short: it ends at byte {end:,}, inside chunk {index:,}", ANOTHER_COPY)


def broken_end(index: int, offset: int, length: int) -> DamagedArchive:
    """The error for a short last chunk that does not authenticate: damage and a cut look the same there."""
    return DamagedArchive(
        f"the file is cut short or damaged in its last chunk, {index:,}, bytes {_range(offset, length)} of the file",
        ANOTHER_COPY,
    )


def damaged_chunk(index: int, offset: int, length: int) -> DamagedArchive:
    """The error for a sealed chunk that does not authenticate; `offset` counts from the start of the file."""
    return DamagedArchive(
        f"the file is damaged: chunk {index:,}, bytes {_range(offset, length)} of the file, is not what was written",
        ANOTHER_COPY,
    )


def trailing_bytes(offset: int) -> DamagedArchive:
    """The error for a file that goes on after its final chunk, from byte `offset`."""
    return DamagedArchive(f"the file is damaged: bytes follow its end, from byte {offset:,}", ANOTHER_COPY)


def _range(offset: int, length: int) -> str:
    return f"{offset:,} to {offset + length - 1:,}"
