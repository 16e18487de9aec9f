from __future__ import annotations

import io

import pytest
from age_helpers import Dripping, encrypt
from hypothesis import given
from hypothesis import strategies as st

from drunner_vault.age import MAGIC, Header, Stanza, X25519Identity, read_header
from drunner_vault.age.header import HEADER_LIMIT, parse_header
from drunner_vault.age.source import BufferedSource
from drunner_vault.errors import DamagedArchive, NotAnArchive, UnsupportedArchive, VaultError

WORDS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=70)
STANZAS = st.builds(Stanza, WORDS, st.lists(WORDS, max_size=3).map(tuple), st.binary(max_size=200))
HEADERS = st.builds(Header, st.lists(STANZAS, min_size=1, max_size=4).map(tuple), st.binary(min_size=32, max_size=32))
MAC_LINE = b"--- " + b"A" * 43 + b"\n"
STANZA = b"-> X25519 abc\nAAAA\n"
VERSION = b"age-encryption.org/v1\n"


def parse(data: bytes) -> Header:
    return parse_header(BufferedSource(io.BytesIO(data)))


@given(HEADERS)
def test_a_written_header_parses_to_itself(header: Header) -> None:
    assert parse(header.to_bytes()) == header


@given(HEADERS, st.data())
def test_whatever_parses_is_written_back_byte_for_byte(header: Header, data: st.DataObject) -> None:
    text = bytearray(header.to_bytes())
    place = data.draw(st.integers(0, len(text) - 1))
    text[place] = data.draw(st.integers(0, 255))
    source = BufferedSource(io.BytesIO(bytes(text)))
    try:
        parsed = parse_header(source)
    except VaultError:
        return
    assert parsed.to_bytes() == text[: source.position]


def test_parsing_stops_at_the_first_byte_of_the_payload() -> None:
    source = BufferedSource(io.BytesIO(VERSION + STANZA + MAC_LINE + b"payload"))
    parse_header(source)
    assert source.read(100) == b"payload"


def test_a_source_may_give_one_byte_at_a_time() -> None:
    text = VERSION + STANZA + MAC_LINE
    assert parse_header(BufferedSource(Dripping(text))) == parse(text)


@pytest.mark.parametrize("size", [0, 1, 47, 48, 49, 95, 96, 97])
def test_a_body_of_full_lines_ends_in_an_empty_one(size: int) -> None:
    text = Stanza("x", (), bytes(size)).to_bytes()
    assert len(text.splitlines()[-1]) < 64
    assert parse(VERSION + text + MAC_LINE).stanzas[0].body == bytes(size)


def test_the_kinds_of_recipient_are_told_without_a_key() -> None:
    first, second = X25519Identity.generate(), X25519Identity.generate()
    data = encrypt(b"", first.recipient(), second.recipient())
    header = read_header(io.BytesIO(data))
    assert header.recipient_types == ["X25519"]
    assert len(header.stanzas) == 2
    assert data.startswith(MAGIC)
    assert data.startswith(header.to_bytes())


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04 a zip", b"age-encryption.com/v1\n", b"\x28\xb5\x2f\xfd"])
def test_what_is_no_age_file_is_said_to_be_none(data: bytes) -> None:
    with pytest.raises(NotAnArchive):
        parse(data)


def test_another_version_is_named() -> None:
    with pytest.raises(UnsupportedArchive, match="version v2 "):
        parse(b"age-encryption.org/v2\n" + STANZA + MAC_LINE)


@pytest.mark.parametrize(
    "text",
    [
        VERSION[:9],
        VERSION[:-1],
        VERSION[:-1] + b"\r\n" + STANZA + MAC_LINE,
        VERSION + MAC_LINE,
        VERSION + STANZA,
        VERSION + STANZA + MAC_LINE[:-1],
        VERSION + STANZA + b"--- " + b"A" * 42 + b"\n",
        VERSION + STANZA + b"---  " + b"A" * 43 + b"\n",
        VERSION + STANZA + b"--- " + b"A" * 42 + b"B\n",
        VERSION + STANZA + b"---\n",
        VERSION + b"->\n\n" + MAC_LINE,
        VERSION + b"->  x\n\n" + MAC_LINE,
        VERSION + b"-> x \n\n" + MAC_LINE,
        VERSION + b"-> x\xff\n\n" + MAC_LINE,
        VERSION + b"=> x\n\n" + MAC_LINE,
        VERSION + b"-> x\nAAAA=\n" + MAC_LINE,
        VERSION + b"-> x\nAB\n" + MAC_LINE,
        VERSION + b"-> x\n" + b"A" * 64 + b"\n" + MAC_LINE,
        VERSION + b"-> x\n" + b"A" * 68 + b"\n" + MAC_LINE,
        VERSION + b"-> x\nAA\nAA\n" + MAC_LINE,
    ],
)
def test_anything_but_the_canonical_form_is_damage(text: bytes) -> None:
    with pytest.raises(DamagedArchive):
        parse(text)


@pytest.mark.parametrize("filler", [b"-> x\n\n", b"-> " + b"x" * 1000 + b"\n\n", b"-> x\n" + b"A" * 64, b"\0"])
def test_a_header_without_end_is_given_up_after_one_mebibyte(filler: bytes) -> None:
    source = io.BytesIO(VERSION + filler * (3 * HEADER_LIMIT // len(filler)))
    with pytest.raises(DamagedArchive):
        parse_header(BufferedSource(source))
    assert source.tell() <= HEADER_LIMIT + 64 * 1024


def test_a_header_of_exactly_one_mebibyte_is_read() -> None:
    room = HEADER_LIMIT - len(VERSION) - len(MAC_LINE)
    stanza = b"-> " + b"x" * (room - 5) + b"\n\n"
    assert parse(VERSION + stanza + MAC_LINE).stanzas[0].kind == "x" * (room - 5)
    with pytest.raises(DamagedArchive, match="1 MiB"):
        parse(VERSION + b"-> x" + stanza[3:] + MAC_LINE)
