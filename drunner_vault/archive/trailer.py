"""What follows the tar: padding, the locator and the seek table, all zstd skippable frames.

Padding hides the exact size (Padmé, at most 12 % and seldom above 3 %). The locator, 64 bytes right
before the seek table, says where the index root is. The seek table is in zstd's published seekable format 0.1.0, so
that any reader of it can start at any frame.
"""

from __future__ import annotations

import hashlib
import struct
from array import array
from collections.abc import Iterator
from dataclasses import dataclass

from drunner_vault.errors import DamagedArchive

PADDING_MAGIC = 0x184D2A5C
LOCATOR_MAGIC = 0x184D2A5D
SEEK_TABLE_MAGIC = 0x184D2A5E
SEEKABLE_FOOTER_MAGIC = 0x8F92EAB1
LOCATOR_SIZE = 64
_LOCATOR_TAG = b"DRVAULT1"
_LOCATOR = struct.Struct("<8sQIIII16sQ")
_FLAGS = 0  # none are defined
_HEADER = struct.Struct("<II")
_FOOTER = struct.Struct("<IBI")
_MAX_PAYLOAD = (1 << 32) - 9  # the seek table counts a frame's header too, in 32 bits
_MAX_SEEKABLE_FRAMES = 1 << 27
_ZEROS = bytes(1 << 20)


@dataclass(frozen=True, slots=True)
class Locator:
    """Where the closing is: the frames at the end of the tar that hold index/root.json, its signature and the end
    marker.

    offset: of the first of these frames in the zstd stream. compressed, content: bytes of all of them, packed and not.
    number: of the first of them. digest: the first 16 bytes of the SHA-256 of the packed bytes. members: where in the
    zstd stream the shards of members begin, which end where the closing begins; so one read gets all of both.
    """

    offset: int
    compressed: int
    content: int
    number: int
    digest: bytes
    members: int

    def encode(self) -> bytes:
        """The whole skippable frame, 64 bytes, little endian."""
        numbers = (self.offset, self.compressed, self.content, self.number, _FLAGS)
        payload = _LOCATOR.pack(_LOCATOR_TAG, *numbers, self.digest, self.members)
        return _HEADER.pack(LOCATOR_MAGIC, len(payload)) + payload


def parse_locator(frame: bytes) -> Locator:
    """The locator that a skippable frame of 64 bytes holds. Raises DamagedArchive if it is none."""
    magic, size = _HEADER.unpack_from(frame)
    if magic != LOCATOR_MAGIC or size != _LOCATOR.size or len(frame) != LOCATOR_SIZE:
        raise _untrue("has no locator where one must be")
    tag, offset, compressed, content, number, flags, digest, members = _LOCATOR.unpack_from(frame, _HEADER.size)
    if tag != _LOCATOR_TAG or flags != _FLAGS or members > offset:
        raise _untrue("has a locator of an unknown kind")
    return Locator(offset, compressed, content, number, digest, members)


