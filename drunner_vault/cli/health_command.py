"""health: whether backups are as they should be."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict
from functools import cache
from typing import TYPE_CHECKING

import click

from drunner_vault.cli.common import common_options
from drunner_vault.cli.output import Output, one_line

if TYPE_CHECKING:
    from drunner_vault.catalog.catalog import Catalog
    from drunner_vault.catalog.identity import StoreRoot
    from drunner_vault.config import Settings
    from drunner_vault.errors import VaultError
    from drunner_vault.workflows.archives.adopt import HostMemory
    from drunner_vault.workflows.unattended.health import HealthReport
    from drunner_vault.workflows.unattended.history import Run
    from drunner_vault.workflows.unattended.reporting import Reporting


@click.command(epilog="Example: drunner-vault health --json")
@click.option("--notify", is_flag=True, help="Tell whom the settings name of what is new, and of what is over.")
@click.option("--quiet", is_flag=True, help="Say nothing if all is well.")
@click.option("--scheduled", is_flag=True, help="Say only what is new; as timers and cron call it.")
@common_options
def command(notify: bool, quiet: bool, scheduled: bool, as_json: bool) -> int:
    """Check that backups are recent, verified and complete: one line for each problem; made for monitoring.

    Reads the stores of all jobs. Only proven archives of this host's own series count. A problem is a service whose
    newest good archive is too old or was verified too long ago, a store that cannot be read or is not the one that this
    host knows, archives that are not signed yet, archives with this host's key that its history does not know, a job
    that did not run when it was due, a last run that failed or was killed, and a message that could not be delivered.
    Exits 1 if there is any. Archives of others in this host's directories are listed as notices.
    """
    from drunner_vault import wiring
    from drunner_vault.wiring import unattended

    output = Output(as_json=as_json)
    wiring.require_root()
    known, faults = unattended.settings_as_far_as_possible(os.environ)
    reporting = unattended.reporting(os.environ, known)
    if not known.jobs and not faults:
        from drunner_vault.errors import BadUsage

        place = unattended.settings_path(os.environ)
        faults = [BadUsage(f"{place} names no job, so nothing is watched")]
    report = _faulty(faults) if faults else _examine(known, reporting)
    known_before = reporting.raised() if scheduled else frozenset()
    nothing_new = scheduled and {problem.key for problem in report.problems} <= known_before
    if notify:
        complaints = reporting.after_health(report) if not faults else reporting.after_fault(report)
        for complaint in complaints if not nothing_new else ():
            output.notice(complaint)
    report.problems += reporting.undelivered()
    output.document({"healthy": report.healthy, **_document(report)})
    for problem in report.problems if not nothing_new else ():
        if problem.key not in known_before:
            output.text(one_line(problem.text))
    for notice in report.notices if not quiet else ():
        output.notice(one_line(notice.text))
    if report.healthy and not quiet:
        output.text(f"all is well: {len(known.jobs)} jobs, {len(report.services)} services in their stores")
    return 0 if report.healthy else 1


def _examine(known: Settings, reporting: Reporting) -> HealthReport:
    from drunner_vault.clock import SYSTEM_CLOCK
    from drunner_vault.errors import StorageError
    from drunner_vault.wiring import unattended
    from drunner_vault.wiring.stores import host_memory, places
    from drunner_vault.workflows.unattended.alarms import Problem
    from drunner_vault.workflows.unattended.health import HealthContext, examine, started_last
    from drunner_vault.workflows.unattended.history import latest_of
    from drunner_vault.workflows.unattended.jobs import JOB

    now, faults = SYSTEM_CLOCK.now(), []
    runs: list[Run] = []
    try:
        reporting.history.interrupted()
    except StorageError as error:
        faults.append(Problem("storage", error.message))
    try:
        runs = reporting.history.runs()
    except StorageError as error:
        faults = [Problem("storage", error.message)]
    known_stores = places(os.environ, Output().notice, impatient=True)

    @cache
    def root_of(store: str) -> StoreRoot:
        return known_stores.decisive_root(known_stores.address(store))

    def catalog(store: str) -> Catalog:
        return known_stores.catalog(root_of(store), host=os.uname().nodename)

    def memory(store: str) -> HostMemory | None:
        """None if history or log cannot be read, which is a problem of its own and not one of the store."""
        try:
            return host_memory(os.environ, known_stores, root_of(store))
        except StorageError as error:
            problem = Problem("storage", error.message)
            if problem not in faults:
                faults.append(problem)
            return None

    context = HealthContext(
        now,
        unattended.installed_since(os.environ),
        latest_of(runs),
        started_last(runs),
        frozenset(run.job for run in reporting.history.now_running() if run.task == JOB),
        catalog,
        memory,
        reporting.kept,
    )
    report = examine(unattended.watched_jobs(os.environ, known, reporting.watch.read().seen, now), context)
    report.problems += faults
    return report


def _faulty(faults: Sequence[VaultError]) -> HealthReport:
    """What is to be said of settings that make no sense: nothing runs then, and silence would pass for well-being."""
    from drunner_vault.workflows.unattended.alarms import Problem
    from drunner_vault.workflows.unattended.health import HealthReport

    text = "the settings cannot be used"
    return HealthReport([Problem("settings", f"{text}: {fault.message}", task=fault.message) for fault in faults])


def _document(report: HealthReport) -> dict[str, object]:
    return {
        "problems": [asdict(problem) for problem in report.problems],
        "services": [asdict(item) for item in report.services],
        "notices": [asdict(item) for item in report.notices],
    }
