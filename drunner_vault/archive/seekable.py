"""Reads parts of an archive without reading the rest: root, manifest, index rows, single members.

Everything is proven on the way: the locator commits to the closing, the root in it to every shard, a shard to its
rows, a row to its member's content. Whether the root itself is to be believed, a signature says.
"""

from __future__ import annotations

import io
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

from blake3 import blake3

from drunner_vault.archive import layout, trailer
from drunner_vault.archive.digests import digest_of
from drunner_vault.archive.frames import ByteReader, DecodedFrame, RawFrame, decode, walk
from drunner_vault.archive.index import MemberRow, parse_member_row
from drunner_vault.archive.manifest import Manifest, parse_manifest
from drunner_vault.archive.root import PlacedShard, Root, parse_root
from drunner_vault.errors import DamagedArchive, NotAnArchive
from drunner_vault.tar import Member, TarReader

_HEAD = 60 << 10
_TAIL = 128 << 10
_TOGETHER = 640 << 10  # the shards of members are fetched with the closing if both are no larger
_RUN = 1 << 20  # shards that lie together are fetched together, up to so many bytes
ReadAt = Callable[[int, int], bytes]


@dataclass(frozen=True)
class Closing:
    """What stands at the end of the tar. signature: of root_bytes, None if there is none."""

    root: Root
    root_bytes: bytes
    signature: bytes | None


class SeekableArchive:
    """An archive behind ranged reads of its zstd stream."""

    def __init__(self, read_at: ReadAt, size: int) -> None:
        """read_at(offset, length): bytes of the zstd stream. size: of it, in bytes.

        Reads the end. Raises NotAnArchive, DamagedArchive.
        """
        self._read_at = read_at
        self._size = size
        self._tail_start = max(0, size - _TAIL)
        self._tail = read_at(self._tail_start, size - self._tail_start)
        self._kept = 0, b""
        if size < trailer.LOCATOR_SIZE + trailer.FOOTER_SIZE:
            raise NotAnArchive("this is no drunner-vault archive: it is too short", "check the file")
        count, entry = trailer.seek_table_shape(self._tail[-trailer.FOOTER_SIZE :])
        self._table_size = trailer.seek_table_size(0) + count * entry
        self.locator = trailer.parse_locator(
            self._at(size - self._table_size - trailer.LOCATOR_SIZE, trailer.LOCATOR_SIZE)
        )
        self.closing = self._read_closing()

    @property
    def root(self) -> Root:
        """The index root."""
        return self.closing.root

    @cached_property
    def manifest(self) -> Manifest:
        """The manifest, from the archive's first frame. Raises NotAnArchive, UnsupportedArchive, DamagedArchive."""
        frame = next(self._frames_at(0, min(_HEAD, self._size)), None)
        member, data = _first_member(frame.content if frame else b"")
        if member is None or member.entry.path != layout.MANIFEST:
            raise NotAnArchive("this is no drunner-vault archive: it has no manifest in front", "check the file")
        manifest = parse_manifest(data)
        if digest_of(data) != self.root.manifest:
            raise DamagedArchive("the manifest is not the one its index root names", "do not trust this archive")
        return manifest

    def member_rows(self) -> Iterator[MemberRow]:
        """Index rows of all members, in the archive's order."""
        for line in self._lines("index/members-"):
            yield parse_member_row(line)

    def frame_lines(self) -> Iterator[bytes]:
        """Index rows of all frames before the index, in order, as they stand there."""
        return self._lines("index/frames-")

    def read(self, row: MemberRow) -> tuple[Member, Iterator[bytes]]:
        """A member as it stands in the tar, and its stored data, proven when it has been read to its end."""
        start, first = self._frame_at(row.offset)
        _, last = self._frame_at(row.end - 1)
        tar = TarReader(_FrameBytes(self._frames(first, last), row.offset - start))
        member = next(iter(tar), None)
        if member is None or member.entry.path != row.path:
            raise DamagedArchive(f"the index says that {row.path!r} is where it is not", "do not trust this archive")
        return member, _proven(tar, row)

    def _read_closing(self) -> Closing:
        locator = self.locator
        end = self._size - self._table_size - trailer.LOCATOR_SIZE
        if locator.compressed > layout.MAX_ROOT or locator.offset + locator.compressed > end:
            raise DamagedArchive(
                "the archive has a locator that points outside of it", "use another copy of the archive"
            )
        start = locator.members
        if locator.offset + locator.compressed - start <= _TOGETHER:
            self._kept = start, self._at(start, locator.offset + locator.compressed - start)
        packed = self._at(locator.offset, locator.compressed)
        digest = trailer.ClosingDigest()
        digest.update(packed)
        if digest.digest() != locator.digest:
            raise DamagedArchive(
                "the archive's closing is not what its locator says", "use another copy of the archive"
            )
        tar = TarReader(
            io.BytesIO(b"".join(frame.content for frame in _decoded(packed, locator.offset, layout.MAX_ROOT)))
        )
        found = {member.entry.path: b"".join(tar.content()) for member in tar}
        if layout.ROOT not in found:
            raise DamagedArchive("the archive has no index root", "use another copy of the archive")
        return Closing(parse_root(found[layout.ROOT]), found[layout.ROOT], found.get(layout.SIGNATURE))

    def _lines(self, prefix: str) -> Iterator[bytes]:
        shards = [shard for shard in self.root.shards if shard.name.startswith(prefix)]
        for run in _runs(shards):
            start = run[0].offset
            data = self._at(start, run[-1].offset + run[-1].compressed - start)
            for shard in run:
                at = shard.offset - start
                yield from _shard_lines(shard, data[at : at + shard.compressed])

    def _at(self, offset: int, length: int) -> bytes:
        """Bytes of the stream, out of what is here already where they are in it."""
        if offset < 0:
            raise DamagedArchive("the archive has a seek table longer than itself", "use another copy of the archive")
        for start, data in ((self._tail_start, self._tail), self._kept):
            if start <= offset and offset + length <= start + len(data):
                return data[offset - start : offset - start + length]
        return self._read_at(offset, length)

    @cached_property
    def _sizes(self) -> array[int]:
        return trailer.parse_seek_table(self._at(self._size - self._table_size, self._table_size))

    @cached_property
    def _starts(self) -> tuple[array[int], array[int]]:
        """Where each frame starts, in the zstd stream and in the tar."""
        offsets, contents = array("Q"), array("Q")
        offset = content = 0
        for at in range(0, len(self._sizes), 2):
            offsets.append(offset)
            contents.append(content)
            offset += self._sizes[at]
            content += self._sizes[at + 1]
        return offsets, contents

    def _frame_at(self, tar_offset: int) -> tuple[int, int]:
        """The frame that holds a byte of the tar: where it starts in the tar, and its number."""
        contents = self._starts[1]
        number = bisect_right(contents, tar_offset) - 1
        if number < 0 or tar_offset >= self.root.tar_size:
            raise DamagedArchive("the index points outside of the tar", "do not trust this archive")
        while not self._sizes[2 * number + 1] and number:
            number -= 1
        return contents[number], number

    def _frames(self, first: int, last: int) -> Iterator[DecodedFrame]:
        """Frames by number, fetched together, in runs that bound memory."""
        offsets = self._starts[0]
        at = first
        while at <= last:
            until = at
            while until < last and offsets[until + 1] + self._sizes[2 * (until + 1)] - offsets[at] <= 4 * _RUN:
                until += 1
            yield from self._frames_at(offsets[at], offsets[until] + self._sizes[2 * until] - offsets[at])
            at = until + 1

    def _frames_at(self, offset: int, length: int) -> Iterator[DecodedFrame]:
        return _decoded(self._at(offset, length), offset, self._size)


