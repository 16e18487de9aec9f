"""Where the time of a backup goes: its stages one after the other, each timed alone, in one process on one core.

A backup does them at the same time: zstd and the digests of frames on as many threads as there are cores, writing on a
thread of its own, all else on one. So their sum is the work there is, and what the whole takes beside it says how well
they overlap.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TypeVar

import zstandard
from blake3 import blake3

from bench.archive_format import write_archive
from bench.workbench import Workbench
from drunner_vault.age import EncryptWriter, X25519Identity
from drunner_vault.archive.frames import default_threads
from drunner_vault.archive.index import Spool, member_row
from drunner_vault.archive.layout import CONTENT_FRAME, LARGE_MEMBER, SHARED_FRAME
from drunner_vault.durable import new_file
from drunner_vault.engine.hosttree.gatherer import read_tree
from drunner_vault.engine.hosttree.reader import TreeReader
from drunner_vault.memory import expect_bulk_work
from drunner_vault.tar import Kind, Member, encode_header, padding
from drunner_vault.writebehind import BehindFile, WriteBehind

READ, TAR, BLAKE3, ZSTD, ZSTD_ALL, AGE, WRITE = (
    "read the volume",
    "tar and index",
    "BLAKE3",
    "zstd, one core",
    "zstd, all cores",
    "age",
    "write and sync",
)
SERIAL = (READ, TAR, BLAKE3, ZSTD, AGE, WRITE)
_LEVEL = 3
_BATCH = 64  # frames that are held, to be compressed on one core and on all
_PREFIX = b"volumes/bench/"
_Item = TypeVar("_Item")


@dataclass(frozen=True)
class Profile:
    """Of one set of data. content: bytes of its files. members: how many files and folders. seconds: by stage. whole:
    seconds of a backup with all stages at once, on `cores`."""

    data: str
    content: int
    members: int
    seconds: dict[str, float]
    whole: float
    cores: int

    @property
    def work(self) -> float:
        """Seconds of all stages, one after the other on one core."""
        return sum(self.seconds[stage] for stage in SERIAL)

    def share(self, stage: str) -> float:
        """Of the work."""
        return self.seconds[stage] / self.work

    def speed(self, seconds: float) -> float:
        """MB/s of content."""
        return self.content / seconds / 1e6


def profiles(bench: Workbench) -> Iterator[Profile]:
    """Of many small files, and of mixed data, each in a process of its own."""
    for name in ("mixed", "small"):
        path = bench.warm(name).path
        os.sync()
        command = [sys.executable, "-m", "bench.stages", name, str(path), str(bench.directory)]
        root = Path(__file__).parents[1]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=root)
        yield Profile(**json.loads(done.stdout))


def lines(profile: Profile) -> Iterator[str]:
    """A profile as text."""
    mib = profile.content / (1 << 20)
    yield f"stages of a backup of {profile.data}: {profile.members:,} files and folders, {mib:,.0f} MiB"
    for stage, seconds in profile.seconds.items():
        share = f"{profile.share(stage):6.0%}" if stage in SERIAL else ""
        yield f"  {stage:<18} {seconds:8.2f} s {profile.speed(seconds):8,.0f} MB/s {share}"
    whole = f"{profile.whole:8.2f} s {profile.speed(profile.whole):8,.0f} MB/s"
    yield f"  {'all at once':<18} {whole}  on {profile.cores} cores, of {profile.work:.2f} s of work"


@dataclass
class _Clock:
    """Seconds by stage."""

    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys((*SERIAL, ZSTD_ALL), 0.0))

    def timed(self, stage: str, start: float) -> None:
        """All since `start` belongs to that stage."""
        self.seconds[stage] += time.perf_counter() - start

    def drawn(self, stage: str, items: Iterable[_Item]) -> Iterator[_Item]:
        """The same items; the time that each takes to come belongs to that stage."""
        source = iter(items)
        while True:
            start = time.perf_counter()
            item = next(source, None)
            self.timed(stage, start)
            if item is None:
                return
            yield item


class _TimedSink:
    """Writes into a file as a backup does, but waits for each piece, and knows how long that took."""

    def __init__(self, file: BehindFile, behind: WriteBehind, clock: _Clock) -> None:
        self._file = file
        self._behind = behind
        self._clock = clock

    def write(self, data: bytes) -> None:
        start = time.perf_counter()
        self._file.write(data)
        self._behind.settle()
        self._clock.timed(WRITE, start)


@dataclass
class _Tree:
    """A tree on its way into frames, and what it had. content: bytes."""

    root: Path
    clock: _Clock
    content: int = 0
    members: int = 0

    def frames(self) -> Iterator[bytes]:
        """The tar in frames, cut about as an archive's are; each digest but those of frames has been made."""
        held: list[bytes] = []
        spool, offset = Spool(), 0
        for entry, content in self.clock.drawn(READ, TreeReader(self.root, _ignore, _ignore)):
            start = time.perf_counter()
            named = entry._replace(path=_PREFIX + entry.path)
            header = encode_header(named, named.path)
            size = entry.data_size
            self.clock.timed(TAR, start)
            if held and (size >= LARGE_MEMBER or sum(map(len, held)) + len(header) + size > SHARED_FRAME):
                yield self._joined(held)
            held.append(header)
            digest = blake3()
            for piece in self.clock.drawn(READ, content):
                start = time.perf_counter()
                digest.update(piece)
                self.clock.timed(BLAKE3, start)
                held.append(piece)
                if len(piece) >= CONTENT_FRAME:
                    yield self._joined(held)
            start = time.perf_counter()
            held.append(padding(size))
            member = Member(named, offset, offset + len(header))
            spool.add(member_row(member, digest.hexdigest() if entry.kind is Kind.FILE else "", size, 0, 1))
            offset += len(header) + size + len(held[-1])
            self.clock.timed(TAR, start)
            self.content += size
            self.members += 1
        if held:
            yield self._joined(held)
        spool.close()

    def _joined(self, held: list[bytes]) -> bytes:
        start = time.perf_counter()
        frame = b"".join(held)
        held.clear()
        self.clock.timed(TAR, start)
        return frame


