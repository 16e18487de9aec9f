"""Archives that go to no store: into one file, or down a pipe."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

from drunner_vault.durable import Unbuffered, new_file
from drunner_vault.errors import BadUsage, NotFound

PIPE = "-"


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
