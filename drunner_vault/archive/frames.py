"""Independent zstd frames: made on all cores and written in order; read by walking their headers.

Every frame states its content size and carries a checksum; none needs a dictionary or a window above 8 MiB. So
frames can be decoded apart from each other, and a reader can know what a frame will cost before it decodes it.
Source: RFC 8878.
"""

from __future__ import annotations

import os
import struct
import threading
from array import array
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import zstandard

from drunner_vault.archive.digests import digest_of
from drunner_vault.archive.layout import MAX_FRAME_CONTENT
from drunner_vault.errors import DamagedArchive, NotAnArchive

FRAME_MAGIC = b"\x28\xb5\x2f\xfd"
SKIPPABLE_MAGICS = range(0x184D2A50, 0x184D2A60)
_PIECE = 64 << 10  # what age opens at once, and so gives without copying


class Sink(Protocol):
    """Where bytes go."""

    def write(self, data: bytes, /) -> object:
        """Take all of `data`."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A data frame of an archive: `number` from 0, its zstd `offset`, sizes in bytes, and BLAKE3 digests.

    digest: of the content. packed: of the frame's own bytes, so that even a change which decodes alike is seen.
    """

    number: int
    offset: int
    compressed: int
    content: int
    digest: str
    packed: str


def default_threads() -> int:
    """As many as there are processors this process may use."""
    return len(os.sched_getaffinity(0))


