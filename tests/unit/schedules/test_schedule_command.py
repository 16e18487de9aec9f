"""schedule, as a person calls it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]

SETTINGS = """
timezone = "UTC"
[stores.disk]
url = "/backups"
[jobs.nightly]
store = "disk"
schedule = "30 2 * * *"
[jobs.weekly]
task = "verify"
store = "disk"
schedule = "@weekly"
timezone = "Asia/Tokyo"
[jobs.sometimes]
store = "disk"
"""


@pytest.fixture
def run(tmp_path: Path) -> Run:
    (tmp_path / "etc").mkdir()
    (tmp_path / "cron").mkdir()
    (tmp_path / "units").mkdir()

    def call(*arguments: str, code: int = 0, **variables: str) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": "/usr/bin:/bin", "DRUNNER_CONFIG_DIR": str(tmp_path / "etc"), **variables}
        command = [sys.executable, "-m", "drunner_vault", "schedule", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr
        return done

    return call


@pytest.fixture(params=["cron", "systemd"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, str, str, Path]:
    """Options that name a system, and its directory."""
    directory = tmp_path / ("cron" if request.param == "cron" else "units")
    return ("--system", request.param, f"--directory={directory}", directory)


def configure(tmp_path: Path, text: str = SETTINGS) -> None:
    (tmp_path / "etc/vault.toml").write_text(text)


def written(directory: Path) -> str:
    return "\n".join(path.read_text() for path in sorted(directory.iterdir()))


def test_the_second_install_changes_nothing(run: Run, place: Any, tmp_path: Path) -> None:
    configure(tmp_path)
    *options, directory = place
    assert json.loads(run("install", *options, "--json").stdout)["system"] == options[1]
    first = written(directory)
    for job in ("nightly", "weekly"):
        assert f'"{job}" "--scheduled"' in first or f"run {job} --scheduled" in first
    assert "sometimes" not in first
    assert "--notify" in first
    assert "already" in run("install", *options, code=3).stderr
    assert written(directory) == first


def test_jobs_that_are_gone_are_no_longer_started(run: Run, place: Any, tmp_path: Path) -> None:
    configure(tmp_path)
    *options, directory = place
    run("install", *options)
    configure(tmp_path, SETTINGS.replace('schedule = "@weekly"', ""))
    assert {item["state"] for item in json.loads(run("list", *options, "--json").stdout)} == {"outdated"}
    run("install", *options)
    assert "weekly" not in written(directory)
    assert "nightly" in written(directory)
    configure(tmp_path, "")
    run("install", *options)
    assert list(directory.iterdir()) == []
    assert "no job has a schedule" in run("install", *options, code=3).stderr


def test_remove_takes_everything_of_ours_and_nothing_else(run: Run, place: Any, tmp_path: Path) -> None:
    configure(tmp_path)
    *options, directory = place
    (directory / "other").write_text("theirs\n")
    run("install", *options)
    assert "removed" in run("remove", *options).stdout
    assert [path.name for path in directory.iterdir()] == ["other"]
    run("remove", *options, code=3)


def test_what_commands_need_to_find_their_way_is_passed_on(run: Run, place: Any, tmp_path: Path) -> None:
    configure(tmp_path)
    *options, directory = place
    run("install", *options, DRUNNER_ROOT="/srv/services", DOCKER_HOST="unix:///run/other.sock", SECRET="hidden")
    text = written(directory)
    assert "/srv/services" in text
    assert "/run/other.sock" in text
    assert str(tmp_path / "etc") in text
    assert "hidden" not in text
    assert "DRUNNER_ROOT cannot be passed on" in run("install", *options, code=1, DRUNNER_ROOT='/srv/"').stderr


def test_jobs_are_listed_with_when_they_are_due_and_who_starts_them(run: Run, place: Any, tmp_path: Path) -> None:
    configure(tmp_path)
    *options, _ = place
    done = run("list", *options)
    assert "nothing starts these jobs" in done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["JOB", "nightly", "weekly"]
    run("install", *options)
    nightly, weekly = json.loads(run("list", *options, "--json").stdout)
    assert (nightly["job"], nightly["started_by"]) == ("nightly", options[1])
    assert nightly["next"].endswith("T02:30:00Z")
    assert (weekly["timezone"], weekly["task"], weekly["next"][-10:]) == ("Asia/Tokyo", "verify", "T15:00:00Z")


def test_the_next_times_of_one_job_or_of_all_are_said(run: Run, tmp_path: Path) -> None:
    configure(tmp_path)
    found = json.loads(run("next", "nightly", "--count", "3", "--json").stdout)
    assert [item["due"][10:] for item in found] == ["T02:30:00Z"] * 3
    assert len({item["due"] for item in found}) == 3
    assert {item["job"] for item in json.loads(run("next", "--json").stdout)} == {"nightly", "weekly"}
    assert "it is run by hand" in run("next", "sometimes", code=1).stderr
    assert "did you mean nightly?" in run("next", "nightli", code=1).stderr


def test_the_time_zone_of_the_environment_counts_where_the_settings_say_nothing(run: Run, tmp_path: Path) -> None:
    configure(tmp_path, SETTINGS.replace('timezone = "UTC"', ""))
    options = ("--system", "systemd", "--directory", str(tmp_path / "units"))
    run("install", *options, TZ=":Asia/Kolkata")
    text = (tmp_path / "units/drunner-vault-job-nightly.timer").read_text()
    assert "OnCalendar=*-*-* 02:30:00 Asia/Kolkata\n" in text
    assert '"TZ=Asia/Kolkata"' in (tmp_path / "units/drunner-vault-job-nightly.service").read_text()
    configure(tmp_path, SETTINGS.replace('"UTC"', '"/usr/share/zoneinfo/Asia/Tokyo"'))
    run("install", *options)
    text = (tmp_path / "units/drunner-vault-job-nightly.timer").read_text()
    assert "OnCalendar=*-*-* 02:30:00 Asia/Tokyo\n" in text  # systemd takes no path
    configure(tmp_path, SETTINGS.replace('timezone = "UTC"', ""))
    run("install", *options, TZ=":/etc/localtime")
    assert "OnCalendar=*-*-* 02:30:00\n" in (tmp_path / "units/drunner-vault-job-nightly.timer").read_text()


@pytest.mark.parametrize("line", ["schedule = '30 25 * * *'", "schedule = '0 0 31 2 *'", "schedule = 'daily'"])
def test_an_impossible_schedule_is_refused_and_nothing_written(line: str, run: Run, tmp_path: Path) -> None:
    configure(tmp_path, f"[stores.disk]\nurl = '/b'\n[jobs.x]\nstore = 'disk'\n{line}\n")
    done = run("install", "--system", "cron", "--directory", str(tmp_path / "cron"), code=1)
    assert "vault.toml, line 5" in done.stderr
    assert list((tmp_path / "cron").iterdir()) == []


def test_a_directory_that_is_not_there_is_refused(run: Run, tmp_path: Path) -> None:
    configure(tmp_path)
    assert "is no directory" in run("install", "--directory", "/nonexistent", code=1).stderr
