"""Files that are either whole and on the disk, or not there at all.

Order of a write: an unnamed (or hidden) file in the target's own directory, data, fsync, a name, fsync of the
directory. A crash at any moment leaves no half file under the final name; where the file system supports unnamed
files, it leaves nothing at all.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

from drunner_vault.errors import AlreadyExists, NoSpace, NotFound, StorageError

_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS)


def storage_error(action: str, path: os.PathLike[str] | str, cause: OSError) -> StorageError:
    """The error of our tree for an operating system error met while doing `action` to `path`."""
    reason = cause.strerror or str(cause)
    if cause.errno in (errno.ENOSPC, errno.EDQUOT):
        return NoSpace(f"cannot {action} {path}: {reason}", "free some space there, or choose another destination")
    if cause.errno == errno.ENOENT:
        return NotFound(f"cannot {action} {path}: {reason}", "check the path")
    if cause.errno == errno.EEXIST:
        return AlreadyExists(f"{path} exists already", "choose another name, or move it away first")
    return StorageError(f"cannot {action} {path}: {reason}", "check the path and its permissions")


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable. File systems that cannot sync a directory are left to themselves."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    except OSError as cause:
        if cause.errno != errno.EINVAL:
            raise
    finally:
        os.close(fd)


@contextlib.contextmanager
def new_file(path: Path, mode: int = 0o600) -> Iterator[BinaryIO]:
    """A binary file that appears as `path`, durably, only if the block ends without an exception.

    Never overwrites: raises AlreadyExists if `path` is there before or appears meanwhile. Raises NoSpace, NotFound
    (no such directory) or StorageError for what the operating system refuses.
    """
    try:
        if path.is_symlink() or path.exists():
            raise AlreadyExists(f"{path} exists already", "choose another name, or move it away first")
        fd, temporary = _open_unnamed(path.parent, mode)
    except OSError as cause:
        raise storage_error("write", path, cause) from cause
    try:
        with os.fdopen(fd, "wb", buffering=0) as raw:
            stream = cast(BinaryIO, Unbuffered(raw.fileno(), path))
            yield stream
            _publish(raw.fileno(), temporary, path)
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def replace_file(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Write a small file durably, atomically taking the place of any file of that name."""
    temporary = path.parent / f".{path.name}.{secrets.token_hex(6)}.partial"
    try:
        with new_file(temporary, mode) as stream:
            stream.write(data)
        temporary.replace(path)
        sync_directory(path.parent)
    except OSError as cause:
        temporary.unlink(missing_ok=True)
        raise storage_error("write", path, cause) from cause


class Unbuffered:
    """Writes to a descriptor in full, telling errors by the path or name that the user knows."""

    def __init__(self, fd: int, path: Path | str) -> None:
        self._fd = fd
        self._path = path

    def write(self, data: bytes) -> int:
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._fd, view) :]
        except OSError as cause:
            raise storage_error("write", self._path, cause) from cause
        return len(data)

    def flush(self) -> None:
        """Nothing is held back."""


def _open_unnamed(directory: Path, mode: int) -> tuple[int, Path | None]:
    """A new file in `directory`: without a name where that is supported, else hidden; returns its hidden path."""
    try:
        return os.open(directory, os.O_TMPFILE | os.O_RDWR, mode), None
    except OSError as cause:
        if cause.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL):
            raise
    temporary = directory / f".{secrets.token_hex(8)}.partial"
    return os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_NOFOLLOW, mode), temporary


def _publish(fd: int, temporary: Path | None, path: Path) -> None:
    """Sync the file, give it its name without overwriting, and sync the name."""
    try:
        os.fsync(fd)
        source = f"/proc/self/fd/{fd}" if temporary is None else temporary
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            # with a directory descriptor Python calls linkat, which alone can follow the link that /proc has
            os.link(source, path.name, dst_dir_fd=directory, follow_symlinks=temporary is None)
        except OSError as cause:
            if temporary is None or cause.errno not in _NO_LINKS:
                raise
            _rename_without_links(temporary, path)
        finally:
            os.close(directory)
        sync_directory(path.parent)
    except OSError as cause:
        raise storage_error("write", path, cause) from cause


def _rename_without_links(temporary: Path, path: Path) -> None:
    """Where there are no hard links (FAT), a name is claimed by an empty file, which the whole one then replaces."""
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW, 0o600))
    temporary.replace(path)
