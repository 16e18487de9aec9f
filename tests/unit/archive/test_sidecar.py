"""Sidecars: checking an archive without any key."""

from __future__ import annotations

import io
import random

import pytest
from support.archives import manifest

from drunner_vault.archive import HashingSink, differences, parse_sidecar
from drunner_vault.archive.sidecar import CHUNK
from drunner_vault.errors import DamagedArchive


def written(data: bytes) -> bytes:
    stream = io.BytesIO()
    sink = HashingSink(stream)
    for at in range(0, len(data), 1_000_003):
        sink.write(data[at : at + 1_000_003])
    assert stream.getvalue() == data
    return sink.sidecar("notes.tar.zst.age", manifest(), b"header", ["X25519"]).encode()


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1])
def test_an_object_agrees_with_the_sidecar_made_of_it(size: int) -> None:
    data = random.Random(1).randbytes(size)
    sidecar = parse_sidecar(written(data))
    assert (sidecar.size, sidecar.age_header, sidecar.service) == (size, b"header", "notes")
    assert list(differences(sidecar, [data])) == []


def test_a_changed_byte_is_placed_within_16_mib() -> None:
    data = bytearray(random.Random(1).randbytes(2 * CHUNK + 5))
    sidecar = parse_sidecar(written(bytes(data)))
    data[CHUNK + 1] ^= 1
    assert list(differences(sidecar, [bytes(data)])) == [f"its bytes {CHUNK} to {2 * CHUNK - 1} are not as written"]


def test_a_missing_byte_is_said() -> None:
    sidecar = parse_sidecar(written(b"abc"))
    assert any("2 bytes long, and was 3" in difference for difference in differences(sidecar, [b"ab"]))


@pytest.mark.parametrize("text", [b"", b"[]", b"{}", b'{"format": "drunner-vault-sidecar", "version": 2}', b"\xff"])
def test_what_is_no_sidecar_is_refused(text: bytes) -> None:
    with pytest.raises(DamagedArchive):
        parse_sidecar(text)
