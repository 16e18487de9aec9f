"""A paused service is resumed, whatever happens to the command that paused it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from drunner_vault.errors import HookFailed, StorageError
from drunner_vault.services.hooks import HookResult
from drunner_vault.services.lock import service_lock
from drunner_vault.services.paused import begin, owed, resume, unfinished

# A command that pauses a service and is then busy until somebody ends it.
COMMAND = """
import os, sys, time; from pathlib import Path
from drunner_vault.services.hooks import hook_environment; from drunner_vault.services.lock import service_lock
from drunner_vault.services.paused import begin
root, script, place = map(Path, sys.argv[1:4])
with service_lock(root, "x", "backup"):
    env = hook_environment(os.environ)
    paused = begin(root, "x", [str(script), "backupend", "/a dir"], cwd=place, env=env)
    print("paused", flush=True)
    while not (root / "go").exists():
        time.sleep(0.02)
    if sys.argv[4] == "done":
        paused.done()
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


@pytest.fixture
def runner(script: Callable[..., Path], tmp_path: Path) -> Path:
    return script(f'tty >/dev/null || exit 9\necho "$PWD|$*|$PASS|$MORE" >>{tmp_path}/resumed\n')


def command(root: Path, runner: Path, how: str = "done") -> subprocess.Popen[str]:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PASS": "secret", "MORE": "kept"}
    arguments = [sys.executable, "-c", COMMAND, str(root), str(runner), str(root.parent), how]
    process = subprocess.Popen(arguments, env=env, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "paused\n"
    return process


def guardians(root: Path) -> list[int]:
    """The process ids of all guardians for services below `root`."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if b"drunner_vault.services.guardian" in words and os.fsencode(root) in words:
            found.append(int(path.parent.name))
    return found


def wait_for(condition: Callable[[], bool], seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def test_after_a_kill_the_service_is_resumed_on_a_terminal(root: Path, runner: Path, tmp_path: Path) -> None:
    end(command(root, runner))
    wait_for(lambda: not (root / "paused").exists())
    assert (tmp_path / "resumed").read_text() == f"{tmp_path}|backupend /a dir||kept\n"
    wait_for(lambda: not guardians(root))
    assert list(root.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signals_to_everybody_do_not_keep_the_guardian_from_its_work(
    root: Path, runner: Path, tmp_path: Path, number: signal.Signals
) -> None:
    process = command(root, runner)
    time.sleep(0.5)  # a guardian that is only just starting is told by the journal alone
    for guardian in guardians(root):
        os.kill(guardian, number)
    end(process)
    wait_for((tmp_path / "resumed").exists)
    wait_for(lambda: not guardians(root))


def test_a_command_that_forgets_to_resume_is_seen_to_as_well(root: Path, runner: Path, tmp_path: Path) -> None:
    process = command(root, runner, how="forget")
    (root / "go").touch()
    process.communicate()
    wait_for((tmp_path / "resumed").exists)
    wait_for(lambda: not guardians(root))


def test_after_a_normal_end_nothing_is_run_and_nothing_is_left(root: Path, runner: Path, tmp_path: Path) -> None:
    process = command(root, runner)
    (guardian,) = guardians(root)
    assert os.getsid(guardian) == guardian  # so that Ctrl-C at our terminal does not reach it
    (root / "go").touch()
    process.communicate()
    assert process.returncode == 0
    assert guardians(root) == []
    assert [path.name for path in root.iterdir()] == ["go"]
    time.sleep(0.2)
    assert not (tmp_path / "resumed").exists()


def test_done_returns_soon_and_leaves_no_process(root: Path, runner: Path, plain_env: dict[str, str]) -> None:
    paused = begin(root, "x", [str(runner)], cwd=root, env=plain_env)
    time.sleep(0.7)  # until the guardian is there
    begun = time.monotonic()
    paused.done()
    assert time.monotonic() - begun < 0.9
    assert guardians(root) == []
    assert list(root.iterdir()) == []


def test_the_journal_has_no_secret_and_nobody_else_may_read_it(
    root: Path, runner: Path, plain_env: dict[str, str]
) -> None:
    paused = begin(root, "x", [str(runner)], cwd=root, env={**plain_env, "DOCKER_HOST": "tcp://h", "TOKEN": "hunter2"})
    try:
        path = root / "paused" / "x.json"
        assert path.stat().st_mode & 0o077 == 0
        text = path.read_text()
        assert "tcp://h" in text
        assert "hunter2" not in text
    finally:
        paused.done()


def test_services_are_paused_and_resumed_side_by_side(root: Path, runner: Path, plain_env: dict[str, str]) -> None:
    def work(name: str) -> None:
        for _ in range(8):
            begin(root, name, [str(runner)], cwd=root, env=plain_env).done()

    with ThreadPoolExecutor() as pool:
        list(pool.map(work, ["a", "b", "c", "d"]))
    assert list(root.iterdir()) == []
    assert guardians(root) == []


def test_a_living_command_is_not_unfinished(root: Path, runner: Path) -> None:
    process = command(root, runner)
    assert unfinished(root) == []
    (root / "go").touch()
    process.communicate()
    assert unfinished(root) == []


@pytest.fixture
def power_cut(root: Path, runner: Path) -> Path:
    """A root where command and guardian died at once; returns the journal."""
    process = command(root, runner)
    for guardian in guardians(root):
        os.kill(guardian, signal.SIGKILL)
    end(process)
    wait_for(lambda: not guardians(root))
    return root / "paused" / "x.json"


def test_after_a_power_cut_the_next_command_resumes_the_service(
    root: Path, power_cut: Path, tmp_path: Path, plain_env: dict[str, str]
) -> None:
    assert [journal.service for journal in unfinished(root)] == ["x"]
    with service_lock(root, "x", "status"):
        journal = owed(root, "x")
        assert journal is not None
        assert resume(root, journal, {**plain_env, "MORE": "now"}).code == 0
    assert (tmp_path / "resumed").read_text() == f"{tmp_path}|backupend /a dir||now\n"
    assert not power_cut.parent.exists()
    assert owed(root, "x") is None


def test_a_journal_of_an_earlier_boot_is_unfinished_though_the_number_lives(root: Path, power_cut: Path) -> None:
    values = json.loads(power_cut.read_text())
    start = Path(f"/proc/{os.getpid()}/stat").read_text().rpartition(")")[2].split()[19]
    values["owner"] = [os.getpid(), start, values["owner"][2]]
    power_cut.write_text(json.dumps(values))
    assert unfinished(root) == []
    values["owner"][2] = "another boot"
    power_cut.write_text(json.dumps(values))
    assert len(unfinished(root)) == 1


def test_resuming_that_fails_is_noted_and_stays_owed(
    root: Path, power_cut: Path, runner: Path, plain_env: dict[str, str]
) -> None:
    runner.write_text("#!/bin/bash\necho no engine; exit 4\n")
    journal = owed(root, "x")
    assert journal is not None
    assert resume(root, journal, plain_env) == HookResult(4, "no engine\n")
    again = owed(root, "x")
    assert again is not None
    assert again.failure == "exit status 4: no engine\n"
    runner.chmod(0o644)
    with pytest.raises(HookFailed):
        resume(root, again, plain_env)
    assert "not executable" in (owed(root, "x") or again).failure


def test_exit_codes_that_mean_no_such_hook_can_be_a_success(
    root: Path, script: Callable[..., Path], plain_env: dict[str, str]
) -> None:
    path = script("exit 127\n")
    paused = begin(root, "x", [str(path)], cwd=root, env=plain_env, success=(0, 127))
    journal = json.loads((root / "paused" / "x.json").read_text())
    paused.done()
    (root / "paused").mkdir()
    (root / "paused" / "x.json").write_text(json.dumps({**journal, "owner": [1, "0", "another boot"]}))
    (left,) = unfinished(root)
    assert resume(root, left, plain_env).code == 127
    assert unfinished(root) == []


def test_a_service_that_is_no_longer_installed_needs_no_resuming(
    root: Path, power_cut: Path, runner: Path, plain_env: dict[str, str]
) -> None:
    runner.unlink()
    (journal,) = unfinished(root)
    assert resume(root, journal, plain_env).code == 0
    assert not power_cut.exists()


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"owner": [1, 2]}'])
def test_a_damaged_journal_is_an_error_and_not_passed_over(root: Path, text: str) -> None:
    (root / "paused").mkdir()
    (root / "paused" / "x.json").write_text(text)
    with pytest.raises(StorageError, match="may still be paused") as caught:
        unfinished(root)
    assert "resume x by hand" in caught.value.hint


def test_the_guardian_waits_for_a_command_that_came_after(root: Path, runner: Path, tmp_path: Path) -> None:
    process = command(root, runner)
    process.kill()
    process.communicate()
    with service_lock(root, "x", "status"):
        time.sleep(2)
        assert not (tmp_path / "resumed").exists()
        assert owed(root, "x") is not None
    wait_for((tmp_path / "resumed").exists)
    wait_for(lambda: not guardians(root))
