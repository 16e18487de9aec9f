"""Any single byte of an archive that is not as it was written is noticed: every position, every length, bytes more."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from drunner_vault.age import DecryptReader, Identity, parse_identities
from drunner_vault.archive import ArchiveReader
from drunner_vault.errors import ArchiveError, KeyProblem

GOLDEN = Path(__file__).parents[3] / "formats" / "golden" / "v1"
SIZES = {"minimal.tar.zst": 3063, "signed-clear.tar.zst": 3350, "x25519.tar.zst.age": 3400}


@pytest.fixture(scope="module")
def identities() -> list[Identity]:
    return parse_identities((GOLDEN / "identity.txt").read_bytes(), "identity.txt")


@pytest.fixture(params=SIZES)
def golden(request: pytest.FixtureRequest) -> bytes:
    data = (GOLDEN / request.param).read_bytes()
    assert len(data) == SIZES[request.param]
    return data


def is_whole(data: bytes, identities: list[Identity]) -> bool:
    source = io.BytesIO(data)
    try:
        read = DecryptReader(source, identities).read if data.startswith(b"age-") else source.read
        with ArchiveReader(read, 1) as reader:
            for _, content in reader.members():
                for _ in content:
                    pass
    except (ArchiveError, KeyProblem):
        return False
    return True


def test_every_flipped_byte_is_noticed(golden: bytes, identities: list[Identity]) -> None:
    assert is_whole(golden, identities)
    noticed = 0
    for place in range(len(golden)):
        changed = bytearray(golden)
        changed[place] ^= 1 << place % 8
        noticed += not is_whole(bytes(changed), identities)
    assert noticed == len(golden)


def test_every_cut_is_noticed(golden: bytes, identities: list[Identity]) -> None:
    assert sum(not is_whole(golden[:length], identities) for length in range(len(golden))) == len(golden)


@pytest.mark.parametrize(
    "more", [b"\0", b"x", bytes(512), b"\x5e\x2a\x4d\x18\0\0\0\0"], ids=["zero", "x", "block", "frame"]
)
def test_anything_appended_is_noticed(golden: bytes, identities: list[Identity], more: bytes) -> None:
    assert not is_whole(golden + more, identities)
    assert not is_whole(golden + golden, identities)
