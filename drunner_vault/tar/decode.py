"""Tar bytes to entries: a strict, streaming reader of PAX tars, with what Docker and GNU tar write.

Knows ustar, PAX records, GNU long names, base-256 numbers and sparse format 1.0. Everything is
checked before anything is believed: header checksums, numbers, record lengths, and that the tar ends with two
zero blocks, since a tar cut between members looks whole to most readers.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple, Protocol, runtime_checkable

from drunner_vault.errors import DamagedArchive
from drunner_vault.tar.encode import BLOCK, SPACES, ZERO_BLOCK, byte_sum
from drunner_vault.tar.entry import Entry, Kind, Segment
from drunner_vault.tar.familiar import familiar_file

_KINDS = {
    b"0": Kind.FILE,
    b"\0": Kind.FILE,
    b"7": Kind.FILE,
    b"1": Kind.HARDLINK,
    b"2": Kind.SYMLINK,
    b"3": Kind.CHARACTER,
    b"4": Kind.BLOCK,
    b"5": Kind.DIRECTORY,
    b"6": Kind.FIFO,
}
_EXTENDED_LIMIT = 8 << 20
_SPARSE_MAP_LIMIT = 16 << 20
_CHUNK = 1 << 20
_XATTR = b"SCHILY.xattr."
_ASCII_DIGITS = frozenset(b"0123456789")
_OCTAL_DIGITS = frozenset(b"01234567")
_MAX_ID = (1 << 32) - 2  # the number above it tells chown to change nothing
_MAX_DEVICE = (1 << 32) - 1
_MAX_SECONDS = 1 << 63


class Source(Protocol):
    """Where tar bytes come from."""

    def read(self, size: int, /) -> bytes:
        """Up to `size` bytes, at least one unless the end is reached."""


@runtime_checkable
class WindowedSource(Source, Protocol):
    """One that has bytes in memory, where a reader may look at what comes next."""

    def window(self) -> tuple[bytes, int]:
        """Bytes, and from where on they are still to be read: at least one, unless the end is reached."""

    def skip(self, size: int, /) -> None:
        """Take `size` bytes of these as read."""


class Member(NamedTuple):
    """One member of a tar as it was read.

    entry: its path is the member's full name, without a trailing slash. offset: where its first header block
    starts; content: where its stored data starts, after headers and sparse map; both in bytes from the tar's start.
    """

    entry: Entry
    offset: int
    content: int


class TarReader:
    """Iterates the members of a tar. The content of each is there to be read until the next one is asked for."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._windowed = source if isinstance(source, WindowedSource) else None
        self._unread = 0
        self._padding = 0
        self.position = 0

    def __iter__(self) -> Iterator[Member]:
        """Members in order, until the two zero blocks. Raises DamagedArchive where the tar is not well formed."""
        while (member := self._next()) is not None:
            yield member

    def content(self) -> Iterator[bytes]:
        """The stored data of the current member, in pieces of at most 1 MiB; of a file with holes only its runs."""
        while piece := self.piece():
            yield piece

    def piece(self) -> bytes:
        """The next piece of that, none at its end: for the many members that are small, since it is quicker."""
        if not self._unread:
            return b""
        piece = self._source.read(min(self._unread, _CHUNK))
        if not piece:
            raise self._damaged("ends in the middle of a file")
        self._unread -= len(piece)
        self.position += len(piece)
        return piece

    @property
    def end(self) -> int:
        """Where the current member ends, its padding included, once its content has been read."""
        return self.position + self._padding

    def _next(self) -> Member | None:
        """The next member; None after the end marker."""
        if self._unread:
            for _ in self.content():
                pass
        if self._padding:
            self._exactly(self._padding)
        return (self._windowed and self._familiar(self._windowed)) or self._unfamiliar()

    def _familiar(self, source: WindowedSource) -> Member | None:
        """The next member, if it is told at sight."""
        found = familiar_file(*source.window())
        if found is None:
            return None
        entry, size = found
        source.skip(size)
        offset, self.position = self.position, self.position + size
        self._unread, self._padding = entry.size, -entry.size % BLOCK
        return Member(entry, offset, self.position)

    def _unfamiliar(self) -> Member | None:
        """The next member, whatever it is; None after the end marker."""
        offset = self.position
        room = _EXTENDED_LIMIT
        records: dict[bytes, bytes] = {}
        while True:
            block = self._exactly(BLOCK)
            if block == ZERO_BLOCK:
                self._end_marker(bool(records))
                return None
            _check_sum(block, self.position - BLOCK)
            flag = block[156:157]
            if flag not in (b"x", b"L", b"K"):
                return self._member(block, records, offset)
            body = self._extended_body(block, room)
            room -= len(body)
            if flag == b"x":
                records |= self._parse_records(body)
            else:
                records[b"path" if flag == b"L" else b"linkpath"] = body.rstrip(b"\0")

    def _end_marker(self, pending: bool) -> None:
        if pending or self._exactly(BLOCK) != ZERO_BLOCK:
            raise self._damaged("has a zero block where a member should be")

    def _extended_body(self, block: bytes, room: int) -> bytes:
        """An extended header of at most `room` bytes."""
        size = self._number(block[124:136])
        if size > room:
            raise self._damaged(f"has extended headers of more than {_EXTENDED_LIMIT} bytes before one member")
        return self._exactly(size + -size % BLOCK)[:size]

    def _member(self, block: bytes, records: dict[bytes, bytes], offset: int) -> Member:
        """The entry that a header block and its records describe; leaves the source at the start of its data."""
        flag = block[156:157]
        if flag not in _KINDS:
            raise self._damaged(f"has a member of unknown type {flag!r}")
        kind = _KINDS[flag]
        stored = int(records[b"size"]) if b"size" in records else self._number(block[124:136])
        if kind is not Kind.FILE:
            stored = 0
        name = records.get(b"GNU.sparse.name") or records.get(b"path") or _ustar_name(block)
        if kind is Kind.FILE and name.endswith(b"/"):
            kind = Kind.DIRECTORY
        segments, map_size = self._sparse(records, stored)
        self._unread = stored - map_size
        self._padding = -stored % BLOCK
        entry = Entry(
            name.rstrip(b"/"),
            kind,
            self._number(block[100:108]) & 0o7777,
            int(records[b"uid"]) if b"uid" in records else self._number(block[108:116]),
            int(records[b"gid"]) if b"gid" in records else self._number(block[116:124]),
            int(records[b"GNU.sparse.realsize"]) if segments is not None else stored,
            self._mtime(block, records),
            _link(block, records, kind),
            self._device(block, kind),
            _xattrs(records),
            segments,
        )
        self._check_ranges(entry)
        return Member(entry, offset, self.position)

    def _check_ranges(self, entry: Entry) -> None:
        """Refuse what no file system could have, before somebody hands it to one."""
        if entry.uid > _MAX_ID or entry.gid > _MAX_ID or max(entry.device) > _MAX_DEVICE:
            raise self._damaged("has an owner or a device number that is out of range")
        if not -_MAX_SECONDS <= entry.mtime_ns // 10**9 < _MAX_SECONDS:
            raise self._damaged("has a time that is out of range")
        if b"\0" in entry.path or b"\0" in entry.link or (entry.xattrs and any("\0" in name for name in entry.xattrs)):
            raise self._damaged("has a zero byte in a name")

    def _mtime(self, block: bytes, records: dict[bytes, bytes]) -> int:
        if b"mtime" not in records:
            return self._number(block[136:148]) * 10**9
        return _nanoseconds(records[b"mtime"])

    def _device(self, block: bytes, kind: Kind) -> tuple[int, int]:
        if kind not in (Kind.CHARACTER, Kind.BLOCK):
            return (0, 0)
        return (self._number(block[329:337]), self._number(block[337:345]))

    def _sparse(self, records: dict[bytes, bytes], stored: int) -> tuple[tuple[Segment, ...] | None, int]:
        """The data runs of a file with holes, and how many bytes of the content their map took."""
        if b"GNU.sparse.major" not in records:
            return None, 0
        if (records[b"GNU.sparse.major"], records.get(b"GNU.sparse.minor")) != (b"1", b"0"):
            raise self._damaged("has a file with holes in a form other than GNU sparse 1.0")
        numbers: list[int] = []
        started = b""
        size = 0
        while not numbers or len(numbers) < 1 + 2 * numbers[0]:
            if size >= min(stored, _SPARSE_MAP_LIMIT):
                raise self._damaged("has a sparse map that does not end")
            *lines, started = (started + self._exactly(BLOCK)).split(b"\n")
            numbers += [_decimal(line) for line in lines]
            size += BLOCK
        return self._segments(numbers, records, stored - size), size

    def _segments(self, numbers: list[int], records: dict[bytes, bytes], data: int) -> tuple[Segment, ...]:
        pairs = numbers[1 : 1 + 2 * numbers[0]]
        segments = tuple(Segment(pairs[i], pairs[i + 1]) for i in range(0, len(pairs), 2))
        end = 0
        for segment in segments:
            if segment.offset < end:
                raise self._damaged("has a sparse map whose runs overlap")
            end = segment.offset + segment.size
        if end > _decimal(records.get(b"GNU.sparse.realsize", b"")) or sum(s.size for s in segments) != data:
            raise self._damaged("has a sparse map that does not fit its file")
        return segments

    def _number(self, field: bytes) -> int:
        number = _ustar_number(field)
        if number is None:
            raise self._damaged(f"has {field!r} where a number should be")
        return number

    def _parse_records(self, body: bytes) -> dict[bytes, bytes]:
        """PAX records: each its length, a space, key=value, a newline."""
        records: dict[bytes, bytes] = {}
        at = 0
        while at < len(body):
            space = body.find(b" ", at, at + 20)
            if space < 0 or not _ASCII_DIGITS.issuperset(body[at:space]) or space == at:
                raise self._damaged("has a malformed extended header")
            end = at + int(body[at:space])
            key, equals, value = body[space + 1 : end - 1].partition(b"=")
            if end > len(body) or end <= space + 1 or body[end - 1 : end] != b"\n" or not equals:
                raise self._damaged("has a malformed extended header")
            if key in (b"size", b"uid", b"gid", b"GNU.sparse.realsize"):
                _decimal(value)
            records[key] = value
            at = end
        return records

    def _exactly(self, size: int) -> bytes:
        """The next `size` bytes."""
        data = self._source.read(size) if size else b""
        if len(data) < size:
            pieces = [data]
            missing = size - len(data)
            while missing and (piece := self._source.read(missing)):
                pieces.append(piece)
                missing -= len(piece)
            if missing:
                raise self._damaged("ends too early, without its end marker")
            data = b"".join(pieces)
        self.position += size
        return data

    def _damaged(self, what: str) -> DamagedArchive:
        return DamagedArchive(f"the tar {what}, near byte {self.position}", "use another copy of the archive")


