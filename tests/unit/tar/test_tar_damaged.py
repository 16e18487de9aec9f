"""Tars that lie, are cut short or make no sense are refused, and cost no more than they weigh."""

from __future__ import annotations

import contextlib
import io
import time
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drunner_vault.errors import DamagedArchive
from drunner_vault.tar import END_OF_ARCHIVE, Entry, Kind, Segment, TarReader, encode_members

FILE = Entry(b"file", Kind.FILE, size=700, mtime_ns=1_500_000_000, xattrs={"user.a": b"1"})
SPARSE = Entry(b"sparse", Kind.FILE, size=1 << 20, segments=(Segment(4096, 100), Segment(8192, 100)))
GOOD = b"".join(encode_members([(FILE, (b"x" * 700,)), (SPARSE, (b"y" * 200,))]))


def read(data: bytes) -> list[Entry]:
    tar = TarReader(io.BytesIO(data))
    found = []
    for member in tar:
        found.append(member.entry)
        for _ in tar.content():
            pass
    return found


def block(name: bytes = b"f", flag: bytes = b"0", size: bytes = b"0" * 11 + b"\0", **fields: bytes) -> bytes:
    """One header block with a right checksum."""
    where = {
        "mode": (100, 8),
        "uid": (108, 8),
        "gid": (116, 8),
        "mtime": (136, 12),
        "link": (157, 100),
        "device": (329, 8),
    }
    raw = bytearray(512)
    raw[: len(name)] = name
    for field, (at, length) in where.items():
        default = b"" if field == "link" else b"0" * (length - 1)
        raw[at : at + length] = fields.get(field, default).ljust(length, b"\0")
    raw[124:136] = size
    raw[156:157] = flag
    raw[257:265] = b"ustar\x0000"
    raw[148:156] = b" " * 8
    raw[148:156] = b"%06o\0 " % sum(raw)
    return bytes(raw)


def pax(*records: bytes, size: int | None = None) -> bytes:
    body = b"".join(records)
    length = len(body) if size is None else size
    return block(b"x", b"x", b"%011o\0" % length) + body + bytes(-len(body) % 512)


def record(key: bytes, value: bytes) -> bytes:
    rest = len(key) + len(value) + 3
    length = rest + len(str(rest))
    length += len(str(length)) != len(str(rest))
    return b"%d %s=%s\n" % (length, key, value)


def sparse(*lines: bytes, realsize: bytes = b"1000", data: bytes = b"", version: bytes = b"1") -> bytes:
    text = b"".join(line + b"\n" for line in lines)
    text += bytes(-len(text) % 512)
    content = text + data
    head = pax(
        record(b"GNU.sparse.major", version), record(b"GNU.sparse.minor", b"0"),
        record(b"GNU.sparse.name", b"s"), record(b"GNU.sparse.realsize", realsize),
    )  # fmt: skip
    return head + block(b"GNUSparseFile.0/s", size=b"%011o\0" % len(content)) + content + bytes(-len(content) % 512)


