"""Decrypting a stream."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

from drunner_vault.age.armor import detect_armor
from drunner_vault.age.header import Header, damaged_header, parse_header
from drunner_vault.age.keys import Identity
from drunner_vault.age.source import BufferedSource, ByteSource
from drunner_vault.age.stream import (
    NONCE_LENGTH,
    SEALED_CHUNK,
    TAG,
    ChunkCipher,
    Geometry,
    broken_end,
    cut_short,
    damaged_chunk,
    trailing_bytes,
)
from drunner_vault.age.unlock import unlock
from drunner_vault.errors import DamagedArchive


def read_header(source: ByteSource) -> Header:
    """Take the header from a binary or armored age file, without any key; nothing is authenticated.

    May take bytes beyond the header from `source`. Raises NotAnArchive, UnsupportedArchive, DamagedArchive.
    """
    return parse_header(detect_armor(source))


def read_nonce(source: BufferedSource) -> bytes:
    """Take the nonce that follows the header, 16 bytes."""
    nonce = source.read(NONCE_LENGTH)
    if len(nonce) < NONCE_LENGTH:
        raise damaged_header("the file ends before the nonce that follows it")
    return nonce


@dataclass(frozen=True)
class Outline:
    """What can be told of an age file without any key; nothing of it is authenticated. head: header and nonce as they
    stand in the file. size: of the plaintext, in bytes."""

    header: Header
    head: bytes
    size: int


def read_outline(start: bytes, size: int) -> Outline:
    """start: the file's first bytes, enough for header and nonce. size: of the whole file, in bytes.

    Raises NotAnArchive, UnsupportedArchive; DamagedArchive if no complete file has this size.
    """
    source = BufferedSource(io.BytesIO(start))
    header = parse_header(source)
    read_nonce(source)
    geometry = Geometry(source.position, size - source.position)
    geometry.check()
    return Outline(header, start[: source.position], geometry.size)


def chunk_cipher(head: bytes, identities: Sequence[Identity]) -> ChunkCipher:
    """Return what opens single chunks of a file, given a copy of its header and nonce, for files that are damaged.

    head: what EncryptWriter calls by that name. Raises as DecryptReader does for a header.
    """
    source = BufferedSource(io.BytesIO(head))
    file_key = unlock(parse_header(source), identities)
    return ChunkCipher(file_key, read_nonce(source))


class DecryptReader:
    """Decrypts a binary or armored age file from its start to its end.

    Every byte it returns is authentic and in its place. That the file is complete is known only at the end: whoever
    acts on the bytes before `read()` has returned b"" acts on a part.

    identities: tried in order. Raises NotAnArchive, UnsupportedArchive, DamagedArchive for the header; NoKey, WrongKey.
    Follows C2SP age.md.

    header: parsed, and authenticated. Offsets in errors count the bytes of the binary file, also when it is armored.
    """

    def __init__(self, source: ByteSource, identities: Sequence[Identity]) -> None:
        self._source = detect_armor(source)
        self.header = parse_header(self._source)
        file_key = unlock(self.header, identities)
        self._cipher = ChunkCipher(file_key, read_nonce(self._source))
        self._index = 0
        self._plain = b""  # of the chunk that is being handed out
        self._at = 0
        self._ended = False
        self._failure: DamagedArchive | None = None

    def read(self, size: int = -1) -> bytes:
        """Return the next `size` bytes, fewer only at the end or before damage; or, if negative, all that is left.

        b"" means the end of a complete file; 64 KiB is the fastest size. Raises DamagedArchive at the place of the
        damage, after everything before it has been returned, and again whenever it is called after that. Asked for
        all that is left, it never returns a part.
        """
        pieces: list[bytes] = []
        missing = size
        while missing and self._have_plain(may_fail=size < 0 or not pieces):
            piece = self._plain[self._at :] if missing < 0 else self._plain[self._at : self._at + missing]
            self._at += len(piece)
            missing -= len(piece) if missing > 0 else 0
            pieces.append(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)  # a whole chunk is not copied

    def _have_plain(self, *, may_fail: bool) -> bool:
        """See that there is plaintext to return; False at the end, and at damage unless it may fail."""
        if self._at < len(self._plain):
            return True
        if self._failure is None:
            try:
                self._plain, self._at = self._next_chunk(), 0
            except DamagedArchive as error:
                self._failure = error
        if self._failure is not None and may_fail:
            raise self._failure
        return self._at < len(self._plain)

    def _next_chunk(self) -> bytes:
        """Return the plaintext of the next chunk; b"" at the end."""
        offset = self._source.position
        if self._ended:
            if self._source.peek(1):
                raise trailing_bytes(offset)
            return b""
        sealed = self._source.read(SEALED_CHUNK)
        chunk = self._open(sealed, offset)
        # Only an empty file ends in an empty chunk; another spelling of the same content must not pass.
        if not chunk and self._index:
            raise damaged_chunk(self._index, offset, len(sealed))
        self._index += 1
        return chunk or self._next_chunk()

    def _open(self, sealed: bytes, offset: int) -> bytes:
        """Open the next sealed chunk; whether it is the final one shows only in trying."""
        if len(sealed) == SEALED_CHUNK:
            chunk = self._cipher.open(self._index, sealed, final=False)
            if chunk is not None:
                return chunk
        chunk = self._cipher.open(self._index, sealed, final=True)
        if chunk is None:
            raise _why_not(self._index, sealed, offset)
        self._ended = True
        return chunk


def _why_not(index: int, sealed: bytes, offset: int) -> DamagedArchive:
    if len(sealed) == SEALED_CHUNK:
        return damaged_chunk(index, offset, len(sealed))
    if len(sealed) <= TAG:
        return cut_short(index, offset + len(sealed))
    return broken_end(index, offset, len(sealed))
