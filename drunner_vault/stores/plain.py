"""Archives that live in no store: one file, or a pipe."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from drunner_vault.durable import Unbuffered, new_file, storage_error
from drunner_vault.errors import BadUsage, NotFound

PIPE = "-"


@dataclass(frozen=True)
class Source:
    """An archive that is open for reading from its start. size: in bytes, None for a pipe."""

    name: str
    read: Callable[[int], bytes]
    size: int | None


def destination_path(destination: str, name: str) -> Path:
    """The file that an archive called `name` becomes: `destination` itself, or a file in it if it is a directory.

    Raises NotFound for a directory that is not there: it could be a disk that is not mounted.
    """
    path = Path(destination)
    if destination.endswith("/") or path.is_dir():
        path = path / name
    if not path.parent.is_dir():
        raise NotFound(f"there is no directory {path.parent}", f"mkdir -p {path.parent}, or mount what belongs there")
    return path


@contextlib.contextmanager
def open_destination(path: Path | None) -> Iterator[BinaryIO]:
    """Where an archive is written to: a file that appears only when it is whole, or standard output for None.

    Raises AlreadyExists, NoSpace, NotFound or StorageError; BadUsage rather than filling a person's terminal.
    """
    if path is not None:
        with new_file(path) as stream:
            yield stream
        return
    if sys.stdout.isatty():
        raise BadUsage(
            "an archive is not for a terminal", "send it on: drunner-vault backup SERVICE - | …, or name a file"
        )
    sys.stdout.flush()
    # not through Python's buffer: what a reader that has gone left there would be written once more at exit, and fail
    yield cast(BinaryIO, Unbuffered(sys.stdout.fileno(), "standard output"))


@contextlib.contextmanager
def open_source(source: str, newest: Callable[[str], str | None]) -> Iterator[Source]:
    """An archive to read: a file, `DIRECTORY/latest`, or `-` for standard input.

    newest: what of a file's name tells how new it is, None for a file that is no archive.
    """
    if source == PIPE:
        yield Source("standard input", _checked(sys.stdin.buffer, "standard input"), None)
        return
    path = source_path(source, newest)
    try:
        stream = path.open("rb", buffering=0)
    except OSError as cause:
        raise storage_error("read", path, cause) from cause
    with stream:
        size = path.stat().st_size if path.is_file() else None
        yield Source(str(path), _checked(stream, str(path)), size)


def _checked(stream: object, name: str) -> Callable[[int], bytes]:
    def read(size: int) -> bytes:
        try:
            return stream.read(size)  # type: ignore[attr-defined, no-any-return]
        except OSError as cause:
            raise storage_error("read", name, cause) from cause

    return read


def source_path(source: str, newest: Callable[[str], str | None]) -> Path:
    """The file that a source names: itself, or for `DIRECTORY/latest` the newest archive in there.

    Raises BadUsage for a directory, NotFound if there is no archive in it.
    """
    path = Path(source)
    if path.is_dir():
        raise BadUsage(f"{path} is a directory", f"name a file in it, or take the newest: {path / 'latest'}")
    if path.name != "latest" or path.exists() or not path.parent.is_dir():
        return path
    dated = [(stamp, item) for item in path.parent.iterdir() if (stamp := newest(item.name)) is not None]
    if not dated:
        raise NotFound(f"there is no archive in {path.parent}", "check the directory")
    return max(dated)[1]
