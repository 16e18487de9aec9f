"""Reads an archive from start to end, as it comes down a file or a pipe, and proves it while reading.

Picture: source → frames (all cores) → tar members → whoever restores. Rows made on the way are held against the
archive's own index, root, locator and seek table at the end: only when iteration has ended without an error was
the archive whole.
"""

from __future__ import annotations

import itertools
import re
from array import array
from collections.abc import Callable, Iterator
from types import TracebackType

from blake3 import blake3

from drunner_vault.archive import layout
from drunner_vault.archive.digests import digest_of
from drunner_vault.archive.frames import (
    ByteReader,
    Frame,
    RawFrame,
    SkippableHeader,
    decode_ahead,
    default_threads,
    walk,
)
from drunner_vault.archive.manifest import Manifest, parse_manifest
from drunner_vault.archive.names import NameOrder, refused
from drunner_vault.archive.proof import Proof, Stage
from drunner_vault.archive.root import Root
from drunner_vault.archive.trailer import TrailerCheck
from drunner_vault.errors import DamagedArchive, NotAnArchive
from drunner_vault.tar import Member, TarReader, padding

_SHARD_NAME = re.compile(rb"index/(members|frames)-[0-9]{6,}\.jsonl")
_PIECE = 1 << 20
_AT_ONCE = 128 << 10  # a member with no more data is given out when it has been proven


class FrameSource:
    """The tar, as bytes out of one decoded frame at a time; knows which frame the last bytes came from."""

    def __init__(self, read: Callable[[int], bytes], threads: int, on_frame: Callable[[Frame, bytes], None]) -> None:
        self._reader = ByteReader(read)
        self._walk = walk(self._reader)
        self._on_frame = on_frame
        self._skippable: SkippableHeader | None = None
        self._decoded = decode_ahead(self._data_frames(), threads)
        self._content = b""
        self._at = 0
        self.frame: Frame | None = None
        self.frames = 0
        self.sizes = array("I")

    def read(self, size: int) -> bytes:
        """Up to `size` bytes of the tar, never across a frame; none at the end of the data frames."""
        while self._at == len(self._content):
            if not self._next_frame():
                return b""
        data = self._content[self._at : self._at + size]
        self._at += len(data)
        return data

    def window(self) -> tuple[bytes, int]:
        """See WindowedSource: the content of the current frame."""
        if self._at == len(self._content) and not self._next_frame():
            return b"", 0
        return self._content, self._at

    def skip(self, size: int) -> None:
        """See WindowedSource."""
        self._at += size

    @property
    def offset_in_frame(self) -> int:
        """How many bytes of the current frame have been read."""
        return self._at

    def exhausted(self) -> bool:
        """Whether no byte of the tar is left."""
        return self._at == len(self._content) and not self._next_frame()

    def skippables(self) -> Iterator[tuple[int, int, Iterator[bytes]]]:
        """After the last data frame: magic, size and payload of each skippable frame, to the stream's end."""
        while self._skippable is not None:
            header = self._skippable
            yield header.magic, header.size, self._payload(header.size)
            following = next(self._walk, None)
            if isinstance(following, RawFrame):
                raise DamagedArchive("the archive has data after its end", "use another copy of the archive")
            self._skippable = following

    def close(self) -> None:
        """End the decoding threads."""
        self._decoded.close()  # type: ignore[attr-defined]  # a generator

    def _data_frames(self) -> Iterator[RawFrame]:
        for item in self._walk:
            if isinstance(item, SkippableHeader):
                self._skippable = item
                return
            yield item

    def _next_frame(self) -> bool:
        item = next(self._decoded, None)
        if item is None:
            return False
        self._content, self._at = item.content, 0
        self.frame = item.numbered(self.frames)
        self.frames += 1
        self.sizes.extend((self.frame.compressed, self.frame.content))
        self._on_frame(self.frame, item.raw.data)
        return True

    def _payload(self, size: int) -> Iterator[bytes]:
        while size:
            piece = self._reader.exactly(min(size, _PIECE), "a skippable frame")
            size -= len(piece)
            yield piece


