"""What is to be started when, as those who start it take it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

MARK = "# Written by `drunner-vault schedule install`, which writes it anew: change vault.toml instead."
"""The first line of every file of ours. No other file is ever changed or removed."""

SCHEDULER = "DRUNNER_SCHEDULER"
"""The variable that tells a command who has started it: `cron` or `systemd`."""

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Times(Protocol):
    """A schedule of five fields. The numbers of each are sorted, Sunday is 0.

    text: the fields themselves. either_day: whether a day that either kind of day names will do.
    """

    @property
    def text(self) -> str: ...
    @property
    def minutes(self) -> tuple[int, ...]: ...
    @property
    def hours(self) -> tuple[int, ...]: ...
    @property
    def days(self) -> tuple[int, ...]: ...
    @property
    def months(self) -> tuple[int, ...]: ...
    @property
    def weekdays(self) -> tuple[int, ...]: ...
    @property
    def either_day(self) -> bool: ...


@dataclass(frozen=True)
class Entry:
    """One thing to be started.

    name: of small letters, digits, - and _. about: what it is, in a line. command: a program and its arguments.
    zone: the name of the time zone whose clock it goes by; empty for this host's. shifts: by how many minutes, of an
    hour, that clock may be off from this host's; empty where they show the same. jitter: seconds. catch_up: whether to
    make up for what was missed while the machine was off.
    """

    name: str
    about: str
    command: tuple[str, ...]
    times: Times
    zone: str = ""
    shifts: tuple[int, ...] = ()
    jitter: float = 0.0
    catch_up: bool = True


class Scheduler(Protocol):
    """Something that starts entries. kind: `cron` or `systemd`."""

    kind: str

    def wanted(self, entries: Sequence[Entry], environment: Mapping[str, str]) -> dict[str, str]:
        """Its files for these entries, by name. environment: variables that every command is to get."""

    def present(self) -> dict[str, str]:
        """Its files of ours that are there, by name. Raises StorageError."""

    def is_active(self, names: Sequence[str]) -> bool:
        """Whether what these files say is in force."""

    def write(self, files: Mapping[str, str]) -> None:
        """Write files, and put them in force. Raises StorageError, VaultError."""

    def remove(self, names: Sequence[str]) -> None:
        """Take files out of force, and remove them. Raises StorageError, VaultError."""
