"""The sidecars, records and store identities in formats/sidecars, as the program and as ssh-keygen read them."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from support import sidecar_vectors as source
from support.sidecar_vectors import HEAD_LIMIT, SIDECARS
from support.vectors import FORMATS, sshsig

from drunner_vault.archive.sidecar import (
    Head,
    Place,
    Rest,
    Sidecar,
    assemble,
    differences,
    encode_rest,
    first_statement,
    parse_head,
    parse_sidecar,
    parse_sidecar_head,
    sidecar_limit,
    state_head,
    state_place,
)
from drunner_vault.archive.statements import parse_pair
from drunner_vault.catalog.archive import Standing
from drunner_vault.catalog.catalog import CatalogReader
from drunner_vault.catalog.evidence import Rules, judge_records, judge_sidecars
from drunner_vault.catalog.grouping import group_objects
from drunner_vault.catalog.identity import IDENTITY_KEY, StoreRoot, read_identity
from drunner_vault.catalog.records import parse_record, parse_record_name, split_record, state_record
from drunner_vault.catalog.signers import HostSigners
from drunner_vault.errors import DamagedArchive, NotFound, StorageError, UnsupportedArchive
from drunner_vault.signing import parse_allowed_signers
from drunner_vault.stores.memory import MemoryStore
from drunner_vault.stores.store import StoredObject, put

LIST: dict[str, Any] = json.loads((SIDECARS / "vectors.json").read_text())
VECTORS: dict[str, dict[str, Any]] = {vector["name"]: vector for vector in LIST["vectors"]}
SPECIFICATION = FORMATS.parent / "docs" / "archive-spec.md"
ERRORS = {"damaged": DamagedArchive, "unsupported": UnsupportedArchive}
NOW = dt.datetime.fromisoformat(LIST["now"])
READER: dict[str, str] = LIST["reader"]


def of_kind(kind: str, **wanted: Any) -> list[dict[str, Any]]:
    return [
        vector
        for vector in LIST["vectors"]
        if vector["document"] == kind and all(vector.get(key) == value for key, value in wanted.items())
    ]


def each(vectors: list[dict[str, Any]]) -> pytest.MarkDecorator:
    assert vectors
    return pytest.mark.parametrize("vector", vectors, ids=lambda vector: vector["name"])


def document(vector: dict[str, Any]) -> bytes:
    """The bytes of a vector, with the spaces that its file does not have."""
    data = (SIDECARS / vector["file"]).read_bytes()
    if "insert_spaces" not in vector:
        return data
    at, count = vector["insert_spaces"]
    whole = data[:at] + b" " * count + data[at:]
    assert hashlib.sha256(whole).hexdigest() == vector["sha256"]
    return whole


@dataclass
class Listed:
    """A store that shows what a vector says. documents: by key. The archive itself cannot be read."""

    objects: list[StoredObject]
    documents: dict[str, bytes] = field(default_factory=dict)
    name: str = "listed"
    can_lock: bool = False

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        assert not prefix
        return iter(self.objects)

    def read(self, key: str, offset: int, length: int) -> bytes:
        if key not in self.documents:
            raise NotFound(key)
        return self.documents[key][offset : offset + length]


def listed(vector: dict[str, Any]) -> tuple[Listed, str]:
    """The store of a vector, and the archive's key."""
    shown = {**LIST["archives"][vector["archive"]], **vector.get("listed", {})}
    appeared = dt.datetime.fromisoformat(shown["appeared"])
    found = Listed([StoredObject(shown["key"], shown["size"], appeared, etag=shown["etag"])])
    for suffix, name in {**vector.get("beside", {}), vector["suffix"]: vector["name"]}.items():
        data = document(VECTORS[name])
        found.documents[shown["key"] + suffix] = data
        found.objects.append(StoredObject(shown["key"] + suffix, len(data), appeared, etag="e"))
    return found, shown["key"]


