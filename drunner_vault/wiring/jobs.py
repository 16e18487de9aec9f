"""When the jobs of the settings are due, and by whose clock."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping

from drunner_vault.config import JobSettings
from drunner_vault.errors import BadUsage
from drunner_vault.policy import Schedule, parse_schedule
from drunner_vault.wiring.settings import timezone, zone_of


def job_schedule(job: JobSettings) -> Schedule | None:
    """When a job is to be run; None if only by hand. Raises BadUsage, naming the line."""
    if not job.schedule:
        return None
    try:
        return parse_schedule(job.schedule)
    except BadUsage as error:
        raise BadUsage(f"{job.where_of('schedule')}: {error.message}", error.hint) from error


def job_timezone(environment: Mapping[str, str], job: JobSettings) -> dt.tzinfo:
    """By whose clock: the job's, that of the settings, of TZ, or this host's. Raises BadUsage."""
    return zone_of(job.timezone, job.where_of("timezone")) if job.timezone else timezone(environment)
