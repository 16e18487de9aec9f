"""What a volume holds survives, bit for bit, and the archive opens without us."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from support.engines import Host
from support.keeper import (
    IMAGE,
    Key,
    backup,
    complaints,
    install_keeper,
    make_key,
    open_by_hand,
    restore,
    volume_directory,
)
from support.trees import assert_same_tree, find_facts, make_deep_tree, make_odd_tree, tar_of


@pytest.fixture
def key(tmp_path: Path) -> Key:
    return make_key(tmp_path)


Odd = tuple[list[str], list[str]]


@pytest.fixture
def odd(host: Host) -> Odd:
    """A service whose volumes hold odd things, and what tar makes of them."""
    install_keeper(host)
    data, more = volume_directory(host, "keeper"), volume_directory(host, "keeper", "more")
    make_odd_tree(data)
    make_deep_tree(more)
    return tar_of(data), tar_of(more)


def test_odd_volumes_survive_bit_for_bit_on_another_engine_under_another_name(
    host: Host, other_host: Host, odd: Odd, key: Key, tmp_path: Path
) -> None:
    archives = tmp_path / "archives"
    archives.mkdir()
    done = host.drunner("backup", "keeper", f"{archives}/", "-r", key.recipient)
    assert (done.stdout, done.stderr) == ("", "")
    (archive,) = archives.iterdir()
    assert_same_tree(volume_directory(host, "keeper"), odd[0])

    done = restore(other_host, archive, "moved", "-i", key.identity)
    assert (done.stdout, done.stderr) == ("", "")
    assert_same_tree(volume_directory(other_host, "moved"), odd[0])
    for which in ("data", "more"):
        theirs, ours = (volume_directory(*place, which) for place in ((host, "keeper"), (other_host, "moved")))
        assert find_facts(ours) == find_facts(theirs)
    assert_same_tree(volume_directory(other_host, "moved", "more"), odd[1])
    other_host.drunner("obliterate", "moved")


def test_an_archive_opens_with_age_zstd_and_tar_alone(host: Host, odd: Odd, key: Key, tmp_path: Path) -> None:
    archive = backup(host, key, tmp_path)
    # tar gives whole paths to the system, so it cannot make those that are longer than a path may be
    open_by_hand(archive, key, tmp_path / "by-hand", "--exclude=volumes/drunner-keeper-more")
    assert_same_tree(tmp_path / "by-hand/volumes/drunner-keeper-data", odd[0])
    assert (tmp_path / "by-hand/hook/note").read_text() == "of keeper\n"
    for name in ("servicerunner", "servicecfg.sh"):
        kept = (tmp_path / "by-hand/scripts" / name).read_bytes()
        assert kept == (host.root / "services/keeper/drunner" / name).read_bytes()


def test_an_archive_is_listed_by_bsdtar_and_zstd_is_content_with_it(host: Host, key: Key, tmp_path: Path) -> None:
    install_keeper(host)
    make_odd_tree(volume_directory(host, "keeper"))
    archive = backup(host, key, tmp_path)
    stream = tmp_path / "stream.tar.zst"
    _run("age", "-d", "-i", key.identity, "-o", stream, archive)
    _run("zstd", "-tq", stream)
    listed = _run("bsdtar", "-tf", stream).splitlines()
    ours = _run("tar", "--zstd", "-tf", stream, "--quoting-style=literal").splitlines()
    assert listed[:2] == ours[:2] == [b"manifest.json", b"RECOVER.txt"]
    assert listed[-1] == ours[-1] == b"index/root.json.sig"
    assert len(_run("bsdtar", "-tvf", stream).splitlines()) > 400


def test_a_hole_stays_a_hole_on_the_disk(host: Host, other_host: Host, key: Key, tmp_path: Path) -> None:
    install_keeper(host)
    with (volume_directory(host, "keeper") / "file").open("wb") as stream:
        stream.truncate(20 << 30)
        stream.seek(10 << 30)
        stream.write(b"in the middle")
    archive = backup(host, key, tmp_path)
    assert archive.stat().st_size < 4 << 20
    restore(other_host, archive, "-i", key.identity)
    restored = volume_directory(other_host, "keeper") / "file"
    assert (restored.stat().st_size, restored.stat().st_blocks * 512 < 1 << 20) == (20 << 30, True)


def test_sockets_are_left_out_and_named_for_programs(host: Host, key: Key, tmp_path: Path) -> None:
    install_keeper(host)
    make_odd_tree(volume_directory(host, "keeper"))
    done = host.drunner("backup", "keeper", f"{tmp_path}/", "-r", key.recipient, "--json")
    (note,) = json.loads(done.stdout.splitlines()[-1])["notes"]
    assert note.startswith("special/socket: socket")
    assert done.stderr == ""


def test_embedded_images_are_an_oci_layout_that_docker_loads(
    host: Host, other_host: Host, key: Key, tmp_path: Path
) -> None:
    install_keeper(host)
    archive = backup(host, key, tmp_path)
    open_by_hand(archive, key, tmp_path / "by-hand")
    images = tmp_path / "by-hand/images"
    identifier = host.docker("image", "inspect", "-f", "{{.Id}}", IMAGE).stdout.strip()
    assert _check_oci_layout(images) == [identifier]
    other_host.docker("rmi", "-f", identifier, check=False)
    other_host.run("bash", "-o", "pipefail", "-c", f"tar -C {images} -cf - . | docker load")
    assert other_host.docker("image", "inspect", "-f", "{{.Id}}", identifier).stdout.strip() == identifier
    other_host.docker("rmi", "-f", identifier)


def test_an_image_is_sent_to_an_engine_that_lacks_it_and_to_no_other(
    host: Host, other_host: Host, key: Key, tmp_path: Path
) -> None:
    install_keeper(host)
    archive = backup(host, key, tmp_path)
    identifier = host.docker("image", "inspect", "-f", "{{.Id}}", IMAGE).stdout.strip()
    other_host.docker("rmi", "-f", identifier, check=False)
    for target, loaded in ((host, 0), (other_host, 1)):
        since = _now(target)
        restore(target, archive, "clone", "-i", key.identity)
        target.run("clone", "selftest")
        events = target.docker("events", "--since", since, "--until", _now(target), "--filter", "event=load")
        assert len(events.stdout.splitlines()) == loaded
        target.drunner("obliterate", "clone")
    other_host.docker("rmi", "-f", identifier)


def _now(host: Host) -> str:
    """The engine's time, as its list of events takes it."""
    return host.docker("info", "--format", "{{.SystemTime}}").stdout.strip()


