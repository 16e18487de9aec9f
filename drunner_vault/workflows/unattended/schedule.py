"""Which jobs are started when: planned from the settings, and handed to what starts them."""

from __future__ import annotations

import datetime as dt
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from drunner_vault.errors import NoChange
from drunner_vault.policy import Schedule, parse_schedule
from drunner_vault.schedules.entry import Entry, Scheduler

_HEALTH = "health"
_HOUR = dt.timedelta(hours=1)
_A_YEAR_OF_HOURS = 366 * 24


@dataclass(frozen=True)
class PlannedJob:
    """A job that has a schedule. text: as the settings have it. zone: by whose clock; zone_name: what that is called,
    empty for this host's. jitter: seconds."""

    name: str
    task: str
    text: str
    schedule: Schedule
    zone: dt.tzinfo
    zone_name: str
    jitter: float
    catch_up: bool


@dataclass(frozen=True)
class Host:
    """What commands are started on. program: how this program is called. environment: what it needs to find its way.
    zone: of this host's clock. name: the host's."""

    program: tuple[str, ...]
    environment: Mapping[str, str]
    zone: dt.tzinfo
    name: str


@dataclass
class Changes:
    """What was done to files: their names."""

    system: str
    written: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)


def entries(jobs: Sequence[PlannedJob], host: Host, now: dt.datetime) -> list[Entry]:
    """What is to be started: every job, and each hour a look at whether all is well; nothing if there is no job."""
    found = [
        Entry(
            name=f"job-{job.name}",
            about=f"job {job.name} ({job.task}), {job.text}{f' {job.zone_name}' if job.zone_name else ''}",
            command=(*host.program, "run", job.name, "--scheduled"),
            times=job.schedule,
            zone=job.zone_name,
            shifts=clock_shifts(job.zone, host.zone, now) if job.zone_name else (),
            jitter=job.jitter,
            catch_up=job.catch_up,
        )
        for job in jobs
    ]
    if not found:
        return []
    minute = zlib.crc32(host.name.encode()) % 60  # many hosts need not ask one store at the same time
    look = (*host.program, "health", "--notify", "--quiet", "--scheduled")
    about = "whether backups are as they should be"
    return [*found, Entry(_HEALTH, about, look, parse_schedule(f"{minute} * * * *"), catch_up=False)]


def clock_shifts(zone: dt.tzinfo, other: dt.tzinfo, now: dt.datetime) -> tuple[int, ...]:
    """By how many minutes of an hour two clocks are apart within the coming year; empty if they always agree."""
    moments = (now + number * _HOUR for number in range(_A_YEAR_OF_HOURS))
    apart = {_offset(moment, other) - _offset(moment, zone) for moment in moments}
    return () if apart == {dt.timedelta(0)} else tuple(sorted({int(span / _HOUR * 60) % 60 for span in apart}))


def firings(job: PlannedJob, now: dt.datetime, count: int) -> list[dt.datetime]:
    """The next moments at which a job is due, by its own clock; without jitter."""
    found: list[dt.datetime] = []
    for _ in range(count):
        found.append(job.schedule.next(found[-1] if found else now, job.zone))
    return [moment.astimezone(job.zone) for moment in found]


def install(
    scheduler: Scheduler, others: Sequence[Scheduler], wanted: Sequence[Entry], environment: Mapping[str, str]
) -> Changes:
    """See to it that exactly these entries are started, by this scheduler and by no other.

    Raises NoChange if it is so already, StorageError, VaultError.
    """
    files, present = scheduler.wanted(wanted, environment), scheduler.present()
    stale = [name for name in present if name not in files]
    changed = {name: text for name, text in files.items() if present.get(name) != text}
    elsewhere = [(other, names) for other in others if (names := list(other.present()))]
    if not changed and not stale and not elsewhere and scheduler.is_active(list(files)):
        raise NoChange("no job has a schedule" if not files else f"{scheduler.kind} starts all jobs already")
    changes = Changes(scheduler.kind, sorted(changed))
    if stale:
        scheduler.remove(stale)
    if files:
        scheduler.write(changed)
    for other, names in elsewhere:
        other.remove(names)
    changes.removed = sorted([*stale, *(name for _, names in elsewhere for name in names)])
    return changes


def remove(schedulers: Sequence[Scheduler]) -> list[Changes]:
    """Take all our entries out of these. Raises NoChange if there are none, StorageError, VaultError."""
    found = [(scheduler, names) for scheduler in schedulers if (names := sorted(scheduler.present()))]
    if not found:
        raise NoChange("no job is started by anything")
    for scheduler, names in found:
        scheduler.remove(names)
    return [Changes(scheduler.kind, removed=names) for scheduler, names in found]


def state(
    scheduler: Scheduler, others: Sequence[Scheduler], wanted: Sequence[Entry], environment: Mapping[str, str]
) -> str:
    """Who starts the jobs: `cron` or `systemd`; `outdated` if `install` would change something, `-` if nobody does."""
    files, present = scheduler.wanted(wanted, environment), scheduler.present()
    elsewhere = any(other.present() for other in others)
    if not present and not elsewhere:
        return "-"
    as_wanted = present == files and not elsewhere and scheduler.is_active(list(files))
    return scheduler.kind if as_wanted else "outdated"


def _offset(moment: dt.datetime, zone: dt.tzinfo) -> dt.timedelta:
    return moment.astimezone(zone).utcoffset() or dt.timedelta(0)
