"""A drill: the service comes back apart from everything else, and nothing of it is left."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.engines import Completed, Host
from support.keeper import Key, assert_refused, make_key, snapshot, start, volume_directory, wait_until
from support.services import build_example
from support.trespasser import IMAGE, build_trespasser, links, networks, tries

LIVE = "trespass-live"


@pytest.fixture
def key(tmp_path: Path) -> Key:
    return make_key(tmp_path)


@pytest.fixture
def store(tmp_path: Path) -> str:
    (tmp_path / "store").mkdir()
    return f"file://{tmp_path}/store"


@pytest.fixture
def trespasser(host: Host, key: Key, store: str, tmp_path: Path) -> Host:
    """A host with the service, an archive of it, and the environment that it asks for."""
    host.drunner("install", build_trespasser(host), "trespasser")
    (volume_directory(host, "trespasser") / "word").write_text("kept\n")
    host.drunner("backup", "trespasser", store, "-r", key.recipient)
    return host


@pytest.fixture
def live(host: Host) -> Iterator[dict[str, str]]:
    """Somebody else's container, which the service is told of."""
    build_trespasser(host)
    host.docker("network", "create", "trespass-net")
    host.docker("volume", "create", LIVE)
    host.docker("tag", IMAGE, "test/moved:1")
    host.docker("import", "-c", "CMD true", "-", "test/base-of-others:1", input="")
    serve = ("httpd", "-f", "-p", "8080", "-h", "/etc")
    host.docker("run", "-d", "--name", LIVE, "-p", "8080:8080", "-v", f"{LIVE}:/data", IMAGE, *serve)
    form = "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{.Gateway}}{{end}}"
    address, gateway = host.docker("inspect", "-f", form, LIVE).stdout.split()
    yield {
        "TRESPASS_LIVE": LIVE,
        "TRESPASS_IP": address,
        "TRESPASS_GATEWAY": gateway,
        "TRESPASS_SOCKET": host.docker_host.removeprefix("unix://"),
    }
    host.docker("rm", "-f", LIVE)
    host.docker("network", "rm", "trespass-net")
    host.docker("rmi", "test/moved:1", "test/base-of-others:1")


def everything(host: Host) -> dict[str, object]:
    """All that a drill could leave behind on a host."""
    return {**snapshot(host), "networks": networks(host), "links": links(host)}


def result(done: Completed) -> dict[str, object]:
    """What a command with --json printed last."""
    found = json.loads(done.stdout.splitlines()[-1])
    assert isinstance(found, dict)
    return found


def test_a_running_service_is_drilled_beside_itself_and_nothing_is_left(host: Host, key: Key, store: str) -> None:
    host.drunner("install", build_example(host, "notes"), "notes")
    host.run("notes", "add", "milk")
    host.run("notes", "start")
    host.drunner("backup", "notes", store, "-r", key.recipient)
    before = everything(host)
    report = result(host.drunner("drill", store, "notes", "-i", key.identity, "--json"))
    assert (report["verdict"], report["selftest"], report["started"]) == ("passed", "passed", "restore")
    assert (report["refused"], report["changed"], report["left"]) == ([], [], [])
    assert everything(host) == before
    assert "is running" in host.run("notes", "status").stdout
    (listed,) = json.loads(host.drunner("archives", store, "--json").stdout)
    assert listed["drill_seconds"] == report["seconds"]
    assert listed["drilled"] == listed["verified"] != None  # noqa: E711


def test_a_service_reaches_nothing_but_itself(
    trespasser: Host, key: Key, store: str, live: dict[str, str], tmp_path: Path
) -> None:
    host, log = trespasser, tmp_path / "log"
    for address in (live["TRESPASS_IP"], live["TRESPASS_GATEWAY"]):
        host.docker("run", "--rm", IMAGE, "bash", "-c", f"echo >/dev/tcp/{address}/8080")
    before = everything(host)
    env = {**live, "TRESPASS_LOG": str(log)}
    report = result(host.drunner("drill", store, "trespasser", "-i", key.identity, "--json", env=env))
    harmful, harmless = tries(log)
    assert {what for what, code in harmful.items() if code == 0} == set()
    assert {what: code for what, code in harmless.items() if code} == {}
    assert (report["verdict"], report["started"], report["fetched"]) == ("passed", "restore", [])
    assert report["left"] == []
    assert [item["health"] for item in report["containers"]] == ["healthy"]  # type: ignore[attr-defined]
    assert everything(host) == before
    assert host.docker("inspect", "-f", "{{.State.Status}}", LIVE).stdout.strip() == "running"
    assert not Path("/etc/trespass").exists()
    said = " ".join([*report["changed"], *report["refused"]])  # type: ignore[misc]
    for word in ("--privileged", str(8080), "trespass-net", LIVE, "/etc of this host"):
        assert word in said


