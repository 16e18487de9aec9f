"""The index: a row per member and per frame, in shards, and the root that commits to all of them.

Rows are a pure function of the tar and its frames. So a reader builds its own rows while it reads, and holds the
archive's against them: the index is never believed over the tar. Shards are JSON lines; they wait in a temporary
file until the data has been written, so memory does not grow with the number of members.
"""

from __future__ import annotations

import base64
import json
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import IO, Any

from drunner_vault.archive.digests import digest_of
from drunner_vault.archive.documents import Fields, parse
from drunner_vault.archive.frames import Frame
from drunner_vault.archive.layout import SHARD_BYTES, SHARD_ROWS
from drunner_vault.errors import DamagedArchive
from drunner_vault.tar import Kind, Member

_SPOOL_MEMORY = 8 << 20
_quoted = json.encoder.encode_basestring_ascii  # json.dumps of a text, without looking what it has been given


def member_row(member: Member, digest: str, stored: int, first_frame: int, frames: int) -> bytes:
    """The index row of one member, a JSON line.

    digest: BLAKE3 of the stored data without the sparse map, hex; only for files. stored: bytes of that data.
    first_frame, frames: where that data is; for members without data, where the header is, and 0.
    """
    # put together by hand, as there may be millions: json.dumps of a mapping takes four times as long
    entry, offset, content = member
    path, kind, mode, uid, gid, size, mtime_ns, link, device, xattrs, segments = entry
    middle = end = ""
    if link:
        middle = f",{_text_or_base64('link', link)}"
    if device != (0, 0):
        middle += f',"device":[{device[0]},{device[1]}]'
    if digest:
        middle += f',"size":{size},"blake3":"{digest}","content":{content},"stored":{stored}'
    if segments is not None:
        end = f',"segments":[{",".join(f"[{segment.offset},{segment.size}]" for segment in segments)}]'
    if xattrs:
        # surrogates in their names stand for bytes that are no UTF-8; JSON's \\u escapes carry them
        end += f',"xattrs":{json.dumps(sorted(xattrs), separators=(",", ":"))}'
    return (
        f'{{{_text_or_base64("path", path)},"type":"{kind.value}","mode":{mode},"uid":{uid},"gid":{gid}'
        f',"mtime_ns":{mtime_ns},"offset":{offset}{middle},"frames":[{first_frame},{frames}]{end}}}\n'
    ).encode()


def frame_row(frame: Frame) -> bytes:
    """The index row of one frame, a JSON line."""
    return _line(
        {
            "frame": frame.number,
            "offset": frame.offset,
            "compressed": frame.compressed,
            "content": frame.content,
            "blake3": frame.digest,
            "packed": frame.packed,
        }
    )


def _text_or_base64(key: str, value: bytes) -> str:
    """A byte string in JSON: as text under `key` where it is UTF-8, else in base64 under `key_base64`."""
    try:
        return f'"{key}":{_quoted(value.decode("utf-8"))}'
    except UnicodeDecodeError:
        return f'"{key}_base64":"{base64.b64encode(value).decode()}"'


def _line(row: Mapping[str, Any]) -> bytes:
    return json.dumps(row, separators=(",", ":")).encode() + b"\n"


@dataclass(frozen=True)
class Shard:
    """Some consecutive rows of one sort, and where they lie in the spool."""

    offset: int
    size: int
    rows: int
    digest: str
    first: str
    last: str


def summarize(lines: bytes) -> tuple[int, str, str, str]:
    """Of a shard's lines: how many, their BLAKE3, and the names of the first and the last row."""
    first, last = lines.partition(b"\n")[0], lines.rstrip(b"\n").rpartition(b"\n")[2]
    return lines.count(b"\n"), digest_of(lines), _row_name(first), _row_name(last)


