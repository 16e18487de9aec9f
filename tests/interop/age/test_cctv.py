"""The published test vectors of the age format (C2SP CCTV), fetched when the tests run and never kept here."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import subprocess
import zlib
from dataclasses import dataclass
from pathlib import Path

import pytest

from drunner_vault.age import (
    DecryptReader,
    Identity,
    ScryptIdentity,
    SeekableReader,
    parse_identities,
    read_header,
)
from drunner_vault.errors import ArchiveError, DamagedArchive, NotAnArchive, UnsupportedArchive, WrongKey

PACKAGE = "cctv-age@0.2.0"
COUNT = 143
DUMP = """
import * as vectors from "cctv-age";
const all = Object.entries(vectors).filter(([, data]) => data instanceof Uint8Array);
console.log(JSON.stringify(all.map(([name, data]) => [name, Buffer.from(data).toString("base64")])));
"""

# Here the armor is valid and empty, so we only see that nothing is inside it.
PRECISE_FAILURE = {"armor_empty": NotAnArchive, "empty": NotAnArchive}


@dataclass(frozen=True)
class Vector:
    """One vector: what to try, and what must come of it."""

    name: str
    expect: str
    payload: str | None
    identities: list[Identity]
    armored: bool
    file: bytes


def parse(name: str, data: bytes) -> Vector:
    head, file = data.split(b"\n\n", 1)
    fields: dict[str, list[str]] = {}
    for line in head.decode().splitlines():
        key, _, value = line.partition(": ")
        fields.setdefault(key, []).append(value)
    unknown = fields.keys() - {
        "expect", "payload", "identity", "passphrase", "armored", "compressed", "file key", "comment"
    }  # fmt: skip
    assert not unknown, name
    identities: list[Identity] = []
    for text in fields.get("identity", []):
        identities += parse_identities(text.encode(), name)
    identities += [ScryptIdentity(text) for text in fields.get("passphrase", [])]
    return Vector(
        name=name,
        expect=fields["expect"][0],
        payload=fields.get("payload", [None])[0],
        identities=identities,
        armored="armored" in fields,
        file=zlib.decompress(file) if "compressed" in fields else file,
    )


@pytest.fixture(scope="module")
def vectors(tmp_path_factory: pytest.TempPathFactory) -> list[Vector]:
    folder = tmp_path_factory.mktemp("cctv")
    run(folder, "npm", "install", "--no-audit", "--no-fund", "--prefix", str(folder), PACKAGE)
    (folder / "dump.mjs").write_text(DUMP)
    found = json.loads(run(folder, "node", "dump.mjs"))
    return [parse(name, base64.b64decode(data)) for name, data in found]


def run(folder: Path, *command: str) -> bytes:
    done = subprocess.run(command, cwd=folder, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def outcome(vector: Vector) -> tuple[str, bytes]:
    """What reading a vector comes to, in the words of the vectors, and all plaintext that was released."""
    try:
        reader = DecryptReader(io.BytesIO(vector.file), vector.identities)
    except WrongKey:
        return "no match", b""
    except ArchiveError as error:
        return stage(vector, error), b""
    plain = b""
    try:
        while piece := reader.read(10_000):
            plain += piece
    except DamagedArchive as error:
        return ("armor failure" if "armor" in error.message else "payload failure"), plain
    return "success", plain


def stage(vector: Vector, error: ArchiveError) -> str:
    """Which step of opening the file refused it."""
    if "the armor" in error.message:
        return "armor failure"
    # A broken first line of armor is not recognised as armor at all.
    if vector.armored and isinstance(error, NotAnArchive) and vector.name not in PRECISE_FAILURE:
        return "armor failure"
    if "authentication code does not match" in error.message:
        return "HMAC failure"
    assert isinstance(error, PRECISE_FAILURE.get(vector.name, DamagedArchive | UnsupportedArchive)), error
    return "header failure"


def test_there_are_as_many_vectors_as_were_published(vectors: list[Vector]) -> None:
    assert len(vectors) == COUNT
    assert len({vector.name for vector in vectors}) == COUNT


def test_every_vector_ends_as_it_says_it_must(vectors: list[Vector]) -> None:
    wrong = []
    for vector in vectors:
        result, plain = outcome(vector)
        if result != vector.expect:
            wrong.append(f"{vector.name}: {result}, not {vector.expect}")
        if vector.payload is not None and hashlib.sha256(plain).hexdigest() != vector.payload:
            wrong.append(f"{vector.name}: other plaintext was released than expected")
        if vector.payload is None and plain and vector.expect != "armor failure":
            wrong.append(f"{vector.name}: plaintext was released")
    assert wrong == []


def test_every_header_that_parses_is_written_back_byte_for_byte(vectors: list[Vector]) -> None:
    seen = 0
    for vector in vectors:
        if vector.expect in ("header failure", "armor failure") or vector.armored:
            continue
        assert vector.file.startswith(read_header(io.BytesIO(vector.file)).to_bytes()), vector.name
        seen += 1
    assert seen == 50


def test_seeking_gives_what_reading_gives(vectors: list[Vector]) -> None:
    seen = 0
    for vector in vectors:
        if vector.armored or vector.expect not in ("success", "payload failure"):
            continue
        assert seek(vector) == (vector.expect == "success"), vector.name
        seen += 1
    assert seen == 37


def seek(vector: Vector) -> bool:
    """Whether the whole file can be read by ranges, with the right content."""
    try:
        reader = SeekableReader(
            lambda offset, length: vector.file[offset : offset + length], len(vector.file), vector.identities
        )
        plain = b"".join(reader.read_at(offset, 100_000) for offset in range(0, reader.size, 100_000))
    except DamagedArchive:
        return False
    return hashlib.sha256(plain).hexdigest() == vector.payload
