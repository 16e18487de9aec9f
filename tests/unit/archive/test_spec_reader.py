"""Two readers that share no code, one of them written from the specification alone, say the same of every archive."""

from __future__ import annotations

import ast
import base64
import contextlib
import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import spec_reader
from spec_reader import Refused
from support import golden as goldens
from support.golden import ALL, GOLDEN, Golden
from support.vectors import HOST, IDENTITY, PASSPHRASE, SIGNER_SEED, VECTORS, Forge, age_file, all_vectors

from drunner_vault.age import MAGIC, DecryptReader, ScryptIdentity, X25519Identity
from drunner_vault.archive import ArchiveReader
from drunner_vault.engine.hosttree.writer import TreeWriter
from drunner_vault.errors import (
    ArchiveError,
    DamagedArchive,
    KeyProblem,
    NotAnArchive,
    UnsupportedArchive,
    VaultError,
)
from drunner_vault.tar import Entry, Kind
from drunner_vault.workflows.trust import Trust, require_trusted

ERRORS: dict[str, tuple[type[VaultError], ...]] = {
    "not-an-archive": (NotAnArchive, DamagedArchive),  # which of both, is a matter of taste
    "unsupported": (UnsupportedArchive,),
    "damaged": (DamagedArchive,),
    "key": (KeyProblem,),
    "untrusted": (KeyProblem, ArchiveError),
}
LISTED: list[dict[str, str]] = json.loads((VECTORS / "vectors.json").read_text())["vectors"]
each_golden = pytest.mark.parametrize("golden", ALL, ids=lambda golden: golden.name)


def by_stage(*stages: str) -> Any:
    chosen = [vector for vector in LISTED if vector["stage"] in stages]
    return pytest.mark.parametrize("vector", chosen, ids=lambda vector: vector["name"])


# --- the program's own reader -----------------------------------------------------------------------------------------


def open_ours(data: bytes, open_with: str) -> ArchiveReader:
    if not data.startswith(MAGIC):
        return ArchiveReader(io.BytesIO(data).read, threads=1)
    identity = ScryptIdentity(PASSPHRASE) if open_with == "passphrase" else X25519Identity(IDENTITY)
    return ArchiveReader(DecryptReader(io.BytesIO(data), [identity]).read, threads=1)


def read_ours(data: bytes, open_with: str) -> ArchiveReader:
    with open_ours(data, open_with) as reader:
        for _, content in reader.members():
            for _ in content:
                pass
    return reader


def restore_ours(data: bytes, open_with: str, target: Path) -> None:
    """Writes the volume `data` of a vector below `target`, as a restore does."""
    prefix = b"volumes/data"
    with open_ours(data, open_with) as reader, TreeWriter(target, lambda path, problem: None) as writer:
        for member, content in reader.members():
            entry = member.entry
            if entry.path == prefix or entry.path.startswith(prefix + b"/"):
                writer.write(_below(entry, prefix), content)


def _below(entry: Entry, prefix: bytes) -> Entry:
    link = entry.link
    if entry.kind is Kind.HARDLINK:
        link = link[len(prefix) + 1 :] if link.startswith(prefix + b"/") else b"../" + link
    return entry._replace(path=entry.path[len(prefix) + 1 :], link=link)


# --- the other one ----------------------------------------------------------------------------------------------------


def read_theirs(data: bytes, open_with: str) -> spec_reader.Archive:
    x25519, passphrase = (None, PASSPHRASE) if open_with == "passphrase" else (IDENTITY, None)
    return spec_reader.read_archive(data, x25519, passphrase)


def facts(member: spec_reader.Member) -> dict[str, Any]:
    """A member in the form of the golden listings."""
    row = member.row(0, 0)
    found = {key: row[key] for key in row if key not in ("offset", "content", "stored", "frames", "xattrs")}
    found["mode"] = f"{member.mode:04o}"
    if member.xattrs:
        found["xattrs"] = {name: base64.b64encode(value).decode() for name, value in sorted(member.xattrs.items())}
    return found


def test_the_other_reader_shares_no_code_with_the_program() -> None:
    tree = ast.parse(Path(spec_reader.__file__).read_text())
    modules = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    modules |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    packages = {module.split(".")[0] for module in modules} - set(sys.stdlib_module_names)
    assert packages == {"zstandard", "blake3", "cryptography"}


