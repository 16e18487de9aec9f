"""Which zstd frames of a damaged stream are whole: found by walking from frame to frame, and behind damage by their
magic number.

A frame is taken only if it decodes and its checksum is right. Its own size says where the next one must begin; only
where there is none is every later byte tried.
"""

from __future__ import annotations

import re
from array import array
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from drunner_vault.archive.frames import FRAME_MAGIC, ByteReader, DecodedFrame, RawFrame, decode, walk
from drunner_vault.archive.salvage.stream import Stream, pieces, reading
from drunner_vault.archive.trailer import LOCATOR_MAGIC, PADDING_MAGIC, SEEK_TABLE_MAGIC
from drunner_vault.errors import ArchiveError
from drunner_vault.tar.encode import BLOCK

_SKIPPABLE = {magic.to_bytes(4, "little") for magic in (PADDING_MAGIC, LOCATOR_MAGIC, SEEK_TABLE_MAGIC)}
_MAGIC = re.compile(b"|".join(re.escape(magic) for magic in (FRAME_MAGIC, *sorted(_SKIPPABLE))))
_SKIPPABLE_HEADER = 8
_INDEX_NAME = re.compile(rb"index/[A-Za-z0-9.-]+\Z")
NO_HEADER = -1


@dataclass(frozen=True)
class Skippable:
    """A skippable frame. offset, size: of the whole of it, in the stream."""

    offset: int
    magic: int
    size: int


class Frames:
    """The whole data frames of a stream, in order; their content is decoded again when it is wanted.

    offsets: in the stream. sizes, contents: bytes packed and decoded. marks: the first 8 bytes of the BLAKE3 of the
    packed frame. leads: where in the content the first tar header is, if the frame can begin with one, else NO_HEADER.
    index: by number of the frame, the names of members in `index/` that begin a frame.
    """

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self.offsets, self.sizes, self.contents = array("Q"), array("I"), array("I")
        self.marks, self.leads = array("Q"), array("h")
        self.index: dict[int, bytes] = {}
        self.skippables: list[Skippable] = []
        self._held: OrderedDict[int, bytes] = OrderedDict()

    def __len__(self) -> int:
        return len(self.offsets)

    def end(self, number: int) -> int:
        """Where in the stream a frame ends."""
        return self.offsets[number] + self.sizes[number]

    def content(self, number: int) -> bytes:
        """What a frame holds. The last two are kept."""
        if number not in self._held:
            offset, size = self.offsets[number], self.sizes[number]
            self._held[number] = decode(RawFrame(offset, self._stream.read(offset, size), 0)).content
            if len(self._held) > 2:
                self._held.popitem(last=False)
        self._held.move_to_end(number)
        return self._held[number]

    def add(self, offset: int, frame: DecodedFrame) -> None:
        """Note the next frame."""
        lead, name = first_header(frame.content)
        if lead != NO_HEADER and _INDEX_NAME.match(name):
            self.index[len(self)] = name
        self.offsets.append(offset)
        self.sizes.append(len(frame.raw.data))
        self.contents.append(len(frame.content))
        self.marks.append(mark(frame.packed))
        self.leads.append(lead)

    def drop(self, frames: int, skippables: int) -> None:
        """Forget all but so many frames and skippable frames."""
        for column in (self.offsets, self.sizes, self.contents, self.marks, self.leads):
            del column[frames:]
        del self.skippables[skippables:]
        self.index = {number: name for number, name in self.index.items() if number < frames}


def mark(packed: str) -> int:
    """How a frame is known: the first 64 bits of its packed bytes' BLAKE3, given in hex; 0 for none."""
    return int(packed[:16] or "0", 16)


def first_header(content: bytes) -> tuple[int, bytes]:
    """Where in a frame its first tar header is, and the name in it; NO_HEADER if the frame begins with none.

    A frame begins with a header, with the padding of the member before and then a header, or has none at all.
    """
    start = content[: 2 * BLOCK]
    lead = len(start) - len(start.lstrip(b"\0"))
    block = start[lead : lead + BLOCK]
    if lead >= BLOCK or len(block) < BLOCK or block[257:262] != b"ustar":
        return NO_HEADER, b""
    stated = block[148:156].strip(b"\0 ")
    actual = sum(block) - sum(block[148:156]) + 8 * 0x20
    if not re.fullmatch(rb"[0-7]{1,8}", stated) or int(stated, 8) != actual:
        return NO_HEADER, b""
    return lead, block[:100].rstrip(b"\0")


def survey(stream: Stream, advance: Callable[[int], None]) -> Frames:
    """All whole frames of a stream. advance: told how many bytes of it are done."""
    frames = Frames(stream)
    for start, end in stream.spans:
        _Survey(stream, frames, advance).span(start, end)
    return frames


class _Survey:
    def __init__(self, stream: Stream, frames: Frames, advance: Callable[[int], None]) -> None:
        self._stream = stream
        self._frames = frames
        self._advance = advance
        self._ran_out = False

    def span(self, start: int, end: int) -> None:
        """All whole frames that lie between two offsets."""
        at, searched = start, False
        while at < end:
            before = len(self._frames), len(self._frames.skippables)
            reached, failed = self._walk(at, end)
            if failed and self._stream.placed:
                # Nothing in a span is wrong here, so the archive's own frames end only with it.
                if searched and not self._ran_out:
                    self._frames.drop(*before)  # they were inside a file that a user stored
                elif self._ran_out and not searched:
                    reached, failed = end, False  # all that is left belongs to the frame that is cut
            if failed:
                reached, searched = self._next_magic(reached + 1, end), True
            self._advance(reached - at)
            at = reached

    def _walk(self, start: int, end: int) -> tuple[int, bool]:
        """Take frame after frame; returns where to go on, and whether no frame begins there.

        Sets _ran_out: whether one may begin there, and is cut.
        """
        reader = ByteReader(reading(self._stream, start, end))
        at = start
        self._ran_out = False
        try:
            for item in walk(reader):
                if not isinstance(item, RawFrame):
                    return self._skip(Skippable(at, item.magic, item.size + _SKIPPABLE_HEADER), end)
                following = at + len(item.data)
                try:
                    decoded = decode(item)
                except ArchiveError:
                    # Its blocks may still say truly how long it is. That spares searching in what a user stored,
                    # which may be zstd frames as well.
                    return (following, False) if self._begins_frame(following, end) else (at, True)
                self._frames.add(at, decoded)
                at = following
        except ArchiveError:
            self._ran_out = not reader.at_most(1)
            return at, True
        return at, at < end

    def _skip(self, frame: Skippable, end: int) -> tuple[int, bool]:
        """Pass over a skippable frame, if its size leads to another frame or to the end."""
        following = frame.offset + frame.size
        if following != end and not self._begins_frame(following, end):
            self._ran_out = following > end
            return frame.offset, True
        self._frames.skippables.append(frame)
        return following, False

    def _begins_frame(self, offset: int, end: int) -> bool:
        if offset + 4 > end:
            return False
        return bool(_MAGIC.fullmatch(self._stream.read(offset, 4)))

    def _next_magic(self, start: int, end: int) -> int:
        """Where the next four bytes are that may begin a frame; `end` if there are none."""
        at, before = start, b""
        for piece in pieces(self._stream, start, end):
            data = before + piece
            if match := _MAGIC.search(data):
                return at - len(before) + match.start()
            before, at = data[-3:], at + len(piece)
        return end
