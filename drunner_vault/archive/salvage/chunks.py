"""The chunks of an encrypted archive that still open, and where they now are in the file.

Each chunk of 64 KiB is sealed with its number, so one that opens is where it belongs in the plaintext, wherever it
was found. Where bytes have come or gone, everything behind is shifted: then other places are tried, in bounds.
"""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from drunner_vault.age import CHUNK, SEALED_CHUNK, ChunkCipher, ReadAt
from drunner_vault.archive.salvage.stream import Span

TRIES = 2_000_000  # some 15 microseconds each
_TAG = SEALED_CHUNK - CHUNK
_SECTOR = 512
_FEW = 256
_FAR = 16 << 20
_REMOVED = 1 << 20
_WINDOW = 448 << 10
_WIDE_PROBES = 4


@dataclass
class Run:
    """Chunks `first` and those after it, `count` in all, one behind the other in the file from byte `position`.

    last: sealed size of the last of them. final: whether that is the last chunk of the archive.
    """

    first: int
    position: int
    count: int = 0
    last: int = SEALED_CHUNK
    final: bool = False


class SealedStream:
    """The zstd stream inside the chunks that open. See Stream."""

    placed = True

    def __init__(self, read_at: ReadAt, cipher: ChunkCipher, runs: Sequence[Run]) -> None:
        self._read_at = read_at
        self._cipher = cipher
        self._runs = runs
        self._firsts = [run.first for run in runs]
        self._held = (-1, b"")
        self.spans: Sequence[Span] = _merged((run.first * CHUNK, _plain_end(run)) for run in runs)

    def read(self, offset: int, length: int) -> bytes:
        """See Stream."""
        parts = []
        while length:
            index, skip = divmod(offset, CHUNK)
            part = self._chunk(index)[skip : skip + length]
            parts.append(part)
            offset += len(part)
            length -= len(part)
        return b"".join(parts)

    def _chunk(self, index: int) -> bytes:
        if self._held[0] != index:
            run = self._runs[bisect_right(self._firsts, index) - 1]
            at_end = index == run.first + run.count - 1
            size = run.last if at_end else SEALED_CHUNK
            sealed = self._read_at(run.position + (index - run.first) * SEALED_CHUNK, size)
            plain = self._cipher.open(index, sealed, final=at_end and run.final)
            if not plain:
                raise ValueError(f"internal error: chunk {index} opened before and does not now")
            self._held = index, plain
        return self._held[1]


def _plain_end(run: Run) -> int:
    return (run.first + run.count - 1) * CHUNK + run.last - _TAG


def _merged(spans: Iterable[Span]) -> list[Span]:
    found: list[Span] = []
    for start, end in spans:
        if found and found[-1][1] == start:
            found[-1] = found[-1][0], end
        elif end > start:
            found.append((start, end))
    return found