def test_the_same_service_gives_the_same_content_frames_again(host: Host, tmp_path: Path) -> None:
    install_keeper(host)
    make_odd_tree(volume_directory(host, "keeper"))
    frames = []
    for number in ("one", "two"):
        archive = tmp_path / f"{number}.tar.zst"
        host.drunner("backup", "keeper", archive, "--unencrypted")
        open_by_hand(archive, None, tmp_path / number, "--exclude=images")
        lines = (tmp_path / number / "index/frames-000000.jsonl").read_text().splitlines()
        frames.append({json.loads(line)["blake3"] for line in lines})
    assert len(frames[0] & frames[1]) >= len(frames[0]) - 3


def test_many_small_runs_of_data_can_be_restored(host: Host, other_host: Host, key: Key, tmp_path: Path) -> None:
    install_keeper(host)
    path = volume_directory(host, "keeper") / "fragments"
    with path.open("wb") as stream:
        for number in range(40_000):
            stream.seek(number * 8192)
            stream.write(b"x")
        stream.truncate(1 << 30)
    archive = backup(host, key, tmp_path)
    restore(other_host, archive, "-i", key.identity)
    restored = volume_directory(other_host, "keeper") / "fragments"
    assert _sha256(restored) == _sha256(path)
    assert restored.stat().st_blocks * 512 < 512 << 20


def test_a_very_deep_tree_survives_and_can_be_replaced(host: Host, other_host: Host, key: Key, tmp_path: Path) -> None:
    install_keeper(host)
    _nest(volume_directory(host, "keeper"), 1500)
    archive = backup(host, key, tmp_path)
    for _ in range(2):
        restore(other_host, archive, "-i", key.identity, "--replace")
        assert _depth(volume_directory(other_host, "keeper")) == 1500
        other_host.drunner("uninstall", "keeper")


def _nest(root: Path, levels: int) -> None:
    fd = os.open(root, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir("deeper", dir_fd=fd)
        inner = os.open("deeper", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = inner
    os.close(fd)


def _depth(root: Path) -> int:
    return int(_run("find", root, "-name", "deeper", "-printf", "x").count(b"x"))


def _check_oci_layout(layout: Path) -> list[str]:
    """The ids of the images in an OCI layout, every digest in it checked."""
    assert json.loads((layout / "oci-layout").read_text())["imageLayoutVersion"] == "1.0.0"
    return [_check_manifest(layout, item) for item in json.loads((layout / "index.json").read_text())["manifests"]]


def _check_manifest(layout: Path, descriptor: dict[str, Any]) -> str:
    manifest = json.loads(_check_blob(layout, descriptor).read_bytes())
    for item in [manifest["config"], *manifest["layers"]]:
        _check_blob(layout, item)
    assert len(manifest["layers"]) > 1
    return str(manifest["config"]["digest"])


def _check_blob(layout: Path, descriptor: dict[str, Any]) -> Path:
    path = layout / "blobs/sha256" / descriptor["digest"].removeprefix("sha256:")
    assert (_sha256(path), path.stat().st_size) == (path.name, descriptor["size"])
    return path


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _run(*argv: str | Path) -> bytes:
    done = subprocess.run(argv, capture_output=True, check=False)
    assert (done.returncode, complaints(done.stderr.decode())) == (0, [])
    return done.stdout