@each_golden
def test_both_find_the_same_in_a_golden_archive(golden: Golden) -> None:
    data = (GOLDEN / golden.file).read_bytes()
    wanted = json.loads((GOLDEN / f"{golden.name}.expect.json").read_text())
    archive = read_theirs(data, golden.recipients[0] if golden.recipients else "")
    members = [facts(member) for member in archive.members]
    assert goldens.members_digest(members) == wanted["members_blake3"]
    assert members == wanted.get("members", members)
    ours = read_ours(data, golden.recipients[0] if golden.recipients else "")
    assert ours.root_bytes == archive.root_bytes
    assert ours.signature == archive.signature
    spec_reader.check_restorable(archive)


@each_golden
def test_both_see_the_same_signer(golden: Golden, tmp_path: Path) -> None:
    archive = read_theirs((GOLDEN / golden.file).read_bytes(), golden.recipients[0] if golden.recipients else "")
    allowed = (GOLDEN / "allowed_signers").read_text()
    (tmp_path / "allowed_signers").write_text(allowed)
    sender = Trust(tmp_path, "another.example").sender(archive.root_bytes, archive.signature, HOST)
    assert sender.trusted is golden.signed
    with contextlib.nullcontext() if golden.signed else pytest.raises(Refused, match="not signed"):
        spec_reader.check_signature(archive, allowed)


def test_what_the_vectors_are_made_from_is_accepted_by_both() -> None:
    for data in (Forge().build(), Forge(signer=SIGNER_SEED).build(), age_file(Forge().build())):
        archive = read_theirs(data, "x25519")
        spec_reader.check_restorable(archive)
        with open_ours(data, "x25519") as reader:
            names = [b"manifest.json", *(member.entry.path for member, _ in reader.members())]
        assert names == [member.path for member in archive.members]


def test_there_are_as_many_vectors_as_there_should_be() -> None:
    stages = [vector["stage"] for vector in LISTED]
    assert {stage: stages.count(stage) for stage in stages} == {"read": 218, "restore": 10, "trust": 7}
    assert {path.name for path in VECTORS.iterdir()} == {vector["file"] for vector in LISTED} | {"vectors.json"}


def test_the_vectors_are_the_same_bytes_whenever_they_are_made() -> None:
    made = all_vectors()
    assert [vector.listing() for vector in made] == LISTED
    for vector in made:
        assert (VECTORS / vector.file).read_bytes() == vector.data, vector.name


@by_stage("read")
def test_the_other_reader_refuses(vector: dict[str, str]) -> None:
    with pytest.raises(Refused) as caught:
        read_theirs((VECTORS / vector["file"]).read_bytes(), vector.get("open_with", ""))
    assert caught.value.kind == vector["expect"]


@by_stage("read")
def test_the_program_refuses(vector: dict[str, str]) -> None:
    with pytest.raises(ERRORS[vector["expect"]]):
        read_ours((VECTORS / vector["file"]).read_bytes(), vector.get("open_with", ""))


@by_stage("restore")
def test_neither_restores(vector: dict[str, str], tmp_path: Path) -> None:
    data = (VECTORS / vector["file"]).read_bytes()
    with pytest.raises(Refused):
        spec_reader.check_restorable(read_theirs(data, vector.get("open_with", "")))
    target = tmp_path / "volume"
    target.mkdir()
    with pytest.raises(ArchiveError):
        restore_ours(data, vector.get("open_with", ""), target)
    assert {path.name for path in tmp_path.iterdir()} == {"volume"}


@by_stage("trust")
def test_neither_trusts(vector: dict[str, str], tmp_path: Path) -> None:
    data = (VECTORS / vector["file"]).read_bytes()
    archive = read_theirs(data, "")
    allowed = (GOLDEN / "allowed_signers").read_text()
    with pytest.raises(Refused, match="untrusted"):
        spec_reader.check_signature(archive, allowed)
    (tmp_path / "allowed_signers").write_text(allowed)
    trust = Trust(tmp_path, "restoring.example")
    with pytest.raises(ERRORS["untrusted"]):
        require_trusted(trust.sender(archive.root_bytes, archive.signature, archive.manifest["host"]), vector["name"])
