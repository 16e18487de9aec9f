"""Whatever stops a backup: no half archive is left, and a service that was paused is resumed."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.engines import Host
from support.keeper import (
    Key,
    assert_refused,
    backup,
    calls,
    install_keeper,
    make_key,
    processes_with,
    restore,
    snapshot,
    start,
    volume_directory,
    wait_until,
    without_empty_directories,
)


@pytest.fixture
def key(tmp_path: Path) -> Key:
    return make_key(tmp_path)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.fixture
def keeper(host: Host) -> Host:
    """A host with the service, which holds 20 MB that do not compress."""
    install_keeper(host)
    (volume_directory(host, "keeper") / "random").write_bytes(os.urandom(20 << 20))
    return host


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with room for 4 MB."""
    path = tmp_path / "small"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", path], check=True)
    yield path
    subprocess.run(["umount", path], check=True)


@pytest.mark.parametrize("failing", ["backupstart", "backupend", "backupstart backupend"])
def test_backupend_follows_backupstart_even_if_hooks_fail(
    keeper: Host, key: Key, out: Path, log: Path, failing: str
) -> None:
    before = snapshot(keeper)
    env = {"KEEPER_LOG": str(log), "KEEPER_FAIL": failing}
    done = keeper.drunner("backup", "keeper", f"{out}/", "-r", key.recipient, check=False, env=env)
    assert_refused(done, f"the {failing.split(maxsplit=1)[0]} hook of keeper failed", "told to fail")
    assert calls(log) == ["backupstart", "backupend"]
    assert list(out.iterdir()) == []
    assert snapshot(keeper) == before


def test_a_full_disk_leaves_nothing_there(keeper: Host, key: Key, small_disk: Path, log: Path) -> None:
    before = snapshot(keeper)
    env = {"KEEPER_LOG": str(log)}
    done = keeper.drunner("backup", "keeper", f"{small_disk}/", "-r", key.recipient, check=False, env=env)
    assert_refused(done, "No space left on device")
    assert calls(log) == ["backupstart", "backupend"]
    assert list(small_disk.iterdir()) == []
    assert os.statvfs(small_disk).f_bfree == os.statvfs(small_disk).f_blocks
    assert snapshot(keeper) == before


def test_a_reader_that_goes_away_is_an_error_like_others(keeper: Host, key: Key, log: Path) -> None:
    line = f"drunner backup keeper - -r {key.recipient} | head -c 100000 >/dev/null; exit ${{PIPESTATUS[0]}}"
    done = keeper.run("bash", "-c", line, check=False, env={"KEEPER_LOG": str(log)})
    assert_refused(done, "standard output")
    assert calls(log) == ["backupstart", "backupend"]
    log.unlink()
    done = keeper.run("bash", "-c", f"drunner backup keeper - -r {key.recipient} >/dev/full", check=False)
    assert_refused(done, "No space left on device")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("hook", ["backupstart", "backupend"])
def test_a_signal_in_a_hook_resumes_the_service(
    keeper: Host, key: Key, out: Path, log: Path, hook: str, number: signal.Signals
) -> None:
    before = snapshot(keeper)
    env = {"KEEPER_LOG": str(log), "KEEPER_WAIT": hook}
    process = start(keeper, "backup", "keeper", f"{out}/", "-r", key.recipient, env=env)
    wait_until(lambda: hook in calls(log))
    process.send_signal(number)
    if hook == "backupend":
        wait_until(lambda: calls(log).count("backupend") == 2)
        Path(f"{log}.go").touch()
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said.startswith(b"error: stopped by SIG")
    assert calls(log)[-1] == "backupend"
    assert list(out.iterdir()) == []
    assert snapshot(keeper) == before


def test_a_signal_while_files_are_read_resumes_the_service(keeper: Host, key: Key, log: Path) -> None:
    process = _blocked_backup(keeper, key, log)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert calls(log) == ["backupstart", "backupend"]
    assert not (keeper.root / "paused").exists()


def test_two_interrupts_do_not_leave_the_service_paused(keeper: Host, key: Key, log: Path) -> None:
    process = _blocked_backup(keeper, key, log, KEEPER_WAIT="backupend")
    process.send_signal(signal.SIGINT)
    wait_until(lambda: "backupend" in calls(log))
    for _ in range(3):
        process.send_signal(signal.SIGINT)
        time.sleep(0.1)
    Path(f"{log}.go").touch()
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert calls(log) == ["backupstart", "backupend"]


@pytest.mark.parametrize("moment", ["backupstart", "reading", "backupend"])
def test_after_a_kill_the_guardian_resumes_the_service(
    keeper: Host, key: Key, out: Path, log: Path, moment: str
) -> None:
    before = without_empty_directories(snapshot(keeper))
    if moment == "reading":
        process = _blocked_backup(keeper, key, log)
    else:
        env = {"KEEPER_LOG": str(log), "KEEPER_WAIT": moment}
        process = start(keeper, "backup", "keeper", f"{out}/", "-r", key.recipient, env=env)
        wait_until(lambda: moment in calls(log))
    process.kill()
    Path(f"{log}.go").touch()
    process.communicate()
    wait_until(lambda: not (keeper.root / "paused").exists())
    assert calls(log)[-1] == "backupend"
    assert list(out.iterdir()) == []
    log.unlink()
    wait_until(lambda: not _guardians(keeper))
    archive = backup(keeper, key, out)
    assert without_empty_directories(snapshot(keeper)) == before
    restore(keeper, archive, "clone", "-i", key.identity)
    keeper.run("clone", "selftest")


