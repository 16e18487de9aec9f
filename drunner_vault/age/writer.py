"""Encrypting a stream."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Protocol

from drunner_vault.age.keys import Recipient
from drunner_vault.age.primitives import FILE_KEY_LENGTH, RandomBytes
from drunner_vault.age.stream import CHUNK, NONCE_LENGTH, ChunkCipher
from drunner_vault.age.unlock import lock
from drunner_vault.errors import StorageError


class ByteSink(Protocol):
    """Where ciphertext goes. Takes all it is given, as buffered files do, or raises."""

    def write(self, data: bytes, /) -> object: ...


class EncryptWriter:
    """Encrypts what is written to it, and passes ciphertext on to `sink`.

    The header is written at once. A file is complete only after `close()`; one that was never closed is recognised
    as cut short by every reader, so after an error just drop the writer. An error of the sink also ends the writer:
    going on could seal two chunks under one nonce.

    sink: is not closed. recipients: at least one; all of one sort, a passphrase alone. random: for the file key and
    the payload's nonce. Raises NoKey, BadKey. Follows C2SP age.md.

    head: the header and the nonce as they were written. bytes_written: how much ciphertext `sink` has been given.
    """

    def __init__(self, sink: ByteSink, recipients: Sequence[Recipient], random: RandomBytes = os.urandom) -> None:
        file_key, nonce = random(FILE_KEY_LENGTH), random(NONCE_LENGTH)
        self.head = lock(file_key, recipients).to_bytes() + nonce
        self.bytes_written = 0
        self._sink = sink
        self._cipher = ChunkCipher(file_key, nonce)
        self._index = 0
        self._usable = True
        # Holds the last 1 to 65,536 bytes back, as the last chunk is sealed differently and only close() shows it.
        self._held = bytearray()
        self._pass_on(self.head)

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Encrypt `data`; return its length in bytes. Large writes are sealed in place, without copying them first."""
        view = memoryview(data).cast("B")
        rest = self._fill(view)
        sealed = 0
        while len(rest) - sealed > CHUNK:
            self._seal(rest[sealed : sealed + CHUNK], final=False)
            sealed += CHUNK
        self._held += rest[sealed:]
        return len(view)

    def close(self) -> None:
        """Seal the final chunk. Closing again does nothing; the sink stays open."""
        if self._usable:
            self._seal(self._held, final=True)
            self._held.clear()
            self._usable = False

    def _fill(self, view: memoryview) -> memoryview:
        """Top up what is held, seal it if more follows, and return what is left of `view`."""
        if not self._usable:
            raise ValueError("write to a closed or failed EncryptWriter")
        if not self._held:
            return view
        space = CHUNK - len(self._held)
        self._held += view[:space]
        rest = view[space:]
        if rest:
            self._seal(self._held, final=False)
            self._held.clear()
        return rest

    def _seal(self, chunk: bytearray | memoryview, *, final: bool) -> None:
        self._pass_on(self._cipher.seal(self._index, chunk, final=final))
        self._index += 1

    def _pass_on(self, data: bytes) -> None:
        self._usable = False
        taken = self._sink.write(data)
        if isinstance(taken, int) and taken != len(data):
            raise StorageError(f"only {taken:,} of {len(data):,} bytes were taken where the encrypted file is written")
        self._usable = True
        self.bytes_written += len(data)