def rules() -> Rules:
    lines = parse_allowed_signers((SIDECARS / LIST["allowed_signers"]).read_text(), "allowed_signers")
    own = next(line.key for line in lines if line.key.fingerprint == LIST["signers"][READER["signer"]])
    return Rules(HostSigners(lines, own, READER["host"], NOW), LIST["store"], NOW)


# --- the corpus -------------------------------------------------------------------------------------------------------


def test_the_files_are_what_the_generator_writes() -> None:
    written = source.files()
    assert {path.name for path in SIDECARS.iterdir()} == written.keys()
    for name, data in written.items():
        assert (SIDECARS / name).read_bytes() == data, f"{name}: run python -m support.sidecar_vectors"


def test_the_corpus_is_complete() -> None:
    documents = Counter(vector["document"] for vector in LIST["vectors"])
    assert documents == {"sidecar": 97, "record": 24, "store": 9}
    standings = Counter(vector["standing"] for vector in of_kind("sidecar"))
    assert standings.keys() == {standing.value for standing in Standing}
    assert min(standings.values()) >= 2
    for kind in documents:
        assert {vector["expect"] for vector in of_kind(kind)} == {"accept", "damaged", "unsupported"}
    assert {vector["file"] for vector in LIST["vectors"]} | {"vectors.json", "allowed_signers"} == {
        path.name for path in SIDECARS.iterdir()
    }


@pytest.mark.parametrize(
    "name",
    [
        "plain", "encrypted", "copied", "adopted-history", "unsigned", "non-ascii-host", "repeated-key", "crlf",
        "second-lf", "too-long", "float", "true-for-a-number", "nan", "other-beginning-space", "missing-key",
        "text-for-a-list", "unknown-basis", "signature-of-another-line", "signature-for-another-namespace",
        "rest-other-hash", "place-other-archive", "version-3", "unknown-feature", "unknown-kind", "cut-in-line-1",
    ],
)  # fmt: skip
def test_there_is_a_vector_for_each_rule(name: str) -> None:
    assert name in VECTORS


# --- sidecars ---------------------------------------------------------------------------------------------------------


@each(of_kind("sidecar"))
def test_a_sidecar_is_accepted_or_refused(vector: dict[str, Any]) -> None:
    data = document(vector)
    if vector["expect"] == "accept":
        assert isinstance(parse_sidecar(data), Sidecar)
    else:
        with pytest.raises(ERRORS[vector["expect"]]):
            parse_sidecar(data)


@each(of_kind("sidecar"))
def test_an_archive_has_the_standing_that_its_sidecar_gives_it(vector: dict[str, Any]) -> None:
    store, key = listed(vector)
    objects = group_objects(store.list()).archives[key]
    evidence = judge_sidecars(objects, lambda item, limit: store.read(item.key, 0, limit), rules())
    assert evidence.standing.value == vector["standing"], evidence.why
    if evidence.signer is not None:
        assert evidence.signer.fingerprint == LIST["signers"][vector["signer"]]
    elif vector["expect"] != "unsupported":
        assert evidence.standing in (Standing.UNSIGNED, Standing.UNREADABLE)


@each(of_kind("sidecar"))
def test_a_listing_shows_the_standing_and_freezes_only_what_it_does_not_know(vector: dict[str, Any]) -> None:
    store, key = listed(vector)
    judged = rules()
    catalog = CatalogReader(judged.signers, NOW).read(StoreRoot(store, LIST["store"]))  # type: ignore[arg-type]
    assert [(item.key, item.standing.value) for item in catalog.archives] == [(key, vector["standing"])]
    assert bool(catalog.frozen) is (vector["standing"] == "unknown")


@each(of_kind("sidecar", signature="valid"))
def test_the_first_64_kib_are_enough_for_a_listing(vector: dict[str, Any]) -> None:
    data = document(vector)
    if vector["standing"] in ("unreadable", "unknown") or vector["expect"] == "unsupported":
        return
    assert parse_sidecar_head(data[:HEAD_LIMIT]) == parse_sidecar_head(data)


