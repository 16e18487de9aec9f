"""Readers of the published seekable format, which are not ours, read what we write."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from indexed_zstd import IndexedZstdFile
from pyzstd import SeekableZstdFile
from support.archives import make, some_files

from drunner_vault.archive import WriterOptions


@pytest.fixture(params=[True, False], ids=["padded", "not padded"])
def archive(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / "notes.tar.zst"
    path.write_bytes(make(some_files(200, large=3_000_000), options=WriterOptions(threads=1, pad=request.param)))
    return path


def whole_tar(archive: Path) -> bytes:
    return subprocess.run(["zstd", "-dc", str(archive)], capture_output=True, check=True).stdout


def test_zstd_tests_and_lists_it(archive: Path) -> None:
    subprocess.run(["zstd", "-tq", str(archive)], check=True)
    listed = subprocess.run(["zstd", "-l", str(archive)], capture_output=True, text=True, check=True).stdout
    assert "XXH64" in listed


def test_pyzstd_seeks_in_it(archive: Path) -> None:
    tar = whole_tar(archive)
    with SeekableZstdFile(archive) as file:
        for offset in (len(tar) - 600, 2_000_000, 0):
            file.seek(offset)
            assert file.read(500) == tar[offset : offset + 500]


def test_indexed_zstd_seeks_in_it(archive: Path) -> None:
    tar = whole_tar(archive)
    file = IndexedZstdFile(str(archive))
    for offset in (len(tar) - 600, 2_000_000, 0):
        file.seek(offset)
        assert file.read(500) == tar[offset : offset + 500]
    file.close()
