"""Decrypting any part of a file, where the storage can return any part of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from drunner_vault.age.armor import ARMOR_BEGIN
from drunner_vault.age.header import parse_header
from drunner_vault.age.keys import Identity
from drunner_vault.age.reader import read_nonce
from drunner_vault.age.source import BufferedSource
from drunner_vault.age.stream import CHUNK, SEALED_CHUNK, ChunkCipher, Geometry, damaged_chunk
from drunner_vault.age.unlock import unlock
from drunner_vault.errors import DamagedArchive, UnsupportedArchive

ReadAt = Callable[[int, int], bytes]
"""Called with an offset and a length in bytes; returns exactly those bytes of the encrypted file."""


class SeekableReader:
    """Decrypts ranges of a binary age file. What is outside the ranges asked for is neither fetched nor checked.

    Opening costs one read at the start and one at the end: the last chunk is authenticated first, since only it
    proves where the file ends (C2SP age.md, "Payload").

    read_at: see `ReadAt`. size: length of the encrypted file in bytes. Raises what DecryptReader raises, and
    UnsupportedArchive for an armored file.

    header: parsed, and authenticated. size: length of the plaintext in bytes. payload_offset: where the first sealed
    chunk begins in the encrypted file.
    """

    def __init__(self, read_at: ReadAt, size: int, identities: Sequence[Identity]) -> None:
        self._read_at = read_at
        start = BufferedSource(_FromStart(read_at, size))
        _refuse_armor(start)
        self.header = parse_header(start)
        file_key = unlock(self.header, identities)
        self._cipher = ChunkCipher(file_key, read_nonce(start))
        self.payload_offset = start.position
        self._geometry = Geometry(start.position, size - start.position)
        self._geometry.check()
        self.size = self._geometry.size
        last = self._geometry.chunks - 1
        self._last_chunk = self._open(last, self._fetch(last, last))

    def read_at(self, offset: int, length: int) -> bytes:
        """Return `length` bytes of plaintext from `offset`, fewer where the file ends, in one read of the storage.

        Holds the whole range in memory, about twice. Raises DamagedArchive, naming the chunk, if one is not authentic.
        """
        if offset < 0 or length < 0:
            raise ValueError("offset and length must not be negative")
        end = min(offset + length, self.size)
        if offset >= end:
            return b""
        first, last = offset // CHUNK, (end - 1) // CHUNK
        plain = b"".join(self._chunks(first, last))
        return plain[offset - first * CHUNK : end - first * CHUNK]

    def _chunks(self, first: int, last: int) -> list[bytes]:
        """The plaintext of chunks `first` through `last`. The file's last chunk is kept from the opening."""
        ends_here = last == self._geometry.chunks - 1
        kept = [self._last_chunk] if ends_here else []
        wanted = range(first, last if ends_here else last + 1)
        if not wanted:
            return kept
        sealed = memoryview(self._fetch(wanted[0], wanted[-1]))
        pieces = (sealed[place * SEALED_CHUNK : (place + 1) * SEALED_CHUNK] for place in range(len(wanted)))
        return [self._open(index, piece) for index, piece in zip(wanted, pieces, strict=True)] + kept

    def _fetch(self, first: int, last: int) -> bytes:
        begin, _ = self._geometry.span(first)
        last_begin, last_length = self._geometry.span(last)
        length = last_begin + last_length - begin
        data = self._read_at(begin, length)
        if len(data) != length:
            raise DamagedArchive(
                f"the file is cut short: {length:,} bytes from byte {begin:,} were asked for, {len(data):,} were there",
                "see that nothing else is writing to the file, then try again",
            )
        return data

    def _open(self, index: int, sealed: bytes | memoryview) -> bytes:
        chunk = self._cipher.open(index, sealed, final=index == self._geometry.chunks - 1)
        if chunk is None:
            raise damaged_chunk(index, *self._geometry.span(index))
        return chunk


class _FromStart:
    """Reads a file of known size from its start, for parsing the header."""

    def __init__(self, read_at: ReadAt, size: int) -> None:
        self._read_at = read_at
        self._size = size
        self._position = 0

    def read(self, size: int, /) -> bytes:
        length = min(size, self._size - self._position)
        data = self._read_at(self._position, length) if length else b""
        self._position += len(data)
        return data


def _refuse_armor(source: BufferedSource) -> None:
    if source.peek(len(ARMOR_BEGIN)) == ARMOR_BEGIN:
        raise UnsupportedArchive(
            "the file is an armored age file, which can only be read from start to end",
            "read it as a stream, or take the armor off first",
        )
