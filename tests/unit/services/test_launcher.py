"""The command on PATH."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from drunner_vault.errors import ServiceExists, StorageError
from drunner_vault.services.launcher import (
    check_launcher_free,
    launcher_text,
    remove_launcher,
    write_launcher,
)

NOWHERE = "/nonexistent"


def test_the_launcher_is_two_lines() -> None:
    assert launcher_text("x") == '#!/bin/bash\ndrunner servicecmd x "$@"\n'


def test_the_launcher_passes_arguments_and_exit_code(tmp_path: Path) -> None:
    path = write_launcher(tmp_path / "bin", "x", NOWHERE)
    drunner = tmp_path / "drunner"
    drunner.write_text('#!/bin/bash\nprintf "<%s>" "$@"; exit 3\n')
    drunner.chmod(0o755)
    env = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run([path, "a b", ""], env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (3, "<servicecmd><x><a b><>")


def test_everybody_may_run_it_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        assert write_launcher(tmp_path, "x", NOWHERE).stat().st_mode & 0o777 == 0o755
    finally:
        os.umask(before)


def test_our_own_launcher_is_written_again(tmp_path: Path) -> None:
    write_launcher(tmp_path, "x", NOWHERE).chmod(0o600)
    assert write_launcher(tmp_path, "x", NOWHERE).stat().st_mode & 0o777 == 0o755
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


@pytest.mark.parametrize("text", ["", "#!/bin/sh\necho mine\n", launcher_text("y"), launcher_text("x") + "reboot\n"])
def test_any_other_file_is_neither_overwritten_nor_removed(tmp_path: Path, text: str) -> None:
    (tmp_path / "x").write_text(text)
    with pytest.raises(ServiceExists, match="is not the launcher of x"):
        check_launcher_free(tmp_path, "x", NOWHERE)
    with pytest.raises(ServiceExists):
        write_launcher(tmp_path, "x", NOWHERE)
    assert not remove_launcher(tmp_path, "x")
    assert (tmp_path / "x").read_text() == text


@pytest.mark.parametrize("target", ["absent", "real"])
def test_a_link_is_not_ours(tmp_path: Path, target: str) -> None:
    (tmp_path / "real").write_text(launcher_text("x"))
    (tmp_path / "x").symlink_to(tmp_path / target)
    with pytest.raises(ServiceExists):
        write_launcher(tmp_path, "x", NOWHERE)
    assert not remove_launcher(tmp_path, "x")


def test_a_directory_is_not_ours(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    with pytest.raises(ServiceExists):
        write_launcher(tmp_path, "x", NOWHERE)
    assert not remove_launcher(tmp_path, "x")


def test_a_name_that_a_command_of_the_system_has_is_refused_saying_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")  # as short as cron's may be
    with pytest.raises(ServiceExists, match="/bin/ls"):
        check_launcher_free(tmp_path, "ls")


def test_a_launcher_is_no_obstacle_to_itself(tmp_path: Path) -> None:
    write_launcher(tmp_path, "x", NOWHERE)
    check_launcher_free(tmp_path, "x", str(tmp_path))
    (tmp_path / "x").write_text('#!/bin/bash\n\ndrunner servicecmd x "$@"')  # as others may have written it
    check_launcher_free(tmp_path, "x", str(tmp_path))


def test_our_launcher_is_removed(tmp_path: Path) -> None:
    path = write_launcher(tmp_path, "x", NOWHERE)
    assert remove_launcher(tmp_path, "x")
    assert not path.exists()
    assert not remove_launcher(tmp_path, "x")


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="file/bin"):
        write_launcher(tmp_path / "file" / "bin", "x", NOWHERE)
