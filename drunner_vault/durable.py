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
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from drunner_vault.errors import AccessDenied, AlreadyExists, NoSpace, NotFound, StorageError, Unavailable

if TYPE_CHECKING:
    from drunner_vault.writebehind import BehindFile

PARTIAL = ".partial"
_TRIES = 100  # at a directory that others keep removing; more than that is something else, as a link to nowhere
_SHOWN = 200  # bytes of a name in a hidden name for it: 255 are allowed in all
_PASSING = (errno.ESTALE, errno.ETIMEDOUT, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.EAGAIN, errno.EBUSY)
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
    if cause.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return AccessDenied(f"cannot {action} {path}: {reason}", "check its permissions, and those of its directory")
    if cause.errno in _PASSING:
        return Unavailable(f"cannot {action} {path}: {reason}", "check the mount and the network, and try again")
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


class NewFile:
    """A file under way, which appears as `path`, durably and whole, when it is committed; it never overwrites.

    Raises AlreadyExists if `path` is there before or appears meanwhile, NoSpace, NotFound (no such directory), or
    another StorageError for what the operating system refuses.
    """

    def __init__(self, path: Path, mode: int = 0o600) -> None:
        self._path = path
        from drunner_vault.writebehind import BehindFile, WriteBehind  # most commands write nothing

        self._committed = False
        try:
            if path.is_symlink() or path.exists():
                raise AlreadyExists(f"{path} exists already", "choose another name, or move it away first")
            self._fd, self._temporary = _open_unnamed(path, mode)
        except OSError as cause:
            raise storage_error("write", path, cause) from cause
        self._open = True
        self._behind = WriteBehind()
        self._written = _Written(BehindFile(self._behind, self._fd, str(path)), path)
        self.stream = cast(BinaryIO, self._written)

    def commit(self) -> None:
        """Make it appear. Does nothing the second time; after a failure it may be tried again."""
        if not self._committed:
            self._written.flush()
            _publish(self._fd, self._temporary, self._path)
            self._committed = True
            self.close()

    def close(self) -> None:
        """Drop it, if it has not been committed."""
        if self._open:
            self._open = False
            self._behind.close()
            os.close(self._fd)
            if self._temporary is not None:
                self._temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def new_file(path: Path, mode: int = 0o600) -> Iterator[BinaryIO]:
    """A binary file that appears as `path`, durably, only if the block ends without an exception. See NewFile."""
    file = NewFile(path, mode)
    try:
        yield file.stream
        file.commit()
    finally:
        file.close()


def make_directory(path: Path) -> None:
    """Make a directory for root only. Others may be removing it at the same moment because it is empty."""
    for _ in range(_TRIES):
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            return
        except FileNotFoundError:  # a directory above it went at the same moment
            continue
        except FileExistsError:  # a file; or a directory that was there, and went before it was seen to be one
            with contextlib.suppress(FileNotFoundError):
                if not stat.S_ISDIR(path.lstat().st_mode):
                    raise
    path.mkdir(mode=0o700, parents=True)


def make_directories(path: Path, below: Path, mode: int = 0o700) -> None:
    """Make a directory and its parents as far up as `below`, which must be there, durably."""
    for directory in reversed([path, *path.parents][: len(path.relative_to(below).parts)]):
        try:
            directory.mkdir(mode)
        except FileExistsError:
            continue
        except OSError as cause:
            raise storage_error("create", directory, cause) from cause
        sync_directory(directory.parent)


def replace_file(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Write a small file durably, atomically taking the place of any file of that name."""
    temporary = path.with_name(partial_name(path.name))
    try:
        with new_file(temporary, mode) as stream:
            stream.write(data)
        temporary.replace(path)
        sync_directory(path.parent)
    except OSError as cause:
        temporary.unlink(missing_ok=True)
        raise storage_error("write", path, cause) from cause


def partial_name(name: str) -> str:
    """A hidden name for a file that is still being written and will be called `name`."""
    short = name.encode("utf-8", "surrogateescape")[:_SHOWN].decode("utf-8", "ignore")
    return f".{short}.{secrets.token_hex(6)}{PARTIAL}"


def partial_target(name: str) -> str | None:
    """What a file with such a hidden name was going to be called; None for any other name."""
    hidden, _, _ = name.removesuffix(PARTIAL).rpartition(".")
    return hidden[1:] if name.endswith(PARTIAL) and hidden.startswith(".") else None


class _Written:
    """Writes a new file, telling errors by the path that the user knows."""

    def __init__(self, file: BehindFile, path: Path) -> None:
        self._file = file
        self._path = path

    def write(self, data: bytes) -> int:
        try:
            self._file.write(data)
        except OSError as cause:
            raise storage_error("write", self._path, cause) from cause
        return len(data)

    def flush(self) -> None:
        """All is written when this returns, which has to be the end."""
        try:
            self._file.flush()
        except OSError as cause:
            raise storage_error("write", self._path, cause) from cause


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


def _open_unnamed(path: Path, mode: int) -> tuple[int, Path | None]:
    """A new file beside `path`: without a name where that is supported, else hidden; returns its hidden path."""
    try:
        return os.open(path.parent, os.O_TMPFILE | os.O_RDWR, mode), None
    except OSError as cause:
        if cause.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL):
            raise
    temporary = path.with_name(partial_name(path.name))
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
            _link_otherwise(cause, fd, temporary, path)
        finally:
            os.close(directory)
        sync_directory(path.parent)
    except OSError as cause:
        raise storage_error("write", path, cause) from cause


def _link_otherwise(refusal: OSError, fd: int, temporary: Path | None, path: Path) -> None:
    """What a refused link may mean. Over NFS a link whose answer got lost is asked for again, and is there already."""
    if refusal.errno == errno.EEXIST and os.path.samestat(os.fstat(fd), os.lstat(path)):
        return
    if temporary is None or refusal.errno not in _NO_LINKS:
        raise refusal
    _rename_without_links(temporary, path)


def _rename_without_links(temporary: Path, path: Path) -> None:
    """Where there are no hard links (FAT), a name is claimed by an empty file, which the whole one then replaces."""
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW, 0o600))
    temporary.replace(path)
