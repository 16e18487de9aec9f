"""The schemas describe what the program writes, and recover.sh needs nothing of it."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from support.catalogs import HOST_KEY, NOW, add, add_record, clear, key_of, sealed, sidecar_of, sidecar_v1
from support.engines import Host
from support.golden import ALL, GOLDEN, Golden
from support.vectors import FORMATS, IDENTITY, PASSPHRASE

from drunner_vault.age import DecryptReader, ScryptIdentity, X25519Identity
from drunner_vault.archive.frames import ByteReader, RawFrame, decode, walk
from drunner_vault.catalog.identity import IDENTITY_KEY, make_identity
from drunner_vault.catalog.records import RecordKind
from drunner_vault.stores.memory import MemoryStore
from drunner_vault.tar import TarReader

RECOVER = FORMATS / "recover.sh"
SHELLS = (("dash",), ("busybox", "sh"), ("bash", "--posix"))
each = pytest.mark.parametrize("golden", ALL, ids=lambda golden: golden.name)
each_shell = pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])


def schema(name: str) -> jsonschema.Draft202012Validator:
    document = json.loads((FORMATS / "schemas" / f"{name}.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(document)
    return jsonschema.Draft202012Validator(document)


def own_members(stream: bytes) -> dict[str, bytes]:
    """The manifest and all of the index."""
    frames = []
    for item in walk(ByteReader(io.BytesIO(stream).read)):
        if not isinstance(item, RawFrame):
            break
        frames.append(decode(item).content)
    tar = TarReader(io.BytesIO(b"".join(frames)))
    names = re.compile(rb"manifest\.json|index/.*")
    return {m.entry.path.decode(): b"".join(tar.content()) for m in tar if names.fullmatch(m.entry.path)}


def test_there_is_a_schema_for_each_sort_of_document() -> None:
    names = {path.name.removesuffix(".schema.json") for path in (FORMATS / "schemas").iterdir()}
    sidecars = {"sidecar-head", "sidecar-place", "sidecar-rest", "sidecar-v1", "signature"}
    assert names == {"manifest", "member-row", "frame-row", "root", "record", "store"} | sidecars
    for name in names:
        schema(name)


@each
def test_what_the_program_writes_is_valid(golden: Golden) -> None:
    written = own_members(golden.stream())
    schema("manifest").validate(json.loads(written["manifest.json"]))
    schema("root").validate(json.loads(written["index/root.json"]))
    counts = {"members": 0, "frames": 0}
    for sort, name in (("members", "member-row"), ("frames", "frame-row")):
        validator = schema(name)
        for shard in (data for path, data in written.items() if path.startswith(f"index/{sort}-")):
            for line in shard.splitlines():
                validator.validate(json.loads(line))
                counts[sort] += 1
    root = json.loads(written["index/root.json"])
    assert counts == {"members": root["members"], "frames": root["frames"]}


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("encrypted", [True, False])
def test_the_sidecar_that_the_program_writes_is_valid(encrypted: bool, signed: bool) -> None:
    data, key = sealed() if encrypted else clear(), key_of(NOW, encrypted=encrypted)
    written = sidecar_of(data, key, etag="0" * 32, sign=HOST_KEY if signed else None)
    head, of_head, place, of_place, rest = map(json.loads, written.splitlines())
    schema("sidecar-head").validate(head)
    schema("sidecar-place").validate(place)
    schema("sidecar-rest").validate(rest)
    for signature in (of_head, of_place):
        schema("signature").validate(signature)
        assert (signature["signature"] is None) is not signed
    assert (rest["age_header"] is None) is not encrypted


@pytest.mark.parametrize("kind", RecordKind)
def test_records_and_identities_that_the_program_writes_are_valid(kind: RecordKind) -> None:
    store = MemoryStore()
    identity = make_identity(store)
    record = add_record(store, add(store, NOW), kind, NOW, why="for a reason")
    statement, signature = map(json.loads, store.read(record, 0, 1 << 20).splitlines())
    schema("record").validate(statement)
    schema("signature").validate(signature)
    document = json.loads(store.read(IDENTITY_KEY, 0, 1 << 20))
    schema("store").validate(document)
    assert document["id"] == statement["store"] == identity


def test_sidecars_of_version_1_are_valid() -> None:
    schema("sidecar-v1").validate(json.loads((GOLDEN / "x25519.tar.zst.age.json").read_text()))
    schema("sidecar-v1").validate(json.loads(sidecar_v1(clear(), key_of(NOW, encrypted=False))))


ROW: dict[str, Any] = {"path": "a", "type": "dir", "mode": 493, "uid": 0, "gid": 0, "mtime_ns": 0, "offset": 0}
ROW |= {"frames": [1, 0]}


@pytest.mark.parametrize(
    "change",
    [
        {"mode": 65535},
        {"uid": -1},
        {"uid": 4294967295},
        {"path_base64": "YQ=="},
        {"path": 1},
        {"type": "socket"},
        {"type": "file"},
        {"type": "symlink"},
        {"frames": [1]},
        {"size": 1},
        {"device": [1, 2]},
        {"mtime_ns": 0.5},
    ],
    ids=str,
)
def test_a_row_that_is_not_as_it_must_be_is_invalid(change: dict[str, Any]) -> None:
    schema("member-row").validate(ROW)
    assert not schema("member-row").is_valid({**ROW, **change})


# --- recover.sh -------------------------------------------------------------------------------------------------------


def recover(
    shell: tuple[str, ...], *arguments: str | Path, path: str | None = None
) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PATH": path or os.environ["PATH"]}
    command = [*shell, str(RECOVER), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, errors="replace")


@each_shell
def test_recover_is_posix_shell(shell: tuple[str, ...]) -> None:
    subprocess.run([*shell, "-n", str(RECOVER)], check=True)
    assert RECOVER.read_text().startswith("#!/bin/sh\n")


@each_shell
@pytest.mark.parametrize("golden", [g for g in ALL if g.recipients != ("passphrase",)], ids=lambda golden: golden.name)
def test_recover_unpacks_every_golden_archive(golden: Golden, shell: tuple[str, ...], tmp_path: Path) -> None:
    done = recover(shell, GOLDEN / golden.file, "-i", GOLDEN / "identity.txt", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    wanted = json.loads((GOLDEN / f"{golden.name}.expect.json").read_text())
    assert {path.name for path in (tmp_path / "out" / "volumes").iterdir()} == set(wanted["volumes"])
    for member in wanted.get("members", []):
        path = tmp_path / "out" / os.fsdecode(_name(member))
        assert os.path.lexists(path)
        if member["type"] == "file":
            assert path.stat().st_size == member["size"]
    assert ("partial" in done.stderr) is bool(wanted["problem_count"])
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def _name(member: dict[str, Any]) -> bytes:
    import base64

    return base64.b64decode(member["path_base64"]) if "path_base64" in member else member["path"].encode()


def test_recover_keeps_attributes_holes_and_times(tmp_path: Path) -> None:
    assert recover(("dash",), GOLDEN / "odd-files.tar.zst", tmp_path / "out").returncode == 0
    volume = tmp_path / "out/volumes/notes-data"
    assert os.getxattr(volume / "xattrs", "user.raw") == bytes(range(256))
    assert os.getxattr(volume / "ACL", "system.posix_acl_access")
    assert (volume / "sparse").stat().st_blocks * 512 < 1 << 20
    assert (volume / "time in nanoseconds").stat().st_mtime_ns % 10**9 == 1
    assert (volume / "hard link").stat().st_ino == (volume / "first name").stat().st_ino
    assert (volume / "owner").stat().st_gid == 4_294_967_294


@each_shell
@pytest.mark.parametrize("golden", [g for g in ALL if g.name in ("minimal", "x25519")], ids=lambda golden: golden.name)
def test_recover_keeps_nothing_of_an_archive_that_was_cut_anywhere(
    golden: Golden, shell: tuple[str, ...], tmp_path: Path
) -> None:
    data = (GOLDEN / golden.file).read_bytes()
    whole = _end_of_tar(data) if not golden.recipients else len(data)
    cuts = sorted({*range(0, whole, 211), *_frame_ends(data)})
    for cut in (cut for cut in cuts if cut < whole):
        (tmp_path / golden.file).write_bytes(data[:cut])
        done = recover(shell, tmp_path / golden.file, "-i", GOLDEN / "identity.txt", tmp_path / "out")
        assert done.returncode == 1, cut
        assert [path.name for path in tmp_path.iterdir()] == [golden.file], cut


def _frame_ends(data: bytes) -> list[int]:
    if not data.startswith(b"\x28\xb5\x2f\xfd"):
        return []
    frames = walk(ByteReader(io.BytesIO(data).read))
    ends = []
    for item in frames:
        if not isinstance(item, RawFrame):
            break
        ends.append(item.offset + len(item.data))
    return ends


def _end_of_tar(data: bytes) -> int:
    return _frame_ends(data)[-1]


def test_recover_asks_age_for_a_passphrase_without_an_identity(tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    log = tmp_path / "log"
    (tools / "age").write_text(f'#!/bin/sh\necho "$@" >{log}\nexit 1\n')
    (tools / "age").chmod(0o755)
    path = f"{tools}:{os.environ['PATH']}"
    done = recover(("dash",), GOLDEN / "passphrase.tar.zst.age", tmp_path / "out", path=path)
    assert done.returncode == 1
    assert log.read_text() == f"-d {GOLDEN / 'passphrase.tar.zst.age'}\n"


def test_recover_names_the_tool_that_is_missing(tmp_path: Path) -> None:
    for tool in ("sed", "id", "dd", "tr", "mktemp", "rm", "ls", "cat", "mkdir", "mv", "tar"):
        (tmp_path / tool).symlink_to(str(shutil.which(tool)))
    done = recover((str(shutil.which("dash")),), GOLDEN / "minimal.tar.zst", tmp_path / "out", path=str(tmp_path))
    assert (done.returncode, "zstd is not installed" in done.stderr) == (1, True)


def test_recover_never_writes_into_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("mine\n")
    done = recover(("dash",), GOLDEN / "minimal.tar.zst", tmp_path / "out")
    assert done.returncode == 1
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine"]


def test_recover_fills_docker_volumes_and_loads_the_image(host: Host) -> None:
    command = ["dash", str(RECOVER), str(GOLDEN / "signed.tar.zst.age"), "-i", str(GOLDEN / "identity.txt"), "--docker"]
    done = host.run(*command)
    assert "volume notes-more is filled" in done.stderr
    shown = host.docker("volume", "inspect", "-f", "{{.Mountpoint}}", "notes-data").stdout.strip()
    assert (Path(shown) / "hello").read_text() == "Hello, 2045!\n"
    again = host.run(*command, check=False)
    assert again.returncode == 1
    assert "is here already" in again.stderr


def test_the_passphrase_archive_opens_with_its_passphrase() -> None:
    data = (GOLDEN / "passphrase.tar.zst.age").read_bytes()
    assert (GOLDEN / "passphrase.txt").read_text() == PASSPHRASE + "\n"
    assert DecryptReader(io.BytesIO(data), [ScryptIdentity(PASSPHRASE)]).read(4) == b"\x28\xb5\x2f\xfd"
    assert str(X25519Identity(IDENTITY)) in (GOLDEN / "identity.txt").read_text()
