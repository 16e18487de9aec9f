"""Entries in cron's table."""

from __future__ import annotations

import subprocess
import zoneinfo
from dataclasses import replace
from pathlib import Path

import pytest
from schedule_entries import NOW, entry

from drunner_vault.errors import AlreadyExists
from drunner_vault.schedules.crontab import CronTable, table
from drunner_vault.schedules.entry import MARK
from drunner_vault.workflows.unattended.schedule import clock_shifts

UTC = zoneinfo.ZoneInfo("UTC")


def lines(text: str) -> list[str]:
    """What cron reads."""
    return [line for line in text.splitlines() if line and not line.startswith("#") and "=" not in line.split()[0]]


def calls(text: str) -> list[str]:
    """When it starts what."""
    return [line.partition(" root ")[0] for line in lines(text)]


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("30 2 * * *", "30 2 * * *"),
        ("@weekly", "0 0 * * 0"),
        ("*/15 8-10 */2 jan,mar mon-wed", "*/15 8,9,10 */2 1,3 1,2,3"),
        ("5/20 0 * * fri-sun", "5,25,45 0 * * 0,5,6"),
    ],
)
def test_by_this_hosts_clock_an_entry_is_called_exactly_when_it_is_due(text: str, fields: str) -> None:
    assert calls(table([entry(text, catch_up=False)], {})) == [fields]


def test_what_catches_up_is_also_called_after_a_start_and_each_hour() -> None:
    exact, boot, hourly = calls(table([entry("30 2 * * *")], {}))
    assert (exact, boot) == ("30 2 * * *", "@reboot")
    minute, rest = hourly.split(" ", 1)
    assert rest == "* * * *"
    assert 0 <= int(minute) < 60
    assert int(minute) != 30
    others = {calls(table([replace(entry("30 2 * * *"), name=f"job-{n}")], {}))[2] for n in range(20)}
    assert len(others) > 5


@pytest.mark.parametrize(
    ("zone", "called"),
    [("Europe/Berlin", "30 * * * *"), ("Asia/Kolkata", "0 * * * *"), ("Asia/Kathmandu", "45 * * * *")],
)
def test_by_another_clock_an_entry_is_called_whenever_that_may_show_its_minute(zone: str, called: str) -> None:
    shifts = clock_shifts(zoneinfo.ZoneInfo(zone), UTC, NOW)
    assert calls(table([entry("30 2 * * *", zone=zone, shifts=shifts)], {})) == [called, "@reboot"]


def test_cron_mails_what_is_said(tmp_path: Path) -> None:
    assert "MAILTO" not in table([entry("@daily")], {})


def test_where_another_clock_changes_by_half_an_hour_both_are_called() -> None:
    shifts = clock_shifts(zoneinfo.ZoneInfo("Australia/Lord_Howe"), UTC, NOW)
    (called,) = calls(table([entry("10 2 * * *", zone="Australia/Lord_Howe", shifts=shifts, catch_up=False)], {}))
    assert called == "10,40 * * * *"


def test_two_names_of_one_clock_are_the_same_clock() -> None:
    assert clock_shifts(zoneinfo.ZoneInfo("Europe/Berlin"), zoneinfo.ZoneInfo("Europe/Stockholm"), NOW) == ()


def test_the_shell_gets_every_argument_and_variable_as_it_is(tmp_path: Path) -> None:
    words = ["/opt/a b/drunner-vault", "50%", "it's", "$HOME", 'say "hi"', "a;b"]
    text = table(
        [entry("* * * * *", command=("printf", "%s\\n", *words), catch_up=False)], {"DRUNNER_ROOT": "/opt/x y"}
    )
    assert 'DRUNNER_ROOT="/opt/x y"' in text.splitlines()
    assert "\\%" in text
    assert "%" not in text.replace("\\%", "")
    command = lines(text)[0].partition(" root ")[2]
    done = subprocess.run(["/bin/sh", "-c", command.replace("\\%", "%")], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == words


def test_a_table_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    theirs = tmp_path / "drunner-vault"
    theirs.write_text("# mine\n")
    cron = CronTable(tmp_path)
    assert cron.present() == {}
    with pytest.raises(AlreadyExists, match="somebody else"):
        cron.write({"drunner-vault": f"{MARK}\n"})
    assert theirs.read_text() == "# mine\n"


def test_a_table_can_be_changed_by_root_only(tmp_path: Path) -> None:
    cron = CronTable(tmp_path)
    cron.write(cron.wanted([entry("@daily")], {}))
    (path,) = tmp_path.iterdir()
    assert path.stat().st_mode & 0o777 == 0o644
    assert "." not in path.name
    cron.remove(list(cron.present()))
    assert list(tmp_path.iterdir()) == []