class FrameWriter:
    """Collects bytes into frames, compresses them on a pool of threads, and writes them to a sink in order.

    At most three frames a thread are under way at once, which bounds memory. `on_frame` is called in order,
    with what the index says of a frame, and its packed bytes.
    """

    def __init__(self, sink: Sink, level: int, threads: int, on_frame: Callable[[Frame, bytes], None]) -> None:
        self._sink = sink
        self._level = level
        self._on_frame = on_frame
        self._pool = ThreadPoolExecutor(threads, "zstd")
        self._pending: deque[tuple[int, Future[tuple[bytes, str, str]]]] = deque()
        self._depth = 3 * threads
        self._local = threading.local()
        self._parts: list[bytes] = []
        self.collected = 0
        self.next_number = 0
        self.content_offset = 0
        self.offset = 0
        self.sizes = array("I")

    def append(self, data: bytes) -> None:
        """Add to the frame that is being collected."""
        if data:
            self._parts.append(data)
            self.collected += len(data)
            self.content_offset += len(data)

    def cut(self) -> None:
        """End the frame that is being collected, if it holds anything."""
        if not self._parts:
            return
        if self.collected > MAX_FRAME_CONTENT:
            raise ValueError(f"internal error: a frame of {self.collected} bytes")
        if len(self._parts) == 1:
            content, digest = self._parts[0], ""
        else:
            # made here, since a thread that needs the interpreter's lock once more for it waits longer for that, where
            # members are small, than this takes
            content = b"".join(self._parts)
            digest = digest_of(content)
        self._parts = []
        self.collected = 0
        self._pending.append((len(content), self._pool.submit(self._pack, content, digest)))
        self.next_number += 1
        while len(self._pending) > self._depth:
            self._write_oldest()

    def flush(self) -> None:
        """End the current frame and write all that is under way."""
        self.cut()
        while self._pending:
            self._write_oldest()

    def skippable(self, frame: Iterable[bytes], size: int) -> None:
        """Write a skippable frame of `size` bytes, header included, after all that came before."""
        self.flush()
        for piece in frame:
            self._sink.write(piece)
        self._count(size, 0)
        self.next_number += 1

    def close(self) -> None:
        """End the threads. Frames not yet written are dropped."""
        for _, future in self._pending:
            future.cancel()
        self._pending.clear()
        self._pool.shutdown(wait=True)

    def _pack(self, content: bytes, digest: str) -> tuple[bytes, str, str]:
        """A frame, the digest of its content, which may have been made, and its own."""
        compressor = getattr(self._local, "compressor", None)
        if compressor is None:
            compressor = zstandard.ZstdCompressor(level=self._level, write_checksum=True, write_content_size=True)
            self._local.compressor = compressor
        frame = compressor.compress(content)
        return frame, digest or digest_of(content), digest_of(frame)

    def _write_oldest(self) -> None:
        content_size, future = self._pending.popleft()
        frame, digest, packed = future.result()
        self._sink.write(frame)
        self._on_frame(Frame(len(self.sizes) // 2, self.offset, len(frame), content_size, digest, packed), frame)
        self._count(len(frame), content_size)

    def _count(self, compressed: int, content: int) -> None:
        self.sizes.extend((compressed, content))
        self.offset += compressed


class ByteReader:
    """Exact reads, with a pushed-back remainder, over a source of pieces of any size. Counts its position."""

    def __init__(self, source: Callable[[int], bytes]) -> None:
        self._source = source
        self._held = memoryview(b"")
        self.position = 0

    def exactly(self, size: int, what: str) -> bytes:
        """The next `size` bytes. Raises DamagedArchive, naming `what`, if the source ends first."""
        return b"".join(self.pieces(size, what))

    def pieces(self, size: int, what: str) -> list[memoryview]:
        """As `exactly`, in the pieces in which they came, not copied, for whoever joins them with others."""
        pieces = self._take(size)
        if sum(map(len, pieces)) < size:
            raise DamagedArchive(
                f"the archive is cut short: it ends at byte {self.position} of its zstd stream, inside {what}",
                "use another copy of the archive",
            )
        return pieces

    def at_most(self, size: int) -> bytes:
        """The next `size` bytes, fewer only at the end of the source."""
        return b"".join(self._take(size))

    def _take(self, size: int) -> list[memoryview]:
        pieces, missing = [], size
        while missing:
            if not self._held:
                self._held = memoryview(self._source(_PIECE))
                if not self._held:
                    break
            pieces.append(self._held[:missing])
            self._held = self._held[missing:]
            missing -= len(pieces[-1])
        self.position += size - missing
        return pieces


@dataclass(frozen=True, slots=True)
class RawFrame:
    """A frame as it stands in the stream, not yet decoded. content: the size its header states."""

    offset: int
    data: bytes
    content: int


@dataclass(frozen=True, slots=True)
class SkippableHeader:
    """The start of a skippable frame; its payload of `size` bytes is still in the reader."""

    offset: int
    magic: int
    size: int


def walk(reader: ByteReader) -> Iterator[RawFrame | SkippableHeader]:
    """Frame after frame of a zstd stream. The payload of a skippable frame must be read before the next is asked for.

    Raises NotAnArchive if the stream does not begin with a zstd frame, DamagedArchive for anything malformed later.
    """
    while magic := reader.at_most(4):
        offset = reader.position - len(magic)
        if magic == FRAME_MAGIC:
            yield _raw_frame(reader, offset)
            continue
        number = int.from_bytes(magic, "little")
        if len(magic) < 4 or number not in SKIPPABLE_MAGICS:
            raise _not_a_frame(offset)
        (size,) = struct.unpack("<I", reader.exactly(4, "a skippable frame"))
        yield SkippableHeader(offset, number, size)


@dataclass(frozen=True, slots=True)
class DecodedFrame:
    """A frame's content, proven by its checksum, its packed bytes, and BLAKE3 of both."""

    raw: RawFrame
    content: bytes
    digest: str
    packed: str

    def numbered(self, number: int) -> Frame:
        """What the index says of this frame."""
        size = len(self.raw.data)
        return Frame(number, self.raw.offset, size, len(self.content), self.digest, self.packed)


def decode(frame: RawFrame) -> DecodedFrame:
    """The content of a frame. Raises DamagedArchive if it cannot be decoded or its checksum is wrong."""
    try:
        content = zstandard.ZstdDecompressor().decompress(frame.data)
    except zstandard.ZstdError as cause:
        raise DamagedArchive(
            f"the zstd frame at byte {frame.offset} of the stream cannot be decoded: {cause}",
            "use another copy of the archive",
        ) from cause
    return DecodedFrame(frame, content, digest_of(content), digest_of(frame.data))


def decode_ahead(frames: Iterable[RawFrame], threads: int) -> Iterator[DecodedFrame]:
    """`decode` of every frame, in order, up to three a thread ahead of whoever takes the results."""
    pool = ThreadPoolExecutor(threads, "unzstd")
    pending: deque[Future[DecodedFrame]] = deque()
    try:
        for frame in frames:
            pending.append(pool.submit(decode, frame))
            if len(pending) > 3 * threads:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        for future in pending:
            future.cancel()
        pool.shutdown(wait=True)


def _not_a_frame(offset: int) -> NotAnArchive | DamagedArchive:
    if offset == 0:
        return NotAnArchive("this is no drunner-vault archive: it does not begin with a zstd frame", "check the file")
    return DamagedArchive(
        f"no zstd frame begins at byte {offset} of the stream, where one must", "use another copy of the archive"
    )


def _raw_frame(reader: ByteReader, offset: int) -> RawFrame:
    """One data frame, found by its own header and block headers (RFC 8878, 3.1.1), without decoding it."""
    head = reader.exactly(1, "a frame header")
    descriptor = head[0]
    single_segment = bool(descriptor & 0x20)
    if descriptor & 0x18 or descriptor & 0x03 or not descriptor & 0x04:
        raise _unlike_ours(offset, "has reserved bits set, a dictionary, or no checksum")
    size_bytes = (1 if single_segment else 0, 2, 4, 8)[descriptor >> 6]
    head += reader.exactly((0 if single_segment else 1) + size_bytes, "a frame header")
    if not size_bytes:
        raise _unlike_ours(offset, "does not state the size of its content")
    content = int.from_bytes(head[-size_bytes:], "little") + (256 if size_bytes == 2 else 0)
    if not 0 < content <= MAX_FRAME_CONTENT:
        raise _unlike_ours(offset, f"claims {content} bytes of content, and may hold 1 to {MAX_FRAME_CONTENT}")
    if not single_segment and _window(head[1]) > MAX_FRAME_CONTENT:
        raise _unlike_ours(offset, "asks for a window above 8 MiB")
    pieces = [FRAME_MAGIC, head, *_blocks(reader, offset, content), reader.exactly(4, "a frame's checksum")]
    return RawFrame(offset, b"".join(pieces), content)


def _blocks(reader: ByteReader, offset: int, content: int) -> Iterator[bytes | memoryview]:
    """The blocks of one frame with their headers; bounded by what `content` bytes can need at the most."""
    room = content + (content >> 7) + 1024
    last = False
    while not last:
        header = reader.exactly(3, "a block header")
        bits = int.from_bytes(header, "little")
        last = bool(bits & 1)
        kind = (bits >> 1) & 3
        size = 1 if kind == 1 else bits >> 3
        room -= size + 3
        if kind == 3 or room < 0:
            raise _unlike_ours(offset, "has a malformed block")
        yield header
        yield from reader.pieces(size, "a block")


def _window(descriptor: int) -> int:
    base = 1 << (10 + (descriptor >> 3))
    return base + (base >> 3) * (descriptor & 7)


def _unlike_ours(offset: int, what: str) -> DamagedArchive:
    return DamagedArchive(f"the zstd frame at byte {offset} of the stream {what}", "use another copy of the archive")
