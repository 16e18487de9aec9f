"""Whatever stops a restore, at whatever moment, the host is as it was; or is again, as soon as a next command looks."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from support.engines import Host, private_host
from support.keeper import (
    Key,
    assert_refused,
    backup,
    calls,
    install_keeper,
    make_key,
    restore,
    snapshot,
    start,
    volume_directory,
    wait_until,
    without_empty_directories,
)


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Key:
    return make_key(tmp_path_factory.mktemp("key"))


@pytest.fixture(scope="module")
def archive(host_a: Host, key: Key, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A service with 40 MB that do not compress."""
    host, directory = host_a.anew(), tmp_path_factory.mktemp("archive")
    install_keeper(host)
    (volume_directory(host, "keeper") / "word").write_text("archived\n")
    (volume_directory(host, "keeper") / "random").write_bytes(os.urandom(40 << 20))
    made = backup(host, key, directory)
    host.drunner("obliterate", "keeper")
    return made


@pytest.fixture
def clean_host(other_host: Host) -> Host:
    """Another host, without the image."""
    identifiers = set(other_host.docker("images", "-q", "test/keeper").stdout.split())
    if identifiers:
        other_host.docker("rmi", "-f", *identifiers)
    return other_host


@pytest.mark.parametrize("access", ["host", "engine"])
@pytest.mark.parametrize("hook", ["install", "restore"])
def test_a_hook_that_fails_takes_everything_back(
    clean_host: Host, archive: Path, key: Key, tmp_path: Path, hook: str, access: str
) -> None:
    before, log = snapshot(clean_host), tmp_path / "log"
    done = restore(
        clean_host, archive, "clone", "-i", key.identity, "--volume-access", access,
        check=False, env={"KEEPER_FAIL": hook, "KEEPER_LOG": str(log)},
    )  # fmt: skip
    assert_refused(done, f"the {hook} hook of clone failed", "told to fail")
    assert snapshot(clean_host) == before
    assert calls(log, "clone")[-1] == "uninstall"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("hook", ["install", "restore"])
def test_a_signal_takes_everything_back(
    clean_host: Host, archive: Path, key: Key, tmp_path: Path, hook: str, number: signal.Signals
) -> None:
    before, log = snapshot(clean_host), tmp_path / "log"
    env = {"KEEPER_WAIT": hook, "KEEPER_LOG": str(log)}
    process = start(clean_host, "restore", archive, "clone", "--any-sender", "-i", key.identity, env=env)
    wait_until(lambda: hook in calls(log, "clone"))
    process.send_signal(number)
    out, said = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, b"")
    assert said.decode().splitlines()[0].startswith("error: stopped by SIG")
    assert snapshot(clean_host) == before


def test_a_signal_while_volumes_are_filled_takes_everything_back(
    clean_host: Host, archive: Path, key: Key, tmp_path: Path
) -> None:
    before = snapshot(clean_host)
    process, feed = _half_fed(clean_host, archive, key)
    process.send_signal(signal.SIGTERM)
    wait_until(lambda: process.poll() is not None)
    feed.kill()
    feed.wait()
    process.communicate()
    assert process.returncode == 130
    assert snapshot(clean_host) == before


@pytest.mark.parametrize("access", ["host", "engine"])
def test_a_killed_restore_is_taken_back_by_the_next_command(
    clean_host: Host, archive: Path, key: Key, access: str
) -> None:
    before = snapshot(clean_host)
    process, feed = _half_fed(clean_host, archive, key, "--volume-access", access)
    process.kill()
    process.wait()
    feed.kill()
    feed.wait()
    process.communicate()
    assert (clean_host.root / "undo/clone.json").exists()
    done = clean_host.drunner("uninstall", "clone", check=False)
    assert done.returncode == 1
    assert "taking back what it did" in done.stderr
    assert without_empty_directories(snapshot(clean_host)) == without_empty_directories(before)
    restore(clean_host, archive, "clone", "-i", key.identity)
    clean_host.run("clone", "selftest")


@pytest.mark.parametrize("hook", ["install", "restore"])
def test_a_restore_killed_in_a_hook_is_taken_back_by_a_new_restore(
    clean_host: Host, archive: Path, key: Key, tmp_path: Path, hook: str
) -> None:
    log = tmp_path / "log"
    env = {"KEEPER_WAIT": hook, "KEEPER_LOG": str(log)}
    process = start(clean_host, "restore", archive, "clone", "--any-sender", "-i", key.identity, env=env)
    wait_until(lambda: hook in calls(log, "clone"))
    process.kill()
    process.communicate()
    done = restore(clean_host, archive, "clone", "-i", key.identity)
    assert "was killed before it was done" in done.stderr
    clean_host.run("clone", "selftest")
    assert clean_host.volumes() >= {"drunner-clone-data", "drunner-clone-more"}
    assert not (clean_host.root / "undo").exists()


