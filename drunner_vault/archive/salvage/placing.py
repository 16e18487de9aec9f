"""Where in the tar each surviving frame stands: by the index and the seek table, or by what is right before it."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field

from drunner_vault.archive.layout import MAX_FRAME_CONTENT
from drunner_vault.archive.salvage.survey import Frames

_UNKNOWN = -1


class KnownFrames:
    """Frames as the archive itself tells them, by ascending number; not all need be known.

    offsets: in the stream as it was written. marks: see Frames, 0 where it is not known.
    """

    def __init__(self) -> None:
        self.numbers, self.offsets = array("Q"), array("Q")
        self.sizes, self.contents, self.marks = array("I"), array("I"), array("Q")

    def add(self, number: int, offset: int, size: int, content: int, frame_mark: int) -> None:
        """Note the next frame. Raises ValueError if it cannot be."""
        if content > MAX_FRAME_CONTENT or (self.numbers and number <= self.numbers[-1]):
            raise ValueError("impossible frame")
        self.sizes.append(size)
        self.contents.append(content)
        self.marks.append(frame_mark)
        self.offsets.append(offset)
        self.numbers.append(number)

    def agrees(self, at: int, other: KnownFrames, at_other: int) -> bool:
        """Whether the frame at one place here and that at another place there are the same."""
        return (self.numbers[at], self.offsets[at], self.sizes[at], self.contents[at]) == (
            other.numbers[at_other],
            other.offsets[at_other],
            other.sizes[at_other],
            other.contents[at_other],
        )

    def content_between(self, first: int, last: int) -> int | None:
        """Bytes of content in the frames from number `first` up to, and without, `last`; None if not all are known."""
        at = bisect_left(self.numbers, first)
        count = last - first
        if count < 0 or at + count > len(self.numbers):
            return None
        if count and (self.numbers[at] != first or self.numbers[at + count - 1] != last - 1):
            return None
        return sum(self.contents[at : at + count])


@dataclass
class Stretch:
    """Frames whose places in the tar are known to each other.

    absolute: whether places count from the start of the tar; if not, from somewhere. frames: numbers of surviving
    frames; starts: the place of each; both ascending.
    """

    absolute: bool
    frames: array[int] = field(default_factory=lambda: array("Q"))
    starts: array[int] = field(default_factory=lambda: array("Q"))

    def add(self, number: int, start: int) -> None:
        """Note the next frame."""
        self.frames.append(number)
        self.starts.append(start)

    def end(self, frames: Frames) -> int:
        """Where in the tar its last frame ends."""
        return self.starts[-1] + frames.contents[self.frames[-1]] if self.frames else 0


def place(frames: Frames, known: KnownFrames, *, placed: bool) -> list[Stretch]:
    """All surviving frames, in stretches. placed: whether stream offsets are those at which the frames were written.

    What only looks like a frame of this archive, as it lies inside of one that is lost, is left out.
    """
    numbers = _Numbers(frames, known, placed=placed)
    found = [Stretch(absolute=True)]
    end, stream_end, previous = 0, 0, -1
    for frame in range(len(frames)):
        adjoins = frames.offsets[frame] == stream_end
        number = numbers.of(frame, previous, adjoins=adjoins)
        if number == _UNKNOWN and numbers.is_foreign(frame, adjoins=adjoins):
            continue
        begin = _start(known, previous, number, end if adjoins else None, end)
        if begin is None:
            whole = known.content_between(0, number) if number >= 0 else None
            found.append(Stretch(absolute=whole is not None))
            begin = whole or 0
        found[-1].add(frame, begin)
        end, stream_end, previous = begin + frames.contents[frame], frames.end(frame), number
    return found


def _start(known: KnownFrames, previous: int, number: int, adjoining: int | None, end: int) -> int | None:
    """Where a frame starts in the tar, going by the one before it, which ends at `end`."""
    if number >= 0 and previous != _UNKNOWN:
        between = known.content_between(previous + 1, number)
        if between is not None:
            return end + between
    return adjoining


class _Numbers:
    """Which frame of the archive a surviving one is."""

    def __init__(self, frames: Frames, known: KnownFrames, *, placed: bool) -> None:
        self._frames = frames
        self._known = known
        self._placed = placed
        self._by_mark: dict[int, list[int]] = {}
        if not placed:
            for number, frame_mark in zip(known.numbers, known.marks, strict=True):
                self._by_mark.setdefault(frame_mark, []).append(number)
            self._by_mark.pop(0, None)
        self._last_marked = max((at for at, seen in enumerate(frames.marks) if seen in self._by_mark), default=-1)

    def of(self, frame: int, previous: int, *, adjoins: bool) -> int:
        """The number of a surviving frame in the archive; _UNKNOWN if nothing tells. previous: of the one before it."""
        if (numbers := self._by_mark.get(self._frames.marks[frame])) is not None:
            return next((number for number in numbers[bisect_right(numbers, previous) :]), _UNKNOWN)
        at = self._at_offset(frame)
        if at is not None and (self._placed or not self._known.marks[at]):
            return self._known.numbers[at]
        return previous + 1 if adjoins and previous != _UNKNOWN else _UNKNOWN

    def is_foreign(self, frame: int, *, adjoins: bool) -> bool:
        """Whether what looks like a frame is none of this archive's."""
        if not self._placed:
            return not adjoins and frame < self._last_marked
        offset = self._frames.offsets[frame]
        at = bisect_right(self._known.offsets, offset) - 1
        return at >= 0 and offset < self._known.offsets[at] + self._known.sizes[at]

    def _at_offset(self, frame: int) -> int | None:
        """Where among the known frames one is that had the same offset and sizes."""
        known, frames = self._known, self._frames
        at = bisect_left(known.offsets, frames.offsets[frame])
        if at == len(known.offsets) or known.offsets[at] != frames.offsets[frame]:
            return None
        return at if (known.sizes[at], known.contents[at]) == (frames.sizes[frame], frames.contents[frame]) else None


def anchor(stretches: list[Stretch], frames: Frames, places: Mapping[int, int]) -> list[Stretch]:
    """The same frames, in fewer stretches. places: by number of a frame, where in the tar its first header is, for
    frames that begin with a member the index names."""
    found: list[Stretch] = []
    end = 0
    for stretch in stretches:
        starts = _absolute_starts(stretch, frames, places)
        if starts is None or (starts and starts[0] < end):
            found.append(Stretch(False, stretch.frames, stretch.starts))
            continue
        if found and found[-1].absolute:
            found[-1].frames.extend(stretch.frames)
            found[-1].starts.extend(starts)
        else:
            found.append(Stretch(True, stretch.frames, starts))
        end = max(end, found[-1].end(frames))
    return found


def _absolute_starts(stretch: Stretch, frames: Frames, places: Mapping[int, int]) -> array[int] | None:
    """The places of a stretch's frames from the start of the tar; None if nothing tells."""
    if stretch.absolute:
        return stretch.starts
    for frame, start in zip(stretch.frames, stretch.starts, strict=True):
        if frame in places:
            base = places[frame] - frames.leads[frame] - start
            return array("Q", (base + place for place in stretch.starts)) if base >= 0 else None
    return None