class ChunkSearch:
    """Finds all chunks of a file that open.

    start: where the first chunk was written. original: the file's size as it was written, if that is known. tries:
    how often a chunk may be tried in places where it was not written.
    """

    def __init__(
        self, read_at: ReadAt, size: int, cipher: ChunkCipher, start: int, original: int | None, tries: int
    ) -> None:
        self._window = _Window(read_at, size)
        self._size = size
        self._cipher = cipher
        self._start = start
        self._original = original
        self._tries = tries
        self._shifts = [0] if original is None else [0, size - original]
        self._runs: list[Run] = []

    def opens_any(self) -> bool:
        """Whether any of a few chunks from all over the file opens: whether this is the right key and start."""
        count = max(0, max(self._size, self._original or 0) - self._start) // SEALED_CHUNK
        probes = sorted({0, 1, 2, count // 4, count // 2, count * 3 // 4, count - 1, count})
        return any(
            self._open(index, self._place(index, shift))[0] for shift in self._shifts for index in probes if index >= 0
        )

    def runs(self) -> list[Run]:
        """All chunks that open, ascending by number."""
        index, shift = 0, 0
        while self._place(index, shift) < self._size and not self._ended():
            if self._take(index, shift):
                index += 1
                continue
            following = self._next_at(index + 1, shift)
            if following == index + 1:
                index = following
                continue
            found = self._shifted(index, following, shift)
            if found is not None:
                probe, shift = found
                for number in range(index, probe):
                    self._take(number, shift)
                index = probe
            elif following is not None:
                index = following
            else:
                break
        if not self._ended() and self._original is None:
            self._take_short_end(index, shift)
        return self._runs

    def _ended(self) -> bool:
        return bool(self._runs) and self._runs[-1].final

    def _place(self, index: int, shift: int) -> int:
        return self._start + index * SEALED_CHUNK + shift

    def _take(self, index: int, shift: int) -> bool:
        """Note a chunk if it opens in its place with everything shifted by so many bytes."""
        place = self._place(index, shift)
        size, final = self._open(index, place)
        if size:
            self._note(index, place, size, final)
        return bool(size)

    def _note(self, index: int, place: int, size: int, final: bool) -> None:
        run = self._runs[-1] if self._runs else None
        if run is None or run.first + run.count != index or run.position + run.count * SEALED_CHUNK != place:
            run = Run(index, place)
            self._runs.append(run)
        run.count += 1
        run.last, run.final = size, final

    def _open(self, index: int, place: int) -> tuple[int, bool]:
        """The sealed size of a chunk that opens there, 0 if it does not, and whether it is the final one."""
        room = self._size - place
        if place < 0 or room <= _TAG:
            return 0, False
        if room >= SEALED_CHUNK and self._try(index, place, SEALED_CHUNK, final=False):
            return SEALED_CHUNK, False
        for size in self._final_sizes(index, room):
            if self._try(index, place, size, final=True):
                return size, True
        return 0, False

    def _final_sizes(self, index: int, room: int) -> Iterator[int]:
        """What the sealed size of this chunk can be if it is the final one: all that is left, or what was written."""
        if room <= SEALED_CHUNK:
            yield room
        written = 0 if self._original is None else self._original - self._place(index, 0)
        if _TAG < written <= SEALED_CHUNK and written < room:
            yield written

    def _try(self, index: int, place: int, size: int, *, final: bool) -> bool:
        return self._cipher.open(index, self._window.bytes(place, size), final=final) is not None

    def _next_at(self, index: int, shift: int) -> int | None:
        """The first chunk from `index` on that opens with this shift."""
        while self._place(index, shift) < self._size:
            if self._open(index, self._place(index, shift))[0]:
                return index
            index += 1
        return None

    def _shifted(self, index: int, following: int | None, shift: int) -> tuple[int, int] | None:
        """Chunks from `index` up to `following` do not open with this shift: a later one, and a shift with which it
        does.

        Places that are likely are always tried. Whole sectors within 16 MiB, all within 64 KiB, and all where up to
        1 MiB is gone, only if nothing else opens in the rest of the file, as that takes seconds.
        """
        probes = list(self._probes(index, following, shift))
        wide, far = (probes[:_WIDE_PROBES], probes[_WIDE_PROBES:][:1]) if following is None else ([], [])
        places = itertools.chain(
            self._known(index, following),
            ((probe, other) for probe in probes for other in _likely(shift)),
            ((probe, other) for probe in wide for other in _sectors(shift)),
            ((probe, other) for probe in wide for other in _all_within_a_chunk(shift)),
            ((probe, shift - distance) for probe in far for distance in range(SEALED_CHUNK, _REMOVED)),
        )
        return next(((probe, other) for probe, other in places if self._opens(probe, other)), None)

    def _known(self, index: int, following: int | None) -> Iterator[tuple[int, int]]:
        """Chunks to look for with shifts that were seen already, or that the file's old size lets expect."""
        for shift in self._shifts:
            first = max(index, -(self._start + shift) // SEALED_CHUNK)
            yield from ((probe, shift) for probe in self._probes(first, following, shift))

    def _probes(self, index: int, following: int | None, shift: int) -> Iterator[int]:
        """Chunks to look for, ever farther away, as those right behind the damage may be gone as well."""
        end = max(self._size, self._original or 0)
        step = 1
        while self._place(index + step, shift) < end and (following is None or index + step < following):
            yield index + step
            step *= 2

    def _opens(self, index: int, shift: int) -> bool:
        self._tries -= 1
        if self._tries < 0 or not self._open(index, self._place(index, shift))[0]:
            return False
        if shift not in self._shifts:
            self._shifts.append(shift)
        return True

    def _take_short_end(self, index: int, shift: int) -> None:
        """The final chunk may have something behind it that does not belong to the file: try all its sizes."""
        place = self._place(index, shift)
        longest = min(self._size - place, SEALED_CHUNK)
        for size in range(longest, _TAG, -1):
            self._tries -= 1
            if self._tries < 0:
                return
            if self._try(index, place, size, final=True):
                self._note(index, place, size, final=True)
                return


def _likely(shift: int) -> Iterator[int]:
    for distance in range(1, _FEW + 1):
        yield shift + distance
        yield shift - distance
    for size, count in ((_SECTOR, CHUNK // _SECTOR), (SEALED_CHUNK, _FEW)):
        yield from range(shift + size, shift + size * (count + 1), size)
        yield from range(shift - size, shift - size * (count + 1), -size)


def _sectors(shift: int) -> Iterator[int]:
    yield from range(shift + CHUNK, shift + _FAR, _SECTOR)
    yield from range(shift - CHUNK, shift - _FAR, -_SECTOR)


def _all_within_a_chunk(shift: int) -> Iterator[int]:
    yield from range(shift + _FEW, shift + SEALED_CHUNK + 1)
    yield from range(shift - _FEW, shift - SEALED_CHUNK - 1, -1)


class _Window:
    """Part of the file in memory, so that neighbouring places can be tried without reading it again."""

    def __init__(self, read_at: ReadAt, size: int) -> None:
        self._read_at = read_at
        self._size = size
        self._start = 0
        self._held = memoryview(b"")

    def bytes(self, offset: int, length: int) -> memoryview:
        """Exactly these bytes, which must lie in the file."""
        if not self._start <= offset <= offset + length <= self._start + len(self._held):
            self._start = max(0, offset - (_WINDOW - length) // 2)
            end = min(self._size, self._start + _WINDOW)
            self._held = memoryview(self._read_at(self._start, end - self._start))
        return self._held[offset - self._start : offset - self._start + length]