def test_killed_while_volumes_are_replaced_they_come_back(host: Host, archive: Path, key: Key, tmp_path: Path) -> None:
    install_keeper(host)
    (volume_directory(host, "keeper") / "mine").write_text("mine")
    host.drunner("uninstall", "keeper")
    before = snapshot(host)
    process, feed = _half_fed(host, archive, key, "--replace", name="keeper")
    process.kill()
    process.communicate()
    feed.kill()
    feed.wait()
    assert not (volume_directory(host, "keeper") / "mine").exists()
    assert_refused(restore(host, archive, "-i", key.identity, check=False), "drunner-keeper-")
    assert without_empty_directories(snapshot(host)) == without_empty_directories(before)


def test_a_full_disk_takes_everything_back(engines_directory: Path, archive: Path, key: Key, tmp_path: Path) -> None:
    """The engine's data lie on a disk of their own, too small for the archive."""
    disk, data = tmp_path / "disk", engines_directory / "small"
    _run("truncate", "-s", "60M", disk)
    _run("mkfs.ext4", "-q", "-m", "0", disk)
    data.mkdir()
    _run("mount", "-o", "loop", disk, data)
    try:
        with private_host("full", engines_directory / "on") as host:
            install_keeper(host, "other")
            host.drunner("obliterate", "other")
            _run("bash", "-c", f"mkdir -p {data}/volumes && mount --bind {data}/volumes {host.directory}/data/volumes")
            try:
                (data / "ballast").write_bytes(bytes(30 << 20))
                before = snapshot(host)
                done = restore(host, archive, "clone", "-i", key.identity, check=False)
                assert_refused(done, "No space left on device")
                assert snapshot(host) == before
                (data / "ballast").unlink()
                restore(host, archive, "clone", "-i", key.identity)
                host.drunner("obliterate", "clone")
            finally:
                _run("umount", f"{host.directory}/data/volumes")
    finally:
        _run("umount", data)


def test_an_engine_that_dies_meanwhile_leaves_work_that_the_next_command_takes_back(
    engines_directory: Path, archive: Path, key: Key
) -> None:
    with private_host("dying", engines_directory) as host:
        install_keeper(host, "other")
        host.drunner("obliterate", "other")
        before = snapshot(host)
        process, feed = _half_fed(host, archive, key)
        pid = int((host.directory / "dockerd.run").read_text())
        command = [os.fsdecode(word) for word in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[:-1]]
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not Path(f"/proc/{pid}").exists() or "Z" in Path(f"/proc/{pid}/stat").read_text().split()[2])
        feed.send_signal(signal.SIGCONT)
        feed.kill()
        feed.wait()
        _, said = process.communicate(timeout=60)
        assert process.returncode == 1
        assert b"error: " in said
        assert b"Traceback" not in said
        (host.directory / "dockerd.run").unlink(missing_ok=True)
        with (host.directory / "again.log").open("wb") as log:
            again = subprocess.Popen(
                host.command(*command), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        (host.directory / "dockerd.pid").write_text(str(again.pid))
        wait_until(lambda: host.docker("version", check=False).returncode == 0)
        host.drunner("uninstall", "clone", check=False)
        assert snapshot(host) == before
    again.wait(30)


def _half_fed(
    host: Host, archive: Path, key: Key, *options: str, name: str = "clone"
) -> tuple[subprocess.Popen[bytes], subprocess.Popen[bytes]]:
    """A restore from a pipe that got most of the archive, and waits for the rest while its volume is half full."""
    most = archive.stat().st_size - (10 << 20)
    feed = subprocess.Popen(["bash", "-c", f"head -c {most} '{archive}'; exec sleep 300"], stdout=subprocess.PIPE)
    process = start(
        host, "restore", "-", name, "--any-sender", "-i", key.identity, *options,
        stdin=feed.stdout, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    assert feed.stdout is not None
    feed.stdout.close()
    wait_until(_reads_nothing(process), 60)
    return process, feed


def _reads_nothing(process: subprocess.Popen[bytes]) -> Callable[[], bool]:
    """Whether the process has read much, and has gone on to wait."""
    last = [-1]

    def look() -> bool:
        assert process.poll() is None, process.communicate()
        status = Path(f"/proc/{process.pid}/io").read_text()
        (count,) = [int(line.split()[1]) for line in status.splitlines() if line.startswith("rchar")]
        still = count == last[0] and count > 20 << 20
        last[0] = count
        if not still:
            time.sleep(0.3)
        return still

    return look


def _run(*argv: str | Path) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
