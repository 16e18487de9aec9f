"""Signed statements: which bytes are accepted as one, and that none is accepted for another kind."""

from __future__ import annotations

import datetime as dt
import itertools
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.catalogs import (
    DAY,
    HOST_KEY,
    NOW,
    OWN,
    STORE_ID,
    NoLocks,
    Watched,
    add,
    archives,
    catalog,
    head_of,
    identify,
    key_of,
    sealed,
    sidecar_of,
)
from support.workloads import SmallWorkload

from drunner_vault.age.mlkem768x25519 import HybridIdentity
from drunner_vault.archive import Root, parse_sidecar, parse_sidecar_head
from drunner_vault.archive.root import parse_root
from drunner_vault.archive.sidecar import (
    HEAD_LIMIT,
    assemble,
    encode_rest,
    first_statement,
    parse_head,
    place_of,
    state_head,
    state_place,
)
from drunner_vault.archive.statements import (
    LINE_LIMIT,
    Statement,
    make_statement,
    parse_pair,
    parse_statement,
    split_lines,
    statement_version,
)
from drunner_vault.catalog.archive import Standing
from drunner_vault.catalog.records import Record, RecordKind, parse_record, state_record
from drunner_vault.clock import Clock
from drunner_vault.errors import DamagedArchive, UnsupportedArchive
from drunner_vault.policy import Retention
from drunner_vault.signing import verify
from drunner_vault.stores.store import put, storing
from drunner_vault.workflows.archives.prune import plan_prune
from drunner_vault.workflows.backup import BackupChoices, backup

KEY = key_of(NOW)
KIND = "drunner-vault-test"
TEXT, NUMBER = b'"id":"%s"' % (b"0" * 32), b'"problems":0'  # two fields of a head
Bytes = Callable[[bytes], bytes]


def parse_test(line: bytes) -> Mapping[str, Any]:
    """What a statement with a text and a number says."""
    return parse_statement(
        line, KIND, 1, lambda document: {"id": document.text("id"), "problems": document.number("problems")}
    )


LINE = make_statement(KIND, 1, {"id": "0" * 32, "problems": 0}, None).line


def with_text(value: bytes) -> Bytes:
    return lambda line: line.replace(TEXT, b'"id":' + value)


def with_number(value: bytes) -> Bytes:
    return lambda line: line.replace(NUMBER, b'"problems":' + value)


def with_more(more: bytes) -> Bytes:
    return lambda line: line[:-2] + more + b"}\n"


def with_version(value: bytes) -> Bytes:
    return lambda line: re.sub(rb'"version":[0-9]', b'"version":' + value, line, count=1)


# Strictness


def test_a_statement_is_what_was_stated() -> None:
    assert LINE == b'{"format":"drunner-vault-test","version":1,"id":"00000000000000000000000000000000","problems":0}\n'
    assert parse_test(LINE) == {"id": "0" * 32, "problems": 0}
    signed = make_statement(KIND, 1, {"id": "ü", "problems": 1}, HOST_KEY.sign)
    assert signed.line.isascii()
    assert parse_test(signed.line) == {"id": "ü", "problems": 1}
    assert signed.signer() == HOST_KEY.public()
    assert verify(signed.signature, signed.line) == HOST_KEY.public()
    (first, second), rest = split_lines(signed.encode() + b"more", 2)
    assert (parse_pair(first, second), rest) == (signed, b"more")


