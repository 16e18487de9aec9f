"""The tree of a volume, as those who read and write it see it, however it is reached."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from enum import StrEnum
from typing import Protocol

from drunner_vault.tar import Entry

Report = Callable[[bytes, str], None]
TreeItem = tuple[Entry, Iterable[bytes]]


class Access(StrEnum):
    """How a volume's files are reached: AUTO takes HOST where it is possible."""

    AUTO = "auto"
    HOST = "host"
    ENGINE = "engine"


class EntryWriter(Protocol):
    """Makes entries of a tree."""

    def write(self, entry: Entry, content: Iterable[bytes]) -> None:
        """Make one entry. content: its stored data."""


class VolumeTree(Protocol):
    """A volume's files. access: how they are reached; lost_*: what that way cannot carry, in words."""

    access: Access
    lost_reading: tuple[str, ...]
    lost_writing: tuple[str, ...]

    def read(self, report: Report, note: Report) -> Iterable[TreeItem]:
        """The volume's entries with their data, root first."""

    def estimate(self) -> int | None:
        """About how many bytes of content there are, for showing progress; None if it cannot be told cheaply."""

    def empty(self) -> None:
        """Remove everything in the volume, and keep the volume."""

    def writer(self, report: Report) -> AbstractContextManager[EntryWriter]:
        """A context that makes entries in the volume."""

    def copy_aside(self, token: str) -> None:
        """Make what `set_aside` needs. The volume stays as it is; a failure is undone by `discard`."""

    def set_aside(self, token: str) -> None:
        """Empty the volume; its files are kept under `token` for `put_back`."""

    def put_back(self, token: str) -> None:
        """Give the volume the files again that `set_aside` kept. None kept: nothing to do."""

    def discard(self, token: str) -> None:
        """Delete what was kept under `token`, if anything."""
