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
from drunner_vault.archive.frames import (
    ByteReader,
    Frame,
    RawFrame,
    SkippableHeader,
    decode_ahead,
    default_threads,
    walk,
)
from drunner_vault.archive.index import IndexCheck, Spool, frame_row, member_row
from drunner_vault.archive.manifest import Manifest, parse_manifest
from drunner_vault.archive.root import Root, parse_root
from drunner_vault.archive.trailer import Locator, TrailerCheck, root_digest
from drunner_vault.errors import DamagedArchive, NotAnArchive
from drunner_vault.tar import Kind, Member, TarReader

_SHARD_NAME = re.compile(rb"index/(members|frames)-[0-9]{6,}\.jsonl")
_PIECE = 1 << 20


class FrameSource:
    """The tar, as bytes out of one decoded frame at a time; knows which frame the last bytes came from."""

    def __init__(self, read: Callable[[int], bytes], threads: int, on_frame: Callable[[Frame], None]) -> None:
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

    @property
    def at_frame_start(self) -> bool:
        """Whether the bytes read last ended a frame, so that the next read begins one."""
        return self._at == len(self._content)

    def exhausted(self) -> bool:
        """Whether no byte of the tar is left."""
        return self.at_frame_start and not self._next_frame()

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
        self._content, frame = item
        self._at = 0
        self.frame = Frame(self.frames, frame.offset, frame.compressed, frame.content, frame.digest, frame.packed)
        self.frames += 1
        self.sizes.extend((frame.compressed, frame.content))
        self._on_frame(self.frame)
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
    signature: bytes | None = None

    def __init__(self, read: Callable[[int], bytes], threads: int = 0) -> None:
        """read: gives up to n bytes of the zstd stream, none at its end. Reads the manifest at once.

        Raises NotAnArchive, UnsupportedArchive or DamagedArchive, and whatever `read` raises.
        """
        self._member_rows, self._frame_rows = Spool(), Spool()
        self._indexing = False
        self._last_frame: Frame | None = None
        self._source = FrameSource(read, threads or default_threads(), self._on_frame)
        self._tar = TarReader(self._source)
        self._members = iter(self._tar)
        self._content: Iterator[bytes] = iter(())
        self._place = 0
        self._root_frame: Frame | None = None
        self._root_bytes = b""
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
        self._member_rows.close()
        self._frame_rows.close()

    def members(self) -> Iterator[tuple[Member, Iterator[bytes]]]:
        """Every member after the manifest and before the index, with its stored data.

        When this ends without an exception, every byte up to the end of the stream was read and proven, and `root`
        is set. Raises DamagedArchive at the first thing that is not as it must be.
        """
        for member in self._members:
            rank = self._check_place(member)
            if rank == layout.PLACES.index(layout.INDEX):
                self._finish(member)
                return
            self._content = self._proven_content(member)
            yield member, self._content
            for _ in self._content:
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
        self._manifest_digest = blake3(data).hexdigest()
        self._volumes = {volume.name.encode() for volume in self.manifest.volumes}

    def _check_place(self, member: Member) -> int:
        """The rank of a member's place. Raises DamagedArchive if it has none, or comes too late."""
        path = member.entry.path
        rank = layout.place_rank(path)
        if not rank or rank < self._place or self._unsafe(path):
            raise DamagedArchive(f"the archive has a member out of place: {path[:200]!r}", "do not trust this archive")
        self._place = rank
        return rank

    def _unsafe(self, path: bytes) -> bool:
        """Whether a name leaves its place: a `..` or empty part, a NUL, or a volume the manifest does not list."""
        parts = path.split(b"/")
        if b"\0" in path or any(part in (b"", b".", b"..") for part in parts):
            return True
        return parts[0] == layout.VOLUMES and (len(parts) < 2 or parts[1] not in self._volumes)

    def _proven_content(self, member: Member) -> Iterator[bytes]:
        """A member's data; when it has been read to its end, its index row is made."""
        header_frame = first = last = self._frame_number()
        digest = blake3()
        stored = 0
        for piece in self._tar.content():
            last = self._frame_number()
            first = last if not stored else first
            digest.update(piece)
            stored += len(piece)
            yield piece
        count = last - first + 1 if stored else 0
        proof = digest.hexdigest() if member.entry.kind is Kind.FILE else ""
        self._member_rows.add(member_row(member, proof, stored, first if stored else header_frame, count))

    def _frame_number(self) -> int:
        return self._source.frame.number if self._source.frame else 0

    def _on_frame(self, frame: Frame) -> None:
        """Make the row of the frame before: the last one, in which the index begins, has none."""
        if self._last_frame and not self._indexing:
            self._frame_rows.add(frame_row(self._last_frame))
        self._last_frame = frame

    def _finish(self, first: Member) -> None:
        """The index has begun: hold it, the root and the trailer against what was read."""
        self._indexing = True
        check = IndexCheck(self._member_rows, self._frame_rows)
        for member in itertools.chain([first], self._members):
            self._index_member(member, check)
        check.finish()
        self._check_root()
        self._check_trailer()

    def _index_member(self, member: Member, check: IndexCheck) -> None:
        path = member.entry.path
        if self._root_bytes and path != layout.SIGNATURE:
            raise DamagedArchive(f"the archive has {path[:200]!r} after its index root", "do not trust this archive")
        if shard := _SHARD_NAME.fullmatch(path):
            for piece in self._tar.content():
                check.feed(shard[1].decode(), piece)
        elif path == layout.ROOT and member.entry.size <= layout.MAX_ROOT:
            self._root_bytes = b"".join(self._tar.content())
            self._root_frame = self._source.frame
        elif path == layout.SIGNATURE and self._root_bytes and member.entry.size <= layout.MAX_ROOT:
            self.signature = b"".join(self._tar.content())
        else:
            raise DamagedArchive(f"the archive has a member out of place: {path[:200]!r}", "do not trust this archive")

    def _check_root(self) -> None:
        if not self._root_bytes:
            raise DamagedArchive("the archive has no index root", "use another copy of the archive")
        self.root = parse_root(self._root_bytes)
        stated = (self.root.manifest, self.root.members)
        if stated != (self._manifest_digest, self._member_rows.rows):
            raise DamagedArchive("the index root does not belong to this archive", "do not trust this archive")

    def _check_trailer(self) -> None:
        frame = self._root_frame
        if not self._source.exhausted() or frame is None:
            raise DamagedArchive("the archive has data after its end", "use another copy of the archive")
        digest = root_digest(self._root_bytes)
        locator = Locator(frame.offset, frame.compressed, frame.content, frame.number, digest)
        check = TrailerCheck(self._source.sizes, locator)
        for magic, size, payload in self._source.skippables():
            check.accept(magic, size, payload)
        check.finish()