BAD = {
    "nothing at all": b"",
    "not a tar": b"hello" * 1000,
    "one zero block": bytes(512),
    "a zero block, then a member": bytes(512) + block() + END_OF_ARCHIVE,
    "an extended header before nothing": pax(record(b"path", b"x")) + END_OF_ARCHIVE,
    "unknown type": block(flag=b"Z") + END_OF_ARCHIVE,
    "old sparse type": block(flag=b"S") + END_OF_ARCHIVE,
    "contiguous volume header": block(flag=b"V") + END_OF_ARCHIVE,
    "size of letters": block(size=b"notanumber!\0") + END_OF_ARCHIVE,
    "size with a nine": block(size=b"00000000009\0") + END_OF_ARCHIVE,
    "negative size in base 256": block(size=b"\xff" * 12) + END_OF_ARCHIVE,
    "giant size in base 256": block(size=b"\x80" + b"\x7f" * 11) + END_OF_ARCHIVE,
    "owner of letters": block(uid=b"abc") + END_OF_ARCHIVE,
    "device of letters": block(flag=b"3", device=b"abc") + END_OF_ARCHIVE,
    "giant extended header": pax(size=1 << 32),
    "record without length": pax(b"path=x\n") + block() + END_OF_ARCHIVE,
    "record of length 0": pax(b"0 path=x\n") + block() + END_OF_ARCHIVE,
    "record longer than its header": pax(b"99 path=x\n") + block() + END_OF_ARCHIVE,
    "record without an equals sign": pax(b"7 path\n") + block() + END_OF_ARCHIVE,
    "record without a newline": pax(b"10 path=xy") + block() + END_OF_ARCHIVE,
    "record with a signed length": pax(b"+9 path=x\n") + block() + END_OF_ARCHIVE,
    "record with a giant length": pax(b"9" * 30 + b" a=b\n") + block() + END_OF_ARCHIVE,
    "size that is no number": pax(record(b"size", b"1e3")) + block() + END_OF_ARCHIVE,
    "size that is negative": pax(record(b"size", b"-1")) + block() + END_OF_ARCHIVE,
    "size of Arabic digits": pax(record(b"size", "٣".encode())) + block() + END_OF_ARCHIVE,
    "size beyond all disks": pax(record(b"size", b"9" * 21)) + block() + END_OF_ARCHIVE,
    "uid that is no number": pax(record(b"uid", b"0x10")) + block() + END_OF_ARCHIVE,
    "time that is no number": pax(record(b"mtime", b"yesterday")) + block() + END_OF_ARCHIVE,
    "time with two signs": pax(record(b"mtime", b"--1")) + block() + END_OF_ARCHIVE,
    "time without digits": pax(record(b"mtime", b".")) + block() + END_OF_ARCHIVE,
    "sparse of another version": sparse(b"0", version=b"2") + END_OF_ARCHIVE,
    "sparse that is too big for its data": sparse(b"1", b"0", b"512") + END_OF_ARCHIVE,
    "sparse with more data than its map": sparse(b"0", data=b"x" * 512) + END_OF_ARCHIVE,
    "sparse runs that overlap": sparse(b"2", b"0", b"512", b"100", b"512", data=bytes(1024)) + END_OF_ARCHIVE,
    "sparse runs in the wrong order": sparse(b"2", b"800", b"8", b"0", b"8", data=bytes(16)) + END_OF_ARCHIVE,
    "sparse run beyond the end": sparse(b"1", b"990", b"20", data=bytes(20)) + END_OF_ARCHIVE,
    "sparse map of letters": sparse(b"one", b"0", b"8", data=bytes(8)) + END_OF_ARCHIVE,
    "sparse map with negative numbers": sparse(b"1", b"-8", b"8", data=bytes(8)) + END_OF_ARCHIVE,
    "sparse map that never ends": sparse(b"999999999", *[b"1"] * 100) + END_OF_ARCHIVE,
    "sparse map without a size": pax(record(b"GNU.sparse.major", b"1"), record(b"GNU.sparse.minor", b"0"))
    + block()
    + END_OF_ARCHIVE,
    "sparse directory": pax(
        record(b"GNU.sparse.major", b"1"), record(b"GNU.sparse.minor", b"0"), record(b"GNU.sparse.realsize", b"9")
    )
    + block(flag=b"5")
    + END_OF_ARCHIVE,
}


@pytest.mark.parametrize("name", BAD)
def test_what_makes_no_sense_is_refused(name: str) -> None:
    with pytest.raises(DamagedArchive):
        read(BAD[name])


def test_a_good_tar_is_read() -> None:
    assert read(GOOD) == [FILE, SPARSE]


def test_a_tar_cut_short_anywhere_is_refused() -> None:
    for length in range(0, len(GOOD), 37):
        with pytest.raises(DamagedArchive):
            read(GOOD[:length])
    for length in range(len(GOOD) - 1024, len(GOOD), 512):
        with pytest.raises(DamagedArchive):
            read(GOOD[:length])


def test_a_changed_header_is_refused_or_says_the_same() -> None:
    for place in range(512):
        for bit in (1, 0x80):
            changed = bytearray(GOOD)
            changed[1024 + place] ^= bit
            try:
                assert read(bytes(changed)) == [FILE, SPARSE]
            except DamagedArchive:
                continue
            assert 148 <= place < 156, "only the checksum's own padding may differ"


@given(st.binary(max_size=3000))
@settings(deadline=None)
def test_noise_is_refused_and_nothing_else_happens(noise: bytes) -> None:
    with pytest.raises(DamagedArchive):
        read(noise)


@given(st.integers(0, len(GOOD) - 1), st.binary(min_size=1, max_size=40))
@settings(deadline=None)
def test_an_altered_tar_is_read_or_refused(place: int, noise: bytes) -> None:
    with contextlib.suppress(DamagedArchive):
        read(GOOD[:place] + noise + GOOD[place + len(noise) :])


def test_a_claim_costs_nothing_before_it_is_proven() -> None:
    tracemalloc.start()
    for name in ("giant size in base 256", "giant extended header", "sparse map that never ends"):
        with pytest.raises(DamagedArchive):
            read(BAD[name])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20 << 20


def test_a_map_of_many_runs_is_read_in_time_that_grows_with_it() -> None:
    segments = tuple(Segment(number * 8192, 512) for number in range(32_000))
    entry = Entry(b"s", Kind.FILE, size=1 << 30, segments=segments)
    tar = b"".join(encode_members([(entry, (bytes(entry.data_size),))]))
    started = time.monotonic()
    assert read(tar) == [entry]
    assert time.monotonic() - started < 5
