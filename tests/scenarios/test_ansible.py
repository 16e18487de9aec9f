"""A fleet is looked after with Ansible: the role and the modules of examples/ansible, as real playbooks use them."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.engines import Host
from support.keeper import Key, build_keeper, make_key, volume_directory, volume_name
from support.playbooks import EXAMPLE, ControlNode

TABLE = "cron.d/drunner-vault"
LATER = ("--start-at-task", "Make the directory of the settings")  # what comes before takes its time


class Fleet:
    """A control node, and a host of its own, on which the playbook for all has been played once."""

    def __init__(self, host: Host, directory: Path) -> None:
        self.host, self.directory, self.key = host, directory, make_key(directory)
        for name in ("store", "cron.d", "control"):
            (directory / name).mkdir()
        self.control = ControlNode(directory / "control", host, variables(host, directory, self.key))
        self.rehearsed = self.control.play("site.yml", "--check")
        self.untouched = not host.root.exists() and not host.config_dir.exists() and not self.tables()
        self.played = self.control.play("site.yml")

    @property
    def settings(self) -> Path:
        return self.host.config_dir / "vault.toml"

    def tables(self) -> list[str]:
        return sorted(path.name for path in (self.directory / "cron.d").iterdir())

    def services(self) -> list[str]:
        return [service["name"] for service in self.drunner("list")]

    def drunner(self, *arguments: str) -> Any:
        """What the program says that the role has installed."""
        done = self.host.run(self.host.bin_dir / "drunner-vault", *arguments, "--json", env=self.control.environment)
        return json.loads(done.stdout)


def variables(host: Host, directory: Path, key: Key) -> dict[str, Any]:
    """What differs here from the example's own variables."""
    return {
        "backup_store": f"file://{directory}/store",
        "backup_recipient": key.recipient,
        "vault_aws_access_key_id": "AKIAEXAMPLE",
        "vault_aws_secret_access_key": 'not "really" a # secret',
        "drunner_vault_pip_options": ["--no-index"],
        "drunner_vault_python": sys.executable,
        "drunner_vault_packages": [],
        "drunner_vault_venv": str(host.home / "venv"),
        "drunner_vault_bin_dir": str(host.bin_dir),
        "drunner_vault_environment": {
            "DRUNNER_ROOT": str(host.root),
            "DRUNNER_BIN": str(host.bin_dir),
            "DRUNNER_CONFIG_DIR": str(host.config_dir),
            "DOCKER_HOST": host.docker_host,
        },
        "drunner_vault_services": [{"name": "keeper", "image": build_keeper(host)}],
        "drunner_vault_schedule_system": "cron",
        "drunner_vault_schedule_directory": str(directory / "cron.d"),
    }


