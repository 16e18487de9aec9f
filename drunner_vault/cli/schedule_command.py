"""schedule: who starts jobs, and when."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from drunner_vault.cli.common import common_options
from drunner_vault.cli.output import Output

if TYPE_CHECKING:
    from drunner_vault.workflows.unattended.schedule import Changes

_NO_CRON = "cron does not run on this host, so it starts nothing; start it, as with: service cron start"

Command = TypeVar("Command", bound=Callable[..., Any])


def place_options(command: Command) -> Command:
    """--system and --directory."""
    command = click.option(
        "--directory",
        type=click.Path(path_type=Path),
        metavar="DIR",
        help="Where its files are, for an image or a host that does not run yet; only files are written then.",
    )(command)
    option = click.option(
        "--system",
        type=click.Choice(["cron", "systemd"]),
        help="Who is to start jobs; systemd where it runs, else cron.",
    )
    return option(command)


@click.group(epilog="Example: drunner-vault schedule install")
def command() -> None:
    """Have jobs started when the settings say, by timers of systemd or by cron."""


@command.command("install", epilog="Example: drunner-vault schedule install")
@place_options
@common_options
def install(system: str | None, directory: Path | None, as_json: bool) -> None:
    """Have all jobs started that have a schedule in vault.toml, and health looked at each hour.

    Where systemd runs, each job gets a timer; elsewhere cron gets a table, /etc/cron.d/drunner-vault. Entries of jobs
    that are gone are removed. To be called again after each change of the settings; exits 3 if nothing changes.
    """
    from drunner_vault.clock import SYSTEM_CLOCK
    from drunner_vault.wiring.schedules import cron_runs, planned_jobs, scheduled_host, schedulers
    from drunner_vault.workflows.unattended import schedule

    output = Output(as_json=as_json)
    jobs, host = planned_jobs(os.environ), scheduled_host(os.environ)
    chosen, others = schedulers(system, directory)
    entries = schedule.entries(jobs, host, SYSTEM_CLOCK.now())
    changes = schedule.install(chosen, others, entries, host.environment)
    output.document(asdict(changes))
    _tell(output, changes)
    started = ", ".join(job.name for job in jobs) or "no job, since none has a schedule"
    output.done(f"{chosen.kind} starts {started}")
    if directory is None and chosen.kind == "cron" and not cron_runs():
        output.notice(_NO_CRON)


@command.command("remove", epilog="Example: drunner-vault schedule remove")
@place_options
@common_options
def remove(system: str | None, directory: Path | None, as_json: bool) -> None:
    """Have no job started any more. The settings stay as they are. Exits 3 if none was."""
    from drunner_vault.wiring.schedules import schedulers
    from drunner_vault.workflows.unattended import schedule

    output = Output(as_json=as_json)
    chosen, others = schedulers(system, directory)
    changes = schedule.remove([chosen] if system else [chosen, *others])
    output.document([asdict(each) for each in changes])
    for each in changes:
        _tell(output, each)


@command.command("list", epilog="Example: drunner-vault schedule list")
@place_options
@common_options
def list_jobs(system: str | None, directory: Path | None, as_json: bool) -> None:
    """List the jobs that have a schedule: when they are due next, and who starts them."""
    from drunner_vault.clock import SYSTEM_CLOCK, isoformat
    from drunner_vault.wiring.schedules import cron_runs, planned_jobs, scheduled_host, schedulers
    from drunner_vault.workflows.unattended import schedule

    output = Output(as_json=as_json)
    jobs, host, now = planned_jobs(os.environ), scheduled_host(os.environ), SYSTEM_CLOCK.now()
    chosen, others = schedulers(system, directory)
    by = schedule.state(chosen, others, schedule.entries(jobs, host, now), host.environment)
    rows, documents = [], []
    for job in jobs:
        (due,) = schedule.firings(job, now, 1)
        rows.append((job.name, job.task, job.text, job.zone_name or "-", f"{due:%Y-%m-%d %H:%M %Z}", by))
        documents.append(
            {"job": job.name, "task": job.task, "schedule": job.text, "timezone": job.zone_name or None}
            | {"next": isoformat(due), "started_by": by if by in ("cron", "systemd") else None, "state": by}
        )
    output.document(documents)
    output.table(("JOB", "TASK", "SCHEDULE", "TIME ZONE", "NEXT", "STARTED BY"), rows)
    if by == "outdated":
        output.notice("what starts the jobs is not what the settings say; run: drunner-vault schedule install")
    if jobs and by == "-":
        output.notice("nothing starts these jobs; run: drunner-vault schedule install")
    if by == "cron" and directory is None and not cron_runs():
        output.notice(_NO_CRON)


@command.command("next", epilog="Example: drunner-vault schedule next nightly --count 5")
@click.argument("job", required=False)
@click.option("--count", type=click.IntRange(1, 1000), default=1, show_default=True, help="How many times of each job.")
@common_options
def next_times(job: str | None, count: int, as_json: bool) -> None:
    """Say when jobs are due next, before any jitter."""
    from drunner_vault import wiring
    from drunner_vault.clock import SYSTEM_CLOCK, isoformat
    from drunner_vault.errors import BadUsage
    from drunner_vault.wiring.schedules import planned_jobs
    from drunner_vault.workflows.unattended.schedule import firings

    output = Output(as_json=as_json)
    if job and not wiring.settings(os.environ).job(job).schedule:
        raise BadUsage(f"{job} has no schedule: it is run by hand", f"drunner-vault run {job}")
    chosen = [item for item in planned_jobs(os.environ) if job in (None, item.name)]
    now = SYSTEM_CLOCK.now()
    found = sorted((due, item.name) for item in chosen for due in firings(item, now, count))
    output.document([{"job": name, "due": isoformat(due)} for due, name in found])
    output.table(("DUE", "JOB"), [(f"{due:%a %Y-%m-%d %H:%M %Z}", name) for due, name in found])


def _tell(output: Output, changes: Changes) -> None:
    for name in changes.written:
        output.text(f"written  {name}")
    for name in changes.removed:
        output.text(f"removed  {name}")
