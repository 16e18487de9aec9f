"""Entries to tar bytes: POSIX.1-2001 (PAX) headers as pure functions of the entry.

Records are written only where the ustar block cannot say the same, and in sorted order, so that equal entries give
equal bytes. Files with holes use GNU sparse format 1.0. ACLs are written twice: as the raw attribute, for readers
that copy attributes, and as SCHILY.acl text, for readers that know ACLs only.
Sources: POSIX.1-2017 pax, GNU tar manual appendix "Storing Sparse Files", libacl's text form.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import NamedTuple
from zlib import adler32

from drunner_vault.tar.entry import Entry, Kind, Segment

BLOCK = 512
ZERO_BLOCK = bytes(BLOCK)
END_OF_ARCHIVE = ZERO_BLOCK * 2

_TYPE_FLAG = {
    Kind.FILE: b"0",
    Kind.HARDLINK: b"1",
    Kind.SYMLINK: b"2",
    Kind.CHARACTER: b"3",
    Kind.BLOCK: b"4",
    Kind.DIRECTORY: b"5",
    Kind.FIFO: b"6",
}
_OCTAL_7 = 0o7777777
OCTAL_11 = 0o77777777777  # the most that eleven octal digits hold: seconds, and bytes of content
_NAME_SIZE = 100
SPACES = 8 * 0x20  # what a header's checksum counts its own field as
ACL_XATTRS = {"system.posix_acl_access": "SCHILY.acl.access", "system.posix_acl_default": "SCHILY.acl.default"}


def padding(size: int) -> bytes:
    """The zero bytes that follow `size` bytes of content, up to the next block."""
    return bytes(-size % BLOCK)


def byte_sum(block: bytes) -> int:
    """The sum of the bytes of at most a block, as header checksums count it.

    Of ASCII it is what the first half of Adler-32 counts up from 1, modulo 65521, which 512 such bytes do not reach;
    `sum` takes eight times as long, and this is done twice for each file.
    """
    return (adler32(block) & 0xFFFF) - 1 if block.isascii() else sum(block)


def encode_header(entry: Entry, name: bytes, link: bytes | None = None, *, escaped: bool = True) -> bytes:
    """All header blocks of one member, and for a file with holes also the sparse map that opens its content.

    name: the member's full name in the archive, raw bytes, without a trailing slash. link: the link target as it
    stands in the archive; the entry's own unless given (hard links name another member in full). escaped: whether `%`
    and `=` in names of attributes are written as `%25` and `%3D`, as GNU tar does; Docker takes names as they stand.
    The result is a whole number of blocks.
    """
    _, kind, mode, uid, gid, stored, mtime_ns, own_link, device, _, segments = entry
    target = own_link if link is None else link
    shown = name + b"/" if kind is Kind.DIRECTORY else name
    records = _records(entry, shown, target, escaped)
    sparse_map = b""
    if segments is not None:
        sparse_map = _sparse_map(segments)
        records |= _sparse_records(entry, name)
        records.pop(b"path", None)
        shown = b"GNUSparseFile.0/" + name.rpartition(b"/")[2]
        stored = len(sparse_map) + entry.data_size
    elif kind is not Kind.FILE:
        stored = 0
    if stored > OCTAL_11:
        records[b"size"] = b"%d" % stored
    fields = _fields(_TYPE_FLAG[kind], mode, uid, gid, target, device)
    block = _ustar_block(fields, shown, stored, mtime_ns // 10**9)
    return b"%b%b%b" % (_extended_header(records, shown), block, sparse_map) if records else block


def stored_size(entry: Entry) -> int:
    """Bytes of content a member takes in the tar, a sparse map included and padding not."""
    return (0 if entry.segments is None else len(_sparse_map(entry.segments))) + entry.data_size


def _records(entry: Entry, shown: bytes, target: bytes, escaped: bool) -> dict[bytes, bytes]:
    """The PAX records this entry needs."""
    _, _, _, uid, gid, _, mtime_ns, _, _, xattrs, _ = entry
    records: dict[bytes, bytes] = {}
    if _needs_record(shown):
        records[b"path"] = shown
    if target and _needs_record(target):
        records[b"linkpath"] = target
    if records and not (_is_utf8(shown) and _is_utf8(target)):
        records[b"hdrcharset"] = b"BINARY"
    if mtime_ns % 10**9 or not 0 <= mtime_ns <= OCTAL_11 * 10**9:
        records[b"mtime"] = _decimal_seconds(mtime_ns)
    if uid > _OCTAL_7:
        records[b"uid"] = b"%d" % uid
    if gid > _OCTAL_7:
        records[b"gid"] = b"%d" % gid
    if xattrs:
        records |= _attribute_records(xattrs, escaped)
    return records


def _attribute_records(xattrs: Mapping[str, bytes], escaped: bool) -> dict[bytes, bytes]:
    records: dict[bytes, bytes] = {}
    for attribute, value in xattrs.items():
        keyword = attribute.replace("%", "%25").replace("=", "%3D") if escaped else attribute
        records[b"SCHILY.xattr." + keyword.encode("utf-8", "surrogateescape")] = value
        if attribute in ACL_XATTRS and (text := acl_text(value)):
            records[ACL_XATTRS[attribute].encode()] = text
    return records


def _needs_record(value: bytes) -> bool:
    return len(value) > _NAME_SIZE or not value.isascii()


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _decimal_seconds(nanoseconds: int) -> bytes:
    """Seconds with as many decimals as are needed, as PAX writes times: -1.5 is a second and a half before 1970."""
    if nanoseconds < 0:
        return b"-" + _decimal_seconds(-nanoseconds)
    return (b"%d.%09d" % divmod(nanoseconds, 10**9)).rstrip(b"0").rstrip(b".")


def _sparse_map(segments: tuple[Segment, ...]) -> bytes:
    """GNU sparse 1.0: the count, then offset and size of each run, a decimal a line, padded to a block."""
    numbers: list[int] = [len(segments)]
    for segment in segments:
        numbers += (segment.offset, segment.size)
    text = b"".join(b"%d\n" % number for number in numbers)
    return text + padding(len(text))


def _sparse_records(entry: Entry, name: bytes) -> dict[bytes, bytes]:
    return {
        b"GNU.sparse.major": b"1",
        b"GNU.sparse.minor": b"0",
        b"GNU.sparse.name": name,
        b"GNU.sparse.realsize": b"%d" % entry.size,
    }


def _extended_header(records: dict[bytes, bytes], shown: bytes) -> bytes:
    """The PAX header that carries `records`, at least one. hdrcharset has to come first."""
    ordered = sorted(records, key=_binary_first) if len(records) > 1 else records
    body = b"".join([_record(key, records[key]) for key in ordered])
    name = b"PaxHeaders/" + shown.rstrip(b"/").rpartition(b"/")[2]
    size = len(body)
    return _ustar_block(_EXTENDED, name, size, 0) + body.ljust(size + -size % BLOCK, b"\0")


def _binary_first(keyword: bytes) -> tuple[bool, bytes]:
    return keyword != b"hdrcharset", keyword


def _record(key: bytes, value: bytes) -> bytes:
    """One PAX record: its own length in decimal, counted with itself."""
    rest = len(key) + len(value) + 3
    length = rest + len(str(rest))
    length = rest + len(str(length))  # which may have a digit more
    return b"%d %b=%b\n" % (length, key, value)


def _field(value: bytes) -> bytes:
    """What of a name goes into a 100-byte ustar field: ASCII only, cut; the PAX record has the whole."""
    shown = value[:_NAME_SIZE]
    if not shown.isascii():
        shown = bytes(byte if byte < 0x80 else 0x5F for byte in shown)
    return shown


class _Fields(NamedTuple):
    """Of a ustar header, what many members have in common: what stands between name and size, what follows the
    checksum, and what the latter adds to that, with the checksum's own field as spaces."""

    owner: bytes
    tail: bytes
    checksum: int