@lru_cache(maxsize=4096)  # owners, modes and small sizes are the same again and again
def _ustar_number(field: bytes) -> int | None:
    """A ustar number: octal, or base 256 where the first bit is set; None for anything else, negative ones too."""
    if field[0] & 0x80:
        return None if field[0] & 0x40 else int.from_bytes(bytes([field[0] & 0x7F]) + field[1:], "big")
    text = field.rstrip(b"\0 ").lstrip(b" ")
    return int(text or b"0", 8) if _OCTAL_DIGITS.issuperset(text) else None


def _check_sum(block: bytes, at: int) -> None:
    stated = block[148:156].rstrip(b"\0 ").lstrip(b" ")
    actual = byte_sum(block) - byte_sum(block[148:156]) + SPACES
    if not stated or not _OCTAL_DIGITS.issuperset(stated) or int(stated, 8) != actual:
        raise DamagedArchive(
            f"the tar has a header with a wrong checksum at byte {at}", "use another copy of the archive"
        )


def _ustar_name(block: bytes) -> bytes:
    name = block[:100].split(b"\0", 1)[0]
    prefix = block[345:500].split(b"\0", 1)[0] if block[257:263] == b"ustar\0" else b""
    return prefix + b"/" + name if prefix else name


def _link(block: bytes, records: dict[bytes, bytes], kind: Kind) -> bytes:
    if kind not in (Kind.SYMLINK, Kind.HARDLINK):
        return b""
    return records.get(b"linkpath") or block[157:257].split(b"\0", 1)[0]


def _xattrs(records: dict[bytes, bytes]) -> dict[str, bytes]:
    found = {}
    for key, value in records.items():
        if key.startswith(_XATTR):
            name = key[len(_XATTR) :].decode("utf-8", "surrogateescape")
            found[name.replace("%3D", "=").replace("%25", "%")] = value
    return found


def _nanoseconds(text: bytes) -> int:
    """A PAX time in nanoseconds; digits beyond the ninth are cut."""
    sign = -1 if text.startswith(b"-") else 1
    whole, _, fraction = text.removeprefix(b"-").partition(b".")
    return sign * (_decimal(whole) * 10**9 + _decimal((fraction + b"000000000")[:9]))


def _decimal(text: bytes) -> int:
    if not text or len(text) > 20 or not _ASCII_DIGITS.issuperset(text):
        raise DamagedArchive(f"the tar has {text[:40]!r} where a number should be", "use another copy of the archive")
    return int(text)
