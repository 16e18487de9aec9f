"""Memory that an archive of very many members takes: writing it, reading it through, listing it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

from bench.measure import Call, measured
from bench.table import Row
from drunner_vault.archive import (
    VOLUMES,
    ArchiveReader,
    ArchiveWriter,
    Manifest,
    SeekableArchive,
    ServiceRecord,
    VolumeRecord,
)
from drunner_vault.tar import Entry, Kind

_PREFIX = VOLUMES + b"/v"
_PER_DIRECTORY = 1000


def memory_of_many_members(directory: Path, count: int) -> Iterator[Row]:
    """Peak memory, each in a process of its own."""
    for what in ("write", "read", "list"):
        command = [sys.executable, "-m", "bench.members", what, str(directory / "many.tar.zst"), str(count)]
        peak = measured(Call(command, cwd=Path(__file__).parents[1])).peak
        yield Row(f"peak memory, {what} {count:,} members", peak / (1 << 20), 150, "MiB")


def _write(path: Path, count: int) -> None:
    service = ServiceRecord("drunner", "bench", "bench", 1000)
    manifest = Manifest("0" * 32, "2026-01-01T00:00:00Z", "b", "b", service, volumes=(VolumeRecord("v", "/v"),))
    with path.open("wb") as stream, ArchiveWriter(stream, manifest, 0) as writer:
        writer.add(_PREFIX, Entry(b"", Kind.DIRECTORY, 0o755))
        for number in range(count // _PER_DIRECTORY):
            writer.add(_PREFIX, Entry(b"d%05d" % number, Kind.DIRECTORY, 0o755))
            for index in range(_PER_DIRECTORY - 1):
                data = b"%020d" % (number * index)
                writer.add(_PREFIX, Entry(b"d%05d/f%05d" % (number, index), Kind.FILE, size=len(data)), (data,))
        writer.finish("2026-01-01T00:00:00Z")


def _read(path: Path) -> None:
    with path.open("rb") as stream, ArchiveReader(stream.read) as reader:
        for _ in reader.members():
            pass


def _list(path: Path) -> None:
    with path.open("rb") as stream:
        archive = SeekableArchive(lambda at, size: os.pread(stream.fileno(), size, at), path.stat().st_size)
        for _ in archive.member_rows():
            pass


def main() -> None:
    """`python -m bench.members write|read|list FILE COUNT`."""
    what, path, count = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    if what == "write":
        _write(path, count)
    else:
        {"read": _read, "list": _list}[what](path)


if __name__ == "__main__":
    main()