@each(of_kind("sidecar", expect="accept"))
def test_an_accepted_sidecar_describes_the_bytes_of_its_archive(vector: dict[str, Any]) -> None:
    subject = source.SUBJECTS[vector["archive"]]
    data = document(vector)
    assert list(differences(parse_sidecar(data), [subject.content()])) == []
    assert len(data) <= sidecar_limit(len(subject.content()))


@each(of_kind("sidecar"))
def test_the_signature_of_the_first_line_is_as_listed(vector: dict[str, Any]) -> None:
    data = document(vector)
    if vector["signature"] == "valid":
        signer = first_statement(data).signer()
        assert signer is not None
        assert signer.fingerprint == LIST["signers"][vector["signer"]]
    elif vector["signature"] == "invalid":
        with pytest.raises(DamagedArchive):
            first_statement(data).signer()
    elif vector["name"] != "version-1":
        assert first_statement(data).signer() is None


WRITTEN = (
    "plain", "encrypted", "three-chunks", "non-ascii-host", "no-etags", "copied", "adopted-history", "adopted-root",
    "problems", "unsigned", "place-unsigned", "place-no-etag", "place-no-store",
)  # fmt: skip


@each([VECTORS[name] for name in WRITTEN])
def test_the_program_writes_the_same_bytes(vector: dict[str, Any]) -> None:
    data = document(vector)
    lines = [json.loads(text) for text in data.splitlines()]

    def sign(number: int) -> Any:
        if lines[number + 1]["signature"] is None:
            return None
        signer = parse_pair(*data.splitlines(keepends=True)[number : number + 2]).signer()
        assert signer is not None
        name = next(name for name, shown in LIST["signers"].items() if shown == signer.fingerprint)
        return lambda message: sshsig(source.SEEDS[name], message)

    def values(number: int, *without: str) -> dict[str, Any]:
        found = {key: value for key, value in lines[number].items() if key not in ("format", "version", *without)}
        return {key: tuple(value) if isinstance(value, list) else value for key, value in found.items()}

    rest = Rest(age_header=parse_sidecar(data).rest.age_header, chunks=tuple(lines[4]["chunks"]))
    head = state_head(Head(**values(0, "rest", "full_size")), rest, sign(0))
    assert assemble(head, state_place(Place(**values(2)), sign(2)), encode_rest(rest)) == data


def test_the_program_writes_no_more_than_64_kib_before_line_5() -> None:
    sidecar = parse_sidecar(document(VECTORS["longest"]))
    assert sidecar.start.statement
    assert sidecar.start.placed
    start = sidecar.start.statement.encode() + sidecar.start.placed.encode()
    assert len(start) == HEAD_LIMIT
    longer = replace(sidecar.start.placed, line=sidecar.start.placed.line[:-2] + b" }\n")
    with pytest.raises(ValueError, match="65537 bytes"):
        assemble(sidecar.start.statement, longer, sidecar.rest_line)


def test_every_prefix_of_a_sidecar_is_refused_or_shows_no_place_that_it_does_not_have() -> None:
    data = document(VECTORS["plain"])
    lines = data.splitlines(keepends=True)
    whole = parse_sidecar_head(data)
    two, four = len(b"".join(lines[:2])), len(b"".join(lines[:4]))
    for cut in range(len(data)):
        if cut < two:
            with pytest.raises(DamagedArchive):
                parse_sidecar_head(data[:cut])
        else:
            assert parse_sidecar_head(data[:cut]).head == whole.head
            assert (parse_sidecar_head(data[:cut]).place is not None) is (cut >= four)
        with pytest.raises(DamagedArchive):
            parse_sidecar(data[:cut])


# --- records and identities -------------------------------------------------------------------------------------------


@each(of_kind("record"))
def test_a_record_is_accepted_or_refused(vector: dict[str, Any]) -> None:
    data = document(vector)
    if vector["expect"] == "accept":
        record = parse_record(split_record(data).line)
        signature = data.splitlines(keepends=True)[1]
        assert state_record(record, None).line + signature == data
    else:
        with pytest.raises(ERRORS[vector["expect"]]):
            parse_record(split_record(data).line)


