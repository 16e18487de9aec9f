"""What is told at sight is what careful reading finds, and whatever needs care gets it."""

from __future__ import annotations

import io

import pytest

from drunner_vault.errors import DamagedArchive
from drunner_vault.tar import Entry, Kind, Member, TarReader, encode_members
from drunner_vault.tar.familiar import familiar_file

BLOCK = 512
PRECISE = Entry(b"volumes/v/file", Kind.FILE, 0o4755, 1000, 20_000, 700, 1_700_000_000_123_456_700)
PLAIN = Entry(b"f", Kind.FILE, 0o600, size=3, mtime_ns=1_700_000_000 * 10**9)


class Buffered(io.BytesIO):
    """A tar in memory."""

    def window(self) -> tuple[bytes, int]:
        return self.getvalue(), self.tell()

    def skip(self, size: int) -> None:
        self.seek(size, io.SEEK_CUR)


def tar_of(*entries: Entry) -> bytes:
    return b"".join(encode_members((entry, (b"x" * entry.size,)) for entry in entries))


def outcome(source: io.BytesIO) -> list[Member] | str:
    """The members, or why there are none."""
    try:
        return list(TarReader(source))
    except DamagedArchive as error:
        return str(error)


def with_checksum(tar: bytes, at: int) -> bytes:
    """The tar, with the right checksum in the header block at that offset."""
    block = bytearray(tar[at : at + BLOCK])
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return tar[:at] + bytes(block) + tar[at + BLOCK :]


@pytest.mark.parametrize("entry", [PRECISE, PLAIN, PLAIN._replace(size=0), PLAIN._replace(path=b"n" * 100)])
def test_a_plain_file_is_told_at_sight(entry: Entry) -> None:
    tar = tar_of(PLAIN, entry)
    assert familiar_file(tar, 2 * BLOCK) == (entry, BLOCK if entry.mtime_ns % 10**9 == 0 else 3 * BLOCK)
    assert outcome(Buffered(tar)) == outcome(io.BytesIO(tar))


@pytest.mark.parametrize(
    "entry",
    [
        PLAIN._replace(path=b"n" * 101),
        PLAIN._replace(path="gr\u00fcn".encode()),
        PLAIN._replace(uid=1 << 21),
        PLAIN._replace(mtime_ns=-1),
        PLAIN._replace(xattrs={"user.a": b"1"}),
        Entry(b"d", Kind.DIRECTORY, 0o755),
        Entry(b"l", Kind.SYMLINK, link=b"f"),
    ],
)
def test_anything_else_is_read_with_care(entry: Entry) -> None:
    tar = tar_of(entry, PRECISE)
    assert familiar_file(tar, 0) is None
    assert outcome(Buffered(tar)) == outcome(io.BytesIO(tar)) != []


@pytest.mark.parametrize("entry", [PRECISE, PLAIN])
@pytest.mark.parametrize("value", [0x00, 0x20, 0x2D, 0x2F, 0x30, 0x37, 0x38, 0x78, 0x80, 0xFF])
def test_a_header_with_another_byte_means_what_careful_reading_finds(entry: Entry, value: int) -> None:
    tar = tar_of(entry, PLAIN)
    for at in range(len(tar_of(entry)) - 4 * BLOCK + BLOCK):
        changed = tar[:at] + bytes([value]) + tar[at + 1 :]
        for variant in (changed, with_checksum(changed, at - at % BLOCK)):
            assert outcome(Buffered(variant)) == outcome(io.BytesIO(variant)), at


@pytest.mark.parametrize(
    ("at", "field"),
    [
        (100, b"-000001\0"),
        (108, b"-000001\0"),
        (124, b"-0000000001\0"),
        (124, b"0000000_003\0"),
        (100, b"0100644\0"),
        (0, b"name/\0"),
        (0, b"\0name\0"),
    ],
)
def test_fields_that_only_look_like_ours_get_no_further_than_careful_reading(at: int, field: bytes) -> None:
    tar = tar_of(PLAIN)
    tar = with_checksum(tar[:at] + field + tar[at + len(field) :], 0)
    assert outcome(Buffered(tar)) == outcome(io.BytesIO(tar))
    assert familiar_file(tar, 0) is None


def test_a_header_that_is_not_all_in_memory_is_read_with_care() -> None:
    tar = tar_of(PRECISE)
    assert all(familiar_file(tar[:size], 0) is None for size in range(3 * BLOCK))
