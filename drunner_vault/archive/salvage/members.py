"""The members of a damaged archive: those that survive, wholly or in part, and those that are known to be lost.

The tar is read in order. Where its headers are lost, reading goes on at the next frame that begins with one: the
format lets headers be only at the start of frames and behind other members. What was between is told by the index, as
far as that survives; a member of which nothing but its header is lost is made anew from its row.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from drunner_vault.archive import layout
from drunner_vault.archive.salvage.index import BEYOND, Row, SurvivingIndex, member_rows
from drunner_vault.archive.salvage.placing import Stretch, anchor
from drunner_vault.archive.salvage.stream import Span
from drunner_vault.archive.salvage.survey import NO_HEADER, Frames
from drunner_vault.archive.salvage.tape import Tape
from drunner_vault.tar import Entry, Kind, padding

_INDEX = layout.INDEX + b"/"


@dataclass(frozen=True)
class Found:
    """A member that survives. content: where its stored data is on the tape. lost: what is missing of that data, in
    bytes from its start. digest: BLAKE3 of it by the index, empty if unknown. attributes: names of extended
    attributes that are lost. displaced: whether frames are missing in it of which nothing tells where."""

    tape: Tape
    entry: Entry
    content: int
    lost: tuple[Span, ...] = ()
    digest: str = ""
    attributes: tuple[str, ...] = ()
    displaced: bool = False


@dataclass(frozen=True)
class Gone:
    """A member that is lost. size: of the file, in bytes."""

    entry: Entry


@dataclass(frozen=True)
class Gap:
    """A part of the tar that is lost, where nothing tells which members it held."""


Item = Found | Gone | Gap


class Members:
    """Everything that is known of an archive's members; may be iterated again and again."""

    def __init__(self, frames: Frames, stretches: list[Stretch], index: SurvivingIndex) -> None:
        self._frames = frames
        self._index = index
        self._tapes = [
            Tape(frames, part) for part in anchor(stretches, frames, _header_places(frames, stretches, index))
        ]

    def __iter__(self) -> Iterator[Item]:
        return _Walk(self._tapes, self._index, member_rows(self._frames, self._index.members)).run()


def _header_places(frames: Frames, stretches: list[Stretch], index: SurvivingIndex) -> dict[int, int]:
    """Places of the first headers of frames in stretches of which nothing else tells where they belong."""
    wanted: dict[bytes, int] = {}
    for stretch in stretches:
        if stretch.absolute:
            continue
        tape = Tape(frames, stretch)
        for frame, start in zip(stretch.frames, stretch.starts, strict=True):
            found = tape.member(start + frames.leads[frame]) if frames.leads[frame] != NO_HEADER else None
            if found is not None:
                wanted[found[0].entry.path] = frame
    rows = member_rows(frames, index.members) if wanted else iter(())
    return {wanted[row.member.path]: row.member.offset for row in rows if row.member.path in wanted}