@each(of_kind("record"))
def test_a_record_counts_or_does_not(vector: dict[str, Any]) -> None:
    store, key = listed(vector)
    objects = group_objects(store.list()).archives[key]
    head = parse_sidecar(document(VECTORS["plain"])).head
    found = judge_records(objects, head, lambda item, limit: store.read(item.key, 0, limit), rules())
    name = parse_record_name(key + vector["suffix"])
    assert name is not None
    assert (name.kind in found.latest) is vector["counts"]
    assert bool(found.latest) is vector["counts"]


@each([VECTORS["place-no-etag"], VECTORS["other-etag"]])
def test_a_verified_record_proves_an_archive_whose_place_does_not(vector: dict[str, Any]) -> None:
    store, key = listed(vector)
    record = json.loads(document(VECTORS["record-verified"]).splitlines()[0])
    record["etag"] = store.objects[0].etag
    line = source.line(record)
    name = key + VECTORS["record-verified"]["suffix"]
    store.documents[name] = line + source.signature_line(line, "host")
    store.objects.append(StoredObject(name, len(store.documents[name]), NOW, etag="r"))
    judged = rules()
    catalog = CatalogReader(judged.signers, NOW).read(StoreRoot(store, LIST["store"]))  # type: ignore[arg-type]
    assert [item.standing for item in catalog.archives] == [Standing.PROVEN]


@each(of_kind("store"))
def test_the_identity_of_a_store_is_accepted_or_refused(vector: dict[str, Any]) -> None:
    store = MemoryStore()
    put(store, IDENTITY_KEY, document(vector))
    if vector["expect"] == "accept":
        assert read_identity(store) == LIST["store"]
    else:
        with pytest.raises(StorageError, match="is not valid"):
            read_identity(store)


# --- by hand ----------------------------------------------------------------------------------------------------------


ONLY_BY_READERS = ("too-long", "signature-further-key")  # refused for their form, which ssh-keygen does not see
CURRENT = ("host", "nordic", "central", "pattern")  # signers that ssh-keygen accepts today


def line_by_hand() -> str:
    """The line that the specification gives."""
    (found,) = re.findall(r"^ {4}(sed -n 1p F >head; .*)$", SPECIFICATION.read_text(), re.MULTILINE)
    return str(found)


def by_hand(data: bytes, directory: Path, host: str, line: str | None = None) -> subprocess.CompletedProcess[str]:
    (directory / "F").write_bytes(data)
    (directory / "allowed_signers").write_bytes((SIDECARS / "allowed_signers").read_bytes())
    command = (line or line_by_hand()).replace("-I HOST", f"-I {host}")
    return subprocess.run(["sh", "-c", command], cwd=directory, capture_output=True, text=True, check=False)


def host_of(vector: dict[str, Any]) -> str:
    return READER["host"] if vector["signer"] == READER["signer"] else str(vector_host(vector))


def vector_host(vector: dict[str, Any]) -> str:
    return LIST["archives"][vector["archive"]]["key"].split("/")[0]  # type: ignore[no-any-return]


def test_the_line_of_the_specification_is_the_one_that_is_tested() -> None:
    assert line_by_hand() == (
        "sed -n 1p F >head; sed -n 2p F | jq -r .signature >sig; "
        "ssh-keygen -Y verify -f allowed_signers -I HOST -n drunner-vault-archive -s sig <head"
    )


@each([vector for vector in of_kind("sidecar", signature="valid", expect="accept") if vector["signer"] in CURRENT])
def test_ssh_keygen_finds_a_good_signature(vector: dict[str, Any], tmp_path: Path) -> None:
    done = by_hand(document(vector), tmp_path, host_of(vector))
    assert done.stdout.startswith(f'Good "drunner-vault-archive" signature for {host_of(vector)} with ED25519 key')
    assert done.returncode == 0


@each([VECTORS["copied"]])
def test_ssh_keygen_finds_a_good_signature_of_the_place(vector: dict[str, Any], tmp_path: Path) -> None:
    line = line_by_hand().replace("1p F", "3p F").replace("2p F", "4p F")
    done = by_hand(document(vector), tmp_path, READER["host"], line)
    assert done.stdout.startswith(f'Good "drunner-vault-archive" signature for {READER["host"]} with')


