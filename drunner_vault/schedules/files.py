"""Files of ours in a directory that is not only ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from drunner_vault.durable import replace_file, storage_error, sync_directory
from drunner_vault.errors import AlreadyExists
from drunner_vault.schedules.entry import MARK

_MODE = 0o644  # cron passes over tables that others may write to


def our_files(directory: Path, pattern: str) -> dict[str, str]:
    """The text of every file of ours whose name matches the pattern. Raises StorageError."""
    found = {}
    try:
        for path in sorted(directory.glob(pattern)):
            text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
            if text.startswith(MARK):
                found[path.name] = text
    except OSError as cause:
        raise storage_error("read", directory, cause) from cause
    return found


def write_files(directory: Path, files: Mapping[str, str]) -> None:
    """Write files, each whole or not at all. Raises AlreadyExists if one of that name is not ours, StorageError."""
    ours = our_files(directory, "*")
    for name in files:
        if (directory / name).exists() and name not in ours:
            raise AlreadyExists(f"{directory / name} exists already, and was written by somebody else", "move it away")
    for name, text in files.items():
        replace_file(directory / name, text.encode(), _MODE)


def remove_files(directory: Path, names: Sequence[str]) -> None:
    """Remove files. Raises StorageError."""
    try:
        for name in names:
            (directory / name).unlink(missing_ok=True)
        sync_directory(directory)
    except OSError as cause:
        raise storage_error("remove files from", directory, cause) from cause
