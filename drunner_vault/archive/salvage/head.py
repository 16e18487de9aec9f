"""The head of an encrypted archive: what opens its chunks, from the file itself or from its sidecar."""

from __future__ import annotations

import io
from collections.abc import Sequence

from drunner_vault.age import (
    ARMOR_BEGIN,
    MAGIC,
    ChunkCipher,
    Header,
    Identity,
    ReadAt,
    chunk_cipher,
    read_header,
)
from drunner_vault.archive.salvage.chunks import ChunkSearch, SealedStream
from drunner_vault.errors import (
    ArchiveError,
    DamagedArchive,
    NoKey,
    UnsupportedArchive,
    VaultError,
    WrongKey,
)

_NONCE = 16
_LONGEST = 1 << 20
_LOST = "its age header is lost or damaged, and without it nothing opens"
_HINT = "give its sidecar, which has a copy of the header: --sidecar FILE"


def is_encrypted(read_at: ReadAt, size: int, copy: bytes | None) -> bool:
    """Whether a file is an age file, as far as its start or its sidecar tell.

    copy: the header that the sidecar has, empty if it says that there was none; None without a sidecar. Raises
    UnsupportedArchive for an armored file.
    """
    start = read_at(0, min(size, len(ARMOR_BEGIN)))
    if start == ARMOR_BEGIN:
        raise UnsupportedArchive("an armored file cannot be salvaged as it is", "take the armor off first")
    return start.startswith(MAGIC) or bool(copy)


def open_chunks(
    read_at: ReadAt, size: int, identities: Sequence[Identity], copy: bytes, original: int | None, tries: int
) -> SealedStream:
    """The zstd stream in the chunks of an age file that still open.

    copy: header and nonce from the sidecar, if there is one. original: the file's size as it was written, if known.
    Raises NoKey, WrongKey, DamagedArchive if nothing opens.
    """
    found, failures = _ciphers(read_at, size, identities, copy)
    searches = [(cipher, ChunkSearch(read_at, size, cipher, start, original, tries)) for cipher, start in found]
    searches.sort(key=lambda item: not item[1].opens_any())
    for cipher, search in searches:
        if runs := search.runs():
            return SealedStream(read_at, cipher, runs)
    raise _why(failures, bool(copy))


def _ciphers(
    read_at: ReadAt, size: int, identities: Sequence[Identity], copy: bytes
) -> tuple[list[tuple[ChunkCipher, int]], list[VaultError]]:
    """What may open the chunks, each with where the first of them begins; and why others do not."""
    found: list[tuple[ChunkCipher, int]] = []
    failures: list[VaultError] = []
    own = read_at(0, min(size, _LONGEST))
    for head in filter(None, (own, copy)):
        try:
            header = read_header(io.BytesIO(head))
            start = len(header.to_bytes()) + _NONCE
            found.append((_cipher(head[:start], header, identities), start))
        except (ArchiveError, NoKey, WrongKey) as error:
            failures.append(error)
    return found, failures


def _cipher(head: bytes, header: Header, identities: Sequence[Identity]) -> ChunkCipher:
    try:
        return chunk_cipher(head, identities)
    except DamagedArchive:
        # The part that is for us may be whole although the header's authentication code says that some part is not.
        # If so, chunks open, which nobody can forge who does not have the key.
        for identity in identities:
            file_key = identity.unwrap(header.stanzas)
            if file_key is not None and len(head) >= _NONCE:
                return ChunkCipher(file_key, head[-_NONCE:])
        raise


def _why(failures: list[VaultError], had_copy: bool) -> VaultError:
    """The error for a file of which no chunk opens."""
    for error in failures:
        if isinstance(error, NoKey):
            return error
        if isinstance(error, WrongKey):
            hint = error.hint if had_copy else f"{error.hint}; if that is the right one, the header is damaged: {_HINT}"
            return WrongKey(error.message, hint)
    if failures:
        return DamagedArchive(f"nothing can be salvaged: {_LOST}", "use another copy of it" if had_copy else _HINT)
    return DamagedArchive(
        "nothing can be salvaged: no part of the file opens with its header",
        "use another copy of it" if had_copy else f"if the header is damaged, {_HINT}",
    )
