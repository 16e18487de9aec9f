"""A migration that is killed or cut off, at each of its steps: both sides are sane, and a next try finishes it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.engines import Host
from support.faraway import Faraway, LocalSide, faraway, without_images
from support.keeper import calls, install_keeper, snapshot, start, volume_directory, volume_name, wait_until
from support.sshservers import HOST, end_processes

from drunner_vault import wiring
from drunner_vault.errors import Unavailable
from drunner_vault.workflows.moving.migrate import MigrationReport, migrate, plan_migration
from drunner_vault.workflows.moving.plan import MigrationChoices
from drunner_vault.workflows.progress import Silent


@pytest.fixture
def there(other_host: Host, tmp_path: Path) -> Iterator[Faraway]:
    without_images(other_host, "test/keeper")
    with faraway(other_host, tmp_path / "faraway") as running:
        yield running


@pytest.fixture
def keeper(host: Host) -> Host:
    install_keeper(host)
    return host


def finish(source: Host, there: Faraway, log: Path) -> None:
    """Give the command again, as soon as the other side has tidied up; the service is there then, and only there."""
    there.set()
    wait_until(lambda: "is busy" not in there.migrate(source, "keeper", "--stop", check=False).stderr, 30)
    assert not (source.root / "services/keeper").exists(), calls(log)
    there.host.run("keeper", "selftest")
    for host in (source, there.host):
        assert [path for name in ("undo", "paused", "vault") for path in (host.root / name).glob("*")] == []


@pytest.mark.parametrize(
    ("side", "hook", "killed"),
    [
        ("here", "backupstart", "sender"),
        ("there", "install", "sender"),
        ("there", "restore", "receiver"),
        ("there", "selftest", "sender"),
    ],
)
def test_killed_before_it_is_proven_there(
    keeper: Host, there: Faraway, tmp_path: Path, side: str, hook: str, killed: str
) -> None:
    logs = {name: tmp_path / name for name in ("here", "there")}
    wait = {
        name: {"KEEPER_LOG": str(log)} | ({"KEEPER_WAIT": hook} if name == side else {}) for name, log in logs.items()
    }
    (volume_directory(keeper, "keeper") / "word").write_text("kept\n")
    there.set(**wait["there"])
    process = start(keeper, "migrate", "keeper", HOST, "--stop", env=there.environment(wait["here"]))
    wait_until(lambda: hook in calls(logs[side]))
    if killed == "sender":
        process.kill()
    else:
        end_processes(there.server.sessions())
    said = process.communicate(timeout=60)[1].decode()
    if killed == "receiver":
        assert "error: the connection to faraway was lost" in said
        assert "what it did" in said  # the sender has had it taken back
        assert set(snapshot(there.host)["volumes"]) & {volume_name("keeper"), volume_name("keeper", "more")} == set()
        assert not (there.host.root / "services").exists()
    Path(f"{logs[side]}.go").touch()

    wait_until(lambda: calls(logs["here"])[-1] == "backupend" and not (keeper.root / "paused").exists())
    keeper.run("keeper", "selftest")
    finish(keeper, there, logs["here"])
    assert (volume_directory(there.host, "keeper") / "word").read_text() == "kept\n"


def test_the_other_host_dies_and_does_not_come_back(keeper: Host, there: Faraway, tmp_path: Path) -> None:
    log = tmp_path / "there"
    there.set(KEEPER_LOG=str(log), KEEPER_WAIT="restore")
    process = start(keeper, "migrate", "keeper", HOST, env=there.environment())
    wait_until(lambda: "restore" in calls(log))
    there.set(PATH="/nowhere")
    end_processes(there.server.sessions())
    said = process.communicate(timeout=60)[1].decode()
    assert "notice: faraway does not answer: what it was sent is taken back there" in said
    cleaned = json.loads(there.host.drunner("clean", "--json").stdout)
    assert cleaned["services"] == ["keeper"]
    assert not (there.host.root / "services").exists()
    assert there.host.drunner("clean", check=False).returncode == 3


def test_killed_while_it_is_removed_here(keeper: Host, there: Faraway, tmp_path: Path) -> None:
    log = tmp_path / "log"
    env = there.environment({"KEEPER_LOG": str(log), "KEEPER_WAIT": "uninstall"})
    process = start(keeper, "migrate", "keeper", HOST, "--stop", env=env)
    wait_until(lambda: "uninstall" in calls(log))
    process.kill()
    process.communicate()
    time.sleep(1.5)  # as long as whoever would resume it takes
    assert calls(log) == ["backupstart", "uninstall"]
    there.host.run("keeper", "selftest")
    (volume_directory(there.host, "keeper") / "word").write_text("life goes on there\n")
    (there.host.root / "vault/arrival-keeper.json").unlink()
    finish(keeper, there, log)
    assert (volume_directory(there.host, "keeper") / "word").exists()


def move(source: Host, there: LocalSide, *, stop: bool, log: Path, said: list[str] | None = None) -> MigrationReport:
    environment = source.environment() | {"KEEPER_LOG": str(log)}
    host = wiring.service_host(environment, ([] if said is None else said).append)
    choices = MigrationChoices(stop=stop, ask_again=(0.2, 0.5, 1.0))
    return migrate(host, "keeper", there, choices, "here", Silent())


@pytest.mark.parametrize("stop", [False, True])
def test_the_last_word_gets_through_and_its_answer_is_lost(
    keeper: Host, other_host: Host, tmp_path: Path, stop: bool
) -> None:
    report = move(keeper, LocalSide(other_host, "after"), stop=stop, log=tmp_path / "log")
    assert report.stopped is stop
    assert (keeper.root / "services/keeper").exists() is not stop
    other_host.run("keeper", "selftest")


def test_the_last_word_is_lost(keeper: Host, other_host: Host, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with pytest.raises(Unavailable, match="nothing was changed there"):
        move(keeper, LocalSide(other_host, "before"), stop=True, log=log)
    assert calls(log) == ["backupstart", "backupend"]
    assert not (other_host.root / "services/keeper").exists()
    assert move(keeper, LocalSide(other_host), stop=True, log=log).stopped


@pytest.mark.parametrize("stop", [False, True])
def test_nobody_knows_whether_the_last_word_got_through_until_the_command_is_given_again(
    keeper: Host, other_host: Host, tmp_path: Path, stop: bool
) -> None:
    log, word = tmp_path / "log", "word"
    with pytest.raises(Unavailable, match="keeper may run there too") as caught:
        move(keeper, LocalSide(other_host, "after", dead_calls=3), stop=stop, log=log)
    assert "give the same command again" in caught.value.hint
    assert calls(log)[-1] == "backupend"
    (volume_directory(keeper, "keeper") / word).write_text("written meanwhile\n")
    home = wiring.service_host(keeper.environment(), lambda text: None)
    assert plan_migration(home, "keeper", LocalSide(other_host), MigrationChoices(stop=stop)).arrived
    said: list[str] = []
    report = move(keeper, LocalSide(other_host), stop=stop, log=log, said=said)
    assert (report.stopped, report.finished) == (stop, not stop)
    assert said == (["what an earlier try brought to faraway is replaced by what is here now"] if stop else [])
    assert (volume_directory(other_host, "keeper") / word).exists() is stop
    assert not (keeper.root / "vault").exists()
