"""utils.sh, run by bash as services run it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from drunner_vault.services.variables import utils_sh

Bash = Callable[..., "subprocess.CompletedProcess[str]"]

FUNCTIONS = """
die container_exists container_running container_paused volumeexists elementIn isHook save_environment
utils_import utils_export utils_import_DEPRECATED utils_export_DEPRECATED
"""

# Stands in for Docker: containers and volumes are files whose lines are their state; `run` does without a container.
DOCKER = """#!/bin/bash
echo "docker $*" >>"$WORLD/calls"
case "$1 $2" in
   "container inspect")
      [ -f "$WORLD/containers/${!#}" ] || { echo "No such container" >&2; exit 1; }
      if [ "$3" = "--format" ]; then
         field=${4#*State.}; grep -q "${field%\\}\\}}" "$WORLD/containers/${!#}" && echo true || echo false
      fi ;;
   "volume inspect") [ -f "$WORLD/volumes/$3" ] ;;
   run*) while [ "$1" != an/image ]; do shift; done; shift; "$@" && [ ! -f "$WORLD/broken" ] ;;
   rm*) ;;
   *) exit 99 ;;
esac
"""


@pytest.fixture
def bash(tmp_path: Path) -> Bash:
    """Runs a script which begins as services do, with a stand-in for Docker."""
    scripts = tmp_path / "service" / "drunner"
    for directory in ("service/drunner", "bin", "containers", "volumes"):
        (tmp_path / directory).mkdir(parents=True)
    (scripts / "utils.sh").write_text(utils_sh())
    (tmp_path / "bin" / "docker").write_text(DOCKER)
    (tmp_path / "bin" / "docker").chmod(0o755)
    for name, state in {"up": "Running", "held": "Running\nPaused", "down": ""}.items():
        (tmp_path / "containers" / name).write_text(state)
    (tmp_path / "volumes" / "drunner-x-data").touch()

    def run(body: str, options: str = "set -eu", before: str = "") -> subprocess.CompletedProcess[str]:
        head = f'{options}\n{before}\nsource "$(dirname "$(readlink -f "$0")")/utils.sh"\n'
        (scripts / "servicerunner").write_text(f"#!/bin/bash\n{head}{body}\n")
        env = {**os.environ, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "WORLD": str(tmp_path)}
        for name in ("ECODE", "CODE_S", "CODE_E"):
            env.pop(name, None)
        return subprocess.run(
            ["bash", scripts / "servicerunner"], env=env, cwd=tmp_path, capture_output=True, text=True, check=False
        )

    return run


@pytest.mark.parametrize("options", ["", "set -eu", "set -euo pipefail"])
def test_sourcing_it_is_silent_and_keeps_the_directory(bash: Bash, tmp_path: Path, options: str) -> None:
    done = bash("pwd", options)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{tmp_path}\n", "")


def test_every_function_that_a_service_may_call_is_there(bash: Bash) -> None:
    assert bash(f"declare -F {' '.join(FUNCTIONS.split())} >/dev/null").returncode == 0


def test_colours_can_be_redeclared_after_it_is_sourced(bash: Bash) -> None:
    body = (
        'e=$(printf "\\e")\nreadonly CODE_S="$e[32m"\nreadonly CODE_E="$e[0m"\nprintf "%s" "${CODE_S}x${CODE_E}$ECODE"'
    )
    done = bash(body)
    assert (done.returncode, done.stdout, done.stderr) == (0, "\x1b[32mx\x1b[0m\x1b", "")


def test_colours_that_are_read_only_already_are_left_alone(bash: Bash) -> None:
    done = bash('printf "%s" "$CODE_S"', before="readonly CODE_S=mine CODE_E=mine ECODE=mine")
    assert (done.returncode, done.stdout, done.stderr) == (0, "mine", "")


@pytest.mark.parametrize(("arguments", "code"), [("'it broke'", 1), ("'it broke' 3", 3)])
def test_die_shows_the_message_and_exits(bash: Bash, arguments: str, code: int) -> None:
    done = bash(f"die {arguments}; echo not reached")
    assert (done.returncode, done.stdout) == (code, "")
    assert "it broke" in done.stderr


@pytest.mark.parametrize(
    ("function", "true_for"),
    [
        ("container_exists", {"up", "held", "down"}),
        ("container_running", {"up", "held"}),
        ("container_paused", {"held"}),
    ],
)
def test_the_state_of_a_container_is_told(bash: Bash, function: str, true_for: set[str]) -> None:
    body = f"for name in up held down absent; do if {function} $name; then echo $name; fi; done"
    done = bash(body)
    assert (set(done.stdout.split()), done.stderr) == (true_for, "")


def test_a_negated_test_does_not_end_a_script_that_stops_at_errors(bash: Bash) -> None:
    body = "! container_running down || exit 8\n! container_exists absent || exit 9\necho here"
    assert bash(body).stdout == "here\n"


@pytest.mark.parametrize("function", ["container_exists", "container_running", "container_paused", "volumeexists"])
def test_a_forgotten_name_is_an_error(bash: Bash, function: str) -> None:
    assert bash(f"{function}; echo not reached").stdout == ""


def test_a_volume_is_known_by_its_exact_name(bash: Bash) -> None:
    body = "for name in drunner-x-data drunner-x-dat drunner; do if volumeexists $name; then echo $name; fi; done"
    assert bash(body).stdout == "drunner-x-data\n"


def test_element_in_compares_whole_elements(bash: Bash) -> None:
    body = (
        'a=("one two" "*"); for w in "one two" one two "*" x; do if elementIn "$w" "${a[@]}"; then echo "$w"; fi; done'
    )
    assert bash(body).stdout == "one two\n*\n"


def test_hooks_are_told_from_commands(bash: Bash) -> None:
    body = (
        "for w in install_end backup_start servicecmd_end install start ''; do if isHook \"$w\"; then echo $w; fi; done"
    )
    assert bash(body).stdout.split() == ["install_end", "backup_start", "servicecmd_end"]


TRANSFER = 'SERVICENAME=x; IMAGENAME=an/image; DOCKEROPTS=(); function dockerrun { docker run "$IMAGENAME" "$@"; }\n'


def test_import_replaces_what_was_there(bash: Bash, tmp_path: Path) -> None:
    source, inside = tmp_path / "from here", tmp_path / "in side"
    source.mkdir()
    inside.mkdir()
    (source / "new").write_text("new")
    for old in ("old", ".hidden", "..odd"):
        (inside / old).touch()
    done = bash(f'{TRANSFER}utils_import "{source}" "{inside}"')
    assert done.returncode == 0, done.stderr
    assert [path.name for path in inside.iterdir()] == ["new"]
    calls = (tmp_path / "calls").read_text()
    assert "--name x-importfn" in calls
    assert "docker rm x-importfn" in calls


def test_import_never_leaves_a_volume_empty_between_two_containers(bash: Bash, tmp_path: Path) -> None:
    source, inside = tmp_path / "source", tmp_path / "inside"
    source.mkdir()
    inside.mkdir()
    (inside / "old").touch()
    looking = f'function dockerrun {{ docker run "$IMAGENAME" "$@"; ls -A "{inside}" >"{tmp_path}/between"; }}\n'
    assert bash(f'{TRANSFER}{looking}utils_import "{source}" "{inside}"').returncode == 0
    between = (tmp_path / "between").read_text().split()
    assert len(between) == 1
    assert between != ["old"]
    assert list(inside.iterdir()) == []


def test_export_copies_out(bash: Bash, tmp_path: Path) -> None:
    inside, target = tmp_path / "inside", tmp_path / "to here"
    inside.mkdir()
    target.mkdir()
    (inside / "a b").write_text("x")
    done = bash(f'{TRANSFER}utils_export "{inside}" "{target}"')
    assert done.returncode == 0, done.stderr
    assert (target / "a b").read_text() == "x"
    assert "docker rm x-exportfn" in (tmp_path / "calls").read_text()


@pytest.mark.parametrize("options", ["", "set -eu"])
@pytest.mark.parametrize("function", ["utils_import", "utils_export", "utils_import_DEPRECATED"])
def test_a_failing_transfer_removes_its_container_and_dies(
    bash: Bash, tmp_path: Path, function: str, options: str
) -> None:
    (tmp_path / "here").mkdir()
    arguments = f"{tmp_path}/absent {tmp_path}/here" if "export" in function else f"{tmp_path}/here {tmp_path}/absent"
    done = bash(f"{TRANSFER}{function} {arguments}; echo not reached", options)
    assert (done.returncode, "not reached" in done.stdout) == (1, False)
    assert "could not transfer" in done.stderr
    assert "docker rm x-" in (tmp_path / "calls").read_text()


def test_a_transfer_that_breaks_off_after_good_data_is_a_failure(bash: Bash, tmp_path: Path) -> None:
    for name in ("inside", "here"):
        (tmp_path / name).mkdir()
    (tmp_path / "broken").touch()
    done = bash(f'{TRANSFER}utils_export "{tmp_path}/inside" "{tmp_path}/here"')
    assert done.returncode == 1
    assert "could not transfer" in done.stderr


def test_saved_variables_are_there_the_next_time(bash: Bash, tmp_path: Path) -> None:
    value = "a 'b' \"c\" $(touch ran) `touch ran` \\ é"
    bash("save_environment KEY first; save_environment OTHER kept")
    done = bash(f"read -r value <<'E'\n{value}\nE\nsave_environment KEY \"$value\"; printenv KEY")
    assert done.stdout == f"{value}\n", done.stderr
    assert bash("printenv KEY OTHER").stdout == f"{value}\nkept\n"
    assert not (tmp_path / "ran").exists()
    assert (tmp_path / "service" / "environment.sh").stat().st_mode & 0o077 == 0


def test_a_saved_variable_needs_a_proper_name(bash: Bash) -> None:
    assert bash("save_environment 'a;id' x").returncode == 1