@pytest.mark.parametrize(
    ("fails", "words"),
    [("selftest", ("selftest", "The notes are lost.")), ("crash", ("exit code 4", "no licence"))],
)
def test_a_service_that_does_not_come_back_fails_its_drill(
    trespasser: Host, key: Key, store: str, tmp_path: Path, fails: str, words: tuple[str, ...]
) -> None:
    before = everything(trespasser)
    env = {"TRESPASS_FAIL": fails, "TRESPASS_LOG": str(tmp_path / "log")}
    done = trespasser.drunner("drill", store, "trespasser", "-i", key.identity, env=env, check=False)
    assert_refused(done, "trespasser did not come back", *words)
    assert everything(trespasser) == before
    (listed,) = json.loads(trespasser.drunner("archives", store, "--json").stdout)
    assert (listed["drilled"], listed["verified"], listed["complete"]) == (None, None, True)
    assert listed["drill_failed"]
    assert "failed 20" in trespasser.drunner("archives", store).stdout


def test_a_hook_that_hangs_is_ended_in_time_and_the_image_goes(
    trespasser: Host, key: Key, store: str, tmp_path: Path
) -> None:
    trespasser.drunner("obliterate", "trespasser")
    trespasser.docker("rmi", IMAGE)
    before = everything(trespasser)
    env = {"TRESPASS_FAIL": "hang", "TRESPASS_LOG": str(tmp_path / "log")}
    (tmp_path / "other").mkdir()
    wrong = make_key(tmp_path / "other").identity
    assert_refused(trespasser.drunner("drill", f"{store}/latest", "-i", wrong, check=False), "none of")
    assert everything(trespasser) == before
    done = trespasser.drunner("drill", store, "trespasser", "-i", key.identity, "--timeout", "2s", env=env, check=False)
    assert_refused(done, "trespasser did not come back", "has not ended in 2 seconds")
    assert everything(trespasser) == before


def test_an_image_that_cannot_be_had_tells_nothing_of_the_archive(trespasser: Host, key: Key, store: str) -> None:
    command = ("drill", store, "trespasser", "-i", key.identity, "--image", "test/no-such-image:1")
    assert_refused(trespasser.drunner(*command, check=False), "test/no-such-image:1")
    (listed,) = json.loads(trespasser.drunner("archives", store, "--json").stdout)
    assert listed["drill_failed"] is None


@pytest.mark.parametrize("tidies", ["clean", "drill"])
def test_what_a_killed_drill_leaves_goes_with_the_next_drill_or_clean(
    trespasser: Host, key: Key, store: str, tmp_path: Path, tidies: str
) -> None:
    log = tmp_path / "log"
    trespasser.docker("image", "prune", "--force")  # as `clean` will
    before = everything(trespasser)
    command = ("drill", store, "trespasser", "-i", key.identity)
    env = {"TRESPASS_FAIL": "hang", "TRESPASS_LOG": str(log)}
    killed = start(trespasser, *command, env=env)
    wait_until(lambda: Path(f"{log}.hangs").exists())
    assert "trespasser" in trespasser.drunner("list").stdout
    assert "-drill-" not in trespasser.drunner("list").stdout
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert len(trespasser.containers()) == len(before["containers"]) + 1  # type: ignore[arg-type]
    again = {"TRESPASS_LOG": str(log), "TRESPASS_FAIL": "start"}
    done = trespasser.drunner(*(("clean",) if tidies == "clean" else command), "--json", env=again)
    assert everything(trespasser) == before
    if tidies == "drill":
        assert (result(done)["verdict"], result(done)["started"]) == ("passed", "start")
    else:
        assert len(json.loads(done.stdout)["drills"]) == 1


def test_an_interrupted_drill_leaves_nothing(trespasser: Host, key: Key, store: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    before = everything(trespasser)
    env = {"TRESPASS_FAIL": "hang", "TRESPASS_LOG": str(log)}
    stopped = start(trespasser, "drill", store, "trespasser", "-i", key.identity, env=env)
    wait_until(lambda: Path(f"{log}.hangs").exists())
    stopped.send_signal(signal.SIGTERM)
    stopped.communicate()
    assert stopped.returncode == 130
    assert everything(trespasser) == before
