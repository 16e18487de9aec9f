"""Docker's archive calls, with an engine that misbehaves as real ones do."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pytest
import requests

from drunner_vault.engine.archivecalls import MOUNT, ArchiveCallWriter, read_tree
from drunner_vault.engine.streams import PieceSource, Upload
from drunner_vault.errors import DamagedArchive, EngineDown, EngineError
from drunner_vault.tar import Entry, Kind, TarReader, encode_members

TOP = MOUNT.strip("/").encode()
TREE = [
    (Entry(TOP, Kind.DIRECTORY, 0o755), b""),
    (Entry(TOP + b"/file", Kind.FILE, size=900), b"x" * 900),
    (Entry(TOP + b"/second", Kind.HARDLINK, link=TOP + b"/file"), b""),
    (Entry(TOP + b"/link", Kind.SYMLINK, link=TOP + b"/file"), b""),
]
STREAM = b"".join(encode_members((entry, (data,)) for entry, data in TREE))


class Engine:
    """Stands for the client and for its containers: gives ``stream``, and keeps what it is sent."""

    def __init__(self, stream: Iterable[bytes] = (), failure: Exception | None = None, after: int = 1 << 40) -> None:
        self.api = self
        self.received = b""
        self.open = 0
        self._stream = stream
        self._failure = failure
        self._after = after

    @contextlib.contextmanager
    def never_started(self, image: str, mounts: Mapping[str, str] | None = None) -> Iterator[str]:
        assert mounts == {"volume": MOUNT}
        self.open += 1
        try:
            yield "container"
        finally:
            self.open -= 1

    def get_archive(self, container: str, path: str) -> tuple[Iterable[bytes], dict[str, Any]]:
        assert (container, path) == ("container", MOUNT)
        return self._stream, {}

    def put_archive(self, container: str, path: str, data: Iterable[bytes]) -> bool:
        assert (container, path) == ("container", "/")
        for piece in data:
            self.received += piece
            if len(self.received) > self._after and self._failure:
                raise self._failure
        return True


def read(engine: Engine) -> list[tuple[Entry, bytes]]:
    items = read_tree(engine, engine, "image", "volume")  # type: ignore[arg-type]
    return [(entry, b"".join(content)) for entry, content in items]


def writer(engine: Engine, problems: list[tuple[bytes, str]] | None = None) -> ArchiveCallWriter:
    found: list[tuple[bytes, str]] = [] if problems is None else problems
    report = lambda path, problem: found.append((path, problem))  # noqa: E731
    return ArchiveCallWriter(engine, engine, "image", "volume", report)  # type: ignore[arg-type]


def sent(engine: Engine) -> list[tuple[Entry, bytes]]:
    tar = TarReader(io.BytesIO(engine.received))
    return [(member.entry, b"".join(tar.content())) for member in tar]


def test_paths_start_inside_the_volume() -> None:
    engine = Engine([STREAM[at : at + 100] for at in range(0, len(STREAM), 100)])
    items = read(engine)
    assert [(entry.path, entry.link) for entry, _ in items] == [
        (b"", b""), (b"file", b""), (b"second", b"file"), (b"link", TOP + b"/file"),
    ]  # fmt: skip
    assert items[1][1] == b"x" * 900
    assert engine.open == 0


@pytest.mark.parametrize("cut", [512, 1024, 1025, 2000, len(STREAM) - 1])
def test_a_stream_without_its_end_has_failed(cut: int) -> None:
    """So the engine ends one in which a file shrank: as if all were well."""
    engine = Engine([STREAM[:-cut]])
    with pytest.raises(DamagedArchive):
        read(engine)
    assert engine.open == 0


def test_an_engine_that_breaks_off_is_named() -> None:
    def broken() -> Iterator[bytes]:
        yield STREAM[:700]
        raise requests.ConnectionError("gone")

    engine = Engine(broken())
    with pytest.raises(EngineDown, match="read volume volume"):
        read(engine)
    assert engine.open == 0


def test_what_is_written_arrives_below_the_mount_and_ends_properly() -> None:
    engine = Engine()
    with writer(engine) as out:
        out.write(Entry(b"", Kind.DIRECTORY, 0o750, uid=7), ())
        out.write(Entry(b"file", Kind.FILE, size=3), (b"a", b"bc"))
        out.write(Entry(b"other", Kind.HARDLINK, link=b"file"), ())
        out.write(Entry(b"up", Kind.SYMLINK, link=b"../../.."), ())
    assert engine.received.endswith(bytes(1024))
    assert [(entry.path, entry.link, data) for entry, data in sent(engine)] == [
        (TOP, b"", b""), (TOP + b"/file", b"", b"abc"),
        (TOP + b"/other", TOP + b"/file", b""), (TOP + b"/up", b"../../..", b""),
    ]  # fmt: skip
    assert engine.open == 0


def test_a_default_acl_is_set_when_its_directory_is_full() -> None:
    acl = {"system.posix_acl_default": b"\2\0\0\0", "user.a": b"1"}
    engine = Engine()
    with writer(engine) as out:
        out.write(Entry(b"", Kind.DIRECTORY, xattrs=acl), ())
        out.write(Entry(b"d", Kind.DIRECTORY, xattrs=acl), ())
        out.write(Entry(b"d/f", Kind.FILE), ())
        out.write(Entry(b"d2", Kind.FILE), ())
    seen = [(entry.path.removeprefix(TOP), sorted(entry.xattrs)) for entry, _ in sent(engine)]
    assert seen == [
        (b"", ["user.a"]), (b"/d", ["user.a"]), (b"/d/f", []), (b"/d", sorted(acl)), (b"/d2", []), (b"", sorted(acl)),
    ]  # fmt: skip


def test_what_the_engine_cannot_be_given_is_reported() -> None:
    problems: list[tuple[bytes, str]] = []
    engine = Engine()
    with writer(engine, problems) as out:
        out.write(Entry(b"f", Kind.FILE, mtime_ns=-1, xattrs={"user.a=b": b"1", "user.e": b"", "user.100%": b"2"}), ())
    assert [path for path, _ in problems] == [b"f"] * 3
    assert b"user.100%=2" in engine.received
    assert b"user.a" not in engine.received


@pytest.mark.parametrize("path", [b"../x", b"/etc/x", b"a/../../x", b"a//b", b".", b"a/./b", b"a\0b"])
def test_a_path_that_leaves_the_volume_is_not_sent(path: bytes) -> None:
    for entry in (Entry(path, Kind.FILE), Entry(b"innocent", Kind.HARDLINK, link=path)):
        engine = Engine()
        with pytest.raises(DamagedArchive), writer(engine) as out:
            out.write(entry, ())
        assert engine.received == b""
        assert engine.open == 0


@pytest.mark.parametrize("after", [0, 5000, 9_000_000])
def test_an_engine_that_refuses_meanwhile_says_why(after: int) -> None:
    engine = Engine(failure=EngineError("cannot write volume v: no"), after=after)
    with pytest.raises(EngineError, match="no"), writer(engine) as out:  # noqa: PT012
        for number in range(10):
            out.write(Entry(b"%d" % number, Kind.FILE, size=1 << 20), (bytes(1 << 20),))
    assert engine.open == 0


def test_an_engine_that_refuses_at_the_end_says_why() -> None:
    engine = Engine(failure=EngineError("cannot write volume v: no"), after=512)
    with pytest.raises(EngineError, match="no"), writer(engine) as out:
        out.write(Entry(b"f", Kind.FILE), ())


def test_our_own_failure_is_the_one_that_is_told() -> None:
    engine = Engine(failure=EngineError("unexpected end"), after=10)
    with pytest.raises(DamagedArchive, match="ours"), writer(engine) as out:  # noqa: PT012
        out.write(Entry(b"f", Kind.FILE), ())
        raise DamagedArchive("ours")
    assert not engine.received.endswith(bytes(1024))


def test_a_piece_source_gives_what_is_asked_for_and_then_nothing() -> None:
    source = PieceSource([b"", b"ab", b"", b"cde", b""])
    assert [source.read(2), source.read(2), source.read(9), source.read(1), source.read(1)] == [
        b"ab", b"cd", b"e", b"", b"",
    ]  # fmt: skip


def test_an_upload_that_nobody_takes_does_not_hang() -> None:
    def refuse(pieces: Iterator[bytes]) -> None:
        next(pieces)
        raise OSError("no")

    with pytest.raises(OSError, match="no"), Upload(refuse) as upload:  # noqa: PT012
        for _ in range(100):
            upload.write(bytes(1 << 20))
