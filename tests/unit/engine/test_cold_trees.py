"""Reading a directory that is on the disk and not in the page cache."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.processes import open_files

from drunner_vault.engine.hosttree.reader import TreeReader
from drunner_vault.uncached import is_cached


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Small files in two directories, a larger one and a link, none of them in the page cache."""
    if not os.major(tmp_path.stat().st_dev):
        pytest.skip("this file system may keep everything in memory")
    for place in ("a", "b"):
        (tmp_path / place).mkdir()
        for number in range(700):
            (tmp_path / place / f"{number:04}").write_bytes(random.Random(number).randbytes(100 + number % 4000))
    (tmp_path / "b" / "large").write_bytes(bytes(3 << 20))
    (tmp_path / "b" / "link").symlink_to("0000")
    os.sync()
    drop(tmp_path)
    return tmp_path


def drop(tree: Path) -> None:
    """Take all files out of the page cache."""
    for path in files(tree):
        fd = os.open(path, os.O_RDONLY)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(fd)


def files(tree: Path) -> Iterator[Path]:
    return (path for path in tree.rglob("*") if path.is_file() and not path.is_symlink())


def cached(tree: Path) -> list[Path]:
    """Files whose beginning is in the page cache. Asking brings it there, so this can be asked once."""
    found = []
    for path in files(tree):
        fd = os.open(path, os.O_RDONLY)
        if is_cached(fd):
            found.append(path)
        os.close(fd)
    return found


def read(tree: Path, stop_after: int = 0) -> dict[str, bytes]:
    complaints: list[object] = []

    def complain(path: bytes, text: str) -> None:
        complaints.append((path, text))

    found = {}
    for number, (entry, content) in enumerate(TreeReader(tree, complain, complain)):
        found[entry.path.decode()] = b"".join(content)
        if number == stop_after > 0:
            break
    assert complaints == []
    return found


def test_what_comes_from_the_disk_is_the_same_and_does_not_stay_in_the_page_cache(tree: Path) -> None:
    found = read(tree)
    kept = [len(cached(tree))]  # of 1,401
    while kept[-1] >= 140 and len(kept) < 5:  # the kernel keeps what it is still busy with; a reader would keep all
        drop(tree)
        read(tree)
        kept.append(len(cached(tree)))
    assert kept[-1] < 140, kept
    assert {name: data for name, data in found.items() if data} == {
        str(path.relative_to(tree)): path.read_bytes() for path in files(tree)
    }
    assert list(found) == sorted(found)


def test_what_was_in_the_page_cache_stays_there(tree: Path) -> None:
    kept = [path for path in files(tree) if path.name.endswith(("3", "7"))]
    for path in kept:
        path.read_bytes()
    read(tree)
    assert len(set(kept) - set(cached(tree))) < 14


def test_nothing_is_left_when_reading_ends_early(tree: Path) -> None:
    before = open_files()
    read(tree, stop_after=300)
    assert open_files() == before
