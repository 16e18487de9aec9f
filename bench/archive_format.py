"""Figures of the archive format: what looking into a large archive costs, what verifying costs, what frames cost."""

from __future__ import annotations

import random
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from bench.table import Row
from drunner_vault.age import EncryptWriter, X25519Identity
from drunner_vault.archive import VOLUMES, ArchiveWriter, Manifest, ServiceRecord, VolumeRecord, WriterOptions
from drunner_vault.engine.hosttree.reader import TreeReader
from drunner_vault.stores.ranged import RangedSource, open_ranged
from drunner_vault.tar import Entry, Kind
from drunner_vault.workflows.archives.looking import listing
from drunner_vault.workflows.archives.opening import opened_at_random

_MIB = 1 << 20
_FILE = 32 * _MIB
_VOLUME = "drunner-bench-data"
_PREFIX = VOLUMES + b"/" + _VOLUME.encode()


def reads_of_a_large_archive(directory: Path, size: int) -> Iterator[Row]:
    """How many ranged reads, and bytes, listing an archive of `size` bytes takes, and one small file out of it."""
    identity = X25519Identity.generate()
    path = directory / "large.tar.zst.age"
    with path.open("wb") as stream:
        write_archive(stream, identity, _large_tree(size))
    for what, use, most_reads, most_bytes in (
        ("listing", lambda source: _list(source, identity), 3, _MIB),
        ("one small file", lambda source: _one_file(source, identity), 4, 3 * _MIB),
    ):
        with open_ranged(path) as source:
            use(source)
            yield Row(f"{what} of an archive of {size / 1e9:.0f} GB", source.requests, most_reads, "reads")
            yield Row(f"{what} of an archive of {size / 1e9:.0f} GB", source.fetched / _MIB, most_bytes / _MIB, "MiB")
    path.unlink()


def verifying(directory: Path, source: Path, runs: int) -> Iterator[Row]:
    """Verifying beside `age -d | zstd -t`, and the size beside one frame, of an archive of `source`, mixed data."""
    identity = X25519Identity.generate()
    key = directory / "format-key.txt"
    key.write_text(f"{identity}\n")
    archive = directory / "mixed.tar.zst.age"
    with archive.open("wb") as stream:
        write_archive(stream, identity, TreeReader(source, _ignore, _ignore))
    ours = [sys.executable, "-m", "drunner_vault", "verify", str(archive), "-i", str(key)]
    theirs = ["bash", "-o", "pipefail", "-c", f"age -d -i {key} {archive} | zstd -t -q"]
    yield Row("verify / (age -d | zstd -t)", _ratio(ours, theirs, runs), 1.0)
    whole = f"age -d -i {key} {archive} | zstd -dc | zstd -3 -T1 | wc -c"
    one_frame = int(subprocess.run(["bash", "-c", whole], check=True, capture_output=True, text=True).stdout)
    yield Row("size / one zstd frame", archive.stat().st_size / one_frame, 1.05)


def _ratio(ours: list[str], theirs: list[str], runs: int) -> float:
    """The median of our wall time over theirs, run in turn."""
    pairs = [(_wall(ours), _wall(theirs)) for _ in range(runs + 1)][1:]
    return statistics.median(one / other for one, other in pairs)


def _wall(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def write_archive(stream: object, identity: X25519Identity, tree: object) -> None:
    """Write a whole encrypted archive of a tree."""
    sink = EncryptWriter(stream, [identity.recipient()])  # type: ignore[arg-type]
    manifest = Manifest(
        "0" * 32,
        "2026-01-01T00:00:00Z",
        "bench",
        "bench",
        ServiceRecord("drunner", "bench", "bench", 1000),
        volumes=(VolumeRecord(_VOLUME, "/data"),),
    )
    with ArchiveWriter(sink, manifest, 0, WriterOptions()) as writer:
        writer.add(b"hook", Entry(b"", Kind.DIRECTORY, 0o755))
        for entry, content in tree:  # type: ignore[attr-defined]
            writer.add(_PREFIX, entry, content)
        writer.finish("2026-01-01T00:00:00Z")
    sink.close()


def _large_tree(size: int) -> Iterator[tuple[Entry, object]]:
    """Large files of incompressible bytes, and a few thousand small ones."""

    block = random.Random(2).randbytes(_MIB)
    yield Entry(b"", Kind.DIRECTORY, 0o755), ()
    for number in range(size // _FILE):
        yield Entry(b"large%05d" % number, Kind.FILE, size=_FILE), (block for _ in range(_FILE // _MIB))
    for number in range(2000):
        yield Entry(b"small%05d" % number, Kind.FILE, size=1000), (block[number : number + 1000],)


def _list(source: RangedSource, identity: X25519Identity) -> None:
    opened = opened_at_random(source, lambda: [identity])
    assert opened.archive.manifest
    assert sum(1 for _ in listing(opened.archive, b"")) > 2000


def _one_file(source: RangedSource, identity: X25519Identity) -> None:
    archive = opened_at_random(source, lambda: [identity]).archive
    row = next(iter(listing(archive, _PREFIX + b"/small01000")))
    _, content = archive.read(row)
    assert len(b"".join(content)) == 1000


def _ignore(path: bytes, text: str) -> None:
    """Nothing to report in data of our own."""
