"""Trees of so many small files that a process of its own makes them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from support.processes import children, open_files
from support.trees import assert_same_tree, tar_of

from drunner_vault.engine.hosttree.reader import TreeReader
from drunner_vault.engine.hosttree.writer import TreeWriter
from drunner_vault.errors import DamagedArchive, NoSpace, StorageError
from drunner_vault.tar import Entry, Kind

Item = tuple[Entry, Iterable[bytes]]
COUNT = 1500  # in each directory; more than are made directly


def ignore(path: bytes, text: str) -> None:
    raise AssertionError(f"{path!r}: {text}")


def file(path: bytes, data: bytes = b"x") -> Item:
    return Entry(path, Kind.FILE, 0o640, size=len(data), mtime_ns=1_500_000_000_123_456_789), (data,)


def many(prefix: bytes = b"f", data: bytes = b"x") -> Iterator[Item]:
    return (file(b"%b%05d" % (prefix, number), data) for number in range(COUNT))


@pytest.fixture
def target(tmp_path: Path) -> Path:
    (tmp_path / "target").mkdir()
    return tmp_path / "target"


def test_a_large_tree_comes_out_as_it_went_in(tmp_path: Path, target: Path) -> None:
    source = tmp_path / "source"
    for number in range(3):
        inner = source / f"d{number}" / "inner"
        inner.mkdir(parents=True)
        for index in range(COUNT):
            path = (inner if index % 3 else inner.parent) / f"f{index:05d}"
            path.write_bytes(b"%d\n" % index * (index % 900))
            os.chown(path, index % 7, 20_000 + number)
            path.chmod((0o600, 0o4755, 0o2711, 0o444)[index % 4])
            os.utime(path, ns=(index, 10**18 + index))
        (inner / "f00001.link").hardlink_to(inner / "f00001")
        (inner / "symbolic").symlink_to("f00001")
        os.utime(inner, ns=(0, 10**17 + number))
    write(target, TreeReader(source, ignore, ignore))
    assert_same_tree(target, tar_of(source))


def test_a_file_that_is_there_twice_is_refused(target: Path) -> None:
    with pytest.raises(DamagedArchive, match="f00007"):
        write(target, (*many(), *many(b"g"), file(b"f00007")))


def test_a_full_disk_is_said_and_nobody_is_left_running(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    before = children()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", small], check=True)
    try:
        with pytest.raises(NoSpace):
            write(small, (*many(), *many(b"large", b"y" * 60_000)))
        assert children() == before
    finally:
        subprocess.run(["umount", small], check=True)


def test_the_end_of_that_process_is_an_error_like_others(target: Path) -> None:
    before = children()

    def killing() -> Iterator[Item]:
        yield from many()
        (process,) = children() - before
        os.kill(process, signal.SIGKILL)
        yield from many(b"later", b"y" * 10_000)

    with pytest.raises(StorageError):
        write(target, killing())
    assert children() == before


def test_this_process_makes_the_files_where_there_is_no_other(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/no/such/program")
    before = children(), open_files()
    link = Entry(b"z", Kind.HARDLINK, 0o640, mtime_ns=1_500_000_000_123_456_789, link=b"f00001")
    write(target, (*many(), (link, ())))
    assert len(list(target.iterdir())) == COUNT + 1
    assert (children(), open_files()) == before


def test_a_hard_link_may_come_while_that_process_starts(target: Path) -> None:
    items = list(many())
    link = Entry(b"f00400.link", Kind.HARDLINK, 0o640, mtime_ns=1_500_000_000_123_456_789, link=b"f00400")
    write(target, (*items[:401], (link, ()), *items[401:]))
    assert len(list(target.iterdir())) == COUNT + 1
    assert (target / "f00400.link").samefile(target / "f00400")


def test_whatever_ends_the_writing_leaves_no_process_and_no_descriptor(target: Path) -> None:
    def interrupted() -> Iterator[Item]:
        yield from many()
        raise KeyboardInterrupt

    before = children(), open_files()
    with pytest.raises(KeyboardInterrupt):
        write(target, interrupted())
    assert (children(), open_files()) == before


def write(target: Path, items: Iterable[Item]) -> None:
    """All items into the directory."""
    with TreeWriter(target, ignore) as writer:
        for entry, content in items:
            writer.write(entry, content)
