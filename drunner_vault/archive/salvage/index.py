"""What survives of an archive's own index: its root, the rows of its frames and of its members.

Rows are used to place frames, to name what is lost, and to prove what is not. A shard that the root, if it survives,
does not commit to is not used.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from drunner_vault.archive import layout, trailer
from drunner_vault.archive.digests import digest_of
from drunner_vault.archive.documents import Fields, parse
from drunner_vault.archive.index import MemberRow, parse_member_row
from drunner_vault.archive.root import Root, parse_root
from drunner_vault.archive.salvage.placing import KnownFrames
from drunner_vault.archive.salvage.stream import Stream
from drunner_vault.archive.salvage.survey import Frames, mark
from drunner_vault.errors import ArchiveError, DamagedArchive
from drunner_vault.tar import Segment, TarReader

_SHARD = re.compile(rb"index/(members|frames)-([0-9]{6,9})\.jsonl")
_MEMBERS = b"index/members-"
BEYOND = 1 << 63
"""Beyond the end of any tar."""


@dataclass(frozen=True)
class Row:
    """A member as the index tells it. segments: its data runs, if it is a file with holes."""

    member: MemberRow
    segments: tuple[Segment, ...] | None


@dataclass
class SurvivingIndex:
    """root: None if it is lost. signed: whether a signature is behind it. members, frames: by number of the shard, the
    frame it is in. missing: ranges of tar offsets in which members may have begun of which no row is left."""

    root: Root | None = None
    signed: bool = False
    members: dict[int, int] = field(default_factory=dict)
    frames: dict[int, int] = field(default_factory=dict)
    missing: list[tuple[int, int]] = field(default_factory=list)

    def knows_all(self, start: int, end: int) -> bool:
        """Whether every member that began in this range of tar offsets has a row."""
        return not any(low < end and start < high for low, high in self.missing)


def read_index(frames: Frames) -> SurvivingIndex:
    """The parts of the index that survive; wrong ones are left out."""
    found = SurvivingIndex()
    roots = [number for number, name in frames.index.items() if name == layout.ROOT]
    for number in roots:
        _read_root(frames, number, found)
    for number, name in sorted(frames.index.items()):
        shard = _SHARD.fullmatch(name)
        if shard and _is_committed(frames, number, name, found.root):
            (found.members if shard[1] == b"members" else found.frames)[int(shard[2])] = number
    found.missing = list(_missing(frames, found))
    return found


def _read_root(frames: Frames, number: int, found: SurvivingIndex) -> None:
    """The root that begins in a frame, if there is one; larger ones go on in those that follow it."""
    tar = TarReader(_Following(frames, number))
    members = iter(tar)
    try:
        member = next(members, None)
        if member is None or member.entry.path != layout.ROOT or member.entry.size > layout.MAX_ROOT:
            return
        found.root = parse_root(b"".join(tar.content()))
        following = next(members, None)
        found.signed = following is not None and following.entry.path == layout.SIGNATURE
    except ArchiveError:
        return


class _Following:
    """The content of a frame and of those right behind it, for a tar reader."""

    def __init__(self, frames: Frames, number: int) -> None:
        self._frames = frames
        self._number = number
        self._at = max(0, frames.leads[number])

    def read(self, size: int) -> bytes:
        """Up to `size` bytes."""
        content = self._frames.content(self._number)
        if self._at == len(content):
            following = self._number + 1
            if following == len(self._frames) or self._frames.offsets[following] != self._frames.end(self._number):
                return b""
            self._number, self._at = following, 0
            content = self._frames.content(following)
        data = content[self._at : self._at + size]
        self._at += len(data)
        return data


def _lines(frames: Frames, number: int) -> bytes:
    """The lines of the shard in a frame; none if it is no shard."""
    tar = TarReader(_Following(frames, number))
    try:
        member = next(iter(tar), None)
        if member is None or member.entry.size > layout.MAX_FRAME_CONTENT:
            return b""
        return b"".join(tar.content())
    except ArchiveError:
        return b""


def _is_committed(frames: Frames, number: int, name: bytes, root: Root | None) -> bool:
    """Whether a frame holds a shard that the root names, or the root is lost."""
    lines = _lines(frames, number)
    if root is None or not lines:
        return bool(lines)
    digest = digest_of(lines)
    return any(shard.name == name.decode() and shard.blake3 == digest for shard in root.shards)


def member_rows(frames: Frames, shards: dict[int, int]) -> Iterator[Row]:
    """Rows of the members, in the tar's order, a shard in memory at a time."""
    for _, number in sorted(shards.items()):
        for line in _lines(frames, number).splitlines():
            try:
                yield _row(line)
            except DamagedArchive:
                continue


