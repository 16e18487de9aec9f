"""Trees of so many small files that a process of its own reads them from some place on."""

from __future__ import annotations

import itertools
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from support.processes import children, open_files
from support.trees import make_odd_tree

from drunner_vault.engine.hosttree.gatherer import read_tree
from drunner_vault.engine.hosttree.reader import TreeReader
from drunner_vault.engine.trees import Report, TreeItem
from drunner_vault.errors import NotFound, StorageError
from drunner_vault.tar import Entry

COUNT = 3000  # small files; more than are read directly
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="owners, attributes and devices need root")
Read = tuple[Entry, bytes]


class Told(list[tuple[bytes, str]]):
    """What was reported or noted."""

    def tell(self, path: bytes, text: str) -> None:
        self.append((path, text))


def never(path: bytes, text: str) -> None:
    raise AssertionError(f"{path!r}: {text}")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Many small files, and odd things after them."""
    root = tmp_path / "tree"
    (root / "many").mkdir(parents=True)
    for number in range(COUNT):
        (root / "many" / f"f{number:05d}").write_bytes(b"%d" % number * (number % 50))
    return root


def taken(items: Iterable[TreeItem]) -> list[Read]:
    return [(entry, b"".join(content)) for entry, content in items]


def directly(root: Path) -> list[Read]:
    """All of a tree, read by this process."""
    return taken(TreeReader(root, never, never))


def gathered(root: Path) -> list[Read]:
    return taken(read_tree(root, never, never))


def gathered_with(
    root: Path, name: bytes, action: Callable[[], object], report: Report = never, note: Report = never
) -> list[Read]:
    """The same, with something done when the entry of that name has come."""
    found = []
    for entry, content in read_tree(root, report, note):
        if entry.path == name:
            action()
        found.append((entry, b"".join(content)))
    return found


def kill_new(before: set[int]) -> None:
    """End the process that was started since."""
    (process,) = children() - before
    os.kill(process, signal.SIGKILL)


@needs_root
def test_another_process_finds_what_this_one_would(tree: Path) -> None:
    (tree / "odd").mkdir()
    make_odd_tree(tree / "odd", big=False)
    (tree / "odd/special/socket").unlink()
    (tree / "z").hardlink_to(tree / "many/f00001")
    (tree / "zz large").write_bytes(os.urandom(3 << 20))
    assert gathered(tree) == directly(tree)


@needs_root
def test_reading_goes_on_from_any_entry(tmp_path: Path) -> None:
    make_odd_tree(tmp_path, big=False)
    (tmp_path / "special/socket").unlink()
    everything = directly(tmp_path)
    for reached in range(len(everything)):
        first, second = TreeReader(tmp_path, never, never), TreeReader(tmp_path, never, never)
        items = iter(first)
        entries = taken(itertools.islice(items, reached + 1))
        items.close()
        rest = taken(second.after(first.place(entries[-1][0])))
        assert entries + rest == everything


def test_what_vanishes_under_the_place_is_named_and_the_rest_is_read(tmp_path: Path) -> None:
    for name in ("a/b/c", "a/d", "e"):
        (tmp_path / name).mkdir(parents=True)
    reader, told = TreeReader(tmp_path, never, never), Told()
    items = iter(reader)
    place = next(reader.place(entry) for entry, _ in items if entry.path == b"a/b/c")
    items.close()
    (tmp_path / "a/b/c").rmdir()
    (tmp_path / "a/b").rmdir()
    rest = [entry.path for entry, _ in TreeReader(tmp_path, told.tell, never).after(place)]
    assert rest == [b"a/d", b"e"]
    assert told == [(b"a/b", "vanished while it was read")]


def test_reports_and_notes_come_from_there_too(tree: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tree / "many/f09999"))
        (tree / "z").write_bytes(b"x" * (2 << 20))
        reports, notes = Told(), Told()
        found = gathered_with(tree, b"z", lambda: os.truncate(tree / "z", 10), reports.tell, notes.tell)
    assert found[-1][0].path == b"z"
    assert len(found[-1][1]) == 2 << 20
    assert [(path, "shrank" in text) for path, text in reports] == [(b"z", True)]
    assert [(path, "socket" in text) for path, text in notes] == [(b"many/f09999", True)]


def test_larger_files_are_opened_not_long_before_they_are_read(tree: Path) -> None:
    for number in range(300):
        (tree / "many" / f"large{number:03d}").write_bytes(b"x" * 70_000)
    late = tree / "many" / "large200"
    found = {
        entry.path: data
        for entry, data in gathered_with(tree, b"many/large100", lambda: late.write_bytes(b"y" * 70_001))
    }
    assert found[b"many/large200"] == b"y" * 70_001


def test_a_tree_that_is_gone_is_an_error_that_names_it(tree: Path) -> None:
    aside = tree.with_name("aside")
    with pytest.raises(NotFound, match=str(tree)):
        gathered_with(tree, b"many/f01990", lambda: tree.rename(aside))


def test_the_end_of_that_process_is_an_error_like_others(tree: Path) -> None:
    for number in range(COUNT):
        (tree / "many" / f"g{number:05d}").write_bytes(b"x" * 5000)
    before = children(), open_files()
    with pytest.raises(StorageError, match="reads small files ended"):
        gathered_with(tree, b"many/f02500", lambda: kill_new(before[0]))
    assert (children(), open_files()) == before


def test_this_process_reads_on_where_there_is_no_other(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    everything, before = directly(tree), (children(), open_files())
    assert gathered_with(tree, b"many/f00300", lambda: kill_new(before[0])) == everything
    monkeypatch.setattr(sys, "executable", "/no/such/program")
    assert gathered(tree) == everything
    assert (children(), open_files()) == before


@pytest.mark.parametrize("name", [b"many/f00100", b"many/f00300", b"many/f02500", b"z"])
def test_wherever_reading_is_given_up_no_process_and_no_descriptor_is_left(tree: Path, name: bytes) -> None:
    (tree / "z").write_bytes(b"x" * (2 << 20))
    before = children(), open_files()

    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        gathered_with(tree, name, interrupt)
    assert (children(), open_files()) == before
