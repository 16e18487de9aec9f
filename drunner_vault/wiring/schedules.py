"""What starts jobs on this host, and which jobs those are."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from drunner_vault.errors import BadUsage
from drunner_vault.schedules.crontab import DIRECTORY as CRON_DIRECTORY
from drunner_vault.schedules.crontab import CronTable
from drunner_vault.schedules.entry import Scheduler
from drunner_vault.schedules.systemd import DIRECTORY as SYSTEMD_DIRECTORY
from drunner_vault.schedules.systemd import RUNNING, SystemdTimers
from drunner_vault.wiring.jobs import job_schedule, job_timezone
from drunner_vault.wiring.services import program_command
from drunner_vault.wiring.settings import settings, zone_of
from drunner_vault.workflows.unattended.schedule import Host, PlannedJob

_PASSED_ON = (
    "DRUNNER_ROOT", "DRUNNER_BIN", "DRUNNER_CONFIG_DIR", "DOCKER_HOST", "DOCKER_CONFIG", "DOCKER_CERT_PATH",
    "DOCKER_TLS_VERIFY",
)  # fmt: skip
_DAEMONS = ("cron", "crond")
_SYSTEM_PATH = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin"
_ZONES = "/usr/share/zoneinfo/"


def planned_jobs(environment: Mapping[str, str]) -> list[PlannedJob]:
    """The jobs that have a schedule, in the order of the settings. Raises BadUsage, naming the line."""
    known = settings(environment)
    found = []
    for job in known.jobs.values():
        schedule = job_schedule(job)
        if schedule is not None:
            zone = job_timezone(environment, job)
            name = (job.timezone or known.timezone).removeprefix(_ZONES) or _own_zone(environment)
            found.append(PlannedJob(job.name, job.task, job.schedule, schedule, zone, name, job.jitter, job.catch_up))
    return found


def scheduled_host(environment: Mapping[str, str]) -> Host:
    """What jobs are started with here. Raises BadUsage for what no table could carry."""
    passed = {name: environment[name] for name in _PASSED_ON if environment.get(name)}
    if zone := _own_zone(environment):
        passed["TZ"] = zone
    for name, value in passed.items():
        if not value.isprintable() or '"' in value:
            raise BadUsage(f"{name} cannot be passed on to jobs: {value!r}", "leave quotes and control characters out")
    return Host(program_command(), passed, zone_of("", "this host"), os.uname().nodename)


def schedulers(kind: str | None, directory: Path | None) -> tuple[Scheduler, list[Scheduler]]:
    """Who is to start jobs, and who else could: as asked for, else systemd where it is in charge, else cron.

    directory: where its files are, for a host that does not run yet; nothing else is looked at then. Raises BadUsage.
    """
    chosen = kind or ("systemd" if RUNNING.is_dir() else "cron")
    if directory is not None:
        if not directory.is_dir():
            raise BadUsage(f"{directory} is no directory", "make it first")
        return (SystemdTimers(directory, None) if chosen == "systemd" else CronTable(directory)), []
    cron, systemd = CronTable(), SystemdTimers(manager="systemctl" if RUNNING.is_dir() else None)
    place, package = (SYSTEMD_DIRECTORY, "systemd") if chosen == "systemd" else (CRON_DIRECTORY, "cron")
    found = chosen == "systemd" or any(shutil.which(name, path=_SYSTEM_PATH) for name in _DAEMONS)
    if not place.is_dir() or not found:
        raise BadUsage(f"{package} is not installed here, so nothing would start the jobs", f"install {package} first")
    return (systemd, [cron]) if chosen == "systemd" else (cron, [systemd])


def cron_runs() -> bool:
    """Whether a cron daemon runs on this host."""
    for path in Path("/proc").glob("[0-9]*/comm"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            if path.read_text().strip() in _DAEMONS:
                return True
    return False


def _own_zone(environment: Mapping[str, str]) -> str:
    """The name of the time zone that TZ asks for; empty if it means this host's."""
    name = environment.get("TZ", "").lstrip(":").removeprefix(_ZONES)
    return "" if name.startswith("/") else name
