"""The tar as far as it survives: frames in their places, and what is missing between them."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator

from drunner_vault.archive import layout
from drunner_vault.archive.salvage.placing import Stretch
from drunner_vault.archive.salvage.stream import Span
from drunner_vault.archive.salvage.survey import NO_HEADER, Frames
from drunner_vault.errors import DamagedArchive
from drunner_vault.tar import Member, TarReader


class Tape:
    """One stretch of the tar. Positions are those of the stretch."""

    def __init__(self, frames: Frames, stretch: Stretch) -> None:
        self._frames = frames
        self._stretch = stretch
        self.absolute = stretch.absolute

    def read(self, position: int, size: int) -> bytes:
        """Up to `size` bytes, fewer at the end of a frame; none where the tar is lost."""
        at = self._frame_at(position)
        if at is None:
            return b""
        skip = position - self._stretch.starts[at]
        return self._frames.content(self._stretch.frames[at])[skip : skip + size]

    def pieces(self, start: int, end: int) -> Iterator[bytes]:
        """The bytes from `start` to `end`, none of which is lost."""
        while start < end:
            piece = self.read(start, end - start)
            if not piece:
                raise ValueError(f"internal error: byte {start} of the tar is lost")
            start += len(piece)
            yield piece

    def lost(self, start: int, end: int) -> list[Span]:
        """What is missing from `start` to `end`, ascending and apart."""
        found: list[Span] = []
        at = max(0, bisect_right(self._stretch.starts, start) - 1)
        while start < end:
            if at == len(self._stretch.starts) or self._stretch.starts[at] >= end:
                found.append((start, end))
                break
            if start < self._stretch.starts[at]:
                found.append((start, self._stretch.starts[at]))
            start = max(start, self._end(at))
            at += 1
        return found

    def unlike_content(self, start: int, size: int) -> int | None:
        """Where the frames begin that cannot be those of the large member whose content begins at `start`.

        Its content is cut every 1 MiB. Where it is not, frames are missing that nothing told of.
        """
        first = max(0, bisect_right(self._stretch.starts, start) - 1)
        for at in range(first, bisect_left(self._stretch.starts, start + size)):
            begin = self._stretch.starts[at]
            if self._end(at) <= start:
                continue
            expected = min(layout.CONTENT_FRAME, start + size - begin)
            if begin < start or (begin - start) % layout.CONTENT_FRAME or self._end(at) - begin != expected:
                return max(begin, start)
        return None

    def next_header(self, position: int) -> int | None:
        """The first place from `position` on where a frame has its first header."""
        for at in range(max(0, bisect_right(self._stretch.starts, position) - 1), len(self._stretch.starts)):
            lead = self._frames.leads[self._stretch.frames[at]]
            if lead != NO_HEADER and self._stretch.starts[at] + lead >= position:
                return self._stretch.starts[at] + lead
        return None

    def member(self, position: int) -> tuple[Member, int] | None:
        """The member whose first header is at `position`, and where its content begins; None if there is none."""
        source = _From(self, position)
        try:
            member = next(iter(TarReader(source)), None)
        except (DamagedArchive, ValueError):
            return None
        if member is None or layout.place_rank(member.entry.path) is None:
            return None
        return member, position + member.content

    def _frame_at(self, position: int) -> int | None:
        at = bisect_right(self._stretch.starts, position) - 1
        return at if at >= 0 and position < self._end(at) else None

    def _end(self, at: int) -> int:
        return self._stretch.starts[at] + self._frames.contents[self._stretch.frames[at]]


class _From:
    """The tape from a position on, for a tar reader."""

    def __init__(self, tape: Tape, position: int) -> None:
        self._tape = tape
        self._position = position

    def read(self, size: int) -> bytes:
        """Up to `size` bytes, none where the tar is lost."""
        data = self._tape.read(self._position, size)
        self._position += len(data)
        return data
