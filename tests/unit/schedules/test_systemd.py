"""Entries as timers of systemd, which says what it thinks of them. What `systemctl` would be told is written down."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from schedule_entries import entry

from drunner_vault.errors import VaultError
from drunner_vault.schedules.entry import Entry
from drunner_vault.schedules.systemd import SystemdTimers

NAMES = ["drunner-vault-job-nightly.service", "drunner-vault-job-nightly.timer"]
ODD = ("/bin/echo", "a b", "50%", "it's", "$HOME", 'say "hi"', "back\\slash")


def offline(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """systemctl, on the files of a host that does not run."""
    command = ["systemctl", f"--root={root}", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def write(directory: Path, *entries: Entry) -> SystemdTimers:
    timers = SystemdTimers(directory, None)
    timers.write(timers.wanted(entries, {"DRUNNER_ROOT": "/opt/a b%"}))
    return timers


def test_systemd_finds_nothing_wrong_with_our_units(systemd: None, tmp_path: Path) -> None:
    entries = [
        entry("30 2 * * mon-fri", jitter=600, zone="Europe/Berlin"),
        entry("0 0 13 * fri", name="job-either", catch_up=False),
        entry("* * * * *", name="health", command=ODD),
    ]
    write(tmp_path, *entries)
    names = [str(tmp_path / f"drunner-vault-{each.name}.timer") for each in entries]
    services = [name.replace(".timer", ".service") for name in names]
    done = subprocess.run(["systemd-analyze", "verify", *names, *services], capture_output=True, text=True, check=False)
    said = [line for line in (done.stdout + done.stderr).splitlines() if "drunner" in line]
    assert [line for line in said if "/usr/bin/drunner-vault is not executable" not in line] == []


def test_what_means_something_to_systemd_is_escaped(tmp_path: Path) -> None:
    write(tmp_path, entry("@daily", command=ODD))
    text = (tmp_path / NAMES[0]).read_text()
    expected = ('"/bin/echo"', '"a b"', '"50%%"', '"it\'s"', '"$$HOME"', r'"say \"hi\""', r'"back\\slash"')
    assert f"ExecStart={' '.join(expected)}\n" in text
    assert 'Environment="DRUNNER_ROOT=/opt/a b%%"\n' in text


def test_a_timer_says_when_and_what_to_make_up_for(tmp_path: Path) -> None:
    write(tmp_path, entry("30 2 * * mon-fri", jitter=600, zone="Europe/Berlin"))
    text = (tmp_path / "drunner-vault-job-nightly.timer").read_text()
    assert "OnCalendar=Mon,Tue,Wed,Thu,Fri *-*-* 02:30:00 Europe/Berlin\n" in text
    assert "Persistent=true\n" in text
    assert "RandomizedDelaySec=600s\n" in text
    write(tmp_path, entry("0 0 13 * fri", catch_up=False))
    text = (tmp_path / "drunner-vault-job-nightly.timer").read_text()
    assert "OnCalendar=*-*-13 00:00:00\nOnCalendar=Fri *-*-* 00:00:00\n" in text
    assert "Persistent=false\n" in text
    assert "RandomizedDelaySec" not in text


def test_timers_can_be_enabled(systemd: None, tmp_path: Path) -> None:
    units = tmp_path / "etc/systemd/system"
    units.mkdir(parents=True)
    write(units, entry("@daily"))
    assert offline(tmp_path, "is-enabled", NAMES[1]).stdout.strip() == "disabled"
    assert offline(tmp_path, "enable", NAMES[1]).returncode == 0
    assert offline(tmp_path, "is-enabled", NAMES[1]).stdout.strip() == "enabled"


@pytest.fixture
def manager(tmp_path: Path) -> Path:
    """Stands in for systemctl, which needs a running systemd: writes down what it is told, and answers no while there
    is a file `no`."""
    path = tmp_path / "systemctl"
    path.write_text(
        f'#!/bin/sh\necho "$@" >> {tmp_path}/told\n[ ! -e {tmp_path}/no ] || {{ echo "no bus" >&2; exit 1; }}\n'
    )
    path.chmod(0o755)
    return path


def test_systemd_is_told_of_what_is_new_and_of_what_is_gone(tmp_path: Path, manager: Path) -> None:
    (units := tmp_path / "units").mkdir()
    timers = SystemdTimers(units, str(manager))
    timers.write(timers.wanted([entry("@daily")], {}))
    assert sorted(timers.present()) == NAMES
    assert timers.is_active(NAMES)
    timers.remove(NAMES)
    assert list(units.iterdir()) == []
    assert (tmp_path / "told").read_text().splitlines() == [
        "daemon-reload",
        f"enable {NAMES[1]}",
        f"restart {NAMES[1]}",
        f"is-enabled --quiet {NAMES[1]}",
        f"is-active --quiet {NAMES[1]}",
        f"disable --now {NAMES[1]}",
        "daemon-reload",
    ]
    (tmp_path / "no").touch()
    assert not timers.is_active(NAMES)
    with pytest.raises(VaultError, match="systemctl daemon-reload failed: no bus"):
        timers.write(timers.wanted([entry("@daily")], {}))


def test_units_of_somebody_else_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "drunner-vault-mine.timer").write_text("[Timer]\n")
    (tmp_path / "other.timer").write_text("[Timer]\n")
    assert SystemdTimers(tmp_path, None).present() == {}
