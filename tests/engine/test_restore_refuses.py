"""What is refused: bad archives, and hosts where there is no room. One clear error, and nothing has changed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
from support.engines import Host
from support.keeper import (
    IMAGE,
    Key,
    assert_refused,
    build_keeper,
    install_keeper,
    make_key,
    restore,
    snapshot,
    volume_directory,
)
from support.trees import assert_same_tree, make_odd_tree, tar_of


@dataclasses.dataclass(frozen=True)
class Archives:
    """One service, backed up: encrypted, in the clear, and without its image."""

    key: Key
    closed: Path
    clear: Path
    lean: Path


@pytest.fixture(scope="module")
def archives(host_a: Host, tmp_path_factory: pytest.TempPathFactory) -> Archives:
    host, directory = host_a.anew(), tmp_path_factory.mktemp("archives")
    install_keeper(host)
    data = volume_directory(host, "keeper")
    (data / "word").write_text("archived\n")
    (data / "big").write_bytes(bytes(range(256)) * 8000)
    key = make_key(directory)
    made = Archives(key, directory / "closed", directory / "clear", directory / "lean")
    host.drunner("backup", "keeper", made.closed, "-r", key.recipient)
    host.drunner("backup", "keeper", made.clear, "--unencrypted")
    host.drunner("backup", "keeper", made.lean, "-r", key.recipient, "--images", "never")
    host.drunner("obliterate", "keeper")
    return made


@pytest.fixture
def attempt(host: Host, archives: Archives) -> Callable[..., str]:
    """Restores something that must fail; returns the error. The host must be as it was."""
    before = snapshot(host)

    def run(source: str | Path, *arguments: str | Path, **options: object) -> str:
        done = restore(host, source, *(arguments or ("clone",)), "-i", archives.key.identity, check=False, **options)
        assert_refused(done)
        assert snapshot(host) == before
        return done.stderr

    return run


def test_what_is_no_archive_is_refused(attempt: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    (tmp_path / "text").write_text("hello\n" * 1000)
    (tmp_path / "header").write_text("age-encryption.org/v1\n")
    (tmp_path / "magic").write_bytes(b"\x28\xb5\x2f\xfd")
    assert "is empty" in attempt(tmp_path / "empty")
    assert "no archive" in attempt(tmp_path / "text")
    assert "there is no archive" in attempt(tmp_path)
    assert "No such file" in attempt(tmp_path / "missing")
    for name in ("header", "magic", "/dev/null"):
        attempt(tmp_path / name)
    attempt("-", input="")
    attempt("-", input="hello\n")


def test_an_archive_cut_short_anywhere_is_refused(
    attempt: Callable[..., str], archives: Archives, tmp_path: Path
) -> None:
    for archive in (archives.closed, archives.clear):
        data = archive.read_bytes()
        for length in (1, 30, 150, 300, 5000, len(data) // 2, len(data) - 70_000, len(data) - 17, len(data) - 1):
            (tmp_path / "cut").write_bytes(data[:length])
            attempt(tmp_path / "cut")


def test_a_flipped_bit_anywhere_is_found(attempt: Callable[..., str], archives: Archives, tmp_path: Path) -> None:
    for archive in (archives.closed, archives.clear):
        data = archive.read_bytes()
        for place in (3, 60, 180, 400, len(data) // 3, len(data) // 2, len(data) - 5000, len(data) - 40, len(data) - 1):
            changed = bytearray(data)
            changed[place] ^= 0x10
            (tmp_path / "flipped").write_bytes(changed)
            attempt(tmp_path / "flipped")


def test_bytes_after_the_end_are_found(attempt: Callable[..., str], archives: Archives, tmp_path: Path) -> None:
    for archive in (archives.closed, archives.clear):
        data = archive.read_bytes()
        for extra in (b"\0", bytes(1024), b"\x5e\x2a\x4d\x18\x00\x00\x00\x00", data):
            (tmp_path / "longer").write_bytes(data + extra)
            attempt(tmp_path / "longer")


def test_a_pipe_that_ends_early_is_refused(host: Host, archives: Archives) -> None:
    before = snapshot(host)
    done = host.run(
        "bash", "-c", f"head -c 400000 '{archives.clear}' | drunner restore - clone --any-sender", check=False
    )  # fmt: skip
    assert_refused(done)
    assert snapshot(host) == before


def test_a_name_that_is_impossible_or_hostile_is_refused(attempt: Callable[..., str], archives: Archives) -> None:
    for name in ("../x", "ls", "", "x" * 300, "a/b", "drunner", ".", "a\nb"):
        attempt(archives.closed, name)


def test_a_service_that_exists_is_left_alone(host: Host, archives: Archives) -> None:
    install_keeper(host)
    (volume_directory(host, "keeper") / "mine").write_text("mine")
    before = snapshot(host)
    for options in ((), ("--replace",)):
        done = restore(host, archives.closed, "-i", archives.key.identity, *options, check=False)
        assert_refused(done, "keeper is installed already")
        assert snapshot(host) == before


def test_somebody_elses_command_of_that_name_is_left_alone(host: Host, archives: Archives) -> None:
    (host.bin_dir / "clone").write_text("#!/bin/sh\necho mine\n")
    before = snapshot(host)
    assert_refused(restore(host, archives.closed, "clone", "-i", archives.key.identity, check=False), "clone")
    assert snapshot(host) == before


def test_kept_volumes_are_not_touched_unless_replace_says_so(host: Host, archives: Archives) -> None:
    install_keeper(host)
    make_odd_tree(volume_directory(host, "keeper"))
    host.drunner("uninstall", "keeper")
    before = snapshot(host)
    assert_refused(restore(host, archives.closed, "-i", archives.key.identity, check=False), "drunner-keeper-")
    assert snapshot(host) == before
    restore(host, archives.closed, "-i", archives.key.identity, "--replace")
    data = volume_directory(host, "keeper")
    assert (data / "word").read_text() == "archived\n"
    assert {path.name for path in data.iterdir()} == {"word", "big", "install_date"}
    assert [path.name for path in data.parent.iterdir() if path != data] in ([], ["opts.json"])


@pytest.mark.parametrize("access", ["host", "engine"])
@pytest.mark.parametrize("failure", ["install", "restore", "damage"])
def test_volumes_that_were_to_be_replaced_come_back_exactly(
    host: Host, archives: Archives, tmp_path: Path, access: str, failure: str
) -> None:
    install_keeper(host)
    make_odd_tree(volume_directory(host, "keeper"))
    expected = tar_of(volume_directory(host, "keeper"))
    host.drunner("uninstall", "keeper")
    before = snapshot(host)
    source, env = archives.closed, {"KEEPER_FAIL": failure}
    if failure == "damage":
        data = bytearray(archives.closed.read_bytes())
        data[-1] ^= 1
        source = tmp_path / "damaged"
        source.write_bytes(data)
    options = ("-i", archives.key.identity, "--replace", "--volume-access", access)
    assert_refused(restore(host, source, *options, check=False, env=env))
    assert_same_tree(volume_directory(host, "keeper"), expected)
    assert snapshot(host) == before


def test_a_volume_that_a_container_uses_is_not_replaced(host: Host, archives: Archives) -> None:
    install_keeper(host)
    host.drunner("uninstall", "keeper")
    host.docker("run", "-d", "--name", "user", "-v", "drunner-keeper-data:/d", IMAGE, "sleep", "999")
    before = snapshot(host)
    done = restore(host, archives.closed, "-i", archives.key.identity, "--replace", check=False)
    assert_refused(done, "used by container user")
    assert snapshot(host) == before


def test_an_image_of_the_same_name_is_left_to_whoever_uses_it(host: Host, other_host: Host, archives: Archives) -> None:
    other_host.docker("rmi", "-f", IMAGE, check=False)
    build_keeper(other_host, note="another")
    other = other_host.docker("image", "inspect", "-f", "{{.Id}}", IMAGE).stdout
    done = restore(other_host, archives.closed, "clone", "-i", archives.key.identity)
    assert "another image on this host" in done.stderr
    assert other_host.docker("image", "inspect", "-f", "{{.Id}}", IMAGE).stdout == other
    used = (other_host.root / "services/clone/imagename.sh").read_text()
    assert "test/keeper:restored-" in used
    other_host.run("clone", "selftest")
    other_host.drunner("obliterate", "clone")
    tags = other_host.docker("images", "--format", "{{.Repository}}:{{.Tag}}", "test/keeper").stdout.split()
    other_host.docker("rmi", "-f", *tags)


def test_an_image_that_is_nowhere_is_asked_for(other_host: Host, archives: Archives) -> None:
    images = other_host.docker("images", "-q", "test/keeper").stdout.split()
    if images:
        other_host.docker("rmi", "-f", *set(images))
    before = snapshot(other_host)
    done = restore(other_host, archives.lean, "clone", "-i", archives.key.identity, check=False)
    assert_refused(done, IMAGE)
    assert "--image" in done.stderr
    assert snapshot(other_host) == before
    done = restore(other_host, archives.lean, "clone", "-i", archives.key.identity, "--image", "no/such:1", check=False)
    assert_refused(done, "no/such:1")
    assert snapshot(other_host) == before
    build_keeper(other_host, "test/keeper:2", note="later")
    restore(other_host, archives.lean, "clone", "-i", archives.key.identity, "--image", "test/keeper:2")
    assert (volume_directory(other_host, "clone") / "word").read_text() == "archived\n"
    other_host.drunner("obliterate", "clone")
    other_host.docker("rmi", "test/keeper:2")


def test_an_image_with_other_volumes_touches_none_that_were_kept(host: Host, archives: Archives) -> None:
    two = 'VOLUMES=("/elsewhere" "/more" "/third")\n'
    image = build_keeper(host, "test/keeper:other", volumes=two)
    for volume in ("elsewhere", "third"):
        host.docker("volume", "create", f"drunner-clone-{volume}")
        (volume_directory(host, "clone", volume) / "mine").write_text("mine")
        before = snapshot(host)
        done = restore(host, archives.closed, "clone", "-i", archives.key.identity, "--image", image, check=False)
        assert_refused(done, f"drunner-clone-{volume}")
        assert snapshot(host) == before
        host.docker("volume", "rm", f"drunner-clone-{volume}")
    restore(host, archives.closed, "clone", "-i", archives.key.identity, "--image", image)
    assert (volume_directory(host, "clone", "elsewhere") / "word").read_text() == "archived\n"
    host.docker("rmi", "-f", image)


def test_an_image_with_fewer_volumes_is_refused(host: Host, archives: Archives) -> None:
    image = build_keeper(host, "test/keeper:one", volumes='VOLUMES=("/data")\n')
    before = snapshot(host)
    done = restore(host, archives.closed, "clone", "-i", archives.key.identity, "--image", image, check=False)
    assert_refused(done, "2 volumes")
    assert snapshot(host) == before
    host.docker("rmi", "-f", image)


def test_without_an_engine_nothing_happens(host: Host, archives: Archives, tmp_path: Path) -> None:
    env = {"DOCKER_HOST": "unix:///nobody/listens"}
    done = restore(host, archives.closed, "clone", "-i", archives.key.identity, check=False, env=env)
    assert_refused(done, "no Docker engine")
    assert not host.root.exists() or list(host.root.iterdir()) == []
