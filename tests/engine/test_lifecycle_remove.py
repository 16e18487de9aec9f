"""`uninstall`, `obliterate` and `clean`: what goes, and what must stay."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.engines import Host
from support.images import build_image
from support.probe import build_probe, document, refused, snapshot
from support.services import build_fixture


def names_below(path: Path) -> set[str]:
    """All names below a directory; none if it is not there."""
    return {item.relative_to(path).as_posix() for item in path.rglob("*")} if path.exists() else set()


@pytest.mark.parametrize("service", ["first", "second", "third"])
def test_obliterate_leaves_the_host_as_it_was_before_install(host: Host, service: str) -> None:
    image = build_fixture(host, service)
    before = snapshot(host)
    host.drunner("install", image, "mine")
    host.drunner("obliterate", "mine")
    assert snapshot(host) == before


def test_a_service_that_comes_and_goes_leaves_no_directories(host: Host) -> None:
    image = build_probe(host)
    host.root.mkdir()
    host.drunner("install", image, "mine")
    host.drunner("uninstall", "mine")
    host.drunner("recover", "mine", image)
    host.drunner("obliterate", "mine")
    assert names_below(host.root) == set()


def test_obliterating_one_service_leaves_the_others_alone(host: Host) -> None:
    image = build_probe(host)
    host.drunner("install", image, "mine-too")
    host.run("mine-too", "keep")
    host.run("mine-too", "write", "kept")
    before = snapshot(host)
    host.drunner("install", image, "mine")
    host.drunner("obliterate", "mine")
    assert snapshot(host) == before


def test_uninstall_keeps_the_volumes_and_nothing_else(host: Host) -> None:
    host.drunner("install", build_probe(host), "mine")
    host.run("mine", "write", "kept")
    assert document(host.drunner("uninstall", "mine", "--json")) == {
        "service": "mine",
        "kept_volumes": ["drunner-mine-data"],
    }
    assert names_below(host.root) == set()
    assert host.launchers() == set()
    assert "drunner-mine-data" in host.volumes()
    host.drunner("install", "test/probe:1", "mine")
    assert host.run("mine", "read").stdout == "kept\n"


@pytest.mark.parametrize("command", ["uninstall", "obliterate"])
def test_a_hook_that_fails_stops_the_removal_unless_forced(host: Host, command: str) -> None:
    host.drunner("install", build_probe(host), "mine")
    failing = {"FAIL_AT": command}
    said = refused(host, command, "mine", env=failing)
    assert f"the {command} hook of mine failed with exit code 4" in said
    assert f"drunner-vault {command} --force mine" in said
    done = host.drunner(command, "--force", "mine", env=failing)
    assert "going on" in done.stderr
    assert names_below(host.root) == set()
    assert ("drunner-mine-data" in host.volumes()) == (command == "uninstall")


@pytest.mark.parametrize("command", ["uninstall", "obliterate"])
def test_a_damaged_service_can_be_removed_by_force(host: Host, command: str) -> None:
    host.drunner("install", build_probe(host), "mine")
    (host.root / "services" / "mine" / "drunner" / "servicecfg.sh").write_text("nonsense\n")
    refused(host, command, "mine")
    host.drunner(command, "--force", "mine")
    assert names_below(host.root) == set()
    assert ("drunner-mine-data" in host.volumes()) == (command == "uninstall")


def test_obliterate_removes_nothing_while_a_container_uses_a_volume(host: Host) -> None:
    """Also not the volumes that nobody uses."""
    host.drunner("install", build_probe(host, cfg='VOLUMES=("/data" "/more")\n'), "mine")
    host.docker("run", "-d", "--name", "somebody", "-v", "drunner-mine-more:/m", "test/probe:1", "sleep", "1000")
    said = refused(host, "obliterate", "mine")
    assert "drunner-mine-more is still used by somebody" in said
    assert "drunner-vault obliterate --force mine" in said
    host.drunner("obliterate", "--force", "mine")
    assert names_below(host.root) == set()
    assert not {name for name in host.volumes() if name.startswith("drunner-mine")}
    assert "somebody" not in host.containers()


def test_a_launcher_that_somebody_has_changed_is_not_removed(host: Host) -> None:
    host.drunner("install", build_probe(host), "mine")
    (host.bin_dir / "mine").write_text("#!/bin/sh\necho something of somebody's\n")
    host.drunner("obliterate", "mine")
    assert host.launchers() == {"mine"}


def test_clean_with_nothing_to_do_exits_3(host: Host) -> None:
    host.drunner("clean", check=False)
    refused(host, "clean", code=3)
    assert not host.root.exists()


def test_clean_removes_images_without_a_name_but_not_those_of_services(host: Host) -> None:
    host.drunner("clean", check=False)
    host.write_config_sh()
    host.drunner("install", build_probe(host, "test/cleaned:1"), "mine")
    build_image(host, "test/cleaned:2", {"/first": "x"})
    ours, unused = (
        host.docker("inspect", "-f", "{{.Id}}", image).stdout.strip() for image in ("test/cleaned:1", "test/cleaned:2")
    )
    build_probe(host, "test/cleaned:1", version="two")
    build_image(host, "test/cleaned:2", {"/second": "x"})
    cleaned = document(host.drunner("clean", "--json"))
    assert cleaned["images"] == [unused]
    assert host.docker("inspect", "-f", "{{.Id}}", ours).stdout.strip() == ours


def test_clean_removes_what_killed_commands_left_but_nothing_of_living_ones(host: Host) -> None:
    host.drunner("clean", check=False)
    host.drunner("install", build_probe(host), "mine")
    helper = host.docker("create", "--label", "drunner-vault.helper=1", "test/probe:1").stdout.strip()
    left = host.root / "tmp" / "mine.abcdefgh"
    (left / "hook").mkdir(parents=True)
    lock = host.root / "locks" / "mine.lock"
    lock.parent.mkdir()
    lock.touch()
    holding = ("flock", lock, "drunner")
    assert host.run(*holding, "clean", check=False).returncode == 3
    assert left.exists()
    cleaned = document(host.drunner("clean", "--json"))
    assert (cleaned["containers"], cleaned["paths"]) == ([helper], [str(left)])
    assert not (host.root / "tmp").exists()
