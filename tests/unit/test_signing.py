"""Signatures and files of allowed signers, with ssh-keygen as the judge."""

from __future__ import annotations

import base64
import datetime as dt
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from drunner_vault.errors import BadKey, DamagedArchive
from drunner_vault.signing import (
    NAMESPACE,
    AllowedSigner,
    SigningKey,
    parse_allowed_signer,
    parse_allowed_signers,
    retired_line,
    verify,
)

KEY = SigningKey.generate()
BLOB = base64.b64encode(KEY.public().blob).decode()
LINE = KEY.public().allowed_line("there")
NOW = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)


def filled(text: str) -> str:
    """The same with the key, which is another one in each process: names of tests hold the text without it."""
    return text.replace("LINE", LINE).replace("BLOB", BLOB).replace("ARCHIVES", NAMESPACE)


def ssh_keygen(*arguments: str | Path, stdin: bytes = b"") -> int:
    done = subprocess.run(["ssh-keygen", *map(str, arguments)], input=stdin, capture_output=True, check=False)
    return done.returncode


@pytest.fixture
def judge(tmp_path: Path) -> Callable[[str, str, dt.datetime], bool]:
    """Return True if ssh-keygen accepts a signature of KEY by a file of allowed signers, for a host at a time."""
    (tmp_path / "sig").write_bytes(KEY.sign(b"root"))

    def accepts(lines: str, host: str, moment: dt.datetime = NOW) -> bool:
        (tmp_path / "allowed").write_text(f"{filled(lines)}\n")
        check: list[str | Path] = ["-Y", "verify", "-f", tmp_path / "allowed", "-I", host, "-n", NAMESPACE]
        check += ["-s", tmp_path / "sig", f"-Overify-time={moment:%Y%m%d%H%M%SZ}"]
        return ssh_keygen(*check, stdin=b"root") == 0

    return accepts


def ours(lines: str, host: str, moment: dt.datetime = NOW) -> bool:
    """Return True if this program accepts KEY by a file of allowed signers, for a host at a time."""
    found = parse_allowed_signers(filled(lines), "signers")
    return any(one.key == KEY.public() and one.matches(host) and one.is_valid(moment) for one in found)


def test_ssh_keygen_verifies_what_we_sign(tmp_path: Path) -> None:
    (tmp_path / "allowed").write_text(LINE + "\n")
    (tmp_path / "sig").write_bytes(KEY.sign(b"root"))
    check = ("-Y", "verify", "-f", tmp_path / "allowed", "-I", "there", "-n", NAMESPACE, "-s", tmp_path / "sig")
    assert ssh_keygen(*check, stdin=b"root") == 0
    assert ssh_keygen(*check, stdin=b"other") != 0


def test_we_verify_what_ssh_keygen_signs(tmp_path: Path) -> None:
    key, message = tmp_path / "key", tmp_path / "message"
    message.write_bytes(b"root")
    assert ssh_keygen("-q", "-t", "ed25519", "-N", "", "-f", key) == 0
    assert ssh_keygen("-q", "-Y", "sign", "-f", key, "-n", NAMESPACE, message) == 0
    parsed = SigningKey.parse(key.read_bytes(), "key")
    assert verify((tmp_path / "message.sig").read_bytes(), b"root") == parsed.public()


