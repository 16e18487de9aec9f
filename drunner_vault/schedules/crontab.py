"""Entries as a table for cron, in /etc/cron.d.

cron knows one time zone, this host's, and forgets what it misses. So an entry may be called more often than it is due
(each hour, if it goes by another clock; after a start and each hour, if it catches up), and finds out by itself whether
it is: the command that is called does nothing unless its schedule has fired since it last ran, and says nothing then.
What is said is mail to root: only what is wrong, once.
"""

from __future__ import annotations

import shlex
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from drunner_vault.schedules.entry import MARK, PATH, SCHEDULER, Entry, Times
from drunner_vault.schedules.files import our_files, remove_files, write_files

DIRECTORY = Path("/etc/cron.d")
FILE = "drunner-vault"  # names with a dot are passed over by cron


class CronTable:
    """A file in a directory that cron looks at. See Scheduler."""

    kind = "cron"

    def __init__(self, directory: Path = DIRECTORY) -> None:
        self._directory = directory

    def wanted(self, entries: Sequence[Entry], environment: Mapping[str, str]) -> dict[str, str]:
        """See Scheduler."""
        return {FILE: table(entries, environment)} if entries else {}

    def present(self) -> dict[str, str]:
        """See Scheduler."""
        return our_files(self._directory, FILE)

    def is_active(self, names: Sequence[str]) -> bool:
        """cron looks every minute."""
        return True

    def write(self, files: Mapping[str, str]) -> None:
        """See Scheduler."""
        write_files(self._directory, files)

    def remove(self, names: Sequence[str]) -> None:
        """See Scheduler."""
        remove_files(self._directory, names)


def table(entries: Sequence[Entry], environment: Mapping[str, str]) -> str:
    """The whole table. environment: variables that every command is to get."""
    variables = {"SHELL": "/bin/sh", "PATH": PATH, SCHEDULER: "cron", **environment}
    lines = [MARK, *(f'{name}="{value}"' for name, value in variables.items())]
    for entry in entries:
        lines += ["", f"# {entry.about}", *_lines(entry)]
    return "\n".join(lines) + "\n"


def _lines(entry: Entry) -> Iterator[str]:
    command = f"root {_escaped(entry.command)}"
    minutes = _shifted(entry)
    yield f"{_fields(entry.times)} {command}" if not entry.shifts else f"{_list(minutes)} * * * * {command}"
    if entry.catch_up:
        yield f"@reboot {command}"
        minute = _another_minute(entry)
        if minute is not None and not entry.shifts:
            yield f"{minute} * * * * {command}"


def _fields(times: Times) -> str:
    """The five fields, as every cron reads them. What begins with * stays as it is: it means more than its numbers."""
    numbers = (times.minutes, times.hours, times.days, times.months, times.weekdays)
    written = zip(times.text.split(), numbers, strict=True)
    return " ".join(text if text.startswith("*") else ",".join(map(str, values)) for text, values in written)


def _shifted(entry: Entry) -> tuple[int, ...]:
    """The minutes of this host's clock at which that of the entry may show one of its minutes."""
    return tuple(sorted({(minute + shift) % 60 for minute in entry.times.minutes for shift in entry.shifts}))


def _list(minutes: Sequence[int]) -> str:
    return "*" if len(minutes) == 60 else ",".join(map(str, minutes))


def _another_minute(entry: Entry) -> int | None:
    """A minute at which it is not called anyway, if there is one; not the same for all names, so that they do not come
    all at once."""
    start = zlib.crc32(entry.name.encode()) % 60
    free = [minute for number in range(60) if (minute := (start + number) % 60) not in entry.times.minutes]
    return free[0] if free else None


def _escaped(command: Sequence[str]) -> str:
    """A command as the shell takes it, in a line where cron takes % for the end."""
    return shlex.join(command).replace("%", "\\%")