STRUCTURE: dict[str, Bytes] = {
    "a repeated key": with_more(b',"id":"b"'),
    "a repeated format": with_more(b',"format":"drunner-vault-test"'),
    "a repeated key written in another way": with_more(b',"\\u0069d":"b"'),
    "a repeated key further in": with_more(b',"more":[{"a":1,"a":1}]'),
    "CR LF": lambda line: line.replace(b"\n", b"\r\n"),
    "CR within": lambda line: line.replace(b",", b",\r", 1),
    "a second LF": lambda line: line + b"\n",
    "LF within": lambda line: line.replace(b",", b",\n", 1),
    "no LF": lambda line: line[:-1],
    "a tab": lambda line: line.replace(b",", b",\t", 1),
    "NUL": with_text(b'"\x00"'),
    "DEL": with_text(b'"\x7f"'),
    "UTF-8": with_text('"ü"'.encode()),
    "Latin-1": with_text(b'"\xfc"'),
    "a byte order mark": lambda line: b"\xef\xbb\xbf" + line,
    "UTF-16": lambda line: line.decode().encode("utf-16"),
    "a fraction": with_number(b"0.0"),
    "a fraction elsewhere": with_more(b',"more":[0.5]'),
    "an exponent": with_number(b"1e0"),
    "a number of 5,000 digits": with_number(b"1" * 5000),
    "NaN": with_number(b"NaN"),
    "NaN elsewhere": with_more(b',"more":NaN'),
    "Infinity elsewhere": with_more(b',"more":-Infinity'),
    "white space before": lambda line: b" " + line,
    "white space in the beginning": lambda line: line.replace(b":", b": ", 1),
    "the beginning in another order": lambda line: re.sub(rb'("format":"[a-z-]+"),("version":[0-9])', rb"\2,\1", line),
    "another format": lambda line: re.sub(rb'"format":"[a-z-]+"', b'"format":"drunner-vault"', line),
    "a format in capitals": lambda line: line.replace(b"drunner", b"Drunner", 1),
    "a version as text": with_version(b'"2"'),
    "version 02": with_version(b"02"),
    "version 0": with_version(b"0"),
    "version -1": with_version(b"-1"),
    "version 1.0": with_version(b"1.0"),
    "a version of ten digits": with_version(b"1000000000"),
    "a list": lambda line: b"[" + line[:-1] + b"]\n",
    "two objects": lambda line: line[:-1] + line,
    "a comment": lambda line: line[:-1] + b"//\n",
    "cut": lambda line: line[:-3] + b"\n",
    "empty": lambda _: b"",
    "an empty line": lambda _: b"\n",
    "nested too deeply": with_more(b',"more":' + b"[" * 30_000 + b"]" * 30_000),
}
TYPES: dict[str, Bytes] = {
    "half a pair of surrogates": with_text(b'"\\ud800"'),
    "true for a number": with_number(b"true"),
    "null for a number": with_number(b"null"),
    "text for a number": with_number(b'"1"'),
    "a negative number": with_number(b"-1"),
    "a number of 100 bits": with_number(b"%d" % 2**100),
    "a number for text": with_text(b"1"),
    "null for text": with_text(b"null"),
    "a list for text": with_text(b'["a"]'),
    "a missing key": lambda line: line.replace(TEXT, b'"other":1'),
}
REFUSED = STRUCTURE | TYPES


@pytest.mark.parametrize("why", REFUSED)
def test_a_line_that_is_not_exactly_a_statement_is_refused(why: str) -> None:
    changed = REFUSED[why](LINE)
    assert changed != LINE
    with pytest.raises(DamagedArchive):
        parse_test(changed)


@pytest.mark.parametrize("why", REFUSED)
def test_a_head_that_is_not_exactly_a_statement_counts_for_nothing_although_it_is_signed(why: str) -> None:
    store = Watched()
    identify(store)
    lines, rest = split_lines(sidecar_of(sealed(), KEY, etag=put(store, KEY, sealed())), 4)
    changed = REFUSED[why](lines[0])
    assert changed != lines[0]
    statement = Statement(changed, HOST_KEY.sign(changed))
    put(store, KEY + ".json", statement.encode() + lines[2] + lines[3] + rest)
    found = catalog(store)
    (item,) = found.archives
    assert (item.standing, item.is_stated, item.series) == (Standing.UNREADABLE, False, None)
    assert found.frozen == {}


@pytest.mark.parametrize("why", STRUCTURE)
def test_a_place_that_is_not_exactly_a_statement_proves_nothing_although_it_is_signed(why: str) -> None:
    for change, standing in ((lambda line: line, Standing.PROVEN), (STRUCTURE[why], Standing.STATED)):
        store = Watched()
        identify(store)
        lines, rest = split_lines(sidecar_of(sealed(), KEY, etag=put(store, KEY, sealed())), 4)
        place = change(with_more(b"," + TEXT + b"," + NUMBER)(lines[2]))  # unknown keys are allowed
        put(store, KEY + ".json", lines[0] + lines[1] + Statement(place, HOST_KEY.sign(place)).encode() + rest)
        assert [item.standing for item in archives(store)] == [standing]