@pytest.fixture(scope="module")
def fleet(host_a: Host, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    host = host_a.anew()
    containers, volumes = host.containers(), host.volumes()
    yield Fleet(host, tmp_path_factory.mktemp("fleet"))
    host.remove_all_but(containers, volumes)


def test_the_first_run_sets_a_host_up(fleet: Fleet) -> None:
    assert fleet.played.counts["changed"] > 0
    assert fleet.services() == ["keeper"]
    assert (fleet.host.bin_dir / "drunner-vault").resolve().parent == fleet.host.home / "venv/bin"
    shown = fleet.drunner("config", "show")
    assert shown["stores"]["main"]["retention"] == {"keep_daily": 7, "keep_weekly": 4, "keep_monthly": 12}
    assert shown["jobs"]["nightly"]["jitter"] == "10m"
    assert shown["environment_file"] == str(fleet.host.config_dir / "vault.env")
    assert (fleet.host.config_dir / "vault.env").stat().st_mode & 0o777 == 0o600
    assert fleet.settings.stat().st_mode & 0o777 == 0o600
    assert "run nightly --scheduled" in (fleet.directory / TABLE).read_text()


def test_a_rehearsal_on_a_new_host_says_that_all_would_change_and_touches_nothing(fleet: Fleet) -> None:
    assert fleet.rehearsed.counts["changed"] > 3
    assert fleet.untouched


def test_the_second_run_changes_nothing_and_a_rehearsal_knows(fleet: Fleet) -> None:
    assert fleet.control.play("site.yml").counts["changed"] == 0
    assert fleet.control.play("site.yml", "--check").counts["changed"] == 0


def test_settings_that_make_no_sense_are_refused_and_nothing_changes(fleet: Fleet) -> None:
    settings, table = fleet.settings.read_text(), (fleet.directory / TABLE).read_text()
    broken = {"stores": {"main": {"url": "file:///backups"}}, "jobs": {"nightly": {"store": "mian"}}}
    played = fleet.control.play("site.yml", *LATER, code=2, drunner_vault_settings=broken)
    assert (played.counts["failed"], played.counts["changed"]) == (1, 0)
    assert f"{fleet.settings}, line" in played.said
    assert "there is no store mian in the settings (did you mean main?)" in played.said
    assert "nobody to encrypt to" in played.said
    assert fleet.settings.read_text() == settings
    assert (fleet.directory / TABLE).read_text() == table
    assert sorted(path.name for path in fleet.host.config_dir.glob(".*")) == []


def test_a_service_is_backed_up_and_restored_once(fleet: Fleet) -> None:
    shutil.rmtree(fleet.directory / "store")
    (fleet.directory / "store").mkdir()
    first = fleet.control.play("backup.yml", service="keeper")
    again = fleet.control.play("backup.yml", service="keeper")
    assert (first.counts["changed"], again.counts["changed"]) == (1, 0)
    (archive,) = (fleet.directory / "store").rglob("*.age")
    assert archive.name in first.said
    assert archive.name in again.said

    (volume_directory(fleet.host, "keeper") / "later").touch()
    asked = {"service": "keeper", "service_here": "again", "recovery_key": str(fleet.key.identity)}
    assert fleet.control.play("restore.yml", "--check", **asked).counts["changed"] == 1
    assert fleet.services() == ["keeper"]
    assert fleet.control.play("restore.yml", **asked).counts["changed"] == 1
    assert fleet.services() == ["again", "keeper"]
    assert not (volume_directory(fleet.host, "again") / "later").exists()
    assert fleet.control.play("restore.yml", **asked).counts["changed"] == 0


def test_each_state_of_a_service_comes_about_once(fleet: Fleet) -> None:
    fleet.host.write_config_sh(pull_on_update=0)
    first, second = build_keeper(fleet.host), build_keeper(fleet.host, "test/keeper:2", note="2")

    def service(**options: Any) -> dict[str, Any]:
        return {"drunner_vault_service": {"name": "other", **options}}

    steps = [
        (service(image=first), "changed"),
        (service(image=second), "failed: other is installed from test/keeper:1"),
        (service(image=second, reinstall=True), "changed"),
        (service(image=second, reinstall=True), "unchanged"),
        ({**service(image=second, state="latest"), "check_mode": True}, "skipped"),
        (service(image=second, state="latest"), "unchanged"),
        (service(state="absent"), "changed"),
        (service(state="absent"), "unchanged"),
        (service(image="test/absent:1"), "failed: "),
    ]
    came = [outcome(result) for result in fleet.control.play_tasks(*(task for task, _ in steps))]
    assert all(found.startswith(wanted) for found, (_, wanted) in zip(came, steps, strict=True)), came
    assert f"{volume_name('other')}" in fleet.host.volumes()


def test_jobs_are_run_and_schedules_removed_and_what_is_refused_is_said(fleet: Fleet) -> None:
    schedule = {"system": "cron", "directory": str(fleet.directory / "cron.d")}
    steps = [
        ({"drunner_vault_backup": {"job": "nightly"}}, "changed"),
        ({"drunner_vault_backup": {"all": True, "dest": "main"}}, "changed"),
        ({"drunner_vault_backup": {"service": "nothing", "dest": "main"}}, "failed: there is no service named nothing"),
        ({"drunner_vault_backup": {"service": "keeper", "dest": "/b", "unless_newer": "1h"}}, "failed: unless_newer"),
        ({"drunner_vault_restore": {"name": "nothing", "source": "main"}}, "failed: there is no archive of nothing"),
        ({"drunner_vault_schedule": {"state": "absent", **schedule}, "check_mode": True}, "changed"),
        ({"drunner_vault_schedule": {"state": "absent", **schedule}}, "changed"),
        ({"drunner_vault_schedule": {"state": "absent", **schedule}}, "unchanged"),
        ({"drunner_vault_schedule": schedule, "check_mode": True}, "changed"),
        ({"drunner_vault_schedule": schedule}, "changed"),
        ({"drunner_vault_schedule": schedule}, "unchanged"),
    ]
    results = fleet.control.play_tasks(*(task for task, _ in steps))
    came = [outcome(result) for result in results]
    assert all(found.startswith(wanted) for found, (_, wanted) in zip(came, steps, strict=True)), came
    assert {run["verdict"] for run in results[0]["result"]["runs"]} == {"done"}
    assert results[2]["error"]["kind"] == "UnknownService"


def outcome(result: dict[str, Any]) -> str:
    """What became of a task, in a word; with its message if it failed."""
    if result.get("failed"):
        return f"failed: {result['msg']}"
    return "skipped" if result.get("skipped") else "changed" if result["changed"] else "unchanged"


def test_every_module_is_documented(fleet: Fleet) -> None:
    names = sorted(path.stem for path in (EXAMPLE / "roles/drunner_vault/library").glob("*.py"))
    done = fleet.control.run("doc", "--type", "module", "--json", *names)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert sorted(found) == names
    for name in names:
        assert found[name]["doc"]["options"], name
        assert found[name]["examples"], name
        assert found[name]["return"], name
