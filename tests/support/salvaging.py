"""Archives in memory, ways to damage them, and what must be left of them."""

from __future__ import annotations

import hashlib
import io
import itertools
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from drunner_vault import age
from drunner_vault.archive import (
    ArchiveReader,
    ArchiveWriter,
    Manifest,
    SeekableArchive,
    ServiceRecord,
    VolumeRecord,
    WriterOptions,
)
from drunner_vault.archive.salvage import ClearStream, Hints, Salvage, Salvaged, Stream, open_chunks
from drunner_vault.clock import Clock
from drunner_vault.tar import Entry, Kind, Segment

IDENTITY = age.X25519Identity.generate()
CLOCK = Clock(lambda: datetime(2026, 5, 6, 7, 8, 9, tzinfo=UTC))
MANIFEST = Manifest(
    id="ab" * 16,
    created="2026-01-02T03:04:05Z",
    tool="drunner-vault test",
    host="alpha",
    service=ServiceRecord("drunner", "notes", "example/notes:1", 1000),
    volumes=(VolumeRecord("drunner-notes-data", "/data"), VolumeRecord("drunner-notes-etc", "/etc/notes")),
)
DATA, ETC = b"volumes/drunner-notes-data", b"volumes/drunner-notes-etc"
FEW_TRIES = 2000


def noise(seed: object, size: int) -> bytes:
    """Bytes that do not compress, always the same for a seed."""
    return hashlib.shake_128(repr(seed).encode()).digest(size)


@dataclass
class Made:
    """An archive, and what is in it. archive: the zstd stream. sealed: the age file around it. head: header and nonce
    of that. content: by full name, the stored data of each file. entries: by full name."""

    archive: bytes
    sealed: bytes = b""
    head: bytes = b""
    content: dict[bytes, bytes] = field(default_factory=dict)
    entries: dict[bytes, Entry] = field(default_factory=dict)


Item = tuple[bytes, Entry, bytes]


def directory(prefix: bytes, path: bytes = b"", **more: object) -> Item:
    return prefix, Entry(path, Kind.DIRECTORY, 0o755, **more), b""  # type: ignore[arg-type]


def file(prefix: bytes, path: bytes, content: bytes, **more: object) -> Item:
    return prefix, Entry(path, Kind.FILE, 0o640, 3, 4, len(content), 10**9, **more), content  # type: ignore[arg-type]


def small_tree() -> list[Item]:
    """A bit of everything, in a few kilobytes."""
    sparse = Entry(b"holes", Kind.FILE, 0o600, size=100_000, segments=(Segment(0, 700), Segment(50_000, 900)))
    return [
        (b"scripts", Entry(b"servicecfg.sh", Kind.FILE, 0o755, size=20), noise("cfg", 20)),
        directory(b"hook"),
        file(b"hook", b"dump.sql", noise("dump", 3000)),
        directory(DATA, xattrs={"user.note": b"root of it"}),
        directory(DATA, b"a"),
        file(DATA, b"a/one", noise(1, 900)),
        file(DATA, b"a/two", noise(2, 1100), xattrs={"user.colour": b"green"}),
        (DATA, sparse, noise("holes", 1600)),
        (DATA, Entry(b"link", Kind.SYMLINK, 0o777, link=b"a/one"), b""),
        (DATA, Entry(b"more", Kind.HARDLINK, 0o640, link=b"a/one"), b""),
        (DATA, Entry(b"\xff\xfe", Kind.FIFO, 0o600), b""),
        directory(ETC),
        file(ETC, b"conf", noise("conf", 700)),
    ]


def tiny_tree() -> list[Item]:
    """As little as there can be in three frames."""
    return [
        (b"scripts", Entry(b"servicecfg.sh", Kind.FILE, 0o755, size=5), b"true\n"),
        directory(DATA),
        file(DATA, b"one", noise(1, 40)),
        directory(ETC),
        file(ETC, b"conf", b"a = 1\n"),
    ]


