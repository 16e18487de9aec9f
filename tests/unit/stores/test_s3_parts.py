"""How an object is cut into parts, where they are kept, and what an upload takes of this host's memory."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import tempfile
import textwrap
import threading
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support import s3servers
from support.s3servers import Server, credentials

from drunner_vault.errors import BadUsage, NoSpace, StorageError, Unavailable
from drunner_vault.stores.contract import content
from drunner_vault.stores.s3 import parts
from drunner_vault.stores.s3.options import S3Options, parse_s3_options
from drunner_vault.stores.s3.parts import LARGEST_PART, MAX_PARTS, MIB, SMALLEST_PART, PartsPlan, growing, uniform

BOUND = 128 * MIB


def test_any_object_that_s3_can_hold_fits() -> None:
    sizes = [growing(number) for number in range(1, MAX_PARTS + 1)]
    assert sum(sizes) >= 5 << 40
    assert all(SMALLEST_PART <= size <= LARGEST_PART for size in sizes)
    assert sizes == sorted(sizes)
    assert sizes[0] == 8 * MIB
    assert sizes[1899] == 8 * MIB
    assert sizes[1900] == 16 * MIB


def test_small_archives_have_small_parts() -> None:
    """A failed part of an archive of 100 GiB costs no more than 64 MiB to send again."""
    total, number = 0, 0
    while total < 100 << 30:
        number += 1
        total += growing(number)
    assert growing(number) <= 64 * MIB


def test_uniform_parts_are_so_and_end_with_a_word_about_it() -> None:
    plan = PartsPlan(uniform(5 * MIB), 3)
    part = plan.part(MAX_PARTS)
    assert part.fill(memoryview(bytes(6 * MIB))) == 5 * MIB
    assert part.full
    with pytest.raises(StorageError) as told:
        plan.part(MAX_PARTS + 1)
    assert "part_size" in told.value.hint


@pytest.mark.parametrize("in_flight", [1, 3, 8, 40])
@pytest.mark.parametrize("schedule", [growing, uniform(64 * MIB), uniform(LARGEST_PART)])
def test_parts_in_memory_stay_within_the_bound(schedule: parts.Schedule, in_flight: int) -> None:
    plan = PartsPlan(schedule, in_flight)
    for number in range(1, MAX_PARTS + 1, 100):
        size = schedule(number)
        if is_in_memory(plan, number):
            assert size * (in_flight + 1) <= BOUND * 2 // 3
        else:
            assert size * (in_flight + 1) > BOUND // 2


def is_in_memory(plan: PartsPlan, number: int) -> bool:
    part = plan.part(number)
    kept = not hasattr(part.body(threading.Event())._file, "fileno") or _has_no_descriptor(part)
    part.close()
    return kept


def _has_no_descriptor(part: parts.Part) -> bool:
    try:
        part.body(threading.Event())._file.fileno()
    except OSError:
        return True
    return False


def test_what_is_on_its_way_is_bounded_too() -> None:
    plan = PartsPlan(growing, 3)
    assert plan.has_room(2 * 8 * MIB, 2, 8 * MIB)
    assert not plan.has_room(3 * 8 * MIB, 3, 8 * MIB)
    assert not plan.has_room(1 << 30, 1, 2 << 30)
    assert plan.has_room(0, 0, 4 << 30)


@pytest.mark.parametrize("in_memory", [True, False])
def test_a_part_can_be_sent_again_and_knows_its_md5(in_memory: bool) -> None:
    data = content(MIB)
    part = parts.Part(1, MIB, in_memory=in_memory)
    for start in range(0, MIB, 70_001):
        assert part.fill(memoryview(data)[start : start + 70_001]) == min(70_001, MIB - start)
    assert part.fill(memoryview(b"more")) == 0
    for _ in range(2):
        assert part.body(threading.Event()).read() == data
    assert b64decode(part.md5()) == part.digest() == hashlib.md5(data).digest()
    part.close()


def test_a_body_ends_when_the_upload_is_stopped() -> None:
    part, stop = parts.Part(1, 100, in_memory=True), threading.Event()
    part.fill(memoryview(bytes(100)))
    body = part.body(stop)
    assert body.read(10) == bytes(10)
    stop.set()
    with pytest.raises(Unavailable):
        body.read(10)


def test_large_parts_are_nameless_files_where_tmpdir_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    part = parts.Part(1, 100, in_memory=False)
    assert list(tmp_path.iterdir()) == []
    descriptor = part.body(threading.Event())._file.fileno()
    assert str(Path(f"/proc/self/fd/{descriptor}").readlink()).startswith(str(tmp_path))
    part.close()


def test_no_place_for_parts_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path / "missing"))
    with pytest.raises(StorageError, match="missing") as told:
        parts.Part(1, 100, in_memory=False)
    assert "TMPDIR" in told.value.hint


def test_a_full_disk_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_options: Path("/dev/full").open("wb"))  # noqa: SIM115
    part = parts.Part(1, 100_000, in_memory=False)
    with pytest.raises(NoSpace) as told:
        part.fill(memoryview(bytes(100_000)))
    assert "TMPDIR" in told.value.hint
    part.close()


def test_options_as_they_are_written() -> None:
    texts = {
        "endpoint": "https://minio.example.org",
        "path_style": "yes",
        "part_size": "64MiB",
        "in_flight": "5",
        "timeout": "2.5",
        "lock": "compliance",
    }
    assert parse_s3_options("bucket", "a/b", texts) == S3Options(
        "bucket", "a/b", "https://minio.example.org", path_style=True, part_size=64 * MIB, in_flight=5, timeout=2.5,
        lock="compliance",
    )  # fmt: skip
    assert parse_s3_options("bucket", "", {"part_size": "1g"}).part_size == 1 << 30
    assert S3Options("bucket", "a").name == "s3://bucket/a"
    assert S3Options("bucket").name == "s3://bucket"


@pytest.mark.parametrize(
    ("name", "text"),
    [("part_size", "many"), ("path_style", "maybe"), ("attempts", "1.5"), ("timeout", "soon"), ("part_size", "-1")],
)
def test_options_that_cannot_be_read(name: str, text: str) -> None:
    with pytest.raises(BadUsage) as told:
        parse_s3_options("bucket", "", {name: text})
    assert name in told.value.message
    assert f"{name}=" in told.value.hint


UPLOAD = """
import os, resource, sys
from drunner_vault.stores.s3.options import S3Options
from drunner_vault.stores.s3.store import S3Store
from drunner_vault.stores.store import put, storing

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10

