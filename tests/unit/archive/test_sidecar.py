"""Sidecars: checking an archive without any key."""

from __future__ import annotations

import hashlib
import io
import json
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from drunner_vault.archive import HashingSink, Head, Rest, Sidecar, differences, parse_sidecar, parse_sidecar_head
from drunner_vault.archive.sidecar import (
    CHUNK,
    FORMAT,
    HEAD_LIMIT,
    VERSION,
    assemble,
    encode_rest,
    place_of,
    sidecar_limit,
    state_head,
    state_place,
)
from drunner_vault.archive.statements import LINE_LIMIT, Statement, make_statement, parse_statement
from drunner_vault.errors import ArchiveError, DamagedArchive, UnsupportedArchive
from drunner_vault.signing import SigningKey

KEY = SigningKey.generate()
NAME = "notes-20260131T030000Z.tar.zst.age"
CREATED = "2026-01-31T03:00:00Z"


def described(data: bytes, age_header: bytes = b"header") -> tuple[Head, Rest]:
    """What a sidecar says about these bytes."""
    stream = io.BytesIO()
    sink = HashingSink(stream)
    for at in range(0, len(data), 1_000_003):
        sink.write(data[at : at + 1_000_003])
    assert stream.getvalue() == data
    found = sink.digests()
    head = Head(
        archive=NAME,
        host="there",
        workload="notes",
        id="0" * 32,
        created=CREATED,
        size=found.size,
        sha256=found.sha256,
        recipients=("X25519",),
        sealed_to=("age1abc",),
        problems=2,
    )
    return head, Rest(age_header=age_header, chunks=found.chunks)


def written(data: bytes = b"an archive", key: SigningKey | None = KEY) -> bytes:
    """The sidecar of these bytes. key: that signs it, None for nobody."""
    head, rest = described(data)
    sign = key.sign if key else None
    place = place_of(head, "5" * 32, "etag", CREATED)
    return assemble(state_head(head, rest, sign), state_place(place, sign), encode_rest(rest))


def lines(data: bytes) -> list[bytes]:
    return data.splitlines(keepends=True)


def with_line(number: int, line: bytes) -> bytes:
    """A sidecar with another line of that number, from 1."""
    changed = lines(written())
    changed[number - 1] = line
    return b"".join(changed)


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1])
def test_an_object_agrees_with_the_sidecar_made_of_it(size: int) -> None:
    data = random.Random(1).randbytes(size)
    sidecar = parse_sidecar(written(data))
    assert (sidecar.head.size, sidecar.rest.age_header, sidecar.head.workload) == (size, b"header", "notes")
    assert sidecar.head.sha256 == hashlib.sha256(data).hexdigest()
    assert list(differences(sidecar, [data])) == []


def test_a_changed_byte_is_placed_within_16_mib() -> None:
    data = bytearray(random.Random(1).randbytes(2 * CHUNK + 5))
    sidecar = parse_sidecar(written(bytes(data)))
    data[CHUNK + 1] ^= 1
    assert list(differences(sidecar, [bytes(data)])) == [f"bytes {CHUNK} to {2 * CHUNK - 1} are not as written"]


def test_a_missing_byte_is_said() -> None:
    sidecar = parse_sidecar(written(b"abc"))
    assert any("2 bytes long, and was 3" in difference for difference in differences(sidecar, [b"ab"]))


def test_a_sidecar_says_what_was_stated_and_who_signed_each_part() -> None:
    other, (head, rest) = SigningKey.generate(), described(b"an archive")
    place = place_of(head, "5" * 32, "etag", CREATED)
    data = assemble(state_head(head, rest, KEY.sign), state_place(place, other.sign), encode_rest(rest))
    sidecar = parse_sidecar(data)
    start = parse_sidecar_head(data)
    assert start == sidecar.start
    assert start.version == VERSION
    assert replace(start.head, rest="", full_size=0) == head
    assert start.head.full_size == head.size
    assert start.head.rest == hashlib.sha256(sidecar.rest_line).hexdigest()
    assert (start.place, sidecar.rest) == (place, rest)
    assert start.statement is not None
    assert start.placed is not None
    assert (start.statement.signer(), start.placed.signer()) == (KEY.public(), other.public())


