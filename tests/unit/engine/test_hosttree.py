"""Reading a directory that changes meanwhile, and writing one that must not be left."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from support.processes import open_files

from drunner_vault.engine.hosttree import reader as hostreader
from drunner_vault.engine.hosttree import writer as hostwriter
from drunner_vault.engine.hosttree.reader import TreeReader, stored_bytes
from drunner_vault.engine.hosttree.writer import TreeWriter, remove_below, remove_tree
from drunner_vault.errors import NoSpace, NotFound, StorageError
from drunner_vault.tar import Entry, Kind, Segment

Reports = list[tuple[bytes, str]]
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="owners and devices need root")


@pytest.fixture
def reports() -> Reports:
    return []


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "root"
    path.mkdir()
    return path


def reader(root: Path, reports: Reports) -> TreeReader:
    return TreeReader(root, lambda path, problem: reports.append((path, problem)), lambda path, text: None)


def read_all(root: Path, reports: Reports) -> dict[bytes, tuple[Entry, bytes]]:
    return {entry.path: (entry, b"".join(content)) for entry, content in reader(root, reports)}


def changing(root: Path, reports: Reports, name: bytes, change: Callable[[], object]) -> dict[bytes, bytes]:
    """The tree, read while ``change`` is made in the middle of the file ``name``, or before it is looked at."""
    found: dict[bytes, bytes] = {}
    for entry, content in reader(root, reports):
        pieces = iter(content)
        data = bytearray()
        if entry.path == name:
            data += next(pieces)
            change()
        for piece in pieces:
            data += piece
        found[entry.path] = bytes(data)
    return found


def test_names_come_in_byte_order_with_the_root_first(root: Path, reports: Reports) -> None:
    for name in ("b", "a.txt", "a", "Z", "\udcff"):
        (root / name).touch()
    (root / "a-dir").mkdir()
    (root / "a-dir/x").touch()
    order = [entry.path for entry, _ in reader(root, reports)]
    assert order == [b"", b"Z", b"a", b"a-dir", b"a-dir/x", b"a.txt", b"b", b"\xff"]
    assert reports == []


def test_a_file_that_shrinks_is_filled_with_zeros_and_named_once(root: Path, reports: Reports) -> None:
    (root / "f").write_bytes(b"x" * (5 << 20))
    found = changing(root, reports, b"f", lambda: os.truncate(root / "f", 2 << 20))
    assert found[b"f"] == b"x" * (2 << 20) + bytes(3 << 20)
    assert [path for path, _ in reports] == [b"f"]
    assert "shrank" in reports[0][1]


def test_a_file_that_shrinks_within_a_hole_is_named(root: Path, reports: Reports) -> None:
    with (root / "f").open("wb") as stream:
        stream.write(b"x" * 100_000)
        stream.truncate(10 << 20)
    changing(root, reports, b"f", lambda: os.truncate(root / "f", 200_000))
    assert [path for path, _ in reports] == [b"f"]


def test_a_file_that_grows_is_cut_and_named(root: Path, reports: Reports) -> None:
    (root / "f").write_bytes(b"x" * (2 << 20))

    def grow() -> None:
        with (root / "f").open("ab") as stream:
            stream.write(b"more")

    found = changing(root, reports, b"f", grow)
    assert found[b"f"] == b"x" * (2 << 20)
    assert "grew" in reports[0][1]


def test_what_vanishes_is_named_and_the_rest_is_read(root: Path, reports: Reports) -> None:
    (root / "a").write_bytes(b"x" * (2 << 20))
    (root / "b").touch()
    (root / "c").mkdir()
    (root / "d").symlink_to("a")
    (root / "e").write_text("stays")

    def vanish() -> None:
        (root / "b").unlink()
        (root / "c").rmdir()
        (root / "d").unlink()

    found = changing(root, reports, b"a", vanish)
    assert set(found) == {b"", b"a", b"e"}
    assert [(path, "vanished" in problem) for path, problem in reports] == [(b"b", True), (b"c", True), (b"d", True)]


def test_a_directory_replaced_by_a_link_is_not_followed(root: Path, reports: Reports, tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret/key").write_text("secret")
    (root / "a").write_bytes(b"x" * (2 << 20))
    (root / "b").mkdir()

    def swap() -> None:
        (root / "b").rmdir()
        (root / "b").symlink_to(tmp_path / "secret")

    assert b"b/key" not in changing(root, reports, b"a", swap)


def test_a_pipe_in_the_place_of_a_file_does_not_hold_us_up(root: Path, reports: Reports) -> None:
    (root / "pipe").write_text("a file, at first")
    original = os.open

    def swap_before(path: object, flags: int, **options: object) -> int:
        if path == b"pipe" and (root / "pipe").is_file():
            (root / "pipe").unlink()
            os.mkfifo(root / "pipe")
        return original(path, flags, **options)  # type: ignore[no-any-return, call-overload]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "open", swap_before)
        found = read_all(root, reports)
    assert {path: entry.kind for path, (entry, _) in found.items()} == {b"": Kind.DIRECTORY, b"pipe": Kind.FIFO}
    assert reports == []


def test_a_link_is_never_made_to_another_files_content(root: Path, reports: Reports) -> None:
    """A file is replaced after it was listed and before it is opened: its old other name keeps the old content."""
    (root / "a").write_text("old")
    (root / "z").hardlink_to(root / "a")
    original = os.open

    def swap_before(path: object, flags: int, **options: object) -> int:
        if path == b"a":
            (root / "new").write_text("new")
            (root / "new").replace(root / "a")
        return original(path, flags, **options)  # type: ignore[no-any-return, call-overload]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "open", swap_before)
        found = read_all(root, reports)
    assert (found[b"a"][1], found[b"z"][0].kind, found[b"z"][1]) == (b"new", Kind.FILE, b"old")


def test_bytes_that_cannot_be_read_are_zeros_and_named_once(
    root: Path, reports: Reports, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "f").write_bytes(b"x" * (4 << 20))

    def broken(original: Any, fd: int, what: object, at: int, *flags: int) -> object:
        if 1 << 20 <= at < 3 << 20:
            raise OSError(errno.EIO, "Input/output error")
        return original(fd, what, at, *flags)

    for name in ("pread", "preadv"):
        monkeypatch.setattr(os, name, partial(broken, getattr(os, name)))
    content = read_all(root, reports)[b"f"][1]
    assert content == b"x" * (1 << 20) + bytes(2 << 20) + b"x" * (1 << 20)
    assert [("Input/output error" in problem, path) for path, problem in reports] == [(True, b"f")]


def test_a_root_that_is_missing_is_an_error(tmp_path: Path, reports: Reports) -> None:
    with pytest.raises(NotFound):
        read_all(tmp_path / "missing", reports)
    with pytest.raises(NotFound), TreeWriter(tmp_path / "missing", lambda path, problem: None):
        pass


def test_reading_leaves_no_file_open(root: Path, reports: Reports) -> None:
    (root / "a/b/c").mkdir(parents=True)
    (root / "a/b/c/f").write_text("x")
    before = open_files()
    for stop_at in range(6):
        items = iter(reader(root, reports))
        for _ in range(stop_at):
            next(items, None)
        items.close()  # type: ignore[attr-defined]
    assert open_files() == before


def test_too_many_runs_are_merged_where_the_holes_are_smallest(
    root: Path, reports: Reports, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hostreader, "_MAX_RUNS", 10)
    with (root / "f").open("wb") as stream:
        for number in range(100):
            stream.seek(number * 8192)
            stream.write(b"x" * 4096)
        stream.seek(100 << 20)
        stream.write(b"far away")
    expected = (root / "f").read_bytes()
    ((entry, data),) = [item for path, item in read_all(root, reports).items() if path]
    assert entry.segments is not None
    assert len(entry.segments) == 2
    assert len(data) == entry.data_size < 2 << 20
    rebuilt = bytearray(entry.size)
    at = 0
    for segment in entry.segments:
        rebuilt[segment.offset : segment.offset + segment.size] = data[at : at + segment.size]
        at += segment.size
    assert rebuilt == expected


def write(root: Path, *items: tuple[Entry, bytes], reports: Reports | None = None) -> None:
    with TreeWriter(
        root, lambda path, problem: (reports if reports is not None else []).append((path, problem))
    ) as out:
        for entry, data in items:
            out.write(entry, (data,) if data else ())


def test_times_of_directories_outlast_what_is_written_into_them(root: Path) -> None:
    write(
        root,
        (Entry(b"", Kind.DIRECTORY, 0o700, os.geteuid(), os.getegid(), mtime_ns=1), b""),
        (Entry(b"d", Kind.DIRECTORY, 0o500, os.geteuid(), os.getegid(), mtime_ns=2), b""),
        (Entry(b"d/e", Kind.DIRECTORY, 0o700, os.geteuid(), os.getegid(), mtime_ns=3), b""),
        (Entry(b"d/f", Kind.FILE, 0o600, os.geteuid(), os.getegid(), size=1, mtime_ns=4), b"x"),
        (Entry(b"g", Kind.FILE, 0o600, os.geteuid(), os.getegid(), size=1, mtime_ns=5), b"x"),
    )
    times = [(root / name).stat().st_mtime_ns for name in (".", "d", "d/e", "d/f", "g")]
    assert times == [1, 2, 3, 4, 5]
    assert (root / "d").stat().st_mode & 0o777 == 0o500


def test_a_write_that_fails_says_why(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(fd: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    before = open_files()
    with pytest.raises(NoSpace, match="No space left"):
        write(root, (Entry(b"f", Kind.FILE, size=1), b"x"))
    assert open_files() == before


def test_a_refused_attribute_is_reported_and_a_full_disk_is_not_taken_for_one(
    root: Path, reports: Reports, monkeypatch: pytest.MonkeyPatch
) -> None:
    item = (Entry(b"f", Kind.FILE, uid=os.geteuid(), gid=os.getegid(), xattrs={"user.a": b"1"}), b"")

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "setxattr", refuse)
    write(root, item, reports=reports)
    assert [(path, "user.a" in problem) for path, problem in reports] == [(b"f", True)]
    (root / "f").unlink()
    monkeypatch.setattr(hostwriter, "_is_full", lambda fd: True)
    with pytest.raises(NoSpace):
        write(root, item)


def test_an_error_while_leaving_closes_everything(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = open_files()

    def refuse(fd: object, *_: object, **__: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "utime", refuse)
    with pytest.raises(StorageError, match="not permitted"):
        write(root, (Entry(b"a", Kind.DIRECTORY), b""), (Entry(b"a/b", Kind.DIRECTORY), b""))
    assert open_files() == before


def test_data_runs_go_where_they_belong(root: Path) -> None:
    entry = Entry(
        b"f", Kind.FILE, uid=os.geteuid(), gid=os.getegid(), size=1_000_000,
        segments=(Segment(0, 3), Segment(500_000, 5), Segment(1_000_000, 0)),
    )  # fmt: skip
    with TreeWriter(root, lambda path, problem: None) as out:
        out.write(entry, iter([b"ab", b"cde", b"fgh"]))
    content = (root / "f").read_bytes()
    assert (content[:3], content[500_000:500_005], len(content)) == (b"abc", b"defgh", 1_000_000)
    assert content.count(0) == 1_000_000 - 8


@pytest.fixture
def nested(tmp_path: Path) -> Iterator[Path]:
    """Directories 1500 deep, with files, hidden ones, and links that lead out."""
    root = tmp_path / "nested"
    root.mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/precious").write_text("precious")
    fd = os.open(root, os.O_RDONLY)
    for _ in range(1500):
        os.symlink(tmp_path / "outside", "link", dir_fd=fd)
        os.close(os.open(".hidden\udcff", os.O_CREAT, dir_fd=fd))
        os.mkdir("deeper", dir_fd=fd)
        inner = os.open("deeper", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = inner
    os.close(fd)
    yield root
    if root.exists():
        remove_tree(root)


def test_a_deep_tree_is_measured_emptied_and_removed(nested: Path, tmp_path: Path) -> None:
    assert stored_bytes(nested) > 0
    remove_below(nested)
    assert list(nested.iterdir()) == []
    remove_tree(nested)
    assert not nested.exists()
    assert (tmp_path / "outside/precious").read_text() == "precious"


def test_a_deep_tree_is_read_and_written(nested: Path, tmp_path: Path, reports: Reports) -> None:
    (tmp_path / "copy").mkdir()
    with TreeWriter(tmp_path / "copy", lambda path, problem: None) as out:
        for entry, content in reader(nested, reports):
            out.write(entry, content)
    assert reports == []
    paths = [entry.path for entry, _ in reader(tmp_path / "copy", reports)]
    assert paths == [entry.path for entry, _ in reader(nested, reports)]
    remove_tree(tmp_path / "copy")