class Spool:
    """JSON lines on their way into shards, or waiting to be compared; a temporary file that has no name."""

    def __init__(self) -> None:
        self._file: IO[bytes] = tempfile.SpooledTemporaryFile(_SPOOL_MEMORY)  # noqa: SIM115 (closed by close)
        self._shards: list[Shard] = []
        self._open: list[bytes] = []  # the lines of the shard that is not closed yet
        self._start = self._size = 0
        self.rows = 0

    def add(self, line: bytes) -> None:
        """Append one row."""
        if self._open and (len(self._open) == SHARD_ROWS or self._size + len(line) > SHARD_BYTES):
            self._close_shard()
        self._open.append(line)
        self._size += len(line)
        self.rows += 1

    def shards(self) -> list[Shard]:
        """All shards, the last one closed."""
        if self._open:
            self._close_shard()
        return self._shards

    def read(self, shard: Shard) -> bytes:
        """The lines of one shard."""
        self._file.seek(shard.offset)
        return self._file.read(shard.size)

    def lines(self) -> Iterator[bytes]:
        """All rows from the start. Nothing may be added afterwards."""
        self.shards()
        self._file.seek(0)
        return iter(self._file)

    def close(self) -> None:
        """Free the temporary file."""
        self._file.close()

    def _close_shard(self) -> None:
        lines = b"".join(self._open)
        first, last = _row_name(self._open[0]), _row_name(self._open[-1])
        self._shards.append(Shard(self._start, self._size, len(self._open), digest_of(lines), first, last))
        self._file.write(lines)
        self._start += self._size
        self._size = 0
        self._open.clear()


def _row_name(line: bytes) -> str:
    """What the root says of a shard's first and last row: its path (or path in base64) or frame number."""
    row = parse(line, "a row of the index", lambda fields: fields.values)
    return str(row.get("path", row.get("path_base64", row.get("frame", ""))))


class IndexCheck:
    """Compares the index that an archive carries, line by line, with rows made while its data was read."""

    def __init__(self, members: Spool, frames: Spool) -> None:
        self._expected = {"members": members.lines(), "frames": frames.lines()}
        self._pending = {"members": b"", "frames": b""}

    def feed(self, sort: str, data: bytes) -> None:
        """Bytes of the shards of one sort, in order. Raises DamagedArchive where they differ from the tar."""
        lines = (self._pending[sort] + data).split(b"\n")
        self._pending[sort] = lines.pop()
        expected = self._expected[sort]
        for line in lines:
            ours = next(expected, b"").rstrip(b"\n")
            if not same_row(line, ours):
                raise DamagedArchive(
                    f"the index disagrees with the tar: it says {line[:200]!r} where the tar has {ours[:200]!r}",
                    "use another copy of the archive",
                )

    def finish(self) -> None:
        """All shards were read. Raises DamagedArchive if the index does not cover the whole tar."""
        for sort, expected in self._expected.items():
            if self._pending[sort] or next(expected, b""):
                raise DamagedArchive(f"the index does not list all {sort}", "use another copy of the archive")


def same_row(line: bytes, ours: bytes) -> bool:
    """Whether a row says all that ours says; a later writer may add keys."""
    if line == ours:
        return True
    try:
        row, expected = json.loads(line), json.loads(ours)
    except (ValueError, RecursionError):
        return False
    return isinstance(row, dict) and all(key in row and row[key] == value for key, value in expected.items())


@dataclass(frozen=True, slots=True)
class MemberRow:
    """One member as the index tells it. path, link: raw bytes. mtime_ns: nanoseconds since 1970. size: of the file,
    holes included. offset, content: where its headers and its stored data are in the tar; stored: bytes of that
    data. digest: BLAKE3 of it, hex, empty for all but files. xattrs: names only."""

    path: bytes
    kind: Kind
    mode: int
    uid: int
    gid: int
    mtime_ns: int
    offset: int
    link: bytes = b""
    device: tuple[int, int] = (0, 0)
    size: int = 0
    digest: str = ""
    content: int = 0
    stored: int = 0
    xattrs: tuple[str, ...] = ()

    @property
    def end(self) -> int:
        """The tar offset right after its last byte; after its first header byte, if it is of a kind without data."""
        return max(self.content + self.stored, self.offset + 1)


def parse_member_row(line: bytes) -> MemberRow:
    """The row that a line of a member shard holds. Raises DamagedArchive if it is none."""
    return parse(line, "a row of the index", _member_row)


def _member_row(row: Fields) -> MemberRow:
    major, minor = row.numbers("device") or (0, 0)
    return MemberRow(
        row.name("path"),
        Kind(row.text("type")),
        row.number("mode"),
        row.number("uid"),
        row.number("gid"),
        row.signed("mtime_ns"),
        row.number("offset"),
        row.name("link"),
        (major, minor),
        row.number("size", 0),
        row.text("blake3", ""),
        row.number("content", 0),
        row.number("stored", 0),
        tuple(str(name) for name in row.values.get("xattrs", ())),
    )
