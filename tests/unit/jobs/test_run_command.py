"""run, health and history as they are called, on a host without any service: who may, when, and what they answer."""

from __future__ import annotations

import datetime as dt
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import require
from support.keeper import wait_until
from support.listeners import listening

from drunner_vault.clock import SYSTEM_CLOCK, isoformat
from drunner_vault.errors import NoChange
from drunner_vault.workflows.unattended.history import DONE, FAILED, INTERRUPTED, SKIPPED, History, Run
from drunner_vault.workflows.unattended.running import alone
from drunner_vault.workflows.unattended.watch import Watch

SETTINGS = """\
[stores.near]
url = "{directory}/near"

[jobs.nightly]
store = "near"
schedule = "{schedule}"
catch_up = {catch_up}
"""
LONG_AGO = dt.timedelta(days=30)


@dataclass
class Site:
    """A host with one job, which fails at once: there is no service."""

    directory: Path

    def __post_init__(self) -> None:
        (self.directory / "near").mkdir()
        self.vault = self.directory / "root" / "vault"
        self.history = History(self.vault)
        self.configure()

    def configure(self, catch_up: str = "true") -> None:
        """The job was due half a month ago, and is again in a year."""
        day = SYSTEM_CLOCK.now() - LONG_AGO / 2
        text = SETTINGS.format(directory=self.directory, schedule=f"0 0 {day.day} {day.month} *", catch_up=catch_up)
        (self.directory / "vault.toml").write_text(text)

    def start(self, *arguments: str, scheduler: str) -> subprocess.Popen[bytes]:
        """A command of ours that scheduler has called."""
        ours = {"DRUNNER_CONFIG_DIR": str(self.directory), "DRUNNER_ROOT": str(self.directory / "root")}
        ours |= {"DRUNNER_SCHEDULER": scheduler}
        return subprocess.Popen([sys.executable, "-m", "drunner_vault", *arguments], env=os.environ | ours)

    def call(
        self, *arguments: str, within: Sequence[str] = (), scheduler: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """A command of ours. within: what starts it. scheduler: `cron`, if that has called it."""
        ours = {"DRUNNER_CONFIG_DIR": str(self.directory), "DRUNNER_ROOT": str(self.directory / "root")}
        ours |= {"DRUNNER_SCHEDULER": scheduler} if scheduler else {}
        return subprocess.run(
            [*within, sys.executable, "-m", "drunner_vault", *arguments],
            env=os.environ | ours,
            capture_output=True,
            text=True,
            check=False,
        )

    def ran(self, ago: dt.timedelta, verdict: str = DONE, why: str = "") -> None:
        started = isoformat(SYSTEM_CLOCK.now() - ago)
        self.history.add(Run("x", "nightly", "job", "", "near", started, verdict=verdict, why=why))


@pytest.fixture
def site(tmp_path: Path) -> Site:
    require("" if os.geteuid() == 0 else "jobs are for root")
    return Site(tmp_path)


def test_a_job_without_services_fails_and_that_is_remembered(site: Site) -> None:
    done = site.call("run", "nightly", "--json")
    assert done.returncode == 1
    assert "no service that is installed matches *" in done.stderr
    report = json.loads(done.stdout)
    assert (report["ok"], report["verdict"], report["runs"]) == (False, "failed", [])
    (told,) = json.loads(site.call("history", "--json").stdout)
    assert (told["task"], told["verdict"]) == ("job", "failed")
    sick = site.call("health")
    assert (sick.returncode, sick.stdout.count("\n")) == (1, 1)


def test_an_unknown_job_is_said_with_the_nearest(site: Site) -> None:
    done = site.call("run", "nigthly")
    assert done.returncode == 1
    assert "nightly" in done.stderr.splitlines()[1]


@pytest.mark.parametrize(
    ("last", "catch_up", "code"),
    [
        (None, "true", 3),  # it is known since now
        (dt.timedelta(0), "true", 3),
        (LONG_AGO, "true", 1),
        (LONG_AGO, "false", 3),
    ],
)
def test_a_scheduled_run_does_nothing_unless_it_is_due(
    site: Site, last: dt.timedelta | None, catch_up: str, code: int
) -> None:
    site.configure(catch_up=catch_up)
    if last is not None:
        site.ran(last)
    done = site.call("run", "nightly", "--scheduled")
    assert done.returncode == code, done.stderr
    assert set(Watch(site.vault).read().seen) == {"nightly"}


def test_cron_has_nothing_to_mail_unless_something_is_wrong_and_that_once(site: Site) -> None:
    site.ran(dt.timedelta(0))
    well = site.call("run", "nightly", "--scheduled", scheduler="cron")
    assert (well.returncode, well.stdout, well.stderr) == (3, "", "")
    (site.directory / "near").rmdir()
    first, second = (site.call("health", "--notify", "--quiet", "--scheduled", scheduler="cron") for _ in range(2))
    assert (first.returncode, second.returncode) == (1, 1)
    assert "store near cannot be read" in first.stdout
    assert (second.stdout, second.stderr) == ("", "")
    (site.directory / "near").mkdir()
    (site.directory / "near" / "x").mkdir()
    assert site.call("health", "--notify", "--quiet", "--scheduled", scheduler="cron").stdout == ""
    (site.directory / "near" / "x").rmdir()
    (site.directory / "near").rmdir()
    assert "near" in site.call("health", "--notify", "--quiet", "--scheduled", scheduler="cron").stdout


def test_what_was_interrupted_or_skipped_is_made_up_for(site: Site) -> None:
    site.ran(LONG_AGO)
    site.ran(dt.timedelta(0), FAILED, INTERRUPTED)
    site.ran(dt.timedelta(0), SKIPPED)
    assert site.call("run", "nightly", "--scheduled").returncode == 1
    assert site.call("run", "nightly", "--scheduled").returncode == 3


def test_a_run_beside_another_is_skipped_and_that_is_remembered(site: Site) -> None:
    site.ran(LONG_AGO)
    with alone(site.vault, "nightly"):
        done = site.call("run", "nightly", "--json")
        assert done.returncode == 3
        assert json.loads(done.stdout)["error"]["code"] == 3
        assert [run.verdict for run in site.history.runs()] == [DONE, SKIPPED]
        with site.history.underway(Run("y", "nightly", "job", "", "near", isoformat(SYSTEM_CLOCK.now()))):
            done = site.call("run", "nightly", "--scheduled")
        assert (done.returncode, "not due" in done.stderr) == (3, True)
        assert len(site.history.runs()) == 2


def test_while_a_job_waits_for_its_jitter_cron_may_call_again(site: Site) -> None:
    site.ran(LONG_AGO)
    path = site.directory / "vault.toml"
    path.write_text(path.read_text().replace("catch_up", 'jitter = "9999h"\ncatch_up'))
    first = site.start("run", "nightly", "--scheduled", scheduler="cron")
    try:
        wait_until(site.history.now_running)
        again = site.call("run", "nightly", "--scheduled", scheduler="cron")
        assert (again.returncode, again.stdout, again.stderr) == (3, "", "")
        assert [run.verdict for run in site.history.runs()] == [DONE]
    finally:
        first.terminate()
        first.wait()
    assert site.history.now_running() == []


def test_history_can_be_narrowed(site: Site) -> None:
    for number in range(3):
        site.ran(number * LONG_AGO, FAILED if number == 1 else DONE, "no\x1b[31m")
    assert len(json.loads(site.call("history", "--json", "--limit", "2").stdout)) == 2
    assert len(json.loads(site.call("history", "--json", "--limit", "0", "--job", "nightly").stdout)) == 3
    assert json.loads(site.call("history", "--json", "--service", "notes").stdout) == []
    (header, row) = site.call("history", "--failed").stdout.splitlines()
    assert header.split()[0] == "STARTED"
    assert "failed" in row
    assert "\x1b" not in row


def test_health_looks_into_stores_and_says_what_it_cannot_see(site: Site) -> None:
    site.ran(dt.timedelta(0))
    text = (site.directory / "vault.toml").read_text().replace('store = "near"', 'store = "near"\ncopy_to = ["bad"]')
    (site.directory / "vault.toml").write_text(text + '[stores.bad]\nurl = "gopher://x"\n')
    done = site.call("health", "--notify")
    assert done.returncode == 1
    assert "gopher" in done.stdout
    assert "internal error" not in done.stderr


def test_settings_that_are_no_toml_are_an_alarm_for_whom_they_name(site: Site) -> None:
    path, well = site.directory / "vault.toml", (site.directory / "vault.toml").read_text()
    with listening() as listener:
        (site.directory / "vault.env").write_text(f"WHERE={listener.apprise()}\n")
        well = f'environment_file = "vault.env"\n{well}\n[notifications.ops]\nurls_env = "WHERE"\n'
        path.write_text(well.replace("catch_up =", "catch_up"))
        for _ in range(2):
            done = site.call("health", "--notify")
            assert (done.returncode, done.stderr) == (1, "")
            assert "the settings cannot be used: cannot read" in done.stdout
        site.ran(dt.timedelta(0))
        path.write_text(well)
        assert site.call("health", "--notify").returncode == 1  # for there is no service
        titles = listener.titles()
    assert titles[0] == "the settings cannot be used"
    assert titles.count("resolved: the settings cannot be used") == titles.count(titles[0]) == 1


def test_a_full_disk_silences_neither_run_nor_health(site: Site) -> None:
    path, full = site.directory / "vault.toml", ("prlimit", "--fsize=0")
    with listening() as listener:
        path.write_text(f'{path.read_text()}\n[notifications.ops]\nurls = ["{listener.apprise()}"]\n')
        for command in (("run", "nightly"), ("health", "--notify")):
            done = site.call(*command, within=full)
            assert done.returncode == 1
            assert "internal error" not in done.stderr
            assert "job nightly" in listener.messages()[-1]["message"]
        assert "File too large" in done.stderr


def test_what_keeps_a_job_from_being_begun_is_told_and_stays_wrong_until_it_is_run(site: Site) -> None:
    path = site.directory / "vault.toml"
    (site.vault / "locks").mkdir(parents=True)
    (site.vault / "locks/job.nightly.lock").symlink_to("nowhere/lock")
    with listening() as listener:
        path.write_text(f'{path.read_text()}\n[notifications.ops]\nurls = ["{listener.apprise()}"]\n')
        assert site.call("run", "nightly").returncode == 1
        assert listener.titles() == ["job nightly failed"]
        assert site.call("health", "--notify").returncode == 1
        assert not any(title.startswith("resolved") for title in listener.titles())
    (run,) = site.history.runs()
    assert (run.task, run.verdict) == ("job", FAILED)


@pytest.mark.parametrize("name", ["history.jsonl", "archives.jsonl"])
def test_a_history_or_log_that_cannot_be_read_is_a_problem_among_others_and_said_once(site: Site, name: str) -> None:
    site.vault.mkdir(parents=True)
    (site.vault / name).mkdir()
    done = site.call("health", "--json")
    problems = json.loads(done.stdout)["problems"]
    assert (done.returncode, sorted(problem["kind"] for problem in problems)) == (1, ["failed", "storage"])
    assert [name in problem["text"] for problem in problems if problem["kind"] == "storage"] == [True]


def test_jobs_whose_long_names_begin_alike_do_not_wait_for_each_other(tmp_path: Path) -> None:
    name = "a" * 63
    with alone(tmp_path, f"{name}b"), alone(tmp_path, f"{name}c"), pytest.raises(NoChange), alone(tmp_path, f"{name}c"):
        pass
