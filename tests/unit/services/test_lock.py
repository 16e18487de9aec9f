"""One command at a time on one service."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from drunner_vault.errors import BadServiceName, ServiceBusy, StorageError
from drunner_vault.services.hooks import run_hook
from drunner_vault.services.lock import service_lock

HOLD = """
import sys; from pathlib import Path; from drunner_vault.services.lock import service_lock
with service_lock(Path(sys.argv[1]), "x", "backup"):
    print("held", flush=True); sys.stdin.read()
"""
COUNT = """
import sys; from pathlib import Path
from drunner_vault.errors import ServiceBusy; from drunner_vault.services.lock import service_lock
root = Path(sys.argv[1]); counter = root / "counter"; done = 0
while done < 60:
    try:
        with service_lock(root, "x", "count"):
            counter.write_text(str(int(counter.read_text()) + 1))
        done += 1
    except ServiceBusy:
        pass
"""


def program(code: str, root: Path) -> subprocess.Popen[str]:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, "-c", code, root], env=env, stdin=pipe, stdout=pipe, text=True)


def test_a_busy_service_says_at_once_who_is_working_on_it(tmp_path: Path) -> None:
    with program(HOLD, tmp_path) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(ServiceBusy) as caught, service_lock(tmp_path, "x", "restore"):
            pass
        assert caught.value.message == f"x is busy: 'backup' is working on it (process {holder.pid})"
        assert caught.value.hint
    with service_lock(tmp_path, "x", "restore"):
        pass


def test_the_lock_of_a_killed_command_is_no_obstacle(tmp_path: Path) -> None:
    with program(HOLD, tmp_path) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        holder.kill()
        holder.wait()
    assert (tmp_path / "locks" / "x.lock").exists()
    with service_lock(tmp_path, "x", "restore"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_left_behind(tmp_path: Path) -> None:
    with service_lock(tmp_path, "x", "a"), service_lock(tmp_path, "y", "b"):
        assert sorted(path.name for path in (tmp_path / "locks").iterdir()) == ["x.lock", "y.lock"]
    assert list(tmp_path.iterdir()) == []


def test_the_lock_is_given_up_when_the_work_fails(tmp_path: Path) -> None:
    with pytest.raises(KeyError), service_lock(tmp_path, "x", "a"):
        raise KeyError
    with service_lock(tmp_path, "x", "a"):
        pass


def test_the_same_process_cannot_take_it_twice(tmp_path: Path) -> None:
    with service_lock(tmp_path, "x", "a"), pytest.raises(ServiceBusy), service_lock(tmp_path, "x", "b"):
        pass


def test_programs_started_meanwhile_do_not_hold_it(
    tmp_path: Path, script: Callable[..., Path], plain_env: dict[str, str]
) -> None:
    path = script("ls -l /proc/self/fd/; setsid sleep 30 & echo $! >&1\n")
    with service_lock(tmp_path, "x", "a"), subprocess.Popen(["sleep", "30"]) as child:
        output = run_hook([str(path)], env=plain_env, terminal=False).output
        assert "x.lock" not in output
        assert not any("x.lock" in str(fd.readlink()) for fd in Path(f"/proc/{child.pid}/fd").iterdir())
        child.kill()
    left_behind = int(output.split()[-1])
    try:
        with service_lock(tmp_path, "x", "b"):
            pass
    finally:
        os.kill(left_behind, 9)


def test_of_many_commands_only_one_works_at_a_time(tmp_path: Path) -> None:
    (tmp_path / "counter").write_text("0")
    programs = [program(COUNT, tmp_path) for _ in range(4)]
    assert [p.communicate()[0] for p in programs] == [""] * 4
    assert (tmp_path / "counter").read_text() == "240"
    assert [path.name for path in tmp_path.iterdir()] == ["counter"]


def test_a_hostile_name_never_becomes_a_path(tmp_path: Path) -> None:
    with pytest.raises(BadServiceName), service_lock(tmp_path, "../x", "a"):
        pass


@pytest.mark.parametrize("make", [Path.touch, lambda path: path.symlink_to("absent")])
def test_a_file_in_the_place_of_the_directory_is_told(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "locks")
    with pytest.raises(StorageError), service_lock(tmp_path, "x", "a"):
        pass