def padded(size: int) -> bytes:
    """A statement of that many bytes."""
    return with_more(b',"more":"%s"' % (b"x" * (size - len(LINE) - len(b',"more":""'))))(LINE)


def test_a_statement_has_at_most_64_kib() -> None:
    assert len(padded(LINE_LIMIT)) == LINE_LIMIT == 65_536
    assert parse_test(padded(LINE_LIMIT))["problems"] == 0
    with pytest.raises(DamagedArchive, match="longer than 65536 bytes"):
        parse_test(padded(LINE_LIMIT + 1))
    room = LINE_LIMIT - len(make_statement(KIND, 1, {"more": ""}, None).line)
    assert len(make_statement(KIND, 1, {"more": "x" * room}, None).line) == LINE_LIMIT
    with pytest.raises(ValueError, match="a statement of 65537 bytes is too long"):
        make_statement(KIND, 1, {"more": "x" * (room + 1)}, None)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_statement_with_an_infinite_number_is_not_made(value: float) -> None:
    with pytest.raises(ValueError):
        make_statement(KIND, 1, {"number": value}, None)


def test_unknown_keys_are_allowed() -> None:
    assert parse_test(with_more(b',"more":{"a":[1,null,true,"b"]}')(LINE))["problems"] == 0


# Signatures


SIGNATURES: dict[str, bytes] = {
    "a further key": b'{"signature":null,"by":"x"}\n',
    "another key": b'{"signed":null}\n',
    "no key": b"{}\n",
    "twice": b'{"signature":null,"signature":null}\n',
    "a number": b'{"signature":1}\n',
    "a list": b'{"signature":[]}\n',
    "not ASCII": b'{"signature":"\\u00fc"}\n',
    "CR": b'{"signature":null}\r\n',
    "no LF": b'{"signature":null}',
    "too long": b'{"signature":"%s"}\n' % (b"x" * LINE_LIMIT),
    "not an object": b"null\n",
}


@pytest.mark.parametrize("why", SIGNATURES)
def test_the_line_of_a_signature_has_one_form(why: str) -> None:
    assert parse_pair(LINE, b'{"signature":null}\n') == Statement(LINE)
    assert Statement(LINE).signer() is None
    with pytest.raises(DamagedArchive):
        parse_pair(LINE, SIGNATURES[why])


@pytest.mark.parametrize("change", [lambda line: line[:-1], lambda line: line + b"\n", lambda line: line.upper()])
def test_a_signature_is_of_the_line_with_its_lf(change: Bytes) -> None:
    signed = Statement(LINE, HOST_KEY.sign(LINE))
    assert signed.signer() == HOST_KEY.public()
    with pytest.raises(DamagedArchive):
        Statement(change(LINE), signed.signature).signer()


def test_a_document_with_too_few_lines_is_refused() -> None:
    for data in (b"", b"\n\n\n", b"{}\n{}\n{}\n{}"):
        with pytest.raises(DamagedArchive, match="fewer than 4 lines"):
            split_lines(data, 4)


# Kinds


@pytest.fixture(scope="module")
def kinds() -> dict[str, Statement]:
    """A statement of each kind that this program signs, about the same archive."""
    head = head_of(sealed(), KEY)
    place = place_of(head, STORE_ID, "etag", "2026-03-01T12:00:00Z")
    record = Record(
        kind=RecordKind.VERIFIED,
        archive=head.archive,
        host=head.host,
        workload=head.workload,
        size=head.size,
        sha256=head.sha256,
        store=STORE_ID,
        etag="etag",
        at=NOW,
        details={},
    )
    root = Root("0" * 64, "2026-03-01T12:00:00Z").encode()
    (_, _, _, _), line = split_lines(sidecar_of(sealed(), KEY), 4)
    return {
        "root": Statement(root, HOST_KEY.sign(root)),
        "head": state_head(head, parse_sidecar(sidecar_of(sealed(), KEY)).rest, HOST_KEY.sign),
        "place": state_place(place, HOST_KEY.sign),
        "record": state_record(record, HOST_KEY.sign),
        "rest": Statement(line, HOST_KEY.sign(line)),
    }


def parse_place(line: bytes) -> object:
    """The place in a sidecar with this line. Raises DamagedArchive if there is none."""
    (first, second, _, fourth), rest = split_lines(sidecar_of(sealed(), KEY), 4)
    place = parse_sidecar_head(first + second + line + fourth + rest).place
    if place is None:
        raise DamagedArchive("there is no place", "")
    return place