def test_if_the_guardian_is_killed_too_the_next_command_resumes_the_service(
    keeper: Host, key: Key, out: Path, log: Path
) -> None:
    process = _blocked_backup(keeper, key, log)
    (guardian,) = _guardians(keeper)
    os.kill(guardian, signal.SIGKILL)
    process.kill()
    process.communicate()
    assert calls(log) == ["backupstart"]
    done = keeper.drunner("backup", "keeper", f"{out}/", "-r", key.recipient, env={"KEEPER_LOG": str(log)})
    assert "was left paused" in done.stderr
    assert calls(log) == ["backupstart", "backupend", "backupstart", "backupend"]
    assert len(list(out.iterdir())) == 1


def test_only_one_command_at_a_time_works_on_a_service(keeper: Host, key: Key, out: Path, log: Path) -> None:
    process = _blocked_backup(keeper, key, log)
    try:
        for command in (["backup", "keeper", f"{out}/", "-r", key.recipient], ["uninstall", "keeper"]):
            done = keeper.drunner(*command, check=False)
            assert_refused(done, "keeper is busy: 'backup keeper'", str(process.pid))
        assert list(out.iterdir()) == []
    finally:
        process.terminate()
        process.communicate()


@pytest.mark.parametrize("allowed", [False, True])
def test_files_that_change_meanwhile_are_named_and_the_archive_is_whole(
    keeper: Host, other_host: Host, tmp_path: Path, log: Path, allowed: bool
) -> None:
    data = volume_directory(keeper, "keeper")
    (data / "random").rename(data / "a-shrinks")
    for name, size in (("b-plain", 100), ("c-vanishes", 100), ("d-changes-kind", 100), ("e-stays", 100)):
        (data / name).write_bytes(b"x" * size)
    kept = (data / "a-shrinks").read_bytes()
    options = ("--unencrypted", "--images", "never", *(["--allow-partial"] if allowed else []))
    process = _blocked_backup(keeper, None, log, options)
    assert process.stdout is not None
    os.truncate(data / "a-shrinks", 15 << 20)
    (data / "c-vanishes").unlink()
    (data / "d-changes-kind").unlink()
    (data / "d-changes-kind").mkdir()
    archive = tmp_path / "archive"
    with archive.open("wb") as stream:
        while piece := process.stdout.read(1 << 20):
            stream.write(piece)
    _, said = process.communicate()
    warnings = [line for line in said.decode().splitlines() if line.startswith("warning: ")]
    assert process.returncode == (0 if allowed else 1), said
    assert ["a-shrinks" in line for line in warnings] == [True, False]
    assert "vanished" in warnings[1]
    assert (b"error: " in said) == (not allowed)
    assert calls(log) == ["backupstart", "backupend"]
    _restored_with_zeros(other_host, keeper, archive, kept)


def _restored_with_zeros(other_host: Host, keeper: Host, archive: Path, kept: bytes) -> None:
    identifier = keeper.docker("save", "test/keeper:1", "-o", archive.with_name("image"))
    assert identifier.returncode == 0
    other_host.docker("load", "-i", archive.with_name("image"))
    done = restore(other_host, archive, "clone")
    assert "the backup itself could not carry 2 files" in done.stderr
    data = volume_directory(other_host, "clone")
    assert {path.name for path in data.iterdir()} == {
        "a-shrinks", "b-plain", "d-changes-kind", "e-stays", "install_date"
    }  # fmt: skip
    restored = (data / "a-shrinks").read_bytes()
    assert len(restored) == 20 << 20
    assert restored[: 15 << 20] == kept[: 15 << 20]
    assert restored[15 << 20 :].count(0) == 5 << 20


def _blocked_backup(
    host: Host, key: Key | None, log: Path, options: tuple[str, ...] = (), **env: str
) -> subprocess.Popen[bytes]:
    """A backup down a pipe that nobody reads, in the middle of the first big file."""
    recipient = ("-r", key.recipient) if key else ()
    process = start(host, "backup", "keeper", "-", *recipient, *options, env={"KEEPER_LOG": str(log), **env})
    wait_until(lambda: "backupstart" in calls(log))
    last = -1
    while (count := _read(process)) != last or count < 2 << 20:
        assert process.poll() is None
        last = count
        time.sleep(0.3)
    return process


def _read(process: subprocess.Popen[bytes]) -> int:
    status = Path(f"/proc/{process.pid}/io").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("rchar"))


def _guardians(host: Host) -> list[int]:
    return [pid for pid in processes_with("drunner_vault.services.guardian") if pid in processes_with(str(host.root))]
