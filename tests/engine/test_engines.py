"""The private engines and the registry that the other tests stand on are what they claim to be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from support.engines import CommandFailedError, Host, private_host
from support.images import BASE, build_image, ensure_base
from support.registry import Registry


def test_two_hosts_have_separate_engines(host: Host, other_host: Host) -> None:
    host.docker("volume", "create", "only-here")
    assert "only-here" in host.volumes()
    assert "only-here" not in other_host.volumes()
    identity = ("info", "--format", "{{.ID}}")
    assert host.docker(*identity).stdout != other_host.docker(*identity).stdout


def test_two_hosts_have_separate_networks(host: Host, other_host: Host, registry: Registry) -> None:
    port = registry.address.rpartition(":")[2]
    knock = ("bash", "-c", f"echo >/dev/tcp/127.0.0.1/{port}")
    assert host.run(*knock, check=False).returncode == 0
    assert other_host.run(*knock, check=False).returncode != 0


def test_a_fresh_host_leaves_the_engine_as_it_was(fresh_host: Callable[[Host], Host], host_a: Host) -> None:
    ensure_base(host_a)
    host_a.docker("volume", "create", "kept")
    before = (host_a.containers(), host_a.volumes())
    host = fresh_host(host_a)
    host.docker(
        "run", "-d", "--name", "drunner-left", "-v", "drunner-left:/d", "-v", "/anonymous", BASE, "sleep", "999"
    )
    host.docker("pause", "drunner-left")
    host.remove_all_but(*before)
    assert (host_a.containers(), host_a.volumes()) == before
    host_a.docker("volume", "rm", "kept")


def test_fresh_hosts_share_nothing_but_the_engine(fresh_host: Callable[[Host], Host], host_a: Host) -> None:
    one, two = fresh_host(host_a), fresh_host(host_a)
    assert one.docker_host == two.docker_host
    for place in ("root", "bin_dir", "config_dir", "home"):
        assert getattr(one, place) != getattr(two, place)


def test_a_stopped_engine_leaves_no_process_mount_or_directory(engines_directory: Path) -> None:
    with private_host("short-lived", engines_directory) as host:
        ensure_base(host)
        host.docker("run", "-d", "--restart", "always", BASE, "sleep", "999")
    assert not host.directory.exists()
    assert not Path("/var/run/netns", host.netns).exists()
    assert str(host.directory) not in Path("/proc/mounts").read_text()
    assert not [line for line in _command_lines() if str(host.directory) in line]


def test_an_engine_that_cannot_start_shows_its_log(engines_directory: Path) -> None:
    broken = engines_directory / "broken"
    broken.mkdir()
    (broken / "data").write_text("a file where a directory belongs")
    with pytest.raises(RuntimeError, match=r"broken/data"), private_host("broken", engines_directory):
        pass
    assert not broken.exists()


def test_an_image_has_its_files_its_user_and_a_shell(host: Host) -> None:
    tag = build_image(host, "test/tiny:1", {"/drunner/servicerunner": "#!/bin/bash\necho hello\n", "/note": b"n\n"})
    done = host.docker("run", "--rm", tag, "/bin/bash", "-c", "id -u; /drunner/servicerunner; cat /note")
    assert done.stdout.split() == ["22022", "hello", "n"]


def test_an_image_may_prepare_directories_and_stay_root(host: Host) -> None:
    tag = build_image(host, "test/root:1", {"/f": "x"}, user=None, instructions=["RUN mkdir /d && chown 7:8 /d"])
    assert host.docker("run", "--rm", tag, "stat", "-c", "%u:%g", "/d").stdout.strip() == "7:8"
    assert host.docker("run", "--rm", tag, "id", "-u").stdout.strip() == "0"


def test_a_command_that_fails_says_what_it_printed(host: Host) -> None:
    with pytest.raises(CommandFailedError, match="no such thing"):
        host.run("bash", "-c", "echo no such thing >&2; exit 4")
    assert host.run("bash", "-c", "exit 4", check=False).returncode == 4


def test_a_host_knows_nothing_of_the_test_runs_environment(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PASS", "secret")
    assert "PASS" not in host.run("env").stdout


def test_the_registry_serves_only_those_who_logged_in(host: Host, registry: Registry) -> None:
    image = registry.image("tiny:2")
    build_image(host, image, {"/note": "from the registry"})
    assert host.docker("push", image, check=False).returncode != 0
    registry.login(host)
    host.docker("push", image)
    host.docker("rmi", image)
    host.docker("pull", image)
    assert host.docker("run", "--rm", image, "cat", "/note").stdout == "from the registry"
    registry.logout(host)
    assert host.docker("pull", image, check=False).returncode != 0


def _command_lines() -> list[str]:
    lines = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            lines.append((process / "cmdline").read_bytes().decode(errors="replace"))
        except OSError:  # it has ended meanwhile
            continue
    return lines