class _Walk:
    """One reading of all members, from the start of the tar."""

    def __init__(self, tapes: list[Tape], index: SurvivingIndex, rows: Iterator[Row]) -> None:
        self._tapes = tapes
        self._index = index
        self._rows = rows
        self._row = next(rows, None)
        self._position = 0
        self._lost_until: int | None = None
        self._ended = False

    def run(self) -> Iterator[Item]:
        """All members, in the order of the tar."""
        home = tape = self._tapes[0]
        for tape in self._tapes:
            if tape.absolute:
                home = tape
            elif not self._at_end():
                yield Gap()
            yield from self._stretch(tape)
            if self._ended:
                break
        if self._ended and tape.absolute:
            yield from self._rows_before(home, BEYOND)
        else:
            yield from self._between(home, self._position, BEYOND)

    def _at_end(self) -> bool:
        """Whether all before the index was read, by what the root says."""
        return self._index.root is not None and self._position >= self._index.root.tar_size

    def _stretch(self, tape: Tape) -> Iterator[Item]:
        """All members of a stretch."""
        position: int | None = self._position if tape.absolute else 0
        while position is not None:
            found = tape.member(position)
            if found is None:
                yield from self._lost_part(tape, position)
                position = self._lost_until
                continue
            member, content = found
            if member.entry.path.startswith(_INDEX):
                self._ended = True
                return
            yield from self._survivor(tape, position, member.entry, content)
            position = content + member.entry.data_size + len(padding(member.entry.data_size))
            if tape.absolute:
                self._position = position

    def _survivor(self, tape: Tape, position: int, entry: Entry, content: int) -> Iterator[Item]:
        """A member whose headers survive, after those before it that only the index knows."""
        row = None
        if tape.absolute:
            yield from self._rows_before(tape, position)
            row = self._row_at(position)
        digest = row.member.digest if row and row.member.path == entry.path else ""
        yield _found(tape, entry, content, digest)

    def _lost_part(self, tape: Tape, start: int) -> Iterator[Item]:
        """What is known of the part that begins at `start`; sets _lost_until to where reading goes on."""
        self._lost_until = None
        # a byte that is there, and begins no member, is passed over
        at = tape.next_header(start + 1 if tape.read(start, 1) else start)
        while at is not None:
            if tape.absolute:
                yield from self._rows_before(tape, at)
            found = tape.member(at)
            if found is not None and (not tape.absolute or self._may_be(at, found[0].entry)):
                break
            at = tape.next_header(at + 1)
        if at is not None:
            yield from self._between(tape, start, at) if tape.absolute else ((Gap(),) if start else ())
        self._lost_until = at

    def _may_be(self, position: int, entry: Entry) -> bool:
        """Whether a member can be there: the index names it there, or is lost for that part of the tar."""
        if entry.path.startswith(_INDEX) or not self._index.knows_all(position, position + 1):
            return True
        return self._row is not None and (self._row.member.offset, self._row.member.path) == (position, entry.path)

    def _between(self, tape: Tape, start: int, end: int) -> Iterator[Item]:
        """What is known of members whose headers began in a part of the tar, all of which is lost."""
        yield from self._rows_before(tape, end)
        if self._index.root is not None:
            end = min(end, self._index.root.tar_size)
        if start < end and not self._index.knows_all(start, end):
            yield Gap()

    def _rows_before(self, tape: Tape, position: int) -> Iterator[Item]:
        while self._row is not None and self._row.member.offset < position:
            yield _from_row(tape, self._row)
            self._row = next(self._rows, None)

    def _row_at(self, position: int) -> Row | None:
        row = self._row
        if row is None or row.member.offset != position:
            return None
        self._row = next(self._rows, None)
        return row


def _found(tape: Tape, entry: Entry, content: int, digest: str, attributes: tuple[str, ...] = ()) -> Found:
    size = entry.data_size
    lost = tape.lost(content, content + size) if size else []
    cut = tape.unlike_content(content, size) if size >= layout.LARGE_MEMBER else None
    if cut is not None:
        lost = [*((start, min(end, cut)) for start, end in lost if start < cut), (cut, content + size)]
    spans = tuple((start - content, end - content) for start, end in lost)
    return Found(tape, entry, content, spans, digest, attributes, displaced=cut is not None)


def _from_row(tape: Tape, row: Row) -> Item:
    """A member whose headers are lost."""
    member = row.member
    entry = Entry(
        member.path,
        member.kind,
        member.mode,
        member.uid,
        member.gid,
        member.size,
        member.mtime_ns,
        member.link,
        member.device,
        segments=row.segments,
    )
    if member.kind is Kind.FILE and entry.data_size != member.stored:
        return Gone(entry)
    found = _found(tape, entry, member.content, member.digest, member.xattrs)
    return Gone(entry) if is_lost(found) else found


def is_lost(found: Found) -> bool:
    """Whether nothing is left of the content of a file that had some."""
    return sum(end - start for start, end in found.lost) == found.entry.data_size > 0
