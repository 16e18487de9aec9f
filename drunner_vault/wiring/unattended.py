"""What a host needs to look after itself: its history, alarms, and the commands that jobs give."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from drunner_vault.clock import SYSTEM_CLOCK
from drunner_vault.config import Settings, read_listeners, read_settings
from drunner_vault.errors import BadUsage
from drunner_vault.services.home import installed
from drunner_vault.wiring.environment import adopt
from drunner_vault.wiring.history import PART_OF_A_JOB, history
from drunner_vault.wiring.jobs import job_schedule, job_timezone
from drunner_vault.wiring.services import program_command
from drunner_vault.wiring.settings import SETTINGS_FILE, config_directory, services_root, settings, vault_directory
from drunner_vault.workflows.unattended.alarms import Alarms, Audience, Channel
from drunner_vault.workflows.unattended.commands import Commands
from drunner_vault.workflows.unattended.health import WatchedJob
from drunner_vault.workflows.unattended.history import History, Run
from drunner_vault.workflows.unattended.jobs import JobContext
from drunner_vault.workflows.unattended.reporting import Reporting
from drunner_vault.workflows.unattended.running import wait_for_engine
from drunner_vault.workflows.unattended.watch import Watch

_JUST_STARTED = 900.0  # seconds ago


def settings_path(environment: Mapping[str, str]) -> Path:
    """Where the settings are, or would be."""
    return config_directory(environment) / SETTINGS_FILE


def commands(environment: Mapping[str, str], job: str = "") -> Commands:
    """How this program's commands are given: by a job, which then writes down what they do, or by another command."""
    return Commands(program_command(), {**environment, **({PART_OF_A_JOB: job} if job else {})})


def await_engine(environment: Mapping[str, str]) -> None:
    """Wait for Docker, for some minutes at most, if the machine has just been started."""
    from drunner_vault.engine.engine import Engine

    with contextlib.suppress(OSError, ValueError):
        if float(Path("/proc/uptime").read_text().split()[0]) < _JUST_STARTED:
            wait_for_engine(lambda: Engine(environment), time.sleep)


def job_context(environment: Mapping[str, str], job: str, told: Callable[[Run, str], None]) -> JobContext:
    """What a job of this host works with. Raises BadUsage."""
    known = settings(environment)
    return JobContext(
        commands(environment, job),
        history(environment),
        SYSTEM_CLOCK,
        os.uname().nodename,
        [home.name for home in installed(services_root(environment))],
        kept_stores(known),
        told,
    )


def kept_stores(known: Settings) -> frozenset[str]:
    """The stores of which the settings say what is kept in them."""
    return frozenset(name for name, store in known.stores.items() if store.retention)


def reporting(environment: Mapping[str, str], known: Settings) -> Reporting:
    """How this host tells what has become of its jobs."""
    directory, listeners = vault_directory(environment), audience(environment, known)
    return Reporting(
        History(directory),
        Watch(directory),
        Alarms(directory, listeners, SYSTEM_CLOCK),
        listeners,
        Path(known.metrics) if known.metrics else None,
        kept_stores(known),
        SYSTEM_CLOCK,
        environment,
    )


def audience(environment: Mapping[str, str], known: Settings) -> Audience:
    """Whom the settings say to tell what."""
    channels = {
        name: Channel(name, item.on, partial(item.urls.value, environment))
        for name, item in known.notifications.items()
    }
    return Audience(channels, {name: job.notify for name, job in known.jobs.items()}, os.uname().nodename)


def settings_as_far_as_possible(environment: Mapping[str, str]) -> tuple[Settings, list[BadUsage]]:
    """The settings, and all that is wrong with them: who is to be told of that stands in them as well."""
    from drunner_vault.wiring.stores import places

    problems: list[BadUsage] = []
    try:
        known = read_settings(settings_path(environment), problems.append)
    except BadUsage as error:
        known = read_listeners(settings_path(environment))
        with contextlib.suppress(BadUsage):  # one fault at a time
            adopt(known, environment)
        return known, [error]
    try:
        places(environment, lambda _notice: None)
        for job in known.jobs.values():
            job_schedule(job)
            job_timezone(environment, job)
    except BadUsage as error:
        problems += [] if problems else [error]
    return known, problems


def watched_jobs(
    environment: Mapping[str, str], known: Settings, seen: Mapping[str, dt.datetime], now: dt.datetime
) -> list[WatchedJob]:
    """The jobs of the settings, with when they are due and since when we know them. Raises BadUsage."""
    return [
        WatchedJob(job, job_schedule(job), job_timezone(environment, job), seen.get(name, now))
        for name, job in known.jobs.items()
    ]


def installed_since(environment: Mapping[str, str]) -> dict[str, dt.datetime | None]:
    """The services of this host, with when they were installed, where that is known."""
    found: dict[str, dt.datetime | None] = {}
    for home in installed(services_root(environment)):
        record = home.record()
        found[home.name] = None
        if record is not None:
            with contextlib.suppress(ValueError):
                found[home.name] = dt.datetime.fromisoformat(record.installed)
    return found