def _row(line: bytes) -> Row:
    member = parse_member_row(line)
    segments = parse(line, "a row of the index", _segments) if b'"segments"' in line else None
    if segments is not None and sum(segment.size for segment in segments) != member.stored:
        raise DamagedArchive("the index has a row that contradicts itself")
    return Row(member, segments)


def _segments(row: Fields) -> tuple[Segment, ...] | None:
    runs = row.values.get("segments")
    if not isinstance(runs, list):
        return None
    return tuple(Segment(*Fields({"": run}).numbers("")) for run in runs)


def _missing(frames: Frames, found: SurvivingIndex) -> Iterator[tuple[int, int]]:
    """Ranges of tar offsets without rows."""
    total = _member_shards(frames, found)
    known_to, expected = 0, 0
    for shard, number in sorted(found.members.items()):
        lines = _lines(frames, number).splitlines()
        try:
            first, last = _row(lines[0]).member.offset, _row(lines[-1]).member.offset
        except DamagedArchive:
            continue
        if shard != expected:
            yield known_to, first
        known_to, expected = last + 1, shard + 1
    if total is None or expected < total:
        yield known_to, BEYOND


def _member_shards(frames: Frames, found: SurvivingIndex) -> int | None:
    """How many shards with rows of members there were; None if nothing tells."""
    if found.root is not None:
        return sum(shard.name.encode().startswith(_MEMBERS) for shard in found.root.shards)
    for shard, number in found.members.items():
        following = number + 1
        adjoins = following < len(frames) and frames.offsets[following] == frames.end(number)
        if adjoins and not frames.index.get(following, _MEMBERS).startswith(_MEMBERS):
            return shard + 1
    return None


def known_frames(frames: Frames, index: SurvivingIndex, stream: Stream) -> KnownFrames:
    """All that index and seek table tell of frames, of lost ones too. The index counts before the seek table."""
    known = KnownFrames()
    for _, number in sorted(index.frames.items()):
        for line in _lines(frames, number).splitlines():
            try:
                known.add(*parse(line, "a row of the index", _frame))
            except (DamagedArchive, ValueError, OverflowError):
                continue
    if table := _seek_table(frames, stream):
        known = _completed(known, table)
    return known


def _frame(row: Fields) -> tuple[int, int, int, int, int]:
    numbers = [row.number(key) for key in ("frame", "offset", "compressed", "content")]
    return numbers[0], numbers[1], numbers[2], numbers[3], mark(row.text("packed"))


def _seek_table(frames: Frames, stream: Stream) -> KnownFrames | None:
    """What the seek table tells, if it is there and agrees with its own place."""
    tables = [item for item in frames.skippables if item.magic == trailer.SEEK_TABLE_MAGIC]
    if not tables or tables[-1].size > layout.MAX_ROOT * 16:
        return None
    place = tables[-1]
    try:
        sizes = trailer.parse_seek_table(stream.read(place.offset, place.size))
        known, offset = KnownFrames(), 0
        for number in range(len(sizes) // 2):
            known.add(number, offset, sizes[2 * number], sizes[2 * number + 1], 0)
            offset += sizes[2 * number]
    except (DamagedArchive, ValueError):
        return None
    return known if offset == place.offset else None


def _completed(rows: KnownFrames, table: KnownFrames) -> KnownFrames:
    """The seek table's frames with what the rows add; the rows alone where the two disagree."""
    for at in range(len(rows.numbers)):
        number = rows.numbers[at]
        if number >= len(table.numbers) or not rows.agrees(at, table, number):
            return rows
        table.marks[number] = rows.marks[at]
    return table
