"""A store in a directory of this host, a mounted disk or NFS.

An object is a file. It is written without a name (where the file system cannot, under a hidden one), synced, linked to
its name, which never overwrites, and its directory is synced: see `durable`.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from drunner_vault.durable import NewFile, make_directories, partial_target, storage_error, sync_directory
from drunner_vault.errors import AccessDenied, NotFound, StorageError, Unavailable, Unsupported
from drunner_vault.stores.store import Leftover, StoredObject, Upload, check_key, is_key

_FILE_MODE, _DIRECTORY_MODE = 0o600, 0o700
_TRIES = 20  # at a directory that others keep removing


class LocalStore:
    """See Store. root: an existing directory."""

    can_lock = False

    def __init__(self, root: Path) -> None:
        self.root = root
        self.name = str(root)

    def begin(self, key: str, lock: dt.datetime | None = None) -> Upload:
        """See Store."""
        path = self._path(key)
        if lock is not None:
            raise self._no_locks()
        return _LocalUpload(
            self._new_file(path), lambda: self._make_place(path), lambda: self._remove_empty(path.parent)
        )

    def read(self, key: str, offset: int, length: int) -> bytes:
        """See Store."""
        path = self._path(key)
        try:
            with path.open("rb", buffering=0) as stream:
                return b"".join(_pieces(stream.fileno(), offset, length))
        except OSError as cause:
            raise self._error("read", path, cause) from cause

    def stat(self, key: str) -> StoredObject:
        """See Store."""
        path = self._path(key)
        try:
            status = path.stat()
        except OSError as cause:
            raise self._error("read", path, cause) from cause
        if not path.is_file():
            raise self._absent(path)
        return StoredObject(key, status.st_size, _moment(status))

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        """See Store."""
        for path, status in self._files(prefix):
            if is_key(path.name):
                yield StoredObject(self._key(path), status.st_size, _moment(status))

    def delete(self, key: str) -> None:
        """See Store."""
        path = self._path(key)
        self._require_root()
        try:
            path.unlink(missing_ok=True)
            with contextlib.suppress(FileNotFoundError):
                sync_directory(path.parent)
            self._remove_empty(path.parent)
        except (NotADirectoryError, IsADirectoryError):
            return  # no object: a directory, or below one
        except OSError as cause:
            raise storage_error("delete", path, cause) from cause

    def lock(self, key: str, until: dt.datetime) -> None:
        """See Store."""
        raise self._no_locks()

    def leftovers(self, prefix: str = "") -> Iterator[Leftover]:
        """See Store."""
        for path, status in self._files(prefix):
            target = partial_target(path.name)
            if target is not None:
                yield Leftover(self._key(path.with_name(target)), _moment(status), status.st_size, str(path))

    def discard(self, leftover: Leftover) -> None:
        """See Store."""
        path = Path(leftover.handle)
        try:
            path.unlink(missing_ok=True)
        except OSError as cause:
            raise storage_error("delete", path, cause) from cause

    def _files(self, prefix: str) -> Iterator[tuple[Path, os.stat_result]]:
        """Regular files below a directory, with what the system knows of them; none of a file that has just gone."""
        self._require_root()
        pending = [self._path(prefix) if prefix else self.root]
        while pending:
            directory = pending.pop()
            try:
                with os.scandir(directory) as entries:
                    found = sorted(entries, key=lambda entry: entry.name)
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as cause:
                raise storage_error("list", directory, cause) from cause
            pending += [Path(entry.path) for entry in found if _is_place(entry)]
            for entry in found:
                with contextlib.suppress(FileNotFoundError):
                    if entry.is_file():
                        yield Path(entry.path), entry.stat()

    def _path(self, key: str) -> Path:
        return self.root / check_key(key)

    def _key(self, path: Path) -> str:
        return str(path.relative_to(self.root))

    def _remove_empty(self, directory: Path) -> None:
        """Directories come with their first object, and go with their last."""
        while directory != self.root:
            try:
                directory.rmdir()
            except OSError:
                return
            directory = directory.parent

    def _new_file(self, path: Path) -> NewFile:
        """A file on its way, though others may be deleting the last object in its directory at this moment."""
        for number in range(_TRIES):
            self._make_place(path)
            try:
                return NewFile(path, _FILE_MODE)
            except NotFound:
                continue
            except AccessDenied:  # which is what ext4 says of a directory that has just gone
                if number == _TRIES - 1:
                    raise
        raise self._vanishing(path)

    def _make_place(self, path: Path) -> None:
        """The directory of a file: it goes when somebody deletes the last file in it, perhaps at this moment."""
        for _ in range(_TRIES):
            self._require_root()
            try:
                return make_directories(path.parent, self.root, _DIRECTORY_MODE)
            except (NotFound, FileNotFoundError):
                continue
            except OSError as cause:
                raise storage_error("create", path.parent, cause) from cause
        raise self._vanishing(path)

    def _require_root(self) -> None:
        try:
            there = self.root.is_dir()
        except OSError as cause:
            raise storage_error("read", self.root, cause) from cause
        if not there:
            # not NotFound: a disk that is not mounted says nothing about what is on it
            raise StorageError(
                f"there is no directory {self.root}", f"mkdir -p {self.root}, or mount what belongs there"
            )

    def _error(self, action: str, path: Path, cause: OSError) -> StorageError:
        if isinstance(cause, NotADirectoryError | IsADirectoryError | FileNotFoundError):
            self._require_root()
            return self._absent(path)
        return storage_error(action, path, cause)

    def _absent(self, path: Path) -> NotFound:
        return NotFound(f"there is no {path}", f"see what there is: drunner-vault archives {self.root}")

    def _vanishing(self, path: Path) -> Unavailable:
        return Unavailable(f"somebody keeps removing {path.parent}", "see who does, and try again")

    def _no_locks(self) -> Unsupported:
        return Unsupported(
            f"{self.name} is a directory, where nothing can be locked", "leave out the lock, or use an S3 bucket"
        )


class _LocalUpload:
    """make_place: sees to it that the file's directory is there, once more. leave_place: removes it if it is empty."""

    etag = ""

    def __init__(self, file: NewFile, make_place: Callable[[], None], leave_place: Callable[[], None]) -> None:
        self._file = file
        self._make_place = make_place
        self._leave_place = leave_place

    def write(self, data: bytes) -> None:
        self._file.stream.write(data)

    def commit(self) -> None:
        for _ in range(_TRIES):
            self._make_place()
            with contextlib.suppress(NotFound):  # the directory went once more; or our file did, and will not be back
                return self._file.commit()
        raise StorageError(
            "what was written of an upload has been removed under it", "see who does that, and try again"
        )

    def abort(self) -> None:
        self._file.close()
        self._leave_place()


def _pieces(fd: int, offset: int, length: int) -> Iterator[bytes]:
    while length > 0 and (piece := os.pread(fd, length, offset)):
        yield piece
        offset, length = offset + len(piece), length - len(piece)


def _is_place(entry: os.DirEntry[str]) -> bool:
    return entry.is_dir(follow_symlinks=False) and is_key(entry.name)


def _moment(status: os.stat_result) -> dt.datetime:
    return dt.datetime.fromtimestamp(status.st_mtime, dt.UTC)
