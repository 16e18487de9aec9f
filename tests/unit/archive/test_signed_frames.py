"""A signature vouches for frames before any of them is used."""

from __future__ import annotations

import io

import pytest
from support.archives import file, make, some_files

from drunner_vault.archive import ArchiveReader, SeekableArchive
from drunner_vault.errors import DamagedArchive


def signed_rows(data: bytes) -> list[bytes]:
    archive = SeekableArchive(lambda offset, length: data[offset : offset + length], len(data))
    return list(archive.frame_lines())


def use(data: bytes, rows: list[bytes], given: list[bytes]) -> None:
    """Put into `given` what a reader gives out, as far as it gives any."""
    with ArchiveReader(io.BytesIO(data).read, 1, iter(rows)) as reader:
        for _, content in reader.members():
            given.extend(content)


def used(data: bytes, rows: list[bytes]) -> list[bytes]:
    given: list[bytes] = []
    with pytest.raises(DamagedArchive, match="signed"):
        use(data, rows, given)
    return given


def test_an_archive_is_read_whole_when_its_own_frames_are_signed() -> None:
    data = make(some_files(50, large=2_000_000))
    with ArchiveReader(io.BytesIO(data).read, 1, iter(signed_rows(data))) as reader:
        assert sum(1 for _ in reader.members()) > 50


def test_other_data_behind_a_genuine_signature_is_never_given_out() -> None:
    root = some_files(0)[0]
    genuine, forged = make([root, file(b"a", b"good")]), make([root, file(b"a", b"evil")])
    assert b"evil" not in used(forged, signed_rows(genuine))


def test_data_after_what_was_signed_is_never_given_out() -> None:
    data = make(some_files(50, large=3_000_000))
    rows = signed_rows(data)
    assert all(len(piece) < 1 << 20 for piece in used(data, rows[:-4]))