@each(
    [
        *(vector for vector in of_kind("sidecar", signature="invalid") if vector["name"] not in ONLY_BY_READERS),
        VECTORS["unsigned"],
        VECTORS["stranger"],
    ]
)
def test_ssh_keygen_finds_no_good_signature(vector: dict[str, Any], tmp_path: Path) -> None:
    done = by_hand(document(vector), tmp_path, vector_host(vector))
    assert "Good" not in done.stdout
    assert done.returncode != 0


def test_a_retired_key_is_refused_by_ssh_keygen_too(tmp_path: Path) -> None:
    vector = VECTORS["retired-before"]
    line = line_by_hand()
    at = {"before": "20260201000000Z", "after": "20260211000000Z"}
    done = {
        name: by_hand(
            document(vector),
            tmp_path,
            vector_host(vector),
            line.replace("-Y verify", f"-Y verify -Overify-time={time}"),
        )
        for name, time in at.items()
    }
    assert (done["before"].returncode, done["after"].returncode != 0) == (0, True), done


# --- schemas ----------------------------------------------------------------------------------------------------------


def schema(name: str) -> jsonschema.Draft202012Validator:
    found = json.loads((FORMATS / "schemas" / f"{name}.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(found)
    return jsonschema.Draft202012Validator(found)


SCHEMAS = ("sidecar-head", "signature", "sidecar-place", "signature", "sidecar-rest")


@each(of_kind("sidecar", standing="proven", expect="accept"))
def test_what_counts_is_valid_by_the_schemas(vector: dict[str, Any]) -> None:
    lines = document(vector).splitlines()
    assert len(lines) == len(SCHEMAS)
    for name, text in zip(SCHEMAS, lines, strict=True):
        schema(name).validate(json.loads(text))


def test_version_1_is_valid_by_its_schema() -> None:
    schema("sidecar-v1").validate(json.loads(document(VECTORS["version-1"])))


@each(of_kind("record", expect="accept"))
def test_records_are_valid_by_the_schemas(vector: dict[str, Any]) -> None:
    first, second = document(vector).splitlines()
    schema("record").validate(json.loads(first))
    schema("signature").validate(json.loads(second))


@pytest.mark.parametrize(
    ("vector", "name", "line"),
    [
        *((name, "sidecar-head", 0) for name in (
            "true-for-a-number", "text-for-a-number", "negative", "null-for-a-text", "number-for-a-text",
            "text-for-a-list", "number-in-a-list", "missing-key", "unknown-basis", "not-an-object", "other-format",
            "place-for-head", "record-for-head", "version-3",
        )),
        *((name, "signature", 1) for name in (
            "signature-not-armored", "signature-missing", "signature-number", "signature-further-key",
        )),
        *((name, "sidecar-place", 2) for name in ("place-missing-key", "place-version-2", "place-is-a-head")),
        *((name, "sidecar-rest", 4) for name in ("rest-other-chunk-size", "rest-not-base64")),
        *((name, "record", 0) for name in ("record-missing-key", "record-unknown-kind", "record-version-3")),
        *((name, "store", 0) for name in ("store-upper-case", "store-short", "store-number", "store-version-2")),
    ],
)  # fmt: skip
def test_what_is_malformed_is_invalid_by_the_schemas(vector: str, name: str, line: int) -> None:
    assert not schema(name).is_valid(json.loads(document(VECTORS[vector]).splitlines()[line]))


def test_the_identity_of_a_store_is_valid_by_its_schema() -> None:
    for vector in of_kind("store", expect="accept"):
        schema("store").validate(json.loads(document(vector)))


def test_a_head_is_read_alike_alone_and_in_its_sidecar() -> None:
    sidecar = parse_sidecar(document(VECTORS["plain"]))
    assert sidecar.start.statement
    assert parse_head(sidecar.start.statement.line) == sidecar.head