class ClosingDigest:
    """The digest of the closing, made while its packed frames go by."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def update(self, packed: bytes) -> None:
        """The next packed frame of the closing."""
        self._hash.update(packed)

    def digest(self) -> bytes:
        """As the locator has it, 16 bytes."""
        return self._hash.digest()[:16]


def padme(size: int) -> int:
    """The smallest size ≥ `size` that reveals only its order of magnitude (Padmé, PETS 2019)."""
    if size < 2:
        return size
    exponent = size.bit_length() - 1
    mask = (1 << (exponent - exponent.bit_length())) - 1
    return (size + mask) & ~mask


def is_padded_size(size: int) -> bool:
    """Whether a padded archive can be of this size, before encryption: of all sizes, few are."""
    return padme(size) == size


def padding_sizes(before: int, frames: int) -> list[int]:
    """Payload sizes of the padding frames for a stream of `before` bytes in `frames` frames so far.

    Counts the locator and the seek table that are still to come, and the padding frames themselves.
    """
    fixed = before + LOCATOR_SIZE + seek_table_size(frames + 2)
    target = padme(fixed + _HEADER.size)
    room = target - fixed - _HEADER.size
    if room <= _MAX_PAYLOAD:
        return [room]
    count = room // _MAX_PAYLOAD + 1
    room -= (count - 1) * (_HEADER.size + 8)
    return [room // count + (1 if i < room % count else 0) for i in range(count)]


def padding_frame(payload: int) -> Iterator[bytes]:
    """A skippable frame of `payload` zero bytes, in pieces."""
    yield _HEADER.pack(PADDING_MAGIC, payload)
    for at in range(0, payload, len(_ZEROS)):
        yield _ZEROS[: payload - at]


def seek_table_size(frames: int) -> int:
    """Bytes of a seek table with `frames` entries, its skippable header included."""
    return _HEADER.size + 8 * frames + _FOOTER.size


def seek_table(sizes: array[int]) -> bytes:
    """The seek table frame. sizes: compressed and content size of every earlier frame, in turn; skippables have 0."""
    entries = struct.pack(f"<{len(sizes)}I", *sizes)
    footer = _FOOTER.pack(len(sizes) // 2, 0, SEEKABLE_FOOTER_MAGIC)
    return _HEADER.pack(SEEK_TABLE_MAGIC, len(entries) + len(footer)) + entries + footer


def parse_seek_table(frame: bytes) -> array[int]:
    """Compressed and content size of every frame before the table, in turn. Raises DamagedArchive if it is none.

    frame: the whole skippable frame. Tables with checksums are read too.
    """
    count, entry = seek_table_shape(frame[-_FOOTER.size :])
    magic, size = _HEADER.unpack_from(frame)
    if magic != SEEK_TABLE_MAGIC or size != len(frame) - _HEADER.size or size != count * entry + _FOOTER.size:
        raise _untrue("has a seek table whose sizes do not agree")
    words = array("I", struct.unpack_from(f"<{count * entry // 4}I", frame, _HEADER.size))
    return words if entry == 8 else array("I", (word for at, word in enumerate(words) if at % 3 != 2))


def seek_table_shape(footer: bytes) -> tuple[int, int]:
    """From the last 9 bytes of a stream: how many entries its seek table has, and bytes of each.

    Raises DamagedArchive if the stream does not end in a seek table.
    """
    count, descriptor, magic = _FOOTER.unpack(footer)
    if magic != SEEKABLE_FOOTER_MAGIC:
        raise _untrue("does not end in a seek table: it is cut short, or its end is damaged")
    if descriptor & 0x7C or count > _MAX_SEEKABLE_FRAMES:
        raise _untrue("has a seek table that claims the impossible")
    return count, 12 if descriptor & 0x80 else 8


FOOTER_SIZE = _FOOTER.size


class TrailerCheck:
    """Holds the skippable frames of an archive against what was read before them."""

    def __init__(self, sizes: array[int], expected: Locator) -> None:
        self._sizes = sizes
        self._expected = expected
        self._stage = PADDING_MAGIC

    def accept(self, magic: int, size: int, payload: Iterator[bytes]) -> None:
        """Take the next skippable frame, whose payload is `size` bytes. Raises DamagedArchive if anything is untrue."""
        if magic < self._stage or magic not in (PADDING_MAGIC, LOCATOR_MAGIC, SEEK_TABLE_MAGIC):
            raise _untrue("has a skippable frame out of place")
        if magic > self._stage + 1:
            raise _untrue("lacks its locator")
        if size > _MAX_PAYLOAD:
            raise _untrue("has a skippable frame too large for its seek table")
        if magic == PADDING_MAGIC:
            self._padding(payload)
        elif magic == LOCATOR_MAGIC:
            self._compare(self._expected.encode(), size, payload, "a locator that does not point at its closing")
        else:
            self._compare(seek_table(self._sizes), size, payload, "a seek table that does not match its frames")
        self._stage = magic if magic == PADDING_MAGIC else magic + 1
        self._sizes.extend((_HEADER.size + size, 0))

    def finish(self) -> None:
        """The stream has ended. Raises DamagedArchive unless the seek table was its last frame."""
        if self._stage <= SEEK_TABLE_MAGIC:
            raise _untrue("is cut short: it lacks its seek table")

    def _padding(self, payload: Iterator[bytes]) -> None:
        for piece in payload:
            if piece.count(0) != len(piece):
                raise _untrue("has padding that is not zero")

    def _compare(self, expected: bytes, size: int, payload: Iterator[bytes], otherwise: str) -> None:
        if size != len(expected) - _HEADER.size or b"".join(payload) != expected[_HEADER.size :]:
            raise _untrue(f"has {otherwise}")


def _untrue(what: str) -> DamagedArchive:
    return DamagedArchive(f"the archive {what}", "use another copy of the archive")