PARSERS: dict[str, Callable[[bytes], object]] = {
    "root": parse_root,
    "head": parse_head,
    "place": parse_place,
    "record": parse_record,
}


@pytest.mark.parametrize("kind", PARSERS)
def test_a_statement_passes_for_its_own_kind_only(kind: str, kinds: dict[str, Statement]) -> None:
    for other, statement in kinds.items():
        if other == kind:
            assert PARSERS[kind](statement.line)
        else:
            with pytest.raises((DamagedArchive, UnsupportedArchive)):
                PARSERS[kind](statement.line)


@pytest.mark.parametrize(
    ("kind", "other"), list(itertools.permutations(["root", "head", "place", "record", "rest"], 2))
)
def test_the_signature_of_another_kind_is_not_valid(kind: str, other: str, kinds: dict[str, Statement]) -> None:
    with pytest.raises(DamagedArchive):
        Statement(kinds[kind].line, kinds[other].signature).signer()


@pytest.mark.parametrize("other", ["root", "place", "record"])
def test_a_sidecar_whose_head_is_another_kind_of_statement_counts_for_nothing(
    other: str, kinds: dict[str, Statement]
) -> None:
    for crossed in (kinds[other], Statement(kinds["head"].line, kinds[other].signature)):
        store = Watched()
        identify(store)
        put(store, KEY, sealed())
        put(store, KEY + ".json", crossed.encode() + kinds["place"].encode() + kinds["rest"].line)
        assert [item.standing for item in archives(store)] == [Standing.UNREADABLE]


@pytest.mark.parametrize("other", ["root", "head", "record"])
def test_a_place_that_is_another_kind_of_statement_proves_nothing(other: str, kinds: dict[str, Statement]) -> None:
    for crossed in (kinds[other], Statement(kinds["place"].line, kinds[other].signature)):
        store = Watched(etags=False)
        identify(store)
        put(store, KEY, sealed())
        put(store, KEY + ".json", kinds["head"].encode() + crossed.encode() + kinds["rest"].line)
        assert [item.standing for item in archives(store)] == [Standing.STATED]


@pytest.mark.parametrize("other", ["root", "head", "place"])
def test_a_record_that_is_another_kind_of_statement_counts_for_nothing(other: str, kinds: dict[str, Statement]) -> None:
    for crossed in (kinds[other], Statement(kinds["record"].line, kinds[other].signature)):
        store = Watched(etags=False)
        add(store, NOW)
        put(store, f"{KEY}.verified-20260301T120000Z.json", crossed.encode())
        put(store, f"{KEY}.damaged-20260301T120000Z.json", crossed.encode())
        (item,) = archives(store)
        assert (item.verified, item.damaged) == (None, None)


def test_no_string_of_bytes_passes_for_two_kinds(kinds: dict[str, Statement]) -> None:
    """A line with the fields of all kinds, and with the beginnings of some in every order."""
    parsed = {kind: json.loads(kinds[kind].line) for kind in PARSERS}
    fields = {name: value for document in parsed.values() for name, value in document.items()}
    accepted = dict.fromkeys(PARSERS, 0)
    orders = [order for number in range(1, 5) for order in itertools.permutations(PARSERS, number)]
    for order, preferred in itertools.product(orders, PARSERS):
        begins = [f'"format":"{parsed[kind]["format"]}","version":{parsed[kind]["version"]}' for kind in order]
        values = {**fields, **parsed[preferred]}
        body = json.dumps({name: value for name, value in values.items() if name not in ("format", "version")})[1:-1]
        for parts in ([*begins, body], [body, *begins], [begins[0], body, *begins[1:]]):
            line = b"{" + ",".join(parts).encode() + b"}\n"
            passes = [kind for kind in PARSERS if is_accepted(PARSERS[kind], line)]
            assert len(passes) <= 1
            for kind in passes:
                accepted[kind] += 1
    assert all(accepted.values()), "each kind is accepted in some form"


def is_accepted(parser: Callable[[bytes], object], line: bytes) -> bool:
    try:
        parser(line)
    except (DamagedArchive, UnsupportedArchive):
        return False
    return True


# Later versions