@lru_cache(maxsize=256)
def _fields(flag: bytes, mode: int, uid: int, gid: int, target: bytes, device: tuple[int, int]) -> _Fields:
    owner = b"%07o\0%07o\0%07o\0" % (mode, min(uid, _OCTAL_7), min(gid, _OCTAL_7))
    tail = b"%b%bustar\x0000%b%07o\0%07o\0%b" % (
        flag,
        _field(target).ljust(_NAME_SIZE, b"\0"),
        bytes(64),
        *device,
        bytes(167),
    )
    return _Fields(owner, tail, byte_sum(tail) + SPACES)


_EXTENDED = _fields(b"x", 0o644, 0, 0, b"", (0, 0))  # what carries PAX records


def _ustar_block(fields: _Fields, shown: bytes, stored: int, seconds: int) -> bytes:
    """One 512-byte ustar header with its checksum; fields that do not fit are cut, for PAX records to replace."""
    owner, tail, checksum = fields
    stored = min(stored, OCTAL_11)
    if not 0 <= seconds <= OCTAL_11:
        seconds = 0 if seconds < 0 else OCTAL_11
    name = shown if len(shown) <= _NAME_SIZE and shown.isascii() else _field(shown)
    start = b"%b%b%011o\0%011o\0" % (name.ljust(_NAME_SIZE, b"\0"), owner, stored, seconds)
    return b"%b%06o\0 %b" % (start, byte_sum(start) + checksum, tail)


_ACL_VERSION = 2
_ACL_TAGS = {0x01: "user:", 0x02: "user:", 0x04: "group:", 0x08: "group:", 0x10: "mask:", 0x20: "other:"}
_ACL_NAMED = (0x02, 0x08)


def acl_text(raw: bytes) -> bytes:
    """The text form of a raw POSIX ACL attribute, numeric ids, an entry a line; empty if it is not one we know."""
    if len(raw) < 4 or (len(raw) - 4) % 8 or struct.unpack_from("<I", raw)[0] != _ACL_VERSION:
        return b""
    lines = []
    for tag, permissions, identifier in struct.iter_unpack("<HHI", raw[4:]):
        if tag not in _ACL_TAGS:
            return b""
        who = str(identifier) if tag in _ACL_NAMED else ""
        bits = "".join(letter if permissions & bit else "-" for letter, bit in (("r", 4), ("w", 2), ("x", 1)))
        lines.append(f"{_ACL_TAGS[tag]}{who}:{bits}")
    return ("\n".join(lines) + "\n").encode()


def encode_members(members: Iterable[tuple[Entry, Iterable[bytes]]]) -> Iterable[bytes]:
    """A whole tar as a stream of byte strings, from entries whose path is their name, with the end marker."""
    for entry, content in members:
        yield encode_header(entry, entry.path or b".", entry.link)
        yield from content
        yield padding(entry.data_size)
    yield END_OF_ARCHIVE