def test_a_sidecar_that_nobody_signed_has_no_signer() -> None:
    start = parse_sidecar_head(written(key=None))
    assert start.statement is not None
    assert start.statement.signer() is None


def test_the_lines_of_a_copied_sidecar_are_the_same_bytes() -> None:
    data = written()
    sidecar = parse_sidecar(data)
    assert sidecar.start.statement is not None
    place = state_place(place_of(sidecar.head, "6" * 32, "", CREATED), KEY.sign)
    copied = assemble(sidecar.start.statement, place, sidecar.rest_line)
    one, other = lines(data), lines(copied)
    assert [one[number] == other[number] for number in range(5)] == [True, True, False, False, True]


def test_a_listing_needs_only_the_first_64_kib() -> None:
    data = written(random.Random(1).randbytes(3 * CHUNK))
    whole = parse_sidecar_head(data)
    assert parse_sidecar_head(data[: data.rindex(b"\n", 0, -1) + 1]) == whole
    assert parse_sidecar_head(data[:HEAD_LIMIT]) == whole


@pytest.mark.parametrize("size", [0, 1, CHUNK, 3 * CHUNK + 1])
def test_a_sidecar_is_no_longer_than_its_limit(size: int) -> None:
    data = random.Random(1).randbytes(size)
    assert len(written(data)) <= sidecar_limit(size)


def test_a_changed_line_1_is_not_what_was_signed() -> None:
    statement = parse_sidecar_head(written().replace(b'"problems":2', b'"problems":3', 1)).statement
    assert statement is not None
    with pytest.raises(DamagedArchive):
        statement.signer()


def test_a_line_5_that_line_1_does_not_name_is_refused() -> None:
    _, rest = described(b"another archive")
    with pytest.raises(DamagedArchive, match="line 5"):
        parse_sidecar(with_line(5, encode_rest(rest)))
    assert parse_sidecar_head(with_line(5, encode_rest(rest))).head.workload == "notes"


@pytest.mark.parametrize("line", [b"", b"{}\n", b"nonsense\n", b'{"signature":null,"more":1}\n'])
@pytest.mark.parametrize("number", [3, 4])
def test_a_malformed_place_leaves_the_head_valid(number: int, line: bytes) -> None:
    start = parse_sidecar_head(with_line(number, line))
    assert (start.head.archive, start.place, start.placed) == (NAME, None, None)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"{}",
        b"\xff",
        b'{"format": "drunner-vault-sidecar", "version": 2}',
        b'{"format":"drunner-vault-sidecar","version":2}\n',
        written().replace(b"\n", b"\r\n", 1),
        written()[1:],
        b" " + written(),
        written().replace(b'"host":"there"', b'"host":"there","host":"other"', 1),
        written().replace(b'"problems":2', b'"problems":2.0', 1),
        written().replace(b'"problems":2', b'"problems":true', 1),
        written().replace(b'"problems":2', b'"problems":-1', 1),
        written().replace(b'"host":"there"', '"host":"thére"'.encode(), 1),
        written().replace(b'"host":"there",', b"", 1),
        written().replace(b'"basis":"written"', b'"basis":"believed"', 1),
        written().replace(b'"features":[]', b'"features":[' + b'"x",' * LINE_LIMIT + b'"x"]', 1),
        with_line(2, b'{"signature":7}\n'),
        with_line(2, b'{"signature":null,"signature":null}\n'),
    ],
    ids=range(19),
)
def test_what_is_no_sidecar_is_refused(text: bytes) -> None:
    with pytest.raises(DamagedArchive):
        parse_sidecar(text)


