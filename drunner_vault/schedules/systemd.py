"""Entries as timers of systemd, each with the service that it starts."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from drunner_vault.errors import VaultError
from drunner_vault.schedules.entry import MARK, PATH, SCHEDULER, Entry, Times
from drunner_vault.schedules.files import our_files, remove_files, write_files

DIRECTORY = Path("/etc/systemd/system")
RUNNING = Path("/run/systemd/system")
"""There, and only there, systemd is in charge."""

_PREFIX = "drunner-vault-"
_DAYS = ("Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat")
_TIMER = ".timer"


class SystemdTimers:
    """Unit files in a directory. See Scheduler. manager: the `systemctl` to tell of changes; none, to only write."""

    kind = "systemd"

    def __init__(self, directory: Path = DIRECTORY, manager: str | None = "systemctl") -> None:
        self._directory = directory
        self._manager = manager

    def wanted(self, entries: Sequence[Entry], environment: Mapping[str, str]) -> dict[str, str]:
        """See Scheduler."""
        files = {}
        for entry in entries:
            files[f"{_PREFIX}{entry.name}.service"] = service(entry, environment)
            files[f"{_PREFIX}{entry.name}{_TIMER}"] = timer(entry)
        return files

    def present(self) -> dict[str, str]:
        """See Scheduler."""
        return our_files(self._directory, f"{_PREFIX}*")

    def is_active(self, names: Sequence[str]) -> bool:
        """See Scheduler."""
        timers = _timers(names)
        if self._manager is None or not timers:
            return True
        questions = (["is-enabled", "--quiet"], ["is-active", "--quiet"])
        return all(self._call([*question, timer]).returncode == 0 for question in questions for timer in timers)

    def write(self, files: Mapping[str, str]) -> None:
        """See Scheduler."""
        write_files(self._directory, files)
        self._tell(["daemon-reload"])
        self._tell(["enable", *_timers(self.present())])
        self._tell(["restart", *_timers(self.present())])

    def remove(self, names: Sequence[str]) -> None:
        """See Scheduler."""
        if timers := _timers(names):
            self._tell(["disable", "--now", *timers])
        remove_files(self._directory, names)
        self._tell(["daemon-reload"])

    def _tell(self, arguments: list[str]) -> None:
        if self._manager is None:
            return
        done = self._call(arguments)
        if done.returncode:
            said = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
            raise VaultError(f"systemctl {arguments[0]} failed: {said}", "look at: systemctl list-timers 'drunner-*'")

    def _call(self, arguments: list[str]) -> subprocess.CompletedProcess[str]:
        assert self._manager is not None  # noqa: S101 (whoever calls has looked)
        try:
            return subprocess.run([self._manager, *arguments], capture_output=True, text=True, check=False)
        except OSError as cause:
            raise VaultError(f"cannot call {self._manager}: {cause.strerror}", "use: --system cron") from cause


def service(entry: Entry, environment: Mapping[str, str]) -> str:
    """The unit that runs the entry's command. environment: variables that it is to get."""
    variables = {"PATH": PATH, SCHEDULER: "systemd", **environment}
    lines = [
        MARK,
        "[Unit]",
        f"Description=drunner-vault: {_specifiers(entry.about)}",
        "Wants=network-online.target",
        "After=network-online.target docker.service",
        "",
        "[Service]",
        "Type=oneshot",
        "User=root",
        f"ExecStart={' '.join(map(_argument, entry.command))}",
        "# Nothing to do is no failure.",
        "SuccessExitStatus=3",
        *(f"Environment={_quoted(f'{name}={value}')}" for name, value in variables.items()),
        "# What is stopped takes back what it has begun; a guardian sees to it that services do not stay paused.",
        "KillMode=process",
        "TimeoutStopSec=15min",
    ]
    return "\n".join(lines) + "\n"


def timer(entry: Entry) -> str:
    """The unit that starts it."""
    lines = [
        MARK,
        "[Unit]",
        f"Description=drunner-vault: {_specifiers(entry.about)}",
        "",
        "[Timer]",
        *(f"OnCalendar={expression}" for expression in calendar(entry.times, entry.zone)),
        f"Persistent={'true' if entry.catch_up else 'false'}",
        "AccuracySec=1s",
        *([f"RandomizedDelaySec={entry.jitter:.0f}s"] if entry.jitter else []),
        "",
        "[Install]",
        "WantedBy=timers.target",
    ]
    return "\n".join(lines) + "\n"


def calendar(times: Times, zone: str) -> list[str]:
    """The times as OnCalendar= takes them, systemd.time(7): one, or two where one kind of day or the other will do."""
    suffix = f" {zone}" if zone else ""
    clock = f"{_numbers(times.hours, 24)}:{_numbers(times.minutes, 60)}:00{suffix}"
    months = _numbers(times.months, 12)
    return [f"{weekdays}*-{months}-{days} {clock}" for weekdays, days in _days(times)]


def _days(times: Times) -> Iterator[tuple[str, str]]:
    """Days of the week, and of the month, that have to agree."""
    weekdays = "" if len(times.weekdays) == 7 else ",".join(_DAYS[number] for number in times.weekdays) + " "
    days = _numbers(times.days, 31)
    yield from (("", days), (weekdays, "*")) if times.either_day else ((weekdays, days),)


def _numbers(numbers: Sequence[int], all_of_them: int) -> str:
    return "*" if len(numbers) == all_of_them else ",".join(f"{number:02}" for number in numbers)


def _timers(names: Sequence[str] | Mapping[str, str]) -> list[str]:
    return [name for name in names if name.endswith(_TIMER)]


def _argument(text: str) -> str:
    return _quoted(text).replace("$", "$$")


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{_specifiers(escaped)}"'


def _specifiers(text: str) -> str:
    """In unit files % stands for something."""
    return text.replace("%", "%%")
