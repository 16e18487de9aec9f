"""An archive reads the same wherever it is: from a file, a pipe or a store."""

from __future__ import annotations

import datetime as dt
import io
import os
import random
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import NoReturn

import pytest

from drunner_vault.clock import Clock
from drunner_vault.errors import BadUsage, Interrupted, NotFound, Unavailable
from drunner_vault.stores.address import Address
from drunner_vault.stores.faulty import Fault, Faults, FaultyStore
from drunner_vault.stores.local import LocalStore
from drunner_vault.stores.memory import MemoryStore
from drunner_vault.stores.sources import ArchiveSource, FileSource, PipeSource, StoredSource
from drunner_vault.stores.store import put

PIECE = 8 << 20
NAME = "host/notes/notes-20260131T030000Z.tar.zst.age"


class Watched(MemoryStore):
    """Counts what is read, and how much at most is being read at once. gate: what every read waits for."""

    def __init__(self) -> None:
        super().__init__()
        self.reads: list[tuple[int, int]] = []
        self.gate = threading.Event()
        self.gate.set()

    def read(self, key: str, offset: int, length: int) -> bytes:
        self.reads.append((offset, length))
        assert self.gate.wait(20)
        return super().read(key, offset, length)


def data_of(size: int) -> bytes:
    return random.Random(size).randbytes(size)


def whole(source: ArchiveSource, count: int = 999_983) -> bytes:
    with source.sequential() as opened:
        return b"".join(iter(lambda: opened.read(count), b""))


def stored(store: MemoryStore, data: bytes) -> StoredSource:
    put(store, NAME, data)
    return StoredSource(store, NAME, len(data))


@pytest.mark.parametrize("size", [0, 1, PIECE - 1, PIECE, PIECE + 1, 40 << 20])
def test_reading_ahead_gives_the_same_bytes(size: int) -> None:
    store, data = Watched(), data_of(size)
    assert whole(stored(store, data)) == data
    assert sum(length for _, length in store.reads) == size
    assert all(length <= PIECE for _, length in store.reads)


@pytest.mark.parametrize("count", [1000, PIECE, 100 << 20])
def test_reads_of_any_size_give_the_same_bytes(count: int) -> None:
    data = data_of(PIECE + 5)
    assert whole(stored(MemoryStore(), data), count) == data


def test_no_more_than_four_pieces_are_asked_for_before_they_are_used() -> None:
    store = Watched()
    with stored(store, bytes(12 * PIECE)).sequential() as opened:
        opened.read(1)
        assert len(store.reads) <= 4
        opened.read(PIECE)
        opened.read(1)
        assert len(store.reads) <= 5


@pytest.mark.parametrize("number", [1, 2, 5])
def test_an_error_while_reading_ahead_comes_where_its_bytes_are_due(number: int) -> None:
    inner = MemoryStore()
    put(inner, NAME, bytes(5 * PIECE))
    source = StoredSource(FaultyStore(inner, Faults(number, Fault.BEFORE)), NAME, 5 * PIECE)
    with pytest.raises(Unavailable):
        whole(source)


def test_an_object_that_is_gone_is_said_to_be() -> None:
    with pytest.raises(NotFound):
        whole(StoredSource(MemoryStore(), NAME, 100))


def test_leaving_early_asks_for_nothing_more() -> None:
    store = Watched()
    source = stored(store, bytes(12 * PIECE))
    store.gate.clear()
    opener = threading.Timer(0.8, store.gate.set)

    def stop(*_: object) -> NoReturn:
        raise Interrupted("stopped")

    before = signal.signal(signal.SIGALRM, stop)
    try:
        with pytest.raises(Interrupted), source.sequential() as opened:  # noqa: PT012
            opener.start()
            signal.setitimer(signal.ITIMER_REAL, 0.3)
            opened.read(1)
    finally:
        signal.signal(signal.SIGALRM, before)
    opener.join()
    assert len(store.reads) == 3, "the fourth was waiting for its turn"
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("read-ahead")]