@pytest.mark.parametrize("key", sorted(json.loads(lines(written())[0]).keys() - {"format", "version"}))
def test_a_head_that_lacks_a_key_is_refused(key: str) -> None:
    head = json.loads(lines(written())[0])
    del head[key]
    line = json.dumps(head, separators=(",", ":")).encode() + b"\n"
    with pytest.raises(DamagedArchive):
        parse_sidecar_head(with_line(1, line))


def test_a_later_version_says_that_it_is_one() -> None:
    with pytest.raises(UnsupportedArchive, match="version 3"):
        parse_sidecar_head(written().replace(b'"version":2', b'"version":3', 1))


def _head(fields: Any) -> str:
    return str(fields.text("archive"))


@pytest.mark.parametrize("kind", [FORMAT, "drunner-vault-place", "drunner-vault-record", "drunner-vault-store"])
def test_a_statement_of_one_kind_does_not_pass_for_another(kind: str) -> None:
    others = {FORMAT, "drunner-vault-place", "drunner-vault-record", "drunner-vault-store"} - {kind}
    statement = make_statement(kind, 1, {"archive": NAME}, KEY.sign)
    assert parse_statement(statement.line, kind, 1, _head) == NAME
    for other in others:
        with pytest.raises(DamagedArchive):
            parse_statement(statement.line, other, 1, _head)


@pytest.mark.parametrize(
    "change",
    [lambda line: line[:-1], lambda line: line + b"\n", lambda line: line.replace(b",", b", ", 1), lambda _: b"[]\n"],
    ids=["no-lf", "second-lf", "other-beginning", "list"],
)
def test_a_statement_is_one_line_with_a_fixed_beginning(change: Callable[[bytes], bytes]) -> None:
    statement = make_statement("kind", 1, {"archive": NAME}, None)
    with pytest.raises(ArchiveError):
        parse_statement(change(statement.line), "kind", 1, _head)


def test_a_statement_that_is_too_long_is_not_made() -> None:
    make_statement("kind", 1, {"text": "x" * (LINE_LIMIT - 100)}, None)
    with pytest.raises(ValueError, match="too long"):
        make_statement("kind", 1, {"text": "x" * LINE_LIMIT}, None)


def test_the_first_four_lines_of_a_sidecar_fit_into_what_a_listing_reads() -> None:
    head, rest = described(b"an archive")
    many = replace(head, recipients=("mlkem768x25519",) * 60, sealed_to=("age1pq1abcdefgh",) * 60)
    statement = state_head(many, rest, KEY.sign)
    place = state_place(place_of(many, "5" * 32, "e" * 100, CREATED), KEY.sign)
    parse_sidecar_head(assemble(statement, place, encode_rest(rest))[:HEAD_LIMIT])
    with pytest.raises(ValueError, match="first four lines"):
        assemble(Statement(statement.line + b"x" * HEAD_LIMIT), place, b"")


def test_a_sidecar_of_version_1_says_what_it_said_and_is_not_signed() -> None:
    document = (
        b'{"format": "drunner-vault-sidecar", "version": 1, "archive": "n", "size": 3, "sha256": "aa", "host": "there",'
        b'"service": "notes", "recipients": ["X25519"], "sealed_to": [], "age_header": "aGVhZGVy", "chunk_size": 2,'
        b'"problems": 1, "signer": "SHA256:x", "chunks": ["bb", "cc"]}'
    )
    sidecar: Sidecar = parse_sidecar(document)
    assert (sidecar.start.version, sidecar.start.statement, sidecar.rest_line) == (1, None, b"")
    assert (sidecar.head.host, sidecar.head.workload, sidecar.head.problems) == ("there", "notes", 1)
    assert (sidecar.rest.age_header, sidecar.rest.chunk_size, sidecar.rest.chunks) == (b"header", 2, ("bb", "cc"))
    with pytest.raises(DamagedArchive):
        parse_sidecar(document.replace(b'"size": 3', b'"size": 9'))
