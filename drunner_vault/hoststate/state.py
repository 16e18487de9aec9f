"""Small documents that commands share, each changed by one of them at a time: `ROOT/vault/NAME.json`."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from drunner_vault.durable import make_directory, replace_file, storage_error

DIRECTORY = "vault"  # below the services' root: what this program remembers


class State:
    """One such document, a JSON object."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @classmethod
    def of(cls, root: Path, name: str) -> State:
        """The document of that name below the services' root."""
        return cls(root / DIRECTORY / f"{name}.json")

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold it, waiting for whoever does. Raises StorageError."""
        lock = self._path.with_suffix(".lock")
        try:
            make_directory(self._path.parent)
            fd = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as cause:
            raise storage_error("lock", lock, cause) from cause
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)

    def read(self) -> dict[str, Any]:
        """What it says; nothing if it is not there, or makes no sense. Raises StorageError."""
        try:
            found = json.loads(self._path.read_bytes())
        except FileNotFoundError:
            return {}
        except OSError as cause:
            raise storage_error("read", self._path, cause) from cause
        except ValueError:  # nobody but us writes it, and always as a whole
            return {}
        return found if isinstance(found, dict) else {}

    def write(self, document: dict[str, Any]) -> None:
        """Replace it, durably. Raises StorageError."""
        try:
            make_directory(self._path.parent)
        except OSError as cause:
            raise storage_error("write", self._path, cause) from cause
        replace_file(self._path, json.dumps(document, indent=1).encode() + b"\n")

    def remove(self) -> None:
        """There is nothing to remember any more: remove it, and its directory if it was the last."""
        self._path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self._path.parent.rmdir()
