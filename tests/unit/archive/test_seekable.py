"""Looking into an archive without reading it all."""

from __future__ import annotations

import pytest
from support.archives import PREFIX, file, make, read_all, some_files

from drunner_vault.archive import SeekableArchive, WriterOptions
from drunner_vault.errors import ArchiveError, DamagedArchive
from drunner_vault.tar import Entry, Kind, Segment


def opened(data: bytes) -> SeekableArchive:
    return SeekableArchive(lambda offset, length: data[offset : offset + length], len(data))


def test_every_member_is_found_with_the_content_that_reading_it_all_gives() -> None:
    holes = Entry(
        b"sparse", Kind.FILE, size=9 << 30, segments=(Segment(4096, 200_000 // 512 * 512), Segment(9 << 30, 0))
    )
    data = make([*some_files(300, large=3_000_000), (holes, (bytes(199_680),))])
    archive = opened(data)
    expected = read_all(data)
    rows = {row.path: row for row in archive.member_rows()}
    assert rows.keys() - {b"manifest.json"} == expected.keys()
    for path, content in expected.items():
        member, pieces = archive.read(rows[path])
        assert member.entry.path == path
        assert b"".join(pieces) == content


def test_an_empty_file_can_be_the_last_member() -> None:
    data = make([*some_files(3), (Entry(b"zero", Kind.FILE), ())])
    archive = opened(data)
    *_, row = archive.member_rows()
    assert row.path == PREFIX + b"/zero"
    assert b"".join(archive.read(row)[1]) == b""


def test_one_small_file_of_a_large_archive_takes_a_small_part_of_it() -> None:
    data = make(some_files(100, large=20_000_000))
    fetched: list[int] = []

    def read_at(offset: int, length: int) -> bytes:
        fetched.append(length)
        return data[offset : offset + length]

    archive = SeekableArchive(read_at, len(data))
    row = next(row for row in archive.member_rows() if row.path == PREFIX + b"/f0042")
    b"".join(archive.read(row)[1])
    assert len(fetched) <= 3
    assert sum(fetched) < 2_000_000


def test_the_closing_is_one_read_away_behind_any_padding() -> None:
    data = make(some_files(50, large=20_000_000), options=WriterOptions(threads=1, pad=True))
    reads: list[tuple[int, int]] = []

    def read_at(offset: int, length: int) -> bytes:
        reads.append((offset, length))
        return data[offset : offset + length]

    archive = SeekableArchive(read_at, len(data))
    assert sum(1 for _ in archive.member_rows()) > 50
    assert len(reads) == 2


@pytest.mark.parametrize("where", ["closing", "member shard", "content"])
def test_a_changed_byte_is_noticed_where_it_is_read(where: str) -> None:
    data = bytearray(make(some_files(100, large=1_000_000)))
    archive = opened(bytes(data))
    row = next(row for row in archive.member_rows() if row.path == PREFIX + b"/large")
    shard = next(shard for shard in archive.root.shards if "members" in shard.name)
    place = {
        "closing": archive.locator.offset + 20,
        "member shard": shard.offset + 20,
        "content": 500_000,
    }[where]
    data[place] ^= 1
    with pytest.raises(DamagedArchive):
        b"".join(_reread(bytes(data), row.path))


def _reread(data: bytes, path: bytes) -> list[bytes]:
    archive = opened(data)
    row = next(row for row in archive.member_rows() if row.path == path)
    return list(archive.read(row)[1])


def test_an_archive_cut_anywhere_is_refused() -> None:
    data = make(some_files(5))
    for length in range(0, len(data), 7):
        with pytest.raises(ArchiveError):
            opened(data[:length])


def test_an_archive_of_one_file_and_of_none_can_be_looked_into() -> None:
    for items in ([some_files(0)[0]], [some_files(0)[0], file(b"only", b"x")]):
        assert len(list(opened(make(items)).member_rows())) == 4 + len(items)
