"""Files of which only parts survive: the parts stay where they were, and what is lost becomes a hole."""

from __future__ import annotations

from collections.abc import Iterator

from drunner_vault.archive.salvage.stream import Span
from drunner_vault.tar import Entry, Segment


def surviving(size: int, lost: tuple[Span, ...]) -> Iterator[Span]:
    """What is left of `size` bytes."""
    at = 0
    for start, end in lost:
        if at < start:
            yield at, start
        at = end
    if at < size:
        yield at, size


def in_file(entry: Entry, stored: tuple[Span, ...]) -> list[Span]:
    """Ranges of a file's stored data as ranges of the file, which may have holes. Ascending."""
    runs = (Segment(0, entry.size),) if entry.segments is None else entry.segments
    found: list[Span] = []
    begin = 0
    for run in runs:
        for start, end in stored:
            low, high = max(start, begin), min(end, begin + run.size)
            if low < high:
                found.append((run.offset + low - begin, run.offset + high - begin))
        begin += run.size
    return found


def with_holes(entry: Entry, lost: tuple[Span, ...]) -> Entry:
    """The file with holes where its stored data is lost."""
    spans = in_file(entry, tuple(surviving(entry.data_size, lost)))
    return entry._replace(segments=tuple(Segment(start, end - start) for start, end in spans))
