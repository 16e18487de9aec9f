"""Moving a service to another host while it is used, and all that may stand against it."""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.engines import Host, programs_directory
from support.faraway import Faraway, LocalSide, faraway, without_images
from support.images import build_image
from support.keeper import (
    assert_refused,
    calls,
    install_keeper,
    snapshot,
    volume_directory,
    without_empty_directories,
)
from support.registry import Registry
from support.services import build_example
from support.trees import assert_same_tree, tar_of

from drunner_vault.archive import ImageRecord
from drunner_vault.workflows.moving.preflight import Needs

_ADDING = 'n=0; while notes add "number $n" >/dev/null 2>&1; do echo $n; n=$((n+1)); done'


@pytest.fixture
def there(other_host: Host, tmp_path: Path) -> Iterator[Faraway]:
    """Another host, which has neither the service nor its image."""
    without_images(other_host, "example/notes", "test/keeper", "test/sleeper")
    with faraway(other_host, tmp_path / "faraway") as running:
        yield running


def test_a_service_that_is_being_used_moves_and_takes_along_all_that_was_ever_written(
    host: Host, there: Faraway
) -> None:
    host.drunner("install", build_example(host, "notes"), "notes")
    host.run("notes", "start")
    user = subprocess.Popen(
        host.command("sh", "-c", _ADDING), env=host.environment(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert user.stdout is not None
    first = user.stdout.readline()
    done = json.loads(there.migrate(host, "notes", "--stop", "--json").stdout.splitlines()[-1])
    written, _ = user.communicate(timeout=60)
    count = len((first + written).split())
    assert (done["stopped"], done["well"], done["problems"]) == (True, True, [])
    assert there.host.run("notes", "count").stdout.strip() == str(count)
    assert there.host.run("notes", "status").stdout == "notes is running.\n"
    assert not (host.root / "services/notes").exists()
    assert done["kept_volumes"] == ["drunner-notes-notes", "drunner-notes-config"]


def test_a_service_is_copied_as_the_plan_said_and_runs_on_here(host: Host, there: Faraway, tmp_path: Path) -> None:
    install_keeper(host)
    data, log = volume_directory(host, "keeper"), tmp_path / "log"
    (data / "random").write_bytes(bytes(3 << 20))
    expected, before = tar_of(data), (snapshot(host), snapshot(there.host))
    plan = json.loads(there.migrate(host, "keeper", "--as", "clone", "--dry-run", "--json").stdout)
    assert (plan["problems"], plan["images"]) == ([], {"test/keeper:1": "bring"})
    assert plan["differences"] == [["name", "keeper", "clone"]]
    assert plan["volumes"]["drunner-keeper-data"] >= 3 << 20
    assert plan["free"] > 0
    assert (snapshot(host), without_empty_directories(snapshot(there.host))) == before

    report = json.loads(there.migrate(host, "keeper", "--as", "clone", "--json", KEEPER_LOG=str(log)).stdout)
    assert (report["called"], report["stopped"], report["well"], report["kept_volumes"]) == ("clone", False, True, [])
    assert calls(log) == ["backupstart", "backupend"]
    host.run("keeper", "selftest")
    assert_same_tree(volume_directory(there.host, "clone"), expected)
    left = {path.name for directory in (host.root, there.host.root) for path in directory.rglob("*.json")}
    assert left == {"service.json"}
    assert "image test/keeper:1 is there already" in there.migrate(host, "keeper", "--dry-run").stdout


def asked(host: Host, content: int, image: ImageRecord) -> dict[str, Any]:
    """What a host answers when it is asked whether it could take a service with this image."""
    needs = Needs("keeper", ("/data",), content, (image,))
    with LocalSide(host).session() as channel:
        channel.receive()
        channel.send(ask="check", needs=needs.document(), earlier="")
        return channel.receive()


def test_an_image_for_another_machine_and_too_little_room_stand_against_it(other_host: Host) -> None:
    foreign = ImageRecord("example/foreign:1", "sha256:" + "f" * 64, (), "mips", "linux", 5 << 20)
    answer = asked(other_host, 1 << 60, foreign)
    assert answer["images"] == {"example/foreign:1": "bring"}
    machine, room = answer["problems"]
    assert machine.startswith("image example/foreign:1 is made for mips, and this host is ")
    assert room.startswith("1099511627781 MiB are needed, and only ")


def test_an_image_travels_along_only_if_the_registry_gives_none_for_the_other_machine(
    host: Host, registry: Registry
) -> None:
    image = build_image(host, registry.image("moving/probe:1"), {"/probe": "its own"})
    registry.login(host)
    host.docker("push", image)
    digest = host.docker("inspect", "-f", "{{index .RepoDigests 0}}", image).stdout.strip()
    host.docker("rmi", image)
    known = ImageRecord(image, "sha256:" + "e" * 64, (digest,), "mips")
    answer = asked(host, 1, known)
    assert (answer["images"], answer["problems"]) == ({image: "pull"}, [])
    registry.logout(host)
    assert asked(host, 1, known)["images"] == {image: "bring"}


_SLEEPER = """\
#!/bin/bash
MYDIR=$(dirname "$(readlink -f "$0")")
source "$MYDIR/variables.sh"
source "$MYDIR/utils.sh"
case "$1" in
    start) docker run -d --name "$SERVICENAME" -p 127.0.0.1:18085:80 "${DOCKEROPTS[@]}" "$IMAGENAME" sleep 1000 ;;
    uninstall | obliterate) docker rm -f "$SERVICENAME" ;;
    backupstart | backupend) docker "$([ $1 = backupstart ] && echo pause || echo unpause)" "$SERVICENAME" ;;
esac
"""


def test_a_service_that_ran_here_runs_there(host: Host, there: Faraway) -> None:
    files = {"/drunner/servicerunner": _SLEEPER, "/drunner/servicecfg.sh": "VOLUMES=()\nEXTRACONTAINERS=()\n"}
    host.drunner("install", build_image(host, "test/sleeper:1", files), "sleeper")
    host.run("sleeper", "start")
    assert json.loads(there.migrate(host, "sleeper", "--dry-run", "--json").stdout)["ports"] == ["127.0.0.1:18085/tcp"]
    done = there.migrate(host, "sleeper", "--stop")
    assert "notice: faraway: sleeper did not run when it was restored, so it was started" in done.stderr
    assert there.host.containers() - host.containers() >= {"sleeper"}


def test_what_is_in_the_way_over_there_is_said_at_once_and_all_of_it(host: Host, there: Faraway) -> None:
    install_keeper(host)
    install_keeper(there.host, "taken")
    publishing = ("run", "-d", "-v", "drunner-keeper-data:/data")
    host.docker(*publishing, "-p", "127.0.0.1:18080:80", "-p", "18081:81", "test/keeper:1", "sleep", "1000")
    there.host.docker("run", "-d", "--name", "web", "-p", "127.0.0.1:18080:80", "test/keeper:1", "sleep", "1000")
    before = snapshot(host), snapshot(there.host)
    done = there.migrate(host, "keeper", "--as", "taken", check=False)
    assert_refused(
        done,
        "faraway cannot take keeper: a service named taken is installed already",
        "port 127.0.0.1:18080/tcp is taken by container web",
    )
    assert "18081" not in done.stderr
    assert (snapshot(host), snapshot(there.host)) == before
    planned = there.migrate(host, "keeper", "--as", "taken", "--dry-run", check=False)
    assert (planned.returncode, planned.stderr.count("problem: ")) == (1, 2)


def test_volumes_that_an_earlier_move_left_behind_are_replaced_only_when_asked(host: Host, there: Faraway) -> None:
    install_keeper(host)
    install_keeper(there.host)
    there.host.drunner("uninstall", "keeper")
    assert_refused(there.migrate(host, "keeper", check=False), "volume drunner-keeper-data is here already")
    (volume_directory(host, "keeper") / "word").write_text("new\n")
    there.migrate(host, "keeper", "--replace")
    assert (volume_directory(there.host, "keeper") / "word").read_text() == "new\n"


@pytest.mark.parametrize("failing", ["restore", "selftest"])
def test_a_service_that_is_not_well_there_runs_on_here(
    host: Host, there: Faraway, tmp_path: Path, failing: str
) -> None:
    install_keeper(host)
    before, log = (snapshot(host), snapshot(there.host)), tmp_path / "log"
    there.set(KEEPER_FAIL=failing)
    done = there.migrate(host, "keeper", "--stop", check=False, KEEPER_LOG=str(log))
    assert_refused(done, "faraway: ", failing if failing == "restore" else "keeper says that it is not well")
    assert "what came was taken back" in done.stderr
    assert calls(log) == ["backupstart", "backupend"]
    assert (snapshot(host), without_empty_directories(snapshot(there.host))) == (before[0], before[1])


def test_a_service_that_cannot_be_removed_here_stays_paused_and_is_not_sent_again(
    host: Host, there: Faraway, tmp_path: Path
) -> None:
    install_keeper(host)
    log = tmp_path / "log"
    env = {"KEEPER_LOG": str(log), "KEEPER_FAIL": "uninstall"}
    done = there.migrate(host, "keeper", "--stop", check=False, **env)
    assert_refused(done, "keeper lives on faraway now, and stays paused here", "the uninstall hook of keeper failed")
    there.host.run("keeper", "selftest")
    (volume_directory(there.host, "keeper") / "word").write_text("life goes on there\n")
    done = json.loads(there.migrate(host, "keeper", "--stop", "--json", KEEPER_LOG=str(log)).stdout)
    assert_refused(there.migrate(host, "keeper", check=False), "there is no service named keeper")
    assert (done["finished"], done["stopped"]) == (True, True)
    assert calls(log) == ["backupstart", "uninstall", "uninstall"]
    assert (volume_directory(there.host, "keeper") / "word").exists()


def test_a_host_that_cannot_take_part_is_told_apart(host: Host, there: Faraway, tmp_path: Path) -> None:
    install_keeper(host)

    assert_refused(there.migrate(host, "keeper", "--as", "", check=False), "the name of a service is empty")

    def refused(program: str) -> str:
        done = there.migrate(host, "keeper", "--remote-program", program, check=False)
        assert_refused(done)
        return done.stderr.splitlines()[0]

    assert "faraway has no /nowhere/drunner-vault" in refused("/nowhere/drunner-vault")
    old = tmp_path / "old"
    old.write_text("#!/bin/sh\necho \"error: No such command 'receive'.\" >&2\nexit 1\n")
    old.chmod(0o755)
    assert "too old to receive services" in refused(str(old))
    noisy = shlex.join(["sh", "-c", 'echo Welcome to this host; exec "$0" "$@"', f"{programs_directory()}/drunner"])
    assert "what faraway sends is not from drunner-vault: it begins with 'Welcome" in refused(noisy)
    assert "faraway: no Docker engine answers at unix:///nowhere" in refused("env DOCKER_HOST=unix:///nowhere drunner")
