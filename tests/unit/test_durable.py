"""Files are whole and on the disk, or not there at all."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from drunner_vault import durable
from drunner_vault.durable import new_file, replace_file, storage_error, sync_directory
from drunner_vault.errors import AccessDenied, AlreadyExists, NoSpace, NotFound, StorageError, Unavailable


@pytest.fixture(params=["unnamed", "hidden"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """With and without a file system that knows files without a name."""
    if request.param == "hidden":
        original = os.open

        def refuse(path: object, flags: int, *rest: object, **options: object) -> int:
            if flags & os.O_TMPFILE == os.O_TMPFILE:
                raise OSError(errno.EOPNOTSUPP, "Operation not supported")
            return original(path, flags, *rest, **options)  # type: ignore[arg-type]

        monkeypatch.setattr(durable.os, "open", refuse)
    return str(request.param)


@pytest.mark.usefixtures("kind")
def test_a_file_appears_whole_when_the_block_ends(tmp_path: Path) -> None:
    with new_file(tmp_path / "f", 0o640) as stream:
        stream.write(b"abc" * 100_000)
        assert not (tmp_path / "f").exists()
    assert (tmp_path / "f").read_bytes() == b"abc" * 100_000
    assert (tmp_path / "f").stat().st_mode & 0o777 == 0o640 & ~_umask()
    assert [path.name for path in tmp_path.iterdir()] == ["f"]


@pytest.mark.usefixtures("kind")
@pytest.mark.parametrize("failure", [ValueError("ours"), KeyboardInterrupt()])
def test_a_block_that_raises_leaves_nothing(tmp_path: Path, failure: BaseException) -> None:
    with pytest.raises(type(failure)), new_file(tmp_path / "f") as stream:  # noqa: PT012
        stream.write(b"half")
        raise failure
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("kind")
def test_nothing_is_ever_overwritten(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious")
    (tmp_path / "link").symlink_to("nowhere")
    for name in ("file", "link"):
        with pytest.raises(AlreadyExists), new_file(tmp_path / name):
            pass
    with pytest.raises(AlreadyExists), new_file(tmp_path / "late") as stream:  # noqa: PT012
        stream.write(b"ours")
        (tmp_path / "late").write_text("theirs, meanwhile")
    assert (tmp_path / "file").read_text() == "precious"
    assert (tmp_path / "late").read_text() == "theirs, meanwhile"
    assert {path.name for path in tmp_path.iterdir()} == {"file", "link", "late"}


def test_a_directory_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="nowhere"), new_file(tmp_path / "nowhere/f"):
        pass


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    path = tmp_path / "disk"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", path], check=True)
    yield path
    subprocess.run(["umount", path], check=True)


@pytest.mark.usefixtures("kind")
def test_a_full_disk_is_named_and_left_as_it_was(full_disk: Path) -> None:
    with pytest.raises(NoSpace, match="No space left"), new_file(full_disk / "f") as stream:
        stream.write(bytes(1 << 20))
    (full_disk / "kept").write_text("old")
    with pytest.raises(NoSpace):
        replace_file(full_disk / "kept", bytes(1 << 20))
    assert [path.name for path in full_disk.iterdir()] == ["kept"]
    assert (full_disk / "kept").read_text() == "old"


def test_a_killed_writer_leaves_nothing(tmp_path: Path) -> None:
    program = (
        "import sys, pathlib; from drunner_vault.durable import new_file\n"
        "with new_file(pathlib.Path(sys.argv[1])) as stream:\n"
        "    stream.write(b'x' * 5000000); print('written', flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, tmp_path / "f"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"written\n"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert list(tmp_path.iterdir()) == []


def test_data_reach_the_disk_before_the_name_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    sync, link = os.fsync, os.link
    monkeypatch.setattr(durable.os, "fsync", lambda fd: (done.append(_kind(fd)), sync(fd)))
    monkeypatch.setattr(durable.os, "link", lambda *args, **named: (done.append("name"), link(*args, **named)))
    with new_file(tmp_path / "f") as stream:
        stream.write(b"x")
    assert done == ["file", "name", "directory"]


def test_a_name_that_cannot_be_linked_is_an_error_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(durable.os, "link", broken)
    with pytest.raises(StorageError, match="Input/output error"), new_file(tmp_path / "f") as stream:
        stream.write(b"x")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("refusal", [errno.EPERM, errno.EOPNOTSUPP])
def test_a_file_system_without_hard_links_takes_files_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusal: int
) -> None:
    """FAT on a USB stick, and some network file systems."""
    original = os.open

    def no_unnamed(path: object, flags: int, *rest: object, **options: object) -> int:
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(errno.EOPNOTSUPP, "Operation not supported")
        return original(path, flags, *rest, **options)  # type: ignore[arg-type]

    def no_links(*_: object, **__: object) -> None:
        raise OSError(refusal, os.strerror(refusal))

    monkeypatch.setattr(durable.os, "open", no_unnamed)
    monkeypatch.setattr(durable.os, "link", no_links)
    with new_file(tmp_path / "f") as stream:
        stream.write(b"whole")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("f", b"whole")]
    with pytest.raises(AlreadyExists), new_file(tmp_path / "late") as stream:
        (tmp_path / "late").write_text("theirs")
    assert (tmp_path / "late").read_text() == "theirs"
    assert {path.name for path in tmp_path.iterdir()} == {"f", "late"}


def test_a_small_file_is_replaced_in_one_step(tmp_path: Path) -> None:
    replace_file(tmp_path / "f", b"one")
    held = (tmp_path / "f").open("rb")
    replace_file(tmp_path / "f", b"two")
    with held:
        assert (held.read(), (tmp_path / "f").read_bytes()) == (b"one", b"two")
    assert [path.name for path in tmp_path.iterdir()] == ["f"]


def test_a_replacement_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    with pytest.raises(StorageError):
        replace_file(tmp_path / "d", b"a directory is in the way")
    assert [path.name for path in tmp_path.iterdir()] == ["d"]


def test_errors_of_the_system_become_ours() -> None:
    for number, expected in {
        errno.ENOSPC: NoSpace, errno.EDQUOT: NoSpace, errno.ENOENT: NotFound, errno.EEXIST: AlreadyExists,
        errno.EACCES: AccessDenied, errno.ESTALE: Unavailable, errno.EIO: StorageError,
    }.items():  # fmt: skip
        error = storage_error("write", "/some/path", OSError(number, os.strerror(number)))
        assert type(error) is expected
        assert "/some/path" in error.message
        assert error.hint


def test_syncing_a_directory_that_is_missing_raises(tmp_path: Path) -> None:
    sync_directory(tmp_path)
    with pytest.raises(FileNotFoundError):
        sync_directory(tmp_path / "missing")


def _kind(fd: int) -> str:
    return "directory" if os.path.isdir(f"/proc/self/fd/{fd}") else "file"  # noqa: PTH112


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
