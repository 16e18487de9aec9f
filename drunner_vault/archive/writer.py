"""Writes an archive in one pass: tar members into frames into a sink; then the index, the root and the trailer.

Picture: entry and content → tar bytes → frames (all cores) → sink. Memory is bounded by the frames under way; what
must wait for the end, the index rows, waits in a temporary file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from types import TracebackType

from blake3 import blake3

from drunner_vault.archive import layout, trailer
from drunner_vault.archive.digests import digest_of
from drunner_vault.archive.frames import Frame, FrameWriter, Sink, default_threads
from drunner_vault.archive.index import Shard, Spool, frame_row, member_row
from drunner_vault.archive.manifest import Manifest
from drunner_vault.archive.names import NameOrder
from drunner_vault.archive.recover import recover_text
from drunner_vault.archive.root import PlacedShard, Root, placed
from drunner_vault.tar import END_OF_ARCHIVE, Entry, Kind, Member, encode_header, padding

Signer = Callable[[bytes], bytes]


@dataclass(frozen=True)
class WriterOptions:
    """level: zstd's, 1 to 19. threads: for compression. pad: whether to hide the exact size. sign: makes the signature
    of root.json, in SSHSIG armor; None leaves the archive unsigned."""

    level: int = 3
    threads: int = 0
    pad: bool = True
    sign: Signer | None = None


class ArchiveWriter:
    """One archive on its way into a sink. Use as a context; only `finish` makes it an archive."""

    def __init__(self, sink: Sink, manifest: Manifest, mtime: int, options: WriterOptions | None = None) -> None:
        """mtime: seconds since 1970 that the archive's own members carry."""
        self._options = options or WriterOptions()
        self._mtime_ns = mtime * 10**9
        threads = self._options.threads or default_threads()
        self._frames = FrameWriter(sink, self._options.level, threads, self._on_frame)
        self._member_rows, self._frame_rows = Spool(), Spool()
        self._names = NameOrder({volume.name.encode() for volume in manifest.volumes})
        self._component = b""
        self._indexing = False
        self._closing: trailer.ClosingDigest | None = None
        self._index_frames: dict[int, Frame] = {}
        encoded = manifest.encode()
        self.root = Root(manifest=digest_of(encoded))
        self._own(layout.MANIFEST, encoded)
        self._frames.cut()
        self._own(layout.RECOVER, recover_text(manifest))

    def __enter__(self) -> ArchiveWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._frames.close()
        self._member_rows.close()
        self._frame_rows.close()

    def add(self, prefix: bytes, entry: Entry, content: Iterable[bytes] = ()) -> None:
        """Write one entry of the tree that stands at `prefix`. content: exactly entry.data_size bytes, in pieces.

        Trees come in the order of layout.PLACES, and each in one run; raises DamagedArchive for a name out of order.
        """
        name = prefix + b"/" + entry.path if entry.path else prefix
        entry = Entry(name, *entry[1:])
        if entry.kind is Kind.HARDLINK:
            entry = entry._replace(link=prefix + b"/" + entry.link)
        if prefix != self._component:
            self._begin(prefix)
        self._member(entry, content)

    def report(self, path: bytes, problem: str) -> None:
        """Record in the root that `path`, by its full name, could not be carried as it should."""
        self.root.report(path, problem)

    def finish(self, finished: str) -> Root:
        """Write the index, the root, the end of the tar and the trailer. finished: RFC 3339, UTC."""
        self._frames.flush()
        self.root.finished = finished
        self.root.frames = self._frames.next_number
        members = self._write_index()
        self._write_trailer(self._write_closing(self.root.encode(), members))
        return self.root

    def _begin(self, prefix: bytes) -> None:
        """A new component starts a frame of its own."""
        self._component = prefix
        self._frames.cut()

    def _own(self, name: bytes, content: bytes) -> None:
        """A member of the archive's own."""
        self._member(self._own_entry(name, len(content)), (content,))

    def _own_entry(self, name: bytes, size: int) -> Entry:
        return Entry(name, Kind.FILE, 0o644, size=size, mtime_ns=self._mtime_ns)

    def _member(self, entry: Entry, content: Iterable[bytes]) -> None:
        self._names.accept(entry)
        header = encode_header(entry, entry.path)
        size = entry.data_size
        large = size >= layout.LARGE_MEMBER
        self._make_room(entry.path, len(header) + size, large)
        frames = self._frames
        offset = frames.content_offset
        frames.append(header)
        if large:
            frames.cut()
        first, start = frames.next_number, frames.content_offset
        digest = ""
        if entry.kind is Kind.FILE:
            digest = self._large_content(content) if large else self._small_content(content)
        stored = frames.content_offset - start
        if stored != size:
            raise ValueError(f"internal error: {entry.path!r} gave {stored} bytes of {size}")
        frames.append(padding(stored))
        count = -(-stored // layout.CONTENT_FRAME) if large else min(stored, 1)
        self._member_rows.add(member_row(Member(entry, offset, start), digest, stored, first, count))
        self.root.count(entry.path, stored, offset, frames.content_offset)

    def _make_room(self, name: bytes, size: int, large: bool) -> None:
        """Start a new frame where the rules say so: before a large member, when full, or where the name says so.

        A boundary that depends on a name alone puts the same small files into the same frames next time, whatever came
        before them.
        """
        if (
            large
            or self._frames.collected + size > layout.SHARED_FRAME
            or hashlib.sha256(name).digest().startswith(b"\0")
        ):
            self._frames.cut()

    def _small_content(self, content: Iterable[bytes]) -> str:
        """Pass on what shares a frame with others; returns its BLAKE3."""
        data = b"".join(content)
        self._frames.append(data)
        return digest_of(data)

    def _large_content(self, content: Iterable[bytes]) -> str:
        """Pass a large file's data on, in frames of its own; returns its BLAKE3."""
        digest = blake3()
        for piece in content:
            digest.update(piece)
            self._in_frames(piece)
        self._frames.cut()
        return digest.hexdigest()

    def _in_frames(self, piece: bytes) -> None:
        while piece:
            if self._frames.collected >= layout.CONTENT_FRAME:
                self._frames.cut()
            room = layout.CONTENT_FRAME - self._frames.collected
            part, piece = (piece, b"") if len(piece) <= room else (piece[:room], piece[room:])
            self._frames.append(part)

    def _on_frame(self, frame: Frame, packed: bytes) -> None:
        if self._closing:
            self._closing.update(packed)
        elif self._indexing:
            self._index_frames[frame.number] = frame
        else:
            self._frame_rows.add(frame_row(frame))

    def _write_index(self) -> int:
        """All shards, each in a frame of its own, and their places into the root; returns where those of members begin.

        Those of frames come first: whoever lists an archive reads from the first shard of members to the end.
        """
        self._indexing = True
        shards = self._write_shards(layout.FRAME_SHARD, self._frame_rows)
        self._frames.flush()
        members = self._frames.offset
        shards += self._write_shards(layout.MEMBER_SHARD, self._member_rows)
        self._frames.flush()
        for shard in shards:
            frame = self._index_frames[shard.frame]
            self.root.shards.append(
                replace(
                    shard,
                    offset=frame.offset,
                    compressed=frame.compressed,
                    content=frame.content,
                    packed=frame.packed,
                )
            )
        return members

    def _write_shards(self, pattern: bytes, rows: Spool) -> list[PlacedShard]:
        return [self._write_shard(pattern % number, rows, shard) for number, shard in enumerate(rows.shards())]

    def _write_shard(self, name: bytes, rows: Spool, shard: Shard) -> PlacedShard:
        header = encode_header(self._own_entry(name, shard.size), name)
        self._frames.cut()
        result = placed(name.decode(), shard, self._frames.next_number, len(header))
        for piece in (header, rows.read(shard), padding(shard.size)):
            self._frames.append(piece)
        return result

    def _write_closing(self, root: bytes, members: int) -> trailer.Locator:
        """The root, its signature and the end of the tar, in frames of their own; returns where they are."""
        self._frames.flush()
        offset, number = self._frames.offset, self._frames.next_number
        start = self._frames.content_offset
        self._closing = trailer.ClosingDigest()
        closing = [(layout.ROOT, root)]
        if self._options.sign:
            closing.append((layout.SIGNATURE, self._options.sign(root)))
        for name, data in closing:
            self._frames.append(encode_header(self._own_entry(name, len(data)), name))
            self._in_frames(data)
            self._frames.append(padding(len(data)))
        self._frames.append(END_OF_ARCHIVE)
        self._frames.flush()
        compressed, content = self._frames.offset - offset, self._frames.content_offset - start
        return trailer.Locator(offset, compressed, content, number, self._closing.digest(), members)

    def _write_trailer(self, locator: trailer.Locator) -> None:
        if self._options.pad:
            for size in trailer.padding_sizes(self._frames.offset, self._frames.next_number):
                self._frames.skippable(trailer.padding_frame(size), size + 8)
        self._frames.skippable([locator.encode()], trailer.LOCATOR_SIZE)
        table = trailer.seek_table(self._frames.sizes)
        self._frames.skippable([table], len(table))