def large_tree(files: int = 40, size: int = 300_000) -> list[Item]:
    """Files with frames of their own, each followed by small ones."""
    items = [directory(DATA), directory(DATA, b"many")]
    for number in range(files):
        items.append(file(DATA, b"many/%04d.big" % number, noise(number, size + 1000 * number)))
        items.append(file(DATA, b"many/%04d.small" % number, noise((number, "s"), 500 + number)))
    return [*items, directory(ETC), file(ETC, b"conf", noise("conf", 700))]


def make(items: Sequence[Item], manifest: Manifest = MANIFEST, *, sealed: bool = True, pad: bool = False) -> Made:
    """An archive of some members."""
    sink = io.BytesIO()
    made = Made(b"")
    with ArchiveWriter(sink, manifest, 1_700_000_000, WriterOptions(threads=1, pad=pad)) as writer:
        for prefix, entry, content in items:
            writer.add(prefix, entry, (content,) if content else ())
            name = prefix + b"/" + entry.path if entry.path else prefix
            link = prefix + b"/" + entry.link if entry.kind is Kind.HARDLINK else entry.link
            made.entries[name] = entry._replace(path=name, link=link)
            made.content[name] = content
        writer.finish("2026-01-02T03:04:06Z")
    made.archive = sink.getvalue()
    if sealed:
        encrypted = io.BytesIO()
        lock = age.EncryptWriter(encrypted, [IDENTITY.recipient()])
        lock.write(made.archive)
        lock.close()
        made.sealed, made.head = encrypted.getvalue(), lock.head
    return made


def at(data: bytes) -> age.ReadAt:
    """Reads parts of some bytes; asking for more than there is fails."""

    def read(offset: int, length: int) -> bytes:
        assert 0 <= offset <= offset + length <= len(data), (offset, length, len(data))
        return data[offset : offset + length]

    return read


def clear(data: bytes) -> Stream:
    return ClearStream(at(data), len(data))


def chunks(data: bytes, copy: bytes = b"", original: int | None = None, tries: int = FEW_TRIES) -> Stream:
    return open_chunks(at(data), len(data), [IDENTITY], copy, original, tries)


@dataclass
class Saved:
    """What salvaging gave. entries, content: of the new archive, which has been read to its end and proven."""

    result: Salvaged
    archive: bytes
    manifest: Manifest
    problems: list[dict[str, str]]
    entries: dict[bytes, Entry]
    content: dict[bytes, bytes]


def salvage(stream: Stream, hints: Hints | None = None) -> Saved:
    """Salvage, and read the new archive. Raises what salvaging raises."""
    found = Salvage(stream, hints or Hints(), CLOCK, lambda _count: None)
    sink = io.BytesIO()
    result = found.write(sink, WriterOptions(threads=1, pad=False))
    return read(sink.getvalue(), result)


def read(archive: bytes, result: Salvaged) -> Saved:
    entries, content = {}, {}
    with ArchiveReader(io.BytesIO(archive).read, 1) as reader:
        for member, pieces in reader.members():
            entries[member.entry.path] = member.entry
            content[member.entry.path] = b"".join(pieces)
        problems = reader.root.problems
    entries.pop(b"RECOVER.txt")
    content.pop(b"RECOVER.txt")
    return Saved(result, archive, reader.manifest, problems, entries, content)


def flipped(data: bytes, position: int, bits: int = 0x10) -> bytes:
    changed = bytearray(data)
    changed[position] ^= bits
    return bytes(changed)


def cut_out(data: bytes, start: int, size: int) -> bytes:
    return data[:start] + data[start + size :]


def inserted(data: bytes, start: int, more: bytes) -> bytes:
    return data[:start] + more + data[start:]


def in_full(entry: Entry, stored: bytes) -> bytes:
    """A file as its reader sees it, holes as zeros."""
    if entry.segments is None:
        return stored
    whole, taken = bytearray(entry.size), 0
    for segment in entry.segments:
        whole[segment.offset : segment.offset + segment.size] = stored[taken : taken + segment.size]
        taken += segment.size
    return bytes(whole)


