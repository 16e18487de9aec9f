"""What is encoded is decoded again, by us and by others; and what others write is read."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.trees import assert_same_tree, make_odd_tree, plain_facts, tar_of

from drunner_vault.engine.hosttree.reader import TreeReader
from drunner_vault.engine.hosttree.writer import TreeWriter
from drunner_vault.tar import Entry, Kind, Segment, TarReader, encode_members
from drunner_vault.tar.encode import byte_sum

NAMES = st.binary(min_size=1, max_size=300).map(lambda b: b.replace(b"\0", b"_").replace(b"/", b"-")).filter(
    lambda b: b not in (b".", b"..")
)  # fmt: skip
PATHS = st.lists(NAMES, min_size=1, max_size=5).map(b"/".join)
LINKS = st.binary(min_size=1, max_size=4000).map(lambda b: b.replace(b"\0", b"_"))
XATTRS = st.dictionaries(
    st.sampled_from(["user.a", "user.a=b", "user.100%", "user.%3D", "user.\u2603", "user.\udcff", "trusted.x"]),
    st.binary(max_size=600),
    max_size=4,
)
COMMON: Mapping[str, st.SearchStrategy[object]] = {
    "path": PATHS,
    "mode": st.integers(0, 0o7777),
    "uid": st.integers(0, 2**32 - 2),
    "gid": st.integers(0, 2**32 - 2),
    "mtime_ns": st.integers(-(2**36) * 10**9, 2**36 * 10**9),
    "xattrs": XATTRS,
}


@st.composite
def sparse(draw: st.DrawFn) -> tuple[Entry, bytes]:
    """A file with holes, as far apart as they like."""
    gaps = draw(st.lists(st.tuples(st.integers(0, 2**40), st.integers(0, 3000)), max_size=60))
    segments, at = [], 0
    for gap, size in gaps:
        segments.append(Segment(at + gap, size))
        at += gap + size
    size = at + draw(st.integers(0, 2**40))
    common = {name: draw(strategy) for name, strategy in COMMON.items()}
    entry = Entry(kind=Kind.FILE, size=size, segments=tuple(segments), **common)  # type: ignore[arg-type]
    return entry, draw(st.just(os.urandom(entry.data_size)))


@st.composite
def member(draw: st.DrawFn) -> tuple[Entry, bytes]:
    """Any entry with its data."""
    common = {name: draw(strategy) for name, strategy in COMMON.items()}
    kind = draw(st.sampled_from(list(Kind)))
    if kind is Kind.FILE:
        data = draw(st.binary(max_size=2000))
        return Entry(kind=kind, size=len(data), **common), data  # type: ignore[arg-type]
    if kind in (Kind.SYMLINK, Kind.HARDLINK):
        return Entry(kind=kind, link=draw(LINKS), **common), b""  # type: ignore[arg-type]
    if kind in (Kind.CHARACTER, Kind.BLOCK):
        device = (draw(st.integers(0, 4095)), draw(st.integers(0, 2**20 - 1)))
        return Entry(kind=kind, device=device, **common), b""  # type: ignore[arg-type]
    return Entry(kind=kind, **common), b""  # type: ignore[arg-type]


class Drip:
    """Gives what it holds in pieces of odd sizes, never more than asked for."""

    def __init__(self, data: bytes) -> None:
        self._stream = io.BytesIO(data)
        self._count = 0

    def read(self, size: int) -> bytes:
        self._count += 1
        return self._stream.read(min(size, 1 + self._count * 37 % 700))


def decode(data: bytes) -> list[tuple[Entry, bytes]]:
    tar = TarReader(Drip(data))
    return [(found.entry, b"".join(tar.content())) for found in tar]


@given(st.lists(st.one_of(member(), sparse()), max_size=6))
@settings(deadline=None, suppress_health_check=list(HealthCheck))
def test_what_is_encoded_is_decoded_again(members: list[tuple[Entry, bytes]]) -> None:
    tar = b"".join(encode_members((entry, (data,)) for entry, data in members))
    assert len(tar) % 512 == 0
    assert decode(tar) == members


def test_positions_are_those_of_the_bytes() -> None:
    items = [(Entry(b"x" * 150, Kind.FILE, size=5), b"hello"), (Entry(b"s", Kind.FILE, size=9000, segments=(Segment(8192, 5),)), b"world")]  # fmt: skip # noqa: E501
    tar = b"".join(encode_members((entry, (data,)) for entry, data in items))
    for found, (_, data) in zip(TarReader(io.BytesIO(tar)), items, strict=True):
        assert tar[found.content : found.content + 5] == data
        assert tar[found.offset : found.offset + 10].startswith((b"PaxHeaders", b"s"))


@pytest.fixture
def odd_tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    root.mkdir()
    make_odd_tree(root)
    (root / "special/socket").unlink()
    return root


@pytest.mark.skipif(os.geteuid() != 0, reason="devices, owners and attributes need root")
def test_gnu_tar_unpacks_what_we_encode(odd_tree: Path, tmp_path: Path) -> None:
    expected = tar_of(odd_tree)
    (tmp_path / "out").mkdir()
    with (tmp_path / "ours.tar").open("wb") as stream:
        for piece in encode_members(TreeReader(odd_tree, _never, _never)):
            stream.write(piece)
    options = ["--xattrs", "--xattrs-include=*", "--acls", "--numeric-owner"]
    done = subprocess.run(["tar", "-C", tmp_path / "out", *options, "-xpf", tmp_path / "ours.tar"], check=False)
    assert done.returncode == 0
    assert_same_tree(tmp_path / "out", expected)


@pytest.mark.skipif(os.geteuid() != 0, reason="devices, owners and attributes need root")
def test_bsdtar_unpacks_what_we_encode(odd_tree: Path, tmp_path: Path) -> None:
    (odd_tree / "holes/over 8 GiB").unlink()
    (odd_tree / "links/bytes").unlink()
    shutil.rmtree(odd_tree / "times")  # it takes a directory's moment before 1970 for 1970
    for name in (b"\xff\xfe\x80", b"half \xc3"):
        (odd_tree / "names" / os.fsdecode(name)).unlink()
        (odd_tree / "names" / os.fsdecode(name + b".dir")).rmdir()
    expected = [line for line in plain_facts(odd_tree) if not _passed_over(line)]
    (tmp_path / "out").mkdir()
    with (tmp_path / "ours.tar").open("wb") as stream:
        for piece in encode_members(TreeReader(odd_tree, _never, _never)):
            stream.write(piece)
    command = ["bsdtar", "-C", tmp_path / "out", "--numeric-owner", "--acls", "--xattrs", "-xpf", tmp_path / "ours.tar"]
    done = subprocess.run(command, check=False, capture_output=True, env=os.environ | {"LC_ALL": "C.UTF-8"})
    assert [line for line in plain_facts(tmp_path / "out") if not _passed_over(line)] == expected, done.stderr[:2000]


@pytest.mark.parametrize("form", ["pax", "gnu"])
@pytest.mark.skipif(os.geteuid() != 0, reason="devices, owners and attributes need root")
def test_we_read_what_gnu_tar_writes(odd_tree: Path, tmp_path: Path, form: str) -> None:
    options = ["--xattrs", "--xattrs-include=*", "--acls", "--sparse", "--numeric-owner"]
    if form == "gnu":
        # the older form has neither attributes nor a sparse map that we know, nor times before 1970
        options = ["--exclude=./times", "--exclude=./holes", "--exclude=./attributes/with*"]
    command = ["tar", f"--format={form}", "--sort=name", *options, "-C", odd_tree, "-cf", tmp_path / "theirs.tar", "."]
    assert subprocess.run(command, check=False).returncode == 0
    (tmp_path / "out").mkdir()
    with (tmp_path / "theirs.tar").open("rb") as stream, TreeWriter(tmp_path / "out", _never) as writer:
        tar = TarReader(stream)
        for found in tar:
            writer.write(_inside(found.entry), tar.content())
    if form == "pax":
        assert_same_tree(tmp_path / "out", tar_of(odd_tree))
        return
    for name in ("times", "holes"):
        shutil.rmtree(odd_tree / name)
    (odd_tree / "attributes/with holes").unlink()
    skipped = ("attributes", "capable", "b'|d|", "fifo", "null", "b''")  # it makes no hard links to pipes and devices
    left = [line for line in plain_facts(odd_tree) if not any(word in line for word in skipped)]
    assert [line for line in plain_facts(tmp_path / "out") if not any(word in line for word in skipped)] == left


def test_we_read_what_python_writes_in_any_form(tmp_path: Path) -> None:
    for form in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w", format=form) as tar:
            for name, size in (("plain", 3), ("d" * 90 + "/" + "n" * 90, 700), ("e", 0)):
                info = tarfile.TarInfo(name)
                info.size, info.mtime, info.uid = size, 1234567890, 1000
                tar.addfile(info, io.BytesIO(b"x" * size))
        found = decode(buffer.getvalue())
        assert [(entry.path, entry.size, entry.uid, data) for entry, data in found] == [
            (b"plain", 3, 1000, b"xxx"),
            (b"d" * 90 + b"/" + b"n" * 90, 700, 1000, b"x" * 700),
            (b"e", 0, 1000, b""),
        ]


def _inside(entry: Entry) -> Entry:
    """GNU tar names everything from `.` on."""
    path = entry.path.removeprefix(b".").lstrip(b"/")
    link = entry.link.removeprefix(b"./") if entry.kind is Kind.HARDLINK else entry.link
    return entry._replace(path=path, link=link)


def _never(path: bytes, problem: str) -> None:
    raise AssertionError(f"{path!r}: {problem}")


def _passed_over(line: str) -> bool:
    """What bsdtar leaves as it is: the times of links, and all of the directory that it unpacks into."""
    return "|l|" in line or line.startswith("b'|d|")


@pytest.mark.parametrize("block", [bytes(512), b"\x7f" * 512, b"\xff" * 512, b"ascii \xe4" * 64, b""])
def test_a_headers_checksum_counts_every_byte_whatever_it_is(block: bytes) -> None:
    assert byte_sum(block) == sum(block)