class ArchiveReader:
    """One archive, read once from start to end. Use as a context."""

    manifest: Manifest
    root: Root
    root_bytes: bytes
    signature: bytes | None = None

    def __init__(self, read: Callable[[int], bytes], threads: int = 0, signed: Iterator[bytes] | None = None) -> None:
        """read: gives up to n bytes of the zstd stream, none at its end. Reads the manifest at once.

        signed: index rows of the frames that a trusted signature vouches for; no byte of any other frame is then
        given out.

        Raises NotAnArchive, UnsupportedArchive or DamagedArchive, and whatever `read` raises.
        """
        self._proof = Proof(signed)
        self._source = FrameSource(read, threads or default_threads(), self._proof.frame)
        self._tar = TarReader(self._source)
        self._members = iter(self._tar)
        self.root_bytes = b""
        try:
            self._read_manifest()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> ArchiveReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Free threads and temporary files."""
        self._source.close()
        self._proof.close()

    def members(self) -> Iterator[tuple[Member, Iterator[bytes]]]:
        """Every member after the manifest and before the index, with its stored data.

        When this ends without an exception, every byte up to the end of the stream was read and proven, and `root`
        is set. Raises DamagedArchive at the first thing that is not as it must be.
        """
        for member in self._members:
            if self._names.accept(member.entry) == layout.PLACES.index(layout.INDEX):
                self._finish(member)
                return
            self._proof.require_signed()
            if member.entry.data_size <= _AT_ONCE:
                yield member, iter(self._proven_at_once(member))
                continue
            content = self._proven_content(member)
            yield member, content
            for _ in content:
                pass
        raise DamagedArchive("the archive has no index", "use another copy of the archive")

    def _read_manifest(self) -> None:
        try:
            member = next(self._members, None)
        except DamagedArchive as cause:
            if self._source.frames:
                raise NotAnArchive("this is no drunner-vault archive: it holds no tar", "check the file") from cause
            raise
        if member is None or member.entry.path != layout.MANIFEST or member.entry.size > layout.MAX_MANIFEST:
            raise NotAnArchive("this is no drunner-vault archive: it has no manifest in front", "check the file")
        data = b"".join(self._proven_content(member))
        self.manifest = parse_manifest(data)
        self._proof.manifest(data)
        self._names = NameOrder({volume.name.encode() for volume in self.manifest.volumes})
        self._names.accept(member.entry)

    def _proven_at_once(self, member: Member) -> tuple[bytes, ...]:
        """As `_proven_content`, for a member with little data, or none."""
        data = self._tar.piece()
        first = last = self._frame_number()
        while piece := self._tar.piece():
            last = self._frame_number()
            data += piece
        self._proof.require_signed()
        self._proof.member(member, digest_of(data), len(data), (first, last - first + bool(data)), self._tar.end)
        return (data,) if data else ()

    def _proven_content(self, member: Member) -> Iterator[bytes]:
        """A member's data; when it has been read to its end, its index row is made."""
        header_frame = first = last = self._frame_number()
        digest = blake3()
        stored = 0
        for piece in self._tar.content():
            last = self._frame_number()
            first = last if not stored else first
            self._proof.require_signed()
            digest.update(piece)
            stored += len(piece)
            yield piece
        frames = (first, last - first + 1) if stored else (header_frame, 0)
        self._proof.member(member, digest.hexdigest(), stored, frames, self._tar.end)

    def _frame_number(self) -> int:
        return self._source.frame.number if self._source.frame else 0

    def _finish(self, first: Member) -> None:
        """The index has begun: hold it, the root and the trailer against what was read."""
        self._proof.begin(Stage.INDEX)
        for member in itertools.chain([first], self._members):
            self._index_member(member)
        if not self.root_bytes:
            raise DamagedArchive("the archive has no index root", "use another copy of the archive")
        self.root = self._proof.root(self.root_bytes)
        self._check_trailer()

    def _index_member(self, member: Member) -> None:
        path = member.entry.path
        if shard := self._shard_name(member):
            skip = self._alone_in_frame(member)
            data = b"".join(self._tar.content())
            self._proof.shard(path.decode(), shard[1].decode(), data, skip)
        elif path == layout.ROOT and not self.root_bytes and member.entry.size <= layout.MAX_ROOT:
            self._begins_frame(member)
            self._proof.begin(Stage.CLOSING)
            self.root_bytes = b"".join(self._tar.content())
        elif (
            path == layout.SIGNATURE
            and self.root_bytes
            and self.signature is None
            and member.entry.size <= layout.MAX_SIGNATURE
        ):
            self.signature = b"".join(self._tar.content())
        else:
            raise refused(path, "out of place")

    def _begins_frame(self, member: Member) -> int:
        """How long the member's headers are, if its frame begins with them. Raises DamagedArchive if not."""
        header = member.content - member.offset
        if self._source.offset_in_frame != header:
            raise refused(member.entry.path, "somewhere else than at the start of a frame")
        return header

    def _alone_in_frame(self, member: Member) -> int:
        """How long the member's headers are, if the frame holds it and nothing else. Raises DamagedArchive if not."""
        header = self._begins_frame(member)
        size = header + member.entry.size + len(padding(member.entry.size))
        if self._source.frame is None or self._source.frame.content != size:
            raise refused(member.entry.path, "in a frame that is not its own")
        return header

    def _shard_name(self, member: Member) -> re.Match[bytes] | None:
        """The match of a shard's name, if this is one and in its place."""
        if self.root_bytes or member.entry.size > layout.MAX_FRAME_CONTENT:
            return None
        return _SHARD_NAME.fullmatch(member.entry.path)

    def _check_trailer(self) -> None:
        if not self._source.exhausted():
            raise DamagedArchive("the archive has data after its end", "use another copy of the archive")
        check = TrailerCheck(self._source.sizes, self._proof.locator())
        for magic, size, payload in self._source.skippables():
            check.accept(magic, size, payload)
        check.finish()
