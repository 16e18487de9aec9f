"""run: does what a job of the settings says."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING

import click

from drunner_vault.cli.common import common_options
from drunner_vault.cli.output import Output, one_line

if TYPE_CHECKING:
    from drunner_vault.config import JobSettings
    from drunner_vault.workflows.unattended.history import Run
    from drunner_vault.workflows.unattended.jobs import JobReport
    from drunner_vault.workflows.unattended.reporting import Reporting


@click.command(epilog="Example: drunner-vault run nightly")
@click.argument("job")
@click.option("--scheduled", is_flag=True, help="Only if it is due by its schedule; as timers and cron call it.")
@common_options
def command(job: str, scheduled: bool, as_json: bool) -> int:
    """Do what JOB of the settings says: [jobs.JOB] in vault.toml.

    A backup job backs up its services into its store, copies the archives to further ones, and prunes what the
    settings no longer keep there. Others verify, drill or rehearse the newest archive of each service. Each service is
    independent: one that fails does not stop the others. Whom the settings name is told what became of it; that
    somebody cannot be told is said here, and fails nothing. Exits 1 if anything failed; 3 if the job is running
    already, or not due.
    """
    from drunner_vault import wiring
    from drunner_vault.errors import NoChange
    from drunner_vault.schedules.entry import SCHEDULER
    from drunner_vault.wiring import unattended

    output = Output(as_json=as_json)
    known = wiring.settings(os.environ)
    chosen = known.job(job)
    wiring.require_root()
    reporting = unattended.reporting(os.environ, known)
    with _told_if_it_fails(chosen, reporting, output):
        reporting.history.interrupted()
        if scheduled:
            try:
                _require_due(chosen, reporting)
            except NoChange:
                if SCHEDULER in os.environ and not as_json:
                    return NoChange.exit_code  # cron calls more often than needed, and mails what is said
                raise
        with _alone(chosen, reporting):
            if scheduled:
                _require_due(chosen, reporting)  # once more: another process may have been a moment quicker
                _wait(chosen, reporting)
            report, complaints = _run(chosen, reporting, output)
    complaints = list(dict.fromkeys(complaints))
    for complaint in complaints:
        output.notice(complaint)
    runs = [asdict(run) for run in report.runs]
    output.document({**asdict(report.whole), "ok": report.ok, "runs": runs, "complaints": complaints})
    return 0 if report.ok else 1


@contextlib.contextmanager
def _told_if_it_fails(job: JobSettings, reporting: Reporting, output: Output) -> Iterator[None]:
    """Whom it concerns is told of what keeps the job from being done at all, as a full disk does."""
    from drunner_vault.errors import NoChange, VaultError

    try:
        yield
    except NoChange:
        raise
    except VaultError as error:
        for complaint in dict.fromkeys(reporting.after_fault_of(job, error)):
            output.notice(complaint)
        raise


def _require_due(job: JobSettings, reporting: Reporting) -> None:
    """Raises NoChange unless it is. What was interrupted is made up for like what was missed."""
    from drunner_vault.clock import SYSTEM_CLOCK
    from drunner_vault.wiring.jobs import job_schedule, job_timezone
    from drunner_vault.workflows.unattended.health import started_last
    from drunner_vault.workflows.unattended.history import INTERRUPTED
    from drunner_vault.workflows.unattended.running import require_due

    now, seen = SYSTEM_CLOCK.now(), reporting.watch.read().seen.get(job.name)
    if seen is None:
        reporting.watch.note(job.name, now, {})
    runs = (*reporting.history.runs(), *reporting.history.now_running())
    last = started_last(run for run in runs if run.why != INTERRUPTED).get(job.name, seen)
    zone = job_timezone(os.environ, job)
    require_due(job_schedule(job), zone, last, now, catch_up=job.catch_up, jitter=job.jitter)


def _wait(job: JobSettings, reporting: Reporting) -> None:
    """Wait as long as the job's jitter wants, and for Docker. The job counts as started meanwhile: cron calls again."""
    import time

    from drunner_vault.clock import SYSTEM_CLOCK
    from drunner_vault.wiring import unattended
    from drunner_vault.workflows.unattended.history import new_run
    from drunner_vault.workflows.unattended.jobs import JOB
    from drunner_vault.workflows.unattended.running import delay

    with reporting.history.underway(new_run(SYSTEM_CLOCK, job.name, JOB, "", job.store)):
        time.sleep(delay(job.jitter, os.environ))
        unattended.await_engine(os.environ)


@contextlib.contextmanager
def _alone(job: JobSettings, reporting: Reporting) -> Iterator[None]:
    """Hold the job; that a run was skipped because another one does is written down."""
    from dataclasses import replace

    from drunner_vault.clock import SYSTEM_CLOCK
    from drunner_vault.errors import NoChange
    from drunner_vault.wiring.settings import vault_directory
    from drunner_vault.workflows.unattended.history import SKIPPED, new_run
    from drunner_vault.workflows.unattended.jobs import JOB
    from drunner_vault.workflows.unattended.running import alone

    with contextlib.ExitStack() as held:
        try:
            held.enter_context(alone(vault_directory(os.environ), job.name))
        except NoChange as busy:
            run = new_run(SYSTEM_CLOCK, job.name, JOB, "", job.store)
            reporting.history.add(replace(run, verdict=SKIPPED, why=busy.message))
            raise
        yield


def _run(job: JobSettings, reporting: Reporting, output: Output) -> tuple[JobReport, list[str]]:
    from drunner_vault.alarms.ping import Ping
    from drunner_vault.wiring import unattended
    from drunner_vault.workflows.unattended.jobs import run_job

    complaints = reporting.ping(job, Ping.START)
    report = run_job(job, unattended.job_context(os.environ, job.name, partial(_tell, output)))
    if report.whole.verdict == "failed":
        print(one_line(f"error: job {job.name}: {report.whole.why}"), file=sys.stderr)
    if report.unwritten:
        print(one_line(f"error: {report.unwritten}"), file=sys.stderr)
    return report, complaints + reporting.after_run(job, report)


def _tell(output: Output, run: Run, hint: str) -> None:
    """A step that has ended: said to a person who watches, and to everybody if it failed."""
    from drunner_vault.workflows.unattended.reporting import describe

    if run.ok:
        output.done(one_line(describe(run)))
    else:
        print(one_line(f"error: {describe(run)}"), file=sys.stderr)
        if hint:
            print(one_line(f"hint: {hint}"), file=sys.stderr)
