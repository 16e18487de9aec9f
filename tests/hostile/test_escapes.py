"""Whatever an archive says, nothing is written outside of the volume that is restored."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from drunner_vault.engine.hosttree.writer import TreeWriter
from drunner_vault.errors import DamagedArchive
from drunner_vault.tar import Entry, Kind, TarReader, encode_members

Items = Sequence[tuple[Entry, bytes]]
ME = {"uid": os.geteuid(), "gid": os.getegid()}


def file(path: bytes, data: bytes = b"evil") -> tuple[Entry, bytes]:
    return Entry(path, Kind.FILE, 0o644, size=len(data), **ME), data


def directory(path: bytes, mode: int = 0o755) -> tuple[Entry, bytes]:
    return Entry(path, Kind.DIRECTORY, mode, **ME), b""


def symlink(path: bytes, target: bytes | Path) -> tuple[Entry, bytes]:
    return Entry(path, Kind.SYMLINK, 0o777, link=os.fsencode(target), **ME), b""


def hard_link(path: bytes, target: bytes) -> tuple[Entry, bytes]:
    return Entry(path, Kind.HARDLINK, 0o644, link=target, **ME), b""


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A directory beside the volume, with a secret in it."""
    path = tmp_path / "outside"
    path.mkdir()
    (path / "secret").write_text("secret")
    (path / "secret").chmod(0o600)
    return path


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    path = tmp_path / "volume"
    path.mkdir()
    return path


def write(volume: Path, items: Items) -> None:
    """As a restore does it: by way of a tar."""
    tar = TarReader(io.BytesIO(b"".join(encode_members((entry, (data,)) for entry, data in items))))
    with TreeWriter(volume, lambda path, problem: None) as writer:
        for member in tar:
            writer.write(member.entry, tar.content())


ESCAPES = {
    "an absolute name": [file(b"/tmp/escaped")],
    "an absolute name, twice over": [file(b"//tmp/escaped")],
    "the parent": [directory(b"..", 0o777)],
    "a name in the parent": [file(b"../outside/escaped")],
    "a parent on the way": [directory(b"a"), file(b"a/../../outside/escaped")],
    "the directory itself": [file(b"./escaped")],
    "an empty part": [directory(b"a"), file(b"a//b")],
    "a file through a link": [symlink(b"out", b"../outside"), file(b"out/escaped")],
    "a file through an absolute link": [symlink(b"out", b"OUTSIDE"), file(b"out/escaped")],
    "a directory through a link": [symlink(b"out", b"../outside"), directory(b"out/escaped")],
    "a link through a link": [symlink(b"out", b"../outside"), symlink(b"out/escaped", b"x")],
    "a pipe through a link": [symlink(b"out", b"../outside"), (Entry(b"out/escaped", Kind.FIFO, **ME), b"")],
    "deep through a link": [directory(b"a"), symlink(b"a/out", b"../../outside"), file(b"a/out/b/c")],
    "a directory in the place of a link": [symlink(b"out", b"../outside"), directory(b"out", 0o777)],
    "a file in the place of a link": [symlink(b"out", b"../outside/secret"), file(b"out")],
    "a file in the place of a dangling link": [symlink(b"out", b"../outside/escaped"), file(b"out")],
    "a link in the place of a directory": [directory(b"out"), symlink(b"out", b"../outside"), file(b"out/escaped")],
    "a hard link to the outside": [hard_link(b"h", b"../outside/secret")],
    "a hard link to an absolute name": [hard_link(b"h", b"/etc/passwd")],
    "a hard link through a link": [symlink(b"out", b"../outside"), hard_link(b"h", b"out/secret")],
    "a hard link to a directory": [directory(b"d"), hard_link(b"h", b"d")],
    "a hard link to nothing": [hard_link(b"h", b"missing")],
    "a hard link to the volume": [hard_link(b"h", b"")],
    "a hard link to itself": [hard_link(b"h", b"h")],
    "a file twice": [file(b"f", b"one"), file(b"f", b"two")],
    "a file in the place of a directory": [directory(b"d"), file(b"d")],
    "a file below a file": [file(b"f"), file(b"f/g")],
    "a file without its directory": [file(b"d/f")],
}


@pytest.mark.parametrize("name", ESCAPES)
def test_an_archive_that_wants_out_is_refused(name: str, volume: Path, outside: Path) -> None:
    items = [
        symlink(entry.path, outside) if entry.link == b"OUTSIDE" else (entry, data) for entry, data in ESCAPES[name]
    ]
    before = _all_but(volume)
    with pytest.raises(DamagedArchive):
        write(volume, items)
    assert _all_but(volume) == before
    assert (outside / "secret").stat().st_nlink == 1


def test_a_hard_link_to_a_link_is_a_link_and_reveals_nothing(volume: Path, outside: Path) -> None:
    write(volume, [symlink(b"out", outside / "secret"), hard_link(b"h", b"out")])
    assert (volume / "h").is_symlink()
    assert (outside / "secret").stat().st_nlink == 1


def test_a_mode_or_owner_never_goes_through_a_link(volume: Path, outside: Path) -> None:
    entry = Entry(b"out", Kind.SYMLINK, 0o777, link=os.fsencode(outside / "secret"), mtime_ns=5, **ME)
    before = (outside / "secret").stat()
    write(volume, [(entry, b"")])
    assert (outside / "secret").stat() == before
    assert (volume / "out").lstat().st_mtime_ns == 5


def test_a_link_that_was_in_the_volume_before_is_not_followed(volume: Path, outside: Path) -> None:
    (volume / "old").symlink_to(outside)
    with pytest.raises(DamagedArchive):
        write(volume, [file(b"old/escaped")])
    with pytest.raises(DamagedArchive):
        write(volume, [directory(b"old"), file(b"old/escaped")])
    assert {path.name for path in outside.iterdir()} == {"secret"}


def test_a_directory_swapped_for_a_link_meanwhile_is_not_followed(volume: Path, outside: Path) -> None:
    with TreeWriter(volume, lambda path, problem: None) as writer:
        writer.write(directory(b"d")[0], ())
        (volume / "d").rename(volume / "moved")
        (volume / "d").symlink_to(outside)
        writer.write(file(b"d/f")[0], (b"evil",))
    assert {path.name for path in outside.iterdir()} == {"secret"}
    assert (volume / "moved/f").read_text() == "evil"


def test_links_that_only_point_outside_are_kept_as_they_are(volume: Path) -> None:
    targets = [b"/etc/passwd", b"../../../..", b"/proc/self/root", b"."]
    write(volume, [symlink(b"%d" % number, target) for number, target in enumerate(targets)])
    assert [os.fsencode((volume / str(number)).readlink()) for number in range(4)] == targets


def _all_but(volume: Path) -> dict[str, tuple[int, int, int, str]]:
    """Everything beside the volume."""
    return {
        str(path): (path.lstat().st_mode, path.lstat().st_uid, path.lstat().st_mtime_ns, _text(path))
        for path in volume.parent.rglob("*")
        if volume not in (path, *path.parents)
    }


def _text(path: Path) -> str:
    return path.read_text() if path.is_file() else ""
