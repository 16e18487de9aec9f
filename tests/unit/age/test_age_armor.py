from __future__ import annotations

import io

import pytest
from age_helpers import SIZES, Dripping, age, armor, decrypt, encrypt, released, sample
from hypothesis import given
from hypothesis import strategies as st

from drunner_vault.age import ARMOR_BEGIN, X25519Identity, dearmor, read_header
from drunner_vault.errors import DamagedArchive, NotAnArchive

IDENTITY = X25519Identity.generate()
RECIPIENT = IDENTITY.recipient()
FILE = encrypt(b"content", RECIPIENT)
ARMORED = armor(FILE)


def read_all(data: bytes) -> bytes:
    stream = dearmor(io.BytesIO(data))
    return b"".join(iter(lambda: stream.read(1000), b""))


@pytest.mark.parametrize("size", SIZES)
def test_we_read_what_age_armors(size: int) -> None:
    armored = age("-a", "-r", str(RECIPIENT), data=sample(size))
    assert armored.startswith(ARMOR_BEGIN)
    assert decrypt(armored, IDENTITY) == sample(size)


@given(st.binary(min_size=1, max_size=300), st.sampled_from([b"\n", b"\r\n"]))
def test_taking_armor_off_gives_the_bytes_inside(data: bytes, newline: bytes) -> None:
    assert read_all(armor(data, newline)) == data


@given(st.sampled_from([b"", b"\n", b" \t\r\n\n", b" " * 1000]), st.sampled_from([b"", b"\n \t", b" " * 1000]))
def test_white_space_around_armor_is_passed_over(before: bytes, after: bytes) -> None:
    assert decrypt(before + ARMORED + after, IDENTITY) == b"content"


def test_armor_may_end_without_a_newline_and_come_one_byte_at_a_time() -> None:
    assert decrypt(ARMORED[:-1], IDENTITY) == b"content"
    assert released(Dripping(ARMORED), [IDENTITY]) == (b"content", None)


def test_the_header_of_an_armored_file_is_read_without_a_key() -> None:
    assert read_header(io.BytesIO(ARMORED)).recipient_types == ["X25519"]


LINES = ARMORED.split(b"\n")


@pytest.mark.parametrize(
    "broken",
    [
        ARMORED + b"x",
        ARMORED + b" " * 2000,
        ARMORED + ARMORED,
        ARMORED.removesuffix(b"-----END AGE ENCRYPTED FILE-----\n"),
        ARMORED.replace(b"END AGE", b"END age"),
        ARMORED.replace(LINES[1], LINES[1] + b" "),
        ARMORED.replace(LINES[1], b" " + LINES[1]),
        ARMORED.replace(LINES[1], LINES[1][:63]),
        ARMORED.replace(LINES[1], LINES[1][:60]),
        ARMORED.replace(LINES[1] + b"\n", LINES[1]),
        ARMORED.replace(LINES[1], LINES[1] + b"\n"),
        ARMORED.replace(LINES[1], b"Version: 1\n\n" + LINES[1]),
        ARMORED.replace(b"\n-----END", b"\n\n-----END"),
        ARMORED.replace(LINES[0], LINES[0] + b" "),
        armor(bytes(51)).replace(b"A\nA", b"AA"),
        armor(b"x").replace(b"eA==", b"eB=="),
        armor(b"x").replace(b"eA==", b"eA"),
    ],
)
def test_armor_in_any_but_the_strict_form_is_damage(broken: bytes) -> None:
    with pytest.raises(DamagedArchive, match="armor"):
        read_all(broken)


@pytest.mark.parametrize("data", [b"", FILE, b"-----BEGIN PGP MESSAGE-----\n", b"x" + ARMORED, b" " * 3000 + ARMORED])
def test_what_has_no_armor_is_said_to_have_none(data: bytes) -> None:
    with pytest.raises(NotAnArchive):
        read_all(data)


@pytest.mark.parametrize("flip", [0x01, 0x20, 0x80])
def test_no_changed_byte_of_an_armored_file_passes_unseen(flip: int) -> None:
    for place in range(len(ARMORED)):
        changed = ARMORED[:place] + bytes([ARMORED[place] ^ flip]) + ARMORED[place + 1 :]
        assert released(io.BytesIO(changed), [IDENTITY])[1] is not None, place


def test_no_cut_of_an_armored_file_passes_unseen() -> None:
    for length in range(len(ARMORED) - 1):
        assert released(io.BytesIO(ARMORED[:length]), [IDENTITY])[1] is not None, length
