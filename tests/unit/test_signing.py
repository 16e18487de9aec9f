"""Signatures, with ssh-keygen as the judge."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from drunner_vault.errors import BadKey, DamagedArchive, NoChange, WrongKey
from drunner_vault.signing import NAMESPACE, AllowedSigners, SigningKey, verify
from drunner_vault.workflows.trust import Trust, require_trusted


def ssh_keygen(*arguments: str | Path, stdin: bytes = b"") -> int:
    done = subprocess.run(["ssh-keygen", *map(str, arguments)], input=stdin, capture_output=True, check=False)
    return done.returncode


def test_ssh_keygen_verifies_what_we_sign(tmp_path: Path) -> None:
    key = SigningKey.generate()
    (tmp_path / "allowed").write_text(key.public().allowed_line("there") + "\n")
    (tmp_path / "sig").write_bytes(key.sign(b"root"))
    check = ("-Y", "verify", "-f", tmp_path / "allowed", "-I", "there", "-n", NAMESPACE, "-s", tmp_path / "sig")
    assert ssh_keygen(*check, stdin=b"root") == 0
    assert ssh_keygen(*check, stdin=b"other") != 0


def test_we_verify_what_ssh_keygen_signs(tmp_path: Path) -> None:
    key, message = tmp_path / "key", tmp_path / "message"
    message.write_bytes(b"root")
    assert ssh_keygen("-q", "-t", "ed25519", "-N", "", "-f", key) == 0
    assert ssh_keygen("-q", "-Y", "sign", "-f", key, "-n", NAMESPACE, message) == 0
    ours = SigningKey.parse(key.read_bytes(), "key")
    assert verify((tmp_path / "message.sig").read_bytes(), b"root") == ours.public()


def test_ssh_keygen_reads_the_key_we_make(tmp_path: Path) -> None:
    key = SigningKey.generate()
    path = tmp_path / "key"
    path.write_bytes(key.encode())
    path.chmod(0o600)
    shown = subprocess.run(["ssh-keygen", "-l", "-f", str(path)], capture_output=True, text=True, check=True).stdout
    assert key.public().fingerprint in shown


def test_any_changed_byte_of_a_signature_is_refused() -> None:
    key = SigningKey.generate()
    signature = key.sign(b"root")
    for place in range(len(signature)):
        changed = bytearray(signature)
        changed[place] ^= 4
        with pytest.raises(DamagedArchive):
            verify(bytes(changed), b"root")


def test_a_signature_for_another_use_is_refused(tmp_path: Path) -> None:
    key, message = tmp_path / "key", tmp_path / "message"
    message.write_bytes(b"root")
    ssh_keygen("-q", "-t", "ed25519", "-N", "", "-f", key)
    ssh_keygen("-q", "-Y", "sign", "-f", key, "-n", "file", message)
    with pytest.raises(DamagedArchive):
        verify((tmp_path / "message.sig").read_bytes(), b"root")


def test_allowed_signers_count_for_their_hosts_and_for_archives_only() -> None:
    key = SigningKey.generate().public()
    blob = key.allowed_line("x").split()[-1]
    assert AllowedSigners(f"db1,web* ssh-ed25519 {blob}", "file").allows(key, "web7")
    assert not AllowedSigners(f"db1,web* ssh-ed25519 {blob}", "file").allows(key, "mail")
    assert not AllowedSigners(f'web1 namespaces="git" ssh-ed25519 {blob}', "file").allows(key, "web1")
    assert not AllowedSigners(f"# web1 ssh-ed25519 {blob}\n\n", "file").allows(key, "web1")


def test_a_line_that_is_no_signer_is_named() -> None:
    with pytest.raises(BadKey, match="signers, line 2"):
        AllowedSigners("# first\nnonsense\n", "signers")


def test_a_host_trusts_itself_and_whom_it_was_told_to(tmp_path: Path) -> None:
    there, here = Trust(tmp_path / "there", "there"), Trust(tmp_path / "here", "here")
    signature = there.signing_key().sign(b"root")
    assert there.sender(b"root", signature, "there").trusted
    assert not here.sender(b"root", signature, "there").trusted
    here.add(there.signer_line())
    assert here.sender(b"root", signature, "there").trusted
    assert not here.sender(b"root", signature, "elsewhere").trusted
    with pytest.raises(NoChange):
        here.add(there.signer_line())


def test_an_archive_nobody_signed_is_refused_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(WrongKey) as refused:
        require_trusted(Trust(tmp_path, "here").sender(b"root", None, "there"), "the archive")
    assert "--any-sender" in refused.value.hint


def test_the_signing_key_stays_the_same_and_private(tmp_path: Path) -> None:
    trust = Trust(tmp_path / "etc", "here")
    assert trust.signer_line() == trust.signer_line()
    assert (tmp_path / "etc" / "signing_key").stat().st_mode & 0o077 == 0


def test_a_public_key_alone_is_trusted_for_every_host(tmp_path: Path) -> None:
    there, here = Trust(tmp_path / "there", "there"), Trust(tmp_path / "here", "here")
    public = " ".join(there.signer_line().split()[-2:]) + " a comment"
    here.add(public)
    assert here.sender(b"root", there.signing_key().sign(b"root"), "anything").trusted
