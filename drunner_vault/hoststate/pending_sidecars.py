"""Sidecars that are still to be written into their store, in `ROOT/vault/sidecars`.

A backup keeps its sidecar here before its archive appears, and removes it when the sidecar is in the store. If it
fails or is killed in between, the next command that opens the store writes it, unless the archive never appeared.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from drunner_vault.durable import make_directory, storage_error

_TRIES = 100  # at a directory that others remove because it is empty


@dataclass(frozen=True)
class PendingSidecar:
    """One sidecar. store: identity of its store. key: of the archive. data: the file."""

    store: str
    key: str
    data: bytes


class PendingSidecars:
    """The sidecars that this host still has to write. directory: `ROOT/vault`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory / "sidecars"

    @contextlib.contextmanager
    def keep(self, store: str, key: str) -> Iterator[KeptSidecar]:
        """Keep a sidecar for the block, locked against `take`. It stays if the block ends without `written`.

        Raises StorageError.
        """
        path = self._directory / f"{hashlib.sha256(f'{store} {key}'.encode()).hexdigest()[:32]}.pending"
        try:
            fd = self._make(path)
        except OSError as cause:
            raise storage_error("write", path, cause) from cause
        try:
            yield KeptSidecar(path, fd, store, key)
        finally:
            os.close(fd)
            with contextlib.suppress(OSError):
                self._directory.rmdir()

    def _make(self, path: Path) -> int:
        """A descriptor of a new file that is locked before it has its name. Raises OSError."""
        unnamed = path.with_suffix(f".{os.getpid()}.new")
        for _ in range(_TRIES):
            make_directory(self._directory)
            with contextlib.suppress(FileNotFoundError):  # another command has removed the empty directory
                fd = os.open(unnamed, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
                fcntl.flock(fd, fcntl.LOCK_EX)
                unnamed.rename(path)
                return fd
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))

    def take(self, store: str) -> Iterator[tuple[PendingSidecar, KeptSidecar]]:
        """Yield those for a store that no running command is working on, each locked."""
        for path in sorted(self._directory.glob("*.pending")) if self._directory.is_dir() else ():
            with contextlib.suppress(FileNotFoundError, BlockingIOError), path.open("r+b") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                found = _parse(file.read())
                if found is None:
                    path.unlink(missing_ok=True)  # its writer was killed before it was complete
                elif found.store == store and path.exists():
                    yield found, KeptSidecar(path, file.fileno(), found.store, found.key)
        with contextlib.suppress(OSError):
            self._directory.rmdir()


class KeptSidecar:
    """A sidecar that is kept, and locked."""

    def __init__(self, path: Path, fd: int, store: str, key: str) -> None:
        self._path, self._fd, self._store, self._key = path, fd, store, key

    def write(self, data: bytes) -> None:
        """Keep this sidecar, durably. Raises StorageError."""
        head = json.dumps({"store": self._store, "key": self._key, "bytes": len(data)}).encode() + b"\n"
        try:
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, head + data, 0)
            os.fsync(self._fd)
        except OSError as cause:
            raise storage_error("write", self._path, cause) from cause

    def written(self) -> None:
        """Keep it no longer: it is in its store, or of no use."""
        self._path.unlink(missing_ok=True)


def _parse(data: bytes) -> PendingSidecar | None:
    head, _, rest = data.partition(b"\n")
    try:
        facts = json.loads(head)
        found = PendingSidecar(str(facts["store"]), str(facts["key"]), rest)
        return found if len(rest) == facts["bytes"] else None
    except (ValueError, KeyError, TypeError):
        return None