def test_a_file_a_pipe_and_an_object_give_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = data_of(3_000_001)
    store = LocalStore(tmp_path)
    put(store, NAME, data)
    path = tmp_path / NAME
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    for source in (FileSource(path), PipeSource(), StoredSource(store, NAME, len(data))):
        assert whole(source) == data
    for source in (FileSource(path), StoredSource(store, NAME, len(data))):
        assert source.can_seek
        assert source.name == str(path)
        with source.ranged() as ranged:
            assert ranged.size == len(data)
            assert ranged.read_at(1_000_000, 7) == data[1_000_000:1_000_007]
            assert ranged.read_at(len(data) - 3, 100) == data[-3:]
        with source.sequential() as opened:
            assert opened.size == len(data)


def test_a_named_pipe_is_read_from_its_start_only(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    source = FileSource(tmp_path / "pipe")
    assert not source.can_seek
    writer = subprocess.Popen(["sh", "-c", f"printf abc > {tmp_path}/pipe"])
    with source.sequential() as opened:
        assert opened.size is None
        assert b"".join(iter(lambda: opened.read(2), b"")) == b"abc"
    assert writer.wait() == 0


def test_standard_input_has_no_neighbours_and_no_second_look() -> None:
    source = PipeSource()
    with pytest.raises(BadUsage):
        source.ranged()
    with pytest.raises(NotFound):
        source.beside(".json", 100)
    assert source.location() is None
    assert source.modified() is None


def test_what_is_beside_an_archive_is_found(tmp_path: Path) -> None:
    local, memory = LocalStore(tmp_path), MemoryStore("far")
    for store in (local, memory):
        put(store, NAME, b"archive")
    sources: tuple[ArchiveSource, ...] = (FileSource(tmp_path / NAME), StoredSource(memory, NAME, 7))
    for source in sources:
        with pytest.raises(NotFound):
            source.beside(".json", 100)
    for store in (local, memory):
        put(store, NAME + ".json", b"sidecar")
    for source in sources:
        assert source.beside(".json", 100) == b"sidecar"
        assert source.beside(".json", 4) == b"side"
        assert source.beside(".json", 0) == b""


def test_where_an_archive_is_can_be_told_of_files_and_of_stores_with_an_address(tmp_path: Path) -> None:
    memory, address = MemoryStore("far"), Address("s3", "bucket", "")
    assert StoredSource(memory, NAME, 7, address).location() == (address, NAME)
    assert StoredSource(memory, NAME, 7).location() is None
    path = tmp_path / "notes-20260131T030000Z.tar.zst.age"
    assert FileSource(path).location() == (Address("file", "", str(tmp_path)), path.name)
    assert FileSource(tmp_path / ".hidden").location() is None


def test_a_file_has_appeared_in_a_store_if_it_has_a_sidecar(tmp_path: Path) -> None:
    for name in ("bare", "with", "with.json"):
        (tmp_path / name).write_text("x")
        os.utime(tmp_path / name, (1_769_828_400, 1_769_828_400))
    assert FileSource(tmp_path / "bare").modified() is None
    assert FileSource(tmp_path / "with").modified() == dt.datetime(2026, 1, 31, 3, tzinfo=dt.UTC)


def test_an_object_has_appeared_when_its_store_says_so() -> None:
    moment = dt.datetime(2026, 1, 31, 3, tzinfo=dt.UTC)
    store = MemoryStore(clock=Clock(now=lambda: moment))
    put(store, NAME, b"archive")
    assert StoredSource(store, NAME, 7).modified() == moment


def test_a_file_that_is_not_there_is_said_not_to_be(tmp_path: Path) -> None:
    source = FileSource(tmp_path / "nothing")
    with pytest.raises(NotFound), source.sequential():
        pass
    with pytest.raises(NotFound), source.ranged():
        pass
