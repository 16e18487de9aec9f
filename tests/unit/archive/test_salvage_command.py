"""The command, on files."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from support.catalogs import sidecar_of, sidecar_v1
from support.salvaging import IDENTITY, Made, flipped, large_tree, make

from drunner_vault.age import DecryptReader
from drunner_vault.archive import ArchiveReader
from drunner_vault.cli.salvage_command import command
from drunner_vault.errors import AlreadyExists, DamagedArchive, NoKey, NotAnArchive, VaultError


@pytest.fixture(scope="module")
def made() -> Made:
    return make(large_tree(5, 190_000))


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: Made) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DRUNNER_CONFIG_DIR", str(tmp_path / "etc"))
    for name in ("PASS", "DRUNNER_PASSPHRASE", "DRUNNER_PASSPHRASE_FILE"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "key").write_text(f"{IDENTITY}\n")
    (tmp_path / "whole.age").write_bytes(made.sealed)
    (tmp_path / "bad.age").write_bytes(flipped(made.sealed, 500_000))
    (tmp_path / "headless.age").write_bytes(bytes(100) + made.sealed[100:])
    (tmp_path / "sidecar").write_bytes(sidecar_of(made.sealed, "alpha/notes/whole.age"))
    return tmp_path


def run(*arguments: str) -> Result:
    result = CliRunner().invoke(command, arguments, standalone_mode=False)
    if isinstance(result.exception, VaultError):
        raise result.exception
    assert result.exception is None, result.exception
    return result


def members(path: Path) -> int:
    with path.open("rb") as stream, ArchiveReader(DecryptReader(stream, [IDENTITY]).read) as reader:
        return len(list(reader.members())) - 1


def test_nothing_is_lost(place: Path, made: Made) -> None:
    result = run("whole.age", "--to", "new.age", "-i", "key", "-r", str(IDENTITY.recipient()))
    assert (result.return_value, result.output) == (0, "")
    assert members(place / "new.age") == len(made.entries)
    assert (place / "whole.age").read_bytes() == made.sealed


def test_what_is_lost_is_told(place: Path, made: Made) -> None:
    result = run("bad.age", "--to", "new.age", "-i", "key", "-r", str(IDENTITY.recipient()))
    assert result.return_value == 1
    assert (
        "lost: volumes/drunner-notes-data/many/0002.big: bytes 0-191999 of 192000: its content is lost" in result.output
    )
    assert "error: new.age was written, but it is not all: " in result.output
    assert "hint: see what is left with: drunner-vault ls new.age" in result.output
    assert members(place / "new.age") < len(made.entries)


def test_programs_get_one_document(made: Made) -> None:
    result = run("bad.age", "--to", "new", "-i", "key", "--unencrypted", "--json")
    document = json.loads(result.stdout)
    assert (result.return_value, document["complete"], document["encrypted"]) == (1, False, False)
    assert document["saved"] + document["damaged"] + document["lost"] == len(made.entries)
    assert document["losses"][0]["ranges"] == [[0, 192_000]]
    assert document["lost_unnamed"] == 0


@pytest.mark.parametrize("version", [1, 2])
def test_a_lost_head_takes_the_sidecar_of_any_version(place: Path, made: Made, version: int) -> None:
    if version == 1:
        document = json.loads(sidecar_v1(made.sealed, "alpha/notes/whole.age"))
        document["age_header"] = base64.b64encode(made.head).decode()
        (place / "sidecar").write_text(json.dumps(document))
    with pytest.raises((DamagedArchive, NotAnArchive)) as caught:
        run("headless.age", "--to", "new.age", "-i", "key", "--unencrypted")
    assert "--sidecar FILE" in caught.value.hint
    assert not (place / "new.age").exists()
    assert run("headless.age", "--to", "one", "-i", "key", "--unencrypted", "--sidecar", "sidecar").return_value == 0
    (place / "headless.age.json").write_bytes((place / "sidecar").read_bytes())
    assert run("headless.age", "--to", "two", "-i", "key", "--unencrypted").return_value == 0
    (place / "whole.age.json").write_text("{}")
    assert run("whole.age", "--to", "three", "-i", "key", "--unencrypted").return_value == 0
    assert made.entries


def test_nothing_is_written_in_the_clear_for_want_of_a_key(place: Path) -> None:
    with pytest.raises(NoKey):
        run("bad.age", "--to", "new", "-i", "key")
    with pytest.raises(NoKey):
        run("bad.age", "--to", "new", "--unencrypted")
    assert not (place / "new").exists()


def test_nothing_is_overwritten_and_nothing_left_behind(place: Path) -> None:
    (place / "there").write_bytes(b"mine")
    with pytest.raises(AlreadyExists):
        run("bad.age", "--to", "there", "-i", "key", "--unencrypted")
    (place / "noise").write_bytes(b"no archive at all" * 1000)
    with pytest.raises(NotAnArchive):
        run("noise", "--to", "new", "--unencrypted")
    assert (place / "there").read_bytes() == b"mine"
    assert not (place / "new").exists()
