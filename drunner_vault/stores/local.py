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
from drunner_vault.errors import NotFound, StorageError, Unsupported
from drunner_vault.stores.store import Leftover, StoredObject, Upload, check_key

_FILE_MODE, _DIRECTORY_MODE = 0o600, 0o700


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
        self._require_root()
        make_directories(path.parent, self.root, _DIRECTORY_MODE)
        return _LocalUpload(
            NewFile(path, _FILE_MODE), lambda: make_directories(path.parent, self.root, _DIRECTORY_MODE)
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
            if not path.name.startswith("."):
                yield StoredObject(self._key(path), status.st_size, _moment(status))

    def delete(self, key: str) -> None:
        """See Store."""
        path = self._path(key)
        try:
            path.unlink(missing_ok=True)
            self._remove_empty(path.parent)
        except NotADirectoryError:
            return
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
        with contextlib.suppress(FileNotFoundError):
            sync_directory(directory)
        while directory != self.root:
            try:
                directory.rmdir()
            except OSError:
                return
            directory = directory.parent

    def _require_root(self) -> None:
        if not self.root.is_dir():
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

    def _no_locks(self) -> Unsupported:
        return Unsupported(
            f"{self.name} is a directory, where nothing can be locked", "leave out the lock, or use an S3 bucket"
        )


class _LocalUpload:
    """make_place: sees to it that the file's directory is there: it goes when somebody deletes the last file in it."""

    def __init__(self, file: NewFile, make_place: Callable[[], None]) -> None:
        self._file = file
        self._make_place = make_place

    def write(self, data: bytes) -> None:
        self._file.stream.write(data)

    def commit(self) -> None:
        self._make_place()
        self._file.commit()

    def abort(self) -> None:
        self._file.close()


def _pieces(fd: int, offset: int, length: int) -> Iterator[bytes]:
    while length > 0 and (piece := os.pread(fd, length, offset)):
        yield piece
        offset, length = offset + len(piece), length - len(piece)


def _is_place(entry: os.DirEntry[str]) -> bool:
    return entry.is_dir(follow_symlinks=False) and not entry.name.startswith(".")


def _moment(status: os.stat_result) -> dt.datetime:
    return dt.datetime.fromtimestamp(status.st_mtime, dt.UTC)
