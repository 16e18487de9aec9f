"""Where schedules go on a real host, whose directories are put in place of this machine's for one command each."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import require
from support.crons import missing_cron
from support.engines import Host, programs_directory

SETTINGS = "[stores.disk]\nurl = '/b'\n[jobs.nightly]\nstore = 'disk'\nschedule = '@daily'\n"
_HOST = """
mount --bind "$1/cron.d" /etc/cron.d
mount --bind "$1/units" /etc/systemd/system
mount -t tmpfs none /run
[ ! -e "$1/systemd" ] || mkdir -p /run/systemd/system
shift; exec "$@"
"""
_SYSTEMCTL = '#!/bin/sh\necho "$@" >>"$(dirname "$0")/told"\n'
Schedule = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def schedule(tmp_path: Path) -> Schedule:
    """`schedule …` on a host where systemd is in charge once there is a file `systemd`."""
    require(missing_cron())
    for name in ("cron.d", "units", "bin", "etc"):
        (tmp_path / name).mkdir()
    (tmp_path / "etc/vault.toml").write_text(SETTINGS)
    (tmp_path / "bin/systemctl").write_text(_SYSTEMCTL)
    (tmp_path / "bin/systemctl").chmod(0o755)

    def call(*arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        program = ["drunner-vault", "schedule", *arguments]
        environment = {
            "PATH": f"{tmp_path}/bin:{programs_directory()}:/usr/sbin:/usr/bin:/sbin:/bin",
            "DRUNNER_CONFIG_DIR": str(tmp_path / "etc"),
        }
        command = ["unshare", "--mount", "sh", "-ec", _HOST, "sh", str(tmp_path), *program]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stderr
        return done

    return call


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_jobs_move_to_systemd_when_it_comes_and_are_not_started_twice(schedule: Schedule, tmp_path: Path) -> None:
    schedule("install")
    assert names(tmp_path / "cron.d") == ["drunner-vault"]
    schedule("install", code=3)
    (tmp_path / "systemd").touch()
    assert "outdated" in schedule("list").stdout
    assert "removed  drunner-vault\n" in schedule("install").stdout
    assert names(tmp_path / "cron.d") == []
    assert "drunner-vault-job-nightly.timer" in names(tmp_path / "units")
    assert "systemd" in schedule("list").stdout
    schedule("install", code=3)
    told = (tmp_path / "bin/told").read_text()
    assert "enable drunner-vault-health.timer drunner-vault-job-nightly.timer\n" in told
    schedule("remove")
    assert names(tmp_path / "units") == []
    schedule("remove", code=3)


def test_services_can_be_used_though_the_settings_make_no_sense(host: Host) -> None:
    host.config_dir.mkdir(exist_ok=True)
    (host.config_dir / "vault.toml").write_text("x = = 1")
    done = host.drunner("status", "nothing", check=False)
    assert done.returncode == 1
    assert "notice: the settings are passed over: cannot read the settings" in done.stderr
    assert "error: " in done.stderr
    assert "nothing" in done.stderr.partition("error: ")[2]