def test_ssh_keygen_reads_the_key_we_make(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_bytes(KEY.encode())
    path.chmod(0o600)
    shown = subprocess.run(["ssh-keygen", "-l", "-f", str(path)], capture_output=True, text=True, check=True).stdout
    assert KEY.public().fingerprint in shown


def test_any_changed_byte_of_a_signature_is_refused() -> None:
    signature = KEY.sign(b"root")
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


@pytest.mark.parametrize(
    ("lines", "host", "accepted"),
    [
        ("there ssh-ed25519 BLOB", "there", True),
        ("there ssh-ed25519 BLOB", "There", False),
        ("there ssh-ed25519 BLOB a comment", "there", True),
        ("db1,web* ssh-ed25519 BLOB", "web7", True),
        ("db1,web* ssh-ed25519 BLOB", "mail", False),
        ('"db1,web*" ssh-ed25519 BLOB', "web7", True),
        ("web?,!web7 ssh-ed25519 BLOB", "web6", True),
        ("web?,!web7 ssh-ed25519 BLOB", "web7", False),
        ("!web7 ssh-ed25519 BLOB", "web6", False),
        ("web[67] ssh-ed25519 BLOB", "web7", False),
        ('there namespaces="git" ssh-ed25519 BLOB', "there", False),
        ('there namespaces="git,ARCHIVES" ssh-ed25519 BLOB', "there", True),
        ('there namespaces="drunner-*" ssh-ed25519 BLOB', "there", True),
        ('there NAMESPACES="git" ssh-ed25519 BLOB', "there", False),
        ("there cert-authority ssh-ed25519 BLOB", "there", False),
        ("# there ssh-ed25519 BLOB\n\n", "there", False),
        ('# first\n\nthere namespaces="git" ssh-ed25519 BLOB\nthere ssh-ed25519 BLOB', "there", True),
        ('there valid-before="20260301120001Z" ssh-ed25519 BLOB', "there", True),
        ('there valid-before="20260301115959Z" ssh-ed25519 BLOB', "there", False),
        ('there valid-before="202603011200Z",namespaces="ARCHIVES" ssh-ed25519 BLOB', "there", None),
        ('there namespaces="ARCHIVES",valid-before="20260228Z" ssh-ed25519 BLOB', "there", False),
        ('there namespaces="ARCHIVES",valid-before="20260302Z" ssh-ed25519 BLOB', "there", True),
        ('there valid-after="20260301115959Z" ssh-ed25519 BLOB', "there", True),
        ('there valid-after="20260301120001Z" ssh-ed25519 BLOB', "there", False),
        ('there valid-after="20260228Z",valid-before="20260302Z" ssh-ed25519 BLOB', "there", True),
    ],
)
def test_lines_mean_what_ssh_keygen_takes_them_to_mean(
    judge: Callable[..., bool], lines: str, host: str, accepted: bool | None
) -> None:
    if accepted is None:  # at the very second of `valid-before`: ssh-keygen still accepts, this program does not
        accepted = False
    else:
        assert judge(lines, host) == accepted
    assert ours(lines, host) == accepted


@pytest.fixture
def far_east(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A host nine hours ahead of UTC."""
    before = os.environ.get("TZ")
    monkeypatch.setenv("TZ", "JST-9")
    time.tzset()
    yield
    if before is None:
        monkeypatch.delenv("TZ")
    else:
        monkeypatch.setenv("TZ", before)
    time.tzset()


@pytest.mark.usefixtures("far_east")
@pytest.mark.parametrize(("text", "accepted"), [("20260301210001", True), ("202603012059", False), ("20260302", True)])
def test_a_time_without_z_is_in_the_local_time_zone(judge: Callable[..., bool], text: str, accepted: bool) -> None:
    line = f'there valid-before="{text}" ssh-ed25519 BLOB'
    assert judge(line, "there") == ours(line, "there") == accepted


@pytest.mark.parametrize(
    "line",
    [
        "LINE",
        "there ssh-ed25519 BLOB",
        "there ssh-ed25519 BLOB a comment, with spaces",
        '"web*,db1,there" namespaces="git,ARCHIVES" ssh-ed25519 BLOB',
        'there valid-after="20200101Z",namespaces="ARCHIVES" ssh-ed25519 BLOB',
        'there namespaces="ARCHIVES",valid-before="20300101Z" ssh-ed25519 BLOB',
    ],
)
def test_ssh_keygen_understands_a_line_that_we_retired(judge: Callable[..., bool], line: str) -> None:
    retired = retired_line(filled(line), NOW)
    for moment, valid in ((NOW - HOUR, True), (NOW + HOUR, False)):
        assert judge(line, "there", moment)
        assert judge(retired, "there", moment) == valid
        assert ours(retired, "there", moment) == valid
    before, after = parse_allowed_signer(filled(line)), parse_allowed_signer(retired)
    assert after == AllowedSigner(before.key, before.principals, before.valid_after, NOW)
    assert retired.endswith("a comment, with spaces") == line.endswith("spaces")


def test_a_line_is_retired_at_a_moment_in_utc_wherever_the_host_is() -> None:
    elsewhere = NOW.astimezone(dt.timezone(dt.timedelta(hours=-8)))
    assert retired_line(LINE, elsewhere) == retired_line(LINE, NOW)
    assert 'valid-before="20260301120000Z"' in retired_line(LINE, NOW)


def test_a_key_without_a_moment_is_valid_until_it_is_retired() -> None:
    assert parse_allowed_signer(LINE).is_valid(None)
    assert not parse_allowed_signer(retired_line(LINE, NOW)).is_valid(None)


@pytest.mark.parametrize(
    ("principals", "alone"),
    [("there", True), ("there,other", False), ("*", False), ("the?e", False), ("there,!x", False), ("[t]here", False)],
)
def test_only_a_line_with_one_name_counts_for_that_host_alone(principals: str, alone: bool) -> None:
    signer = parse_allowed_signer(filled(f"{principals} ssh-ed25519 BLOB"))
    assert signer.is_literal == alone
    assert signer.names("there") == alone
    assert not signer.names("other")
    assert not signer.names(principals.replace("there", "x"))


@pytest.mark.parametrize(
    "line",
    [
        "nonsense",
        "there ssh-ed25519",
        "ssh-ed25519 BLOB",
        "there ssh-ed25519 AAAA",
        "there ssh-ed25519 BLOB!",
        "there ssh-rsa BLOB",
        'there valid-before="tomorrow" ssh-ed25519 BLOB',
        'there valid-before="20261301Z" ssh-ed25519 BLOB',
        'there valid-before="2026030112Z" ssh-ed25519 BLOB',
        "there valid-before ssh-ed25519 BLOB",
    ],
)
def test_a_line_that_is_not_valid_is_named(line: str) -> None:
    with pytest.raises(BadKey, match="signers, line 2"):
        parse_allowed_signers(f"# first\n{filled(line)}\n", "signers")


@pytest.mark.parametrize(
    "text", ["", "# nothing", "LINE\nLINE", 'there namespaces="git" ssh-ed25519 BLOB', ",, ssh-ed25519 BLOB"]
)
def test_a_single_signer_is_exactly_one_that_is_for_archives(text: str) -> None:
    with pytest.raises(BadKey):
        parse_allowed_signer(filled(text))
