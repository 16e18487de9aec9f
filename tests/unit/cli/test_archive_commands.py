"""The commands that look into archives, called as a person calls them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support.archives import PREFIX, file, make, some_files
from support.catalogs import sidecar_of

from drunner_vault.age import X25519Identity
from drunner_vault.archive import WriterOptions
from drunner_vault.tar import Entry, Kind, Segment
from drunner_vault.workflows.trust import Trust

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    environment = {"PATH": "/usr/bin:/bin", "DRUNNER_CONFIG_DIR": str(tmp_path / "etc"), "LC_ALL": "C.UTF-8"}

    def call(*arguments: str | Path, code: int = 0, **options: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "drunner_vault", *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, **options)  # type: ignore[call-overload]
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr
        return done  # type: ignore[no-any-return]

    return call


@pytest.fixture
def identity(tmp_path: Path) -> X25519Identity:
    identity = X25519Identity.generate()
    (tmp_path / "key.txt").write_text(f"{identity}\n")
    return identity


@pytest.fixture
def archive(tmp_path: Path, identity: X25519Identity) -> Path:
    path = tmp_path / "notes-20260131T030000Z.tar.zst.age"
    items = some_files(10, large=300_000)
    items.append((Entry(b"link", Kind.HARDLINK, size=0, link=b"large"), ()))
    items.append(
        (Entry(b"sparse", Kind.FILE, size=1 << 20, segments=(Segment(4096, 512), Segment(1 << 20, 0))), (b"x" * 512,))
    )
    path.write_bytes(make(sorted(items, key=lambda item: item[0].path), recipients=[identity.recipient()]))
    return path


def test_inspect_says_what_the_archive_is(run: Run, archive: Path) -> None:
    said = json.loads(run("inspect", archive, "-i", archive.parent / "key.txt", "--json").stdout)
    assert said["manifest"]["service"]["name"] == "notes"
    assert said["recipients"] == ["X25519"]
    assert said["sender"] == "not signed"
    assert "notes, from notes:1" in run("inspect", archive, "-i", archive.parent / "key.txt").stdout


def test_ls_lists_what_a_path_names(run: Run, archive: Path) -> None:
    key = ("-i", archive.parent / "key.txt")
    everything = run("ls", archive, *key).stdout.splitlines()
    assert f"{PREFIX.decode()}/large" in everything
    assert run("ls", archive, f"{PREFIX.decode()}/f000[12]", *key).stdout.splitlines() == [
        f"{PREFIX.decode()}/f0001",
        f"{PREFIX.decode()}/f0002",
    ]
    rows = [json.loads(line) for line in run("ls", archive, "--json", *key).stdout.splitlines()]
    assert {row["path"] for row in rows} == set(everything)
    assert " link to " in run("ls", "-l", archive, *key).stdout
    assert run("ls", archive, "nowhere", *key, code=1).stderr.count("\n") == 2


def test_extract_gives_files_back_and_never_overwrites(run: Run, archive: Path, tmp_path: Path) -> None:
    key, target = ("-i", tmp_path / "key.txt"), tmp_path / "out"
    run("extract", archive, PREFIX.decode(), "--to", target, *key)
    found = target / PREFIX.decode()
    assert (found / "f0003").read_bytes() == b"line 3\n" * 3
    assert (found / "link").samefile(found / "large")
    assert (found / "sparse").stat().st_blocks * 512 < 1 << 20
    again = run("extract", archive, PREFIX.decode(), "--to", target, *key, code=1)
    assert again.stderr.startswith(f"error: {target / PREFIX.decode().partition('/')[0]} exists already\n")


def test_extract_of_a_further_name_alone_is_a_file_of_its_own(run: Run, archive: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    run("extract", archive, f"{PREFIX.decode()}/link", "--to", tmp_path / "out", "-i", tmp_path / "key.txt")
    assert (tmp_path / "out" / PREFIX.decode() / "link").stat().st_size == 300_000


def test_extract_to_standard_output_fills_holes(run: Run, archive: Path) -> None:
    key = archive.parent / "key.txt"
    shown = run("extract", archive, f"{PREFIX.decode()}/sparse", "--to", "-", "-i", key).stdout
    assert shown == "\0" * 4096 + "x" * 512 + "\0" * ((1 << 20) - 4608)


def test_diff_names_what_was_added_removed_and_changed(run: Run, tmp_path: Path) -> None:
    one, other = tmp_path / "one.tar.zst", tmp_path / "other.tar.zst"
    root = some_files(0)[0]
    one.write_bytes(make([root, file(b"a", b"1"), file(b"b", b"1"), file(b"c", b"1")]))
    other.write_bytes(make([root, file(b"a", b"1"), file(b"b", b"2"), file(b"d", b"1")]))
    assert run("diff", one, other).stdout.splitlines() == ["~ /data/b  (content)", "- /data/c", "+ /data/d"]
    run("diff", one, one, code=3)


def test_verify_proves_every_byte_and_says_who_signed(run: Run, tmp_path: Path) -> None:
    key = Trust(tmp_path / "etc", "there").signing_key()
    path = tmp_path / "signed.tar.zst"
    path.write_bytes(make(some_files(), options=WriterOptions(threads=1, sign=key.sign)))
    assert "signed as there by SHA256:" in run("verify", path).stdout
    assert json.loads(run("verify", "--quick", path, "--json").stdout)["trusted"] is True
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    refused = run("verify", path, code=1)
    assert refused.stderr.startswith("error: ")
    assert refused.stdout == ""


def test_verify_without_a_key_needs_only_the_sidecar(run: Run, archive: Path) -> None:
    data = archive.read_bytes()
    sidecar = archive.with_name(archive.name + ".json")
    sidecar.write_bytes(sidecar_of(data, f"there/notes/{archive.name}"))
    run("verify", "--no-key", archive)
    archive.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert "are not as written" in run("verify", "--no-key", archive, code=1).stderr
    sidecar.unlink()
    assert "no sidecar" in run("verify", "--no-key", archive, code=1).stderr


def test_without_a_key_it_says_which_kind_is_needed(run: Run, archive: Path) -> None:
    for command in (("inspect",), ("ls",), ("verify",), ("verify", "--quick")):
        refused = run(*command, archive, code=1).stderr.splitlines()
        assert "X25519" in refused[0]
        assert "-i FILE" in refused[1]


def test_what_is_no_archive_is_said_in_one_line(run: Run, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello\n" * 100)
    (tmp_path / "empty").touch()
    for name in ("text", "empty", "missing", "."):
        for command in (("inspect",), ("verify",)):
            assert run(*command, tmp_path / name, code=1).stderr.count("\n") == 2