store = S3Store(S3Options("bucket", endpoint=sys.argv[1], **{options!r}), notice=print)
put(store, "first", b"x")  # what the library takes by itself
before = peak()
piece = os.urandom(1 << 20)
with storing(store, "large") as upload:
    for _ in range({size}):
        upload.write(piece)
print(peak() - before)
"""


@pytest.fixture
def rclone(tmp_path: Path) -> Iterator[Server]:
    if s3servers.missing_parts() and os.environ.get("ALLOW_SKIP") == "1":
        pytest.skip(s3servers.missing_parts())
    with s3servers.rclone_server(tmp_path / "served") as server:
        server.bucket("bucket")
        yield server


@pytest.mark.parametrize(
    "options", [{}, {"part_size": 20 * MIB}, {"part_size": 100 * MIB}], ids=["default", "all in memory", "in files"]
)
def test_an_upload_takes_little_memory(options: dict[str, Any], rclone: Server, tmp_path: Path) -> None:
    program = tmp_path / "upload.py"
    program.write_text(textwrap.dedent(UPLOAD.replace("{options!r}", repr(options)).replace("{size}", "600")))
    done = subprocess.run(
        [sys.executable, str(program), rclone.endpoint],
        env={**os.environ, **credentials()},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(re.fullmatch(r"(\d+)\n", done.stdout)[1]) <= BOUND  # type: ignore[index]
