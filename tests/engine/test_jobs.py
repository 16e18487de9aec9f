"""Jobs from end to end: several services, one that fails, who is told, and what health says."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.engines import Completed, Host
from support.keeper import Key, install_keeper, make_key, wait_until
from support.listeners import Listener, listening

SETTINGS = """\
recipients = ["{recipient}"]
metrics = "{directory}/vault.prom"

[stores.near]
url = "{directory}/near"
[stores.near.retention]
keep_last = 1

[stores.far]
url = "{directory}/far"

[notifications.ops]
urls = ["{alarms}"]
on = ["failure", "recovery", "stale", "success"]

[jobs.nightly]
store = "near"
copy_to = ["far"]
at_once = 2
schedule = "@daily"
images = "never"
ping = "{ping}"
{more}
"""


@pytest.fixture
def listener() -> Iterator[Listener]:
    with listening() as found:
        yield found


@pytest.fixture
def site(host: Host, tmp_path: Path, listener: Listener) -> Site:
    return Site(host, tmp_path, listener, make_key(tmp_path))


class Site:
    """A host with two services, two stores, and somebody who listens."""

    def __init__(self, host: Host, directory: Path, listener: Listener, key: Key) -> None:
        self.host, self.directory, self.listener, self.key = host, directory, listener, key
        for name in ("near", "far"):
            (directory / name).mkdir()
        for name in ("keeper", "wiki"):
            install_keeper(host, name)
        self.configure()

    def configure(self, more: str = "") -> None:
        self.host.config_dir.mkdir(exist_ok=True)
        text = SETTINGS.format(
            recipient=self.key.recipient,
            directory=self.directory,
            alarms=self.listener.apprise(),
            ping=f"{self.listener.url}/check",
            more=more,
        )
        (self.host.config_dir / "vault.toml").write_text(text)

    def call(self, *arguments: str, env: dict[str, str] | None = None) -> Completed:
        """A command of ours, where it reaches whoever listens."""
        return self.host.drunner(*arguments, env=env, check=False, in_netns=False)

    def start(self, *arguments: str, env: dict[str, str]) -> subprocess.Popen[bytes]:
        """A command of ours that runs beside the test."""
        environment, command = self.host.environment() | env, self.host.command("drunner", *arguments, in_netns=False)
        quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        return subprocess.Popen(command, env=environment, cwd=self.host.home, **quiet)

    def history(self, *arguments: str) -> list[dict[str, object]]:
        return json.loads(self.call("history", "--json", *arguments).stdout)  # type: ignore[no-any-return]

    def archives(self, store: str = "near") -> list[str]:
        found = json.loads(self.call("archives", store, "--json").stdout)
        return sorted(item["service"] for item in found)


def test_a_job_backs_up_copies_prunes_and_tells(site: Site) -> None:
    for _ in range(2):
        done = site.call("run", "nightly", "--json")
        assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["ok"], report["verdict"], report["complaints"]) == (True, "done", [])
    assert {(run["task"], run["service"], run["store"]) for run in report["runs"]} == {
        (task, service, store)
        for service in ("keeper", "wiki")
        for task, store in (("backup", "near"), ("copy", "far"), ("prune", "near"))
    }
    assert site.archives("near") == ["keeper", "wiki"]
    assert site.archives("far") == ["keeper", "keeper", "wiki", "wiki"]
    assert site.listener.pings() == ["/start", "", "/start", ""]
    assert site.listener.titles() == ["job nightly is done"] * 2
    backup = next(run for run in site.history("--service", "wiki") if run["task"] == "backup")
    assert backup["job"] == "nightly"
    assert int(str(backup["bytes"])) > 0
    assert float(str(backup["paused"])) > 0
    assert "/near/" in str(backup["archive"])
    metrics = (site.directory / "vault.prom").read_text()
    label = 'vault_job="nightly",task="backup",service="wiki",store="near"'
    assert f"drunner_vault_last_run_success{{{label}}} 1" in metrics
    assert "drunner_vault_alarms 0" in metrics
    assert site.call("health").returncode == 0


def test_one_that_fails_does_not_stop_the_rest_and_recovery_is_announced(site: Site) -> None:
    runner = site.host.root / "services" / "keeper" / "drunner" / "servicerunner"
    text = runner.read_text()
    runner.write_text(text.replace('case "$1" in', '[ "$1" != backupstart ] || die "No, says the hook."\ncase "$1" in'))
    for _ in range(2):
        done = site.call("run", "nightly")
        assert done.returncode == 1
        assert "error: backup of keeper: failed" in done.stderr
        assert "No, says the hook." in done.stderr
    assert site.archives() == ["wiki"]
    assert site.listener.pings() == ["/start", "/fail"] * 2
    assert "No, says the hook." in next(body for path, body in site.listener.said if path == "/check/fail")
    assert site.listener.titles() == ["backup of keeper (job nightly) failed"]
    sick = site.call("health")
    assert (sick.returncode, len(sick.stdout.splitlines())) == (1, 1)
    assert "backup of keeper" in sick.stdout
    runner.write_text(text)
    assert site.call("run", "nightly").returncode == 0
    assert site.listener.titles()[1:] == ["resolved: backup of keeper (job nightly) failed", "job nightly is done"]
    assert site.call("health").stdout.startswith("all is well")


def test_a_directory_whose_disk_is_not_mounted_gets_no_archive(site: Site) -> None:
    """The empty directory below the mount takes everything; but it is not the store that was used before."""
    site.configure()
    assert site.call("run", "nightly").returncode == 0
    (site.directory / "near").rename(site.directory / "unmounted")
    (site.directory / "near").mkdir()
    done = site.call("run", "nightly")
    assert done.returncode == 1
    assert f"{site.directory}/near is not the store that was used before: its identity is missing" in done.stderr
    assert f"is the disk mounted at {site.directory}/near?" in done.stderr
    assert list((site.directory / "near").iterdir()) == []
    assert "not the store that was used before" in site.call("health").stdout
    (site.directory / "near").rmdir()
    (site.directory / "unmounted").rename(site.directory / "near")
    assert site.call("run", "nightly").returncode == 0
    assert site.call("health").returncode == 0


def test_a_store_that_is_gone_raises_alarms_and_an_unreachable_listener_fails_no_backup(site: Site) -> None:
    site.configure('max_age = "1h"')
    assert site.call("run", "nightly").returncode == 0
    (site.directory / "near").rename(site.directory / "gone")
    site.listener.refused = ("/alarms",)
    assert site.call("run", "nightly").returncode == 1
    done = site.call("health", "--notify", "--quiet")
    assert done.returncode == 1
    assert "store near cannot be read" in done.stdout
    assert "notification ops could not be told" in done.stdout
    (site.directory / "gone").rename(site.directory / "near")
    done = site.call("run", "nightly")
    assert done.returncode == 0, done.stderr
    assert "notice: notification ops: json: " in done.stderr
    site.listener.refused = ()
    site.listener.said.clear()
    assert site.call("health", "--notify", "--quiet").stdout == ""
    assert all(title.startswith("resolved: ") for title in site.listener.titles())
    assert len(site.listener.titles()) == 1


def test_an_overlapping_run_is_skipped_and_a_killed_one_is_remembered(site: Site) -> None:
    log = site.directory / "log"
    env = {"KEEPER_WAIT": "backupstart", "KEEPER_LOG": str(log)}
    first = site.start("run", "nightly", env=env)
    wait_until(lambda: log.exists() and log.read_text().count("backupstart") == 2)
    second = site.call("run", "nightly")
    assert second.returncode == 3
    assert "running already" in second.stderr
    first.send_signal(signal.SIGKILL)
    first.wait()
    Path(f"{log}.go").touch()
    wait_until(lambda: not list((site.host.root / "locks").glob("*")))
    skipped, *failed = site.history("--failed")
    assert (skipped["task"], skipped["verdict"]) == ("job", "skipped")
    assert {(run["task"], run["service"], run["verdict"]) for run in failed} == {
        ("job", "", "failed"),
        ("backup", "keeper", "failed"),
        ("backup", "wiki", "failed"),
    }
    assert all("interrupted" in str(run["why"]) for run in failed)
    assert site.call("health").returncode == 1
    assert site.call("run", "nightly").returncode == 0
    assert site.call("health").returncode == 0


def test_a_job_that_is_stopped_undoes_what_it_began(site: Site) -> None:
    log = site.directory / "log"
    job = site.start("run", "nightly", env={"KEEPER_WAIT": "backupstart", "KEEPER_LOG": str(log)})
    wait_until(lambda: log.exists() and log.read_text().count("backupstart") == 2)
    job.terminate()
    Path(f"{log}.go").touch()
    job.wait()
    assert job.returncode == 130
    assert site.archives() == []
    assert log.read_text().count("backupend") == 2
    assert {run["verdict"] for run in site.history()} == {"failed"}


def test_all_services_are_backed_up_by_hand_and_that_is_remembered(site: Site) -> None:
    done = site.call("backup", "--all", "near", "--images", "never", "--json")
    assert done.returncode == 0, done.stderr
    assert [item["service"] for item in json.loads(done.stdout)["services"]] == ["keeper", "wiki"]
    assert site.archives() == ["keeper", "wiki"]
    assert [(run["job"], run["service"], run["verdict"]) for run in site.history()] == [
        ("", "keeper", "done"),
        ("", "wiki", "done"),
    ]


def test_a_host_whose_settings_make_no_sense_or_name_no_job_is_not_well(site: Site) -> None:
    site.configure("nonsense = 1")
    done = site.call("health", "--notify", "--quiet")
    assert done.returncode == 1
    assert "nonsense" in done.stdout
    assert site.listener.titles() == ["the settings cannot be used"]
    site.configure()
    never = "job nightly was never run, and there is no archive of keeper, wiki in near"
    assert site.call("health", "--notify", "--quiet").stdout == f"{never}\n"
    assert site.listener.titles()[1:] == [never, "resolved: the settings cannot be used"]
    (site.host.config_dir / "vault.toml").unlink()
    done = site.call("health", "--quiet")
    assert (done.returncode, "names no job" in done.stdout) == (1, True)


def test_jobs_verify_rehearse_and_drill_what_is_in_the_store(site: Site) -> None:
    site.call("run", "nightly")
    checks = ""
    for task in ("verify", "rehearse", "drill"):
        where = f'store = "near"\nservices = ["w*"]\nidentity_files = ["{site.key.identity}"]'
        checks += f'[jobs.{task}]\ntask = "{task}"\n{where}\n'
    site.configure(checks)
    for task in ("verify", "rehearse", "drill"):
        done = site.call("run", task)
        assert done.returncode == 0, done.stderr
    (item,) = json.loads(site.call("archives", "near", "--service", "wiki", "--json").stdout)
    assert None not in (item["verified"], item["rehearsed"], item["drilled"])
    for path in (site.directory / "near").rglob("wiki-*.age"):
        path.write_bytes(path.read_bytes()[:-1] + b"x")
    done = site.call("run", "verify")
    assert done.returncode == 1
    assert "verify of wiki: failed" in done.stderr