def later(sign: Bytes | None = HOST_KEY.sign, version: int = 3) -> bytes:
    """A sidecar of a later version: lines 1 and 2 have the same form, the others may have any."""
    head = make_statement("drunner-vault-sidecar", version, {"a": {"new": [1]}}, sign)
    return head.encode() + b"anything\r\n\xff\n"


def test_a_later_version_is_told_from_a_damaged_one() -> None:
    for version in (3, 999_999_999):
        data = later(version=version)
        assert statement_version(data, "drunner-vault-sidecar") == version
        for parser in (parse_sidecar, parse_sidecar_head):
            with pytest.raises(UnsupportedArchive, match=f"drunner-vault-sidecar version {version}"):
                parser(data)
        assert first_statement(data).signer() == HOST_KEY.public()


def test_a_head_of_a_later_version_by_an_accepted_key_freezes_its_directory() -> None:
    store = NoLocks()
    for number in range(4):
        add(store, NOW - number * DAY)
        add(store, NOW - number * DAY, "wiki")
    new = add(store, NOW + DAY, sidecar=False)
    put(store, new + ".json", later())
    found = catalog(store, now=NOW + 2 * DAY)
    plan = plan_prune(found, Retention(keep_last=1), NOW + 2 * DAY, dt.UTC)
    assert set(found.frozen) == {("there", "notes")}
    doomed = {verdict.archive.key for each in plan.services for verdict in each.verdicts if not verdict.keep}
    assert doomed == {key_of(NOW - number * DAY, "wiki") for number in (1, 2, 3)}
    assert "of a version that this program does not know" in plan.services[0].held


@pytest.mark.parametrize(
    ("data", "standing"),
    [
        (later(None), Standing.UNSIGNED),
        (later().replace(b'"new"', b'"old"'), Standing.UNREADABLE),
        (later().replace(b"\n{", b"\n{ ,", 1), Standing.UNREADABLE),
    ],
    ids=["unsigned", "with another signature", "with a malformed signature"],
)
def test_a_head_of_a_later_version_that_nobody_accepted_has_signed_freezes_nothing(
    data: bytes, standing: Standing
) -> None:
    store = NoLocks()
    add(store, NOW - DAY)
    put(store, add(store, NOW, sidecar=False) + ".json", data)
    found = catalog(store)
    assert found.archives[0].standing is standing
    assert found.frozen == {}


# Size


def test_with_60_post_quantum_recipients_the_first_four_lines_stay_below_64_kib(tmp_path: Path) -> None:
    identities = [HybridIdentity.generate() for _ in range(60)]
    store, key = Watched(), KEY
    identify(store)
    with storing(store, key) as upload:
        choices = BackupChoices(
            [identity.recipient() for identity in identities], threads=1, host="there", sign=HOST_KEY.sign, sidecar=True
        )
        result = backup(SmallWorkload(tmp_path), upload, choices, Clock(now=lambda: NOW), None, NOW)
    assert result.head is not None
    assert result.rest is not None
    head = replace(result.head, archive=key.rpartition("/")[2])
    place = place_of(head, STORE_ID, upload.etag, "2026-03-01T12:00:00Z")
    data = assemble(
        state_head(head, result.rest, HOST_KEY.sign), state_place(place, HOST_KEY.sign), encode_rest(result.rest)
    )
    put(store, key + ".json", data)
    start, rest = split_lines(data, 4)
    assert sum(map(len, start)) < 8 << 10 < HEAD_LIMIT
    assert len(rest) > 120_000
    (item,) = archives(store, by=OWN)
    assert item.standing is Standing.PROVEN
    assert item.recipients == ("mlkem768x25519",)
    assert item.sealed_to == tuple(str(identity.recipient())[:16] for identity in identities)
    assert parse_sidecar(data).rest.age_header == result.rest.age_header


def test_lines_that_are_too_long_together_are_not_written() -> None:
    head = replace(head_of(sealed(), KEY), sealed_to=("age1" + "x" * 60_000,))
    rest = parse_sidecar(sidecar_of(sealed(), KEY)).rest
    place = place_of(head, STORE_ID, "x" * 5000, "2026-03-01T12:00:00Z")
    with pytest.raises(ValueError, match="the first four lines of a sidecar have"):
        assemble(state_head(head, rest, None), state_place(place, None), encode_rest(rest))
