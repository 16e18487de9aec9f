"""The golden archives: frozen, so that what was written once can be read for ever, and is still written alike."""

from __future__ import annotations

import io
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from support import golden as goldens
from support.golden import ALL, GOLDEN, Golden
from support.vectors import HOST, IDENTITY, PASSPHRASE

from drunner_vault.age import DecryptReader, ScryptIdentity, X25519Identity
from drunner_vault.archive import ArchiveReader
from drunner_vault.archive.frames import ByteReader, DecodedFrame, RawFrame, decode, walk
from drunner_vault.archive.sidecar import differences, parse_sidecar
from drunner_vault.errors import DamagedArchive
from drunner_vault.tar import TarReader

SPECIFICATION = Path(__file__).resolve().parents[3] / "docs" / "archive-spec.md"
each = pytest.mark.parametrize("golden", ALL, ids=lambda golden: golden.name)


def frozen(golden: Golden) -> bytes:
    return (GOLDEN / golden.file).read_bytes()


def frozen_stream(golden: Golden) -> bytes:
    if not golden.recipients:
        return frozen(golden)
    keys = [X25519Identity(IDENTITY), ScryptIdentity(PASSPHRASE)]
    return DecryptReader(io.BytesIO(frozen(golden)), keys).read()


def expected(golden: Golden) -> dict[str, Any]:
    return dict(json.loads((GOLDEN / f"{golden.name}.expect.json").read_text()))


def decoded(stream: bytes) -> list[DecodedFrame]:
    frames = []
    reader = ByteReader(io.BytesIO(stream).read)
    for item in walk(reader):
        if not isinstance(item, RawFrame):
            break
        frames.append(decode(item))
    return frames


def test_there_are_ten_of_them_and_nothing_else_beside_what_they_need() -> None:
    needed = {"identity.txt", "passphrase.txt", "allowed_signers", "x25519.tar.zst.age.json"}
    files = {golden.file for golden in ALL} | {f"{golden.name}.expect.json" for golden in ALL} | needed
    assert len(ALL) == 10
    assert {path.name for path in GOLDEN.iterdir()} == files


def test_all_of_formats_stays_below_one_and_a_half_megabytes() -> None:
    assert sum(path.stat().st_size for path in GOLDEN.parents[1].rglob("*") if path.is_file()) < 1_500_000


@each
def test_reads_as_it_always_did(golden: Golden) -> None:
    assert json.loads(json.dumps(goldens.listing(golden, frozen(golden), frozen_stream(golden)))) == expected(golden)


@each
def test_the_same_input_gives_the_same_tar_cut_into_the_same_frames(golden: Golden) -> None:
    old, new = decoded(frozen_stream(golden)), decoded(golden.stream())
    count = expected(golden)["frames"]
    assert [frame.content for frame in new[:count]] == [frame.content for frame in old[:count]]
    assert len(new) == len(old)


@each
def test_the_same_input_gives_the_same_index(golden: Golden) -> None:
    assert _index(golden.stream()) == _index(frozen_stream(golden))


def _index(stream: bytes) -> list[Any]:
    """Rows and root, without what depends on how well zstd packs."""
    tar = b"".join(frame.content for frame in decoded(stream))
    with ArchiveReader(io.BytesIO(stream).read, threads=1) as reader:
        for _, content in reader.members():
            for _ in content:
                pass
        start = reader.root.tar_size
        root = json.loads(reader.root_bytes)
    for shard in root["shards"]:
        for key in ("offset", "compressed", "packed"):
            del shard[key]
        if "frames" in shard["name"]:
            del shard["blake3"], shard["content"]
    index = TarReader(io.BytesIO(tar[start:]))
    shards = [b"".join(index.content()) for member in index if member.entry.path.endswith(b".jsonl")]
    rows = [json.loads(line) for shard in shards for line in shard.splitlines()]
    for row in rows:
        if "frame" in row:
            del row["offset"], row["compressed"], row["packed"]
    assert len(rows) == root["members"] + root["frames"]
    return [root, *rows]