def _decoded(packed: bytes, offset: int, limit: int) -> Iterator[DecodedFrame]:
    """The data frames in some bytes of the stream that begin with a frame; at most `limit` bytes of content."""
    for item in walk(ByteReader(io.BytesIO(packed).read)):
        if not isinstance(item, RawFrame):
            raise DamagedArchive(f"no data frame is at byte {offset} of the stream", "use another copy of the archive")
        limit -= item.content
        if limit < 0:
            raise DamagedArchive("the archive has a closing larger than allowed", "do not trust this archive")
        yield decode(item)


def _runs(shards: list[PlacedShard]) -> Iterator[list[PlacedShard]]:
    """Shards that follow each other without a gap, together while they are small."""
    run: list[PlacedShard] = []
    for shard in shards:
        together = run and run[-1].offset + run[-1].compressed == shard.offset
        if run and (not together or shard.offset + shard.compressed - run[0].offset > _RUN):
            yield run
            run = []
        run.append(shard)
    if run:
        yield run


def _proven(tar: TarReader, row: MemberRow) -> Iterator[bytes]:
    digest = blake3()
    for piece in tar.content():
        digest.update(piece)
        yield piece
    if row.digest and digest.hexdigest() != row.digest:
        raise DamagedArchive(f"{row.path!r} is not what the index says it is", "use another copy of the archive")


def _shard_lines(shard: PlacedShard, packed: bytes) -> list[bytes]:
    if len(packed) < shard.compressed or digest_of(packed) != shard.packed:
        raise DamagedArchive(f"{shard.name} is not what the index root says", "use another copy of the archive")
    content = b"".join(frame.content for frame in _decoded(packed, shard.offset, layout.MAX_FRAME_CONTENT))
    member, data = _first_member(content)
    if member is None or digest_of(data) != shard.blake3:
        raise DamagedArchive(f"{shard.name} is not what the index root says", "use another copy of the archive")
    return data.split(b"\n")[:-1]


def _first_member(content: bytes) -> tuple[Member | None, bytes]:
    tar = TarReader(io.BytesIO(content))
    member = next(iter(tar), None)
    return member, b"".join(tar.content()) if member else b""


class _FrameBytes:
    """The content of frames as one stream, from an offset in the first of them."""

    def __init__(self, frames: Iterator[DecodedFrame], skip: int) -> None:
        self._frames = frames
        self._content = b""
        self._at = 0
        self._skip = skip

    def read(self, size: int) -> bytes:
        """Up to `size` bytes, none only at the end."""
        while self._at >= len(self._content):
            frame = next(self._frames, None)
            if frame is None:
                return b""
            self._content, self._at, self._skip = frame.content, self._skip, 0
        data = self._content[self._at : self._at + size]
        self._at += len(data)
        return data
