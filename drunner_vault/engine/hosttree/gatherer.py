"""Reading a tree: by this process, and once there are many small files in it, by one of its own on another processor.

Small files come over with their data, in whole batches; larger ones as open descriptors, to be read by whoever wants
their data.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from drunner_vault.durable import storage_error
from drunner_vault.engine.hosttree.gatherer_process import PlainEntry
from drunner_vault.engine.hosttree.helper import Helper
from drunner_vault.engine.hosttree.reader import OpenFile, Place, TreeReader
from drunner_vault.engine.trees import Report, TreeItem
from drunner_vault.tar import Entry, Kind, Segment
from drunner_vault.tar.entry import NO_XATTRS

_START = 250  # small files, before a process is started to read the others
_HAND_OVER = 2000  # small files, by when it is ready
_KINDS = {kind.value: kind for kind in Kind}


def read_tree(root: Path, report: Report, note: Report) -> Iterator[TreeItem]:
    """As TreeReader: each entry with its stored data, which must be read before the next entry is asked for."""
    reader = TreeReader(root, report, note)
    with contextlib.closing(iter(reader)) as items:
        for item in items:
            yield item
            if reader.small_files >= _START:
                break
        else:
            return
        with contextlib.closing(_Gatherer(root, report, note)) as gatherer:
            for item in items:
                yield item
                if reader.small_files >= _HAND_OVER:
                    break
            else:
                return
            yield from gatherer.after(reader.place(item[0])) if gatherer.ready() else items


class _Gatherer:
    """A process that reads on from some place."""

    def __init__(self, root: Path, report: Report, note: Report) -> None:
        self._root = root
        self._told = {b"R": report, b"N": note}
        self._helper = Helper("drunner_vault.engine.hosttree.gatherer_process", "reads small files")

    def ready(self) -> bool:
        """Whether there is such a process; else this one has to go on."""
        return self._helper.ready()

    def close(self) -> None:
        """End it."""
        self._helper.close()

    def after(self, place: Place) -> Iterator[TreeItem]:
        """What comes after that place. Raises StorageError."""
        try:
            with self._helper.needed():
                self._helper.give(b"G", (os.fsencode(self._root), tuple(place)))
            yield from self._arriving()
        except OSError as cause:
            raise storage_error("read", self._root, cause) from cause

    def _arriving(self) -> Iterator[TreeItem]:
        """What the process sends, up to its end."""
        while True:
            with self._helper.needed():
                letter, size, descriptor = self._helper.hear()
                value = self._helper.take(size)
            if letter == b"F":
                yield from _items(value)
            elif letter == b"O" and descriptor is not None:
                yield from self._open_file(_entry(value), descriptor)
            elif letter in self._told:
                self._told[letter](*value)
            else:
                if value[0]:
                    raise OSError(*value)
                return

    def _open_file(self, entry: Entry, descriptor: int) -> Iterator[TreeItem]:
        try:
            yield entry, OpenFile(descriptor, entry, self._told[b"R"])
        finally:
            os.close(descriptor)
        with self._helper.needed():
            self._helper.tell(b"T")


def _items(batch: list[Any]) -> Iterator[TreeItem]:
    """What a batch holds; see `gatherer_process`."""
    for item in batch:
        data = item[-1]
        if len(item) == 2:
            entry = _entry(item[0])
        else:
            path, mode, uid, gid, mtime_ns, _ = item
            entry = Entry(path, Kind.FILE, mode, uid, gid, len(data), mtime_ns)
        yield entry, (data,) if data else ()


def _entry(facts: PlainEntry) -> Entry:
    path, kind, mode, uid, gid, size, mtime_ns, link, device, xattrs, segments = facts
    runs = None if segments is None else tuple(Segment(*segment) for segment in segments)
    return Entry(path, _KINDS[kind], mode, uid, gid, size, mtime_ns, link, device, xattrs or NO_XATTRS, runs)