@each
def test_another_last_byte_is_noticed(golden: Golden) -> None:
    with pytest.raises(DamagedArchive, match="seek table"):
        goldens.listing(golden, frozen(golden), frozen_stream(golden)[:-1] + b"\0")


@each
def test_standard_tools_list_the_same_names(golden: Golden) -> None:
    if golden.recipients == ("passphrase",):
        packed = frozen_stream(golden)  # age asks for passphrases on a terminal only
    elif golden.recipients:
        packed = _run(["age", "-d", "-i", str(GOLDEN / "identity.txt")], frozen(golden))
    else:
        packed = frozen(golden)
    assert packed == frozen_stream(golden)
    _run(["zstd", "-tq"], packed)
    names = _run(["tar", "-tf", "-", "--quoting-style=literal", "--null"], _run(["zstd", "-dcq"], packed))
    with ArchiveReader(io.BytesIO(packed).read, threads=1) as reader:
        ours = [b"manifest.json", *(member.entry.path for member, _ in reader.members())]
    shown = [name.rstrip(b"/") for name in names.split(b"\0" if b"\0" in names else b"\n") if name]
    if golden.name != "odd-files":  # a line feed in a name
        assert shown[: len(ours)] == ours
    assert shown[-1].startswith(b"index/root.json")


@pytest.mark.parametrize("golden", [golden for golden in ALL if golden.signed], ids=lambda golden: golden.name)
def test_ssh_keygen_verifies_the_signature_after_a_plain_extraction(golden: Golden, tmp_path: Path) -> None:
    tar = _run(["zstd", "-dcq"], frozen_stream(golden))
    _run(["tar", "-C", str(tmp_path), "-xf", "-", "index"], tar)
    command = ["ssh-keygen", "-Y", "verify", "-f", str(GOLDEN / "allowed_signers"), "-I", HOST]
    command += ["-n", "drunner-vault-archive", "-s", str(tmp_path / "index/root.json.sig")]
    assert b"Good" in _run(command, (tmp_path / "index/root.json").read_bytes())
    changed = (tmp_path / "index/root.json").read_bytes() + b"\n"
    assert subprocess.run(command, input=changed, capture_output=True, check=False).returncode != 0


@pytest.mark.parametrize("golden", [golden for golden in ALL if golden.sidecar], ids=lambda golden: golden.name)
def test_the_sidecar_of_version_1_still_describes_its_archive_and_is_not_signed(golden: Golden) -> None:
    written = (GOLDEN / f"{golden.file}.json").read_bytes()
    assert written == goldens.sidecar_v1(golden, frozen(golden))
    sidecar = parse_sidecar(written)
    data = frozen(golden)
    assert list(differences(sidecar, [data])) == []
    assert data.startswith(sidecar.rest.age_header)
    assert (sidecar.head.archive, sidecar.head.recipients, sidecar.head.host) == (golden.file, ("X25519",), HOST)
    assert (sidecar.start.version, sidecar.start.statement, sidecar.start.place) == (1, None, None)
    assert list(differences(sidecar, [data[:-1] + b"\0"])) != []


def test_the_hex_in_the_specification_is_the_golden_archive() -> None:
    data = b""
    for offset, text in re.findall(r"(?m)^([0-9a-f]{8})  ([0-9a-f ]+?) *\|", SPECIFICATION.read_text()):
        assert int(offset, 16) == len(data)
        data += bytes.fromhex(text)
    assert data == (GOLDEN / "minimal.tar.zst").read_bytes()


def test_the_worked_example_in_the_specification_is_what_the_archive_says() -> None:
    assert goldens.worked_example((GOLDEN / "minimal.tar.zst").read_bytes()) in SPECIFICATION.read_text()


def _run(command: list[str], data: bytes) -> bytes:
    done = subprocess.run(command, input=data, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    return done.stdout