def is_as_it_was(made: Made, saved: Saved, name: bytes) -> bool:
    return saved.entries.get(name) == made.entries[name] and saved.content[name] == made.content[name]


def check(made: Made, saved: Saved) -> set[bytes]:
    """What is not as it was; and that no byte is wrong, that what is wrong is listed, and that counts agree.

    Every member is as it was, or a loss names it, or, where names were lost too, it is missing. Every byte that is in
    the new archive is the right one, or is in a range that is listed as lost and reads as zero.
    """
    losses = {loss.path: loss for loss in saved.result.losses}
    harmed = {name for name in made.entries if not is_as_it_was(made, saved, name)}
    assert set(saved.entries) <= set(made.entries)
    for name in harmed:
        loss = losses.pop(name.decode("utf-8", "backslashreplace"), None)
        if loss is None:
            assert saved.result.gaps, (name, saved.result)
            assert name not in saved.entries, name
        elif name in saved.entries:
            assert loss.state == "damaged"
            _check_bytes(made, saved, name, loss.ranges)
        else:
            assert loss.state == "lost"
    assert not losses, losses
    missing = len(made.entries) - len(saved.entries)
    if saved.result.unnamed is not None:
        assert missing == saved.result.lost + saved.result.unnamed, saved.result
    assert saved.result.saved == len(made.entries) - len(harmed)
    assert saved.result.complete == (
        not harmed and saved.manifest.service == MANIFEST.service and not saved.result.gaps
    )
    return harmed


def _check_bytes(made: Made, saved: Saved, name: bytes, ranges: Sequence[tuple[int, int]]) -> None:
    expected = bytearray(in_full(made.entries[name], made.content[name]))
    for start, end in ranges:
        expected[start:end] = bytes(end - start)
    assert in_full(saved.entries[name], saved.content[name]) == expected


def _table(archive: bytes) -> list[tuple[int, int]]:
    """Packed and content size of each frame before the seek table."""
    (count,) = struct.unpack("<I", archive[-9:-5])
    start = len(archive) - 9 - 8 * count
    return list(struct.iter_unpack("<II", archive[start : start + 8 * count]))


def frame_spans(archive: bytes) -> list[tuple[int, int]]:
    """Where the frames of an archive are, skippable ones too."""
    ends = list(itertools.accumulate((packed for packed, _ in _table(archive)), initial=0))
    return [*itertools.pairwise(ends), (ends[-1], len(archive))]


def frame_contents(archive: bytes) -> list[int]:
    """Bytes of content in each of those frames but the last."""
    return [content for _, content in _table(archive)]


def touching(made: Made, start: int, end: int) -> set[bytes]:
    """The members with a header or data in a frame that has any of these bytes of the zstd stream.

    Further names of a file go with it.
    """
    hit = [low < end and start < high for low, high in frame_spans(made.archive)]
    contents = itertools.pairwise(itertools.accumulate((content for _, content in _table(made.archive)), initial=0))
    ranges = [span for span, is_hit in zip(contents, hit, strict=False) if is_hit]
    found = {name for name, (low, high) in _tar_spans(made).items() if any(a < high and low < b for a, b in ranges)}
    return found | {name for name, entry in made.entries.items() if entry.kind is Kind.HARDLINK and entry.link in found}


def _tar_spans(made: Made) -> dict[bytes, tuple[int, int]]:
    archive = SeekableArchive(at(made.archive), len(made.archive))
    rows = list(archive.member_rows())
    ends = [*(row.offset for row in rows[1:]), archive.root.tar_size]
    return {row.path: (row.offset, end) for row, end in zip(rows, ends, strict=True) if row.path in made.entries}


def sealed_chunk(made: Made, position: int) -> tuple[int, int]:
    """The plaintext of the chunk that a byte of the age file is in: from where to where in the zstd stream."""
    index = max(0, position - len(made.head)) // age.SEALED_CHUNK
    return index * age.CHUNK, (index + 1) * age.CHUNK
