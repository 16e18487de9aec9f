"""history: what was done on this host."""

from __future__ import annotations

import datetime as dt
import os
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from drunner_vault.cli.common import common_options
from drunner_vault.cli.output import Output, size

if TYPE_CHECKING:
    from drunner_vault.workflows.unattended.history import Run

_HEADER = ("STARTED", "JOB", "TASK", "SERVICE", "STORE", "TOOK", "SIZE", "PAUSED", "RATE", "VERDICT", "WHY")


@click.command(epilog="Example: drunner-vault history --service notes --failed")
@click.option("--job", metavar="JOB", help="Only what this job did.")
@click.option("--service", metavar="NAME", help="Only of this service.")
@click.option("--failed", is_flag=True, help="Only what did not go as it should.")
@click.option("--limit", type=click.IntRange(0), default=50, show_default=True, help="The newest N; 0 for all.")
@common_options
def command(job: str | None, service: str | None, failed: bool, limit: int, as_json: bool) -> None:
    """Show what was done on this host, the newest last: backups, and each step of jobs.

    The newest 10000 are kept.
    """
    from drunner_vault.wiring import history as histories

    output = Output(as_json=as_json)
    history = histories.history(os.environ)
    history.interrupted()
    chosen = [
        run
        for run in history.runs()
        if job in (None, run.job) and service in (None, run.service) and (not failed or run.verdict != "done")
    ]
    chosen = chosen[-limit:] if limit else chosen
    output.document([asdict(run) for run in chosen])
    output.table(_HEADER, [_row(run) for run in chosen])


def _row(run: Run) -> tuple[str, ...]:
    return (
        f"{run.begun:%Y-%m-%d %H:%M:%SZ}",
        run.job or "-",
        run.task,
        run.service or "-",
        run.store or "-",
        str(dt.timedelta(seconds=round(run.seconds))),
        size(run.bytes) if run.bytes else "-",
        f"{run.paused:.1f} s" if run.task == "backup" else "-",
        f"{size(run.rate)}/s" if run.rate else "-",
        run.verdict,
        run.why or "-",
    )
