"""Files written in a thread of their own, and read, past the page cache."""

from __future__ import annotations

import fcntl
import os
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from drunner_vault.uncached import read_at
from drunner_vault.writebehind import BehindFile, WriteBehind

BUFFER = 2 << 20
SIZES = (0, 1, 4095, 4096, 4097, BUFFER - 1, BUFFER, BUFFER + 1, 5 * BUFFER, 5 * BUFFER + 4097)


@pytest.fixture(params=["disk", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A directory on a file system that lies on a disk, as far as this machine has one, and one that knows no disk."""
    if request.param == "disk":
        yield tmp_path
        return
    (tmp_path / "memory").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", tmp_path / "memory"], check=True)
    yield tmp_path / "memory"
    subprocess.run(["umount", tmp_path / "memory"], check=True)


def pieces(data: bytes, seed: int) -> Iterator[bytes]:
    """The same bytes, cut anywhere."""
    cuts = random.Random(seed)
    at = 0
    while at < len(data):
        size = cuts.choice((1, 65_552, 70_001, 1 << 20, 3 << 20))
        yield data[at : at + size]
        at += size


@pytest.mark.parametrize("size", SIZES)
def test_what_is_written_is_what_is_read_whatever_its_size(place: Path, size: int) -> None:
    data = random.Random(size).randbytes(size)
    path = place / "file"
    with WriteBehind() as behind, path.open("xb", buffering=0) as stream:
        file = BehindFile(behind, stream.fileno(), "file")
        for piece in pieces(data, size):
            file.write(piece)
        file.flush()
    assert path.read_bytes() == data
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
        for at in (0, 4096, 4097, BUFFER):
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            assert read_at(fd, BUFFER, at) == data[at : at + BUFFER]
        assert not fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_DIRECT
    finally:
        os.close(fd)


def test_many_files_share_a_thread_and_each_is_finished_in_its_turn(tmp_path: Path) -> None:
    finished: list[int] = []
    with WriteBehind() as behind:
        for number in range(40):
            fd = os.open(tmp_path / str(number), os.O_CREAT | os.O_EXCL | os.O_WRONLY)
            file = BehindFile(behind, fd, str(number))
            file.write(bytes([number]) * (number * 100_003))
            file.finish(lambda fd=fd, number=number: (os.close(fd), finished.append(number)))  # type: ignore[misc]
        behind.settle()
        assert finished == list(range(40))
    for number in range(40):
        assert (tmp_path / str(number)).read_bytes() == bytes([number]) * (number * 100_003)


def test_a_failure_is_told_with_the_name_of_the_file_and_all_are_finished(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", small], check=True)
    closed: list[int] = []
    try:
        with WriteBehind() as behind:
            fds = [os.open(small / name, os.O_CREAT | os.O_WRONLY) for name in "ab"]
            for name, fd in zip("ab", fds, strict=True):
                file = BehindFile(behind, fd, name)
                file.write(bytes(BUFFER - 5))
                file.finish(lambda fd=fd: (os.close(fd), closed.append(fd)))  # type: ignore[misc]
            with pytest.raises(OSError, match="No space left") as caught:
                behind.settle()
            assert caught.value.filename == "b"
        assert closed == fds
    finally:
        subprocess.run(["umount", small], check=True)
