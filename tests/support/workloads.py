"""A workload without Docker: one volume whose files are in memory, for tests of where backups go."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from drunner_vault.archive import ImageRecord, ServiceRecord, VolumeRecord
from drunner_vault.engine.trees import Access, TreeItem, VolumeTree
from drunner_vault.workflows.workload import Embed
from support.archives import VOLUME, Item, some_files


class Files:
    """A volume's tree that can only be read."""

    access = Access.HOST
    lost_reading: tuple[str, ...] = ()
    lost_writing: tuple[str, ...] = ()

    def __init__(self, items: Sequence[Item]) -> None:
        self._items = items

    def read(self, report: object, note: object) -> Iterable[TreeItem]:
        return iter(self._items)

    def estimate(self) -> int | None:
        return sum(entry.size for entry, _ in self._items)


class SmallWorkload:
    """See Workload. pauses: how often it was quiesced; paused: whether it still is."""

    def __init__(self, directory: Path, items: Sequence[Item] | None = None) -> None:
        self._directory = directory
        self._items = some_files() if items is None else items
        self.pauses = 0
        self.paused = False

    def describe(self) -> ServiceRecord:
        return ServiceRecord("drunner", "notes", "notes:1", 22022)

    def scripts(self) -> Mapping[str, bytes]:
        return {"servicerunner": b"#!/bin/bash\n"}

    def images(self, embed: Embed) -> list[ImageRecord]:
        return []

    def image_layout(self, images: list[ImageRecord]) -> Iterable[TreeItem]:
        return ()

    def volumes(self) -> list[tuple[VolumeRecord, VolumeTree]]:
        return [(VolumeRecord(VOLUME, "/data"), Files(self._items))]  # type: ignore[list-item]

    @contextlib.contextmanager
    def quiesced(self) -> Iterator[Path]:
        self.pauses += 1
        self.paused = True
        try:
            yield self._directory
        finally:
            self.paused = False