def _stages(root: Path, scratch: Path) -> _Tree:
    """One pass over a tree, a stage at a time."""
    clock = _Clock()
    tree = _Tree(root, clock)
    with (
        tempfile.TemporaryFile(dir=scratch, buffering=0) as stream,
        WriteBehind() as behind,
        ThreadPoolExecutor(default_threads()) as pool,
    ):
        file = BehindFile(behind, stream.fileno(), "the archive")
        sink = EncryptWriter(_TimedSink(file, behind, clock), [X25519Identity.generate().recipient()])
        frames = tree.frames()
        while batch := list(itertools.islice(frames, _BATCH)):
            _pack(batch, pool, sink, clock)
        sink.close()
        start = time.perf_counter()
        file.flush()
        os.fsync(stream.fileno())
        clock.timed(WRITE, start)
    return tree


def _pack(batch: list[bytes], pool: ThreadPoolExecutor, sink: EncryptWriter, clock: _Clock) -> None:
    """Compress some frames on one core, and again on all; hash them, seal them, write them."""
    start = time.perf_counter()
    packed = [_compressed(frame) for frame in batch]
    clock.timed(ZSTD, start)
    start = time.perf_counter()
    again = list(pool.map(_compressed, batch))
    clock.timed(ZSTD_ALL, start)
    assert again == packed
    start = time.perf_counter()
    for data in (*batch, *packed):
        blake3(data).hexdigest()
    clock.timed(BLAKE3, start)
    start, writing = time.perf_counter(), clock.seconds[WRITE]
    for data in packed:
        sink.write(data)
    clock.timed(AGE, start)
    clock.seconds[AGE] -= clock.seconds[WRITE] - writing


_local = threading.local()


def _compressed(frame: bytes) -> bytes:
    compressor = getattr(_local, "compressor", None)
    if compressor is None:
        compressor = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True, write_content_size=True)
        _local.compressor = compressor
    return compressor.compress(frame)


def _whole(root: Path, scratch: Path) -> float:
    """Seconds that a backup of the tree takes with all stages at once."""
    archive = scratch / "whole.age"
    start = time.perf_counter()
    with new_file(archive) as stream:
        write_archive(stream, X25519Identity.generate(), read_tree(root, _ignore, _ignore))
    taken = time.perf_counter() - start
    archive.unlink()
    return taken


def _ignore(path: bytes, text: str) -> None:
    """Nothing to report in data of our own."""


def main() -> None:
    """`python -m bench.stages NAME TREE SCRATCH`: prints the profile of a tree, as JSON."""
    name, root, scratch = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    expect_bulk_work()
    tree = min((_stages(root, scratch) for _ in range(2)), key=lambda done: sum(done.clock.seconds.values()))
    whole = min(_whole(root, scratch) for _ in range(2))
    print(json.dumps(asdict(Profile(name, tree.content, tree.members, tree.clock.seconds, whole, default_threads()))))


if __name__ == "__main__":
    main()
