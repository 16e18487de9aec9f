"""migrate: a service to another host."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from drunner_vault.cli.common import bandwidth_option, common_options, service_host
from drunner_vault.cli.output import Output, one_line, size

if TYPE_CHECKING:
    from drunner_vault.workflows.moving.migrate import MigrationReport
    from drunner_vault.workflows.moving.plan import MigrationPlan

_HOW = {
    "here": "is there already",
    "pull": "is fetched there from its registry",
    "bring": "travels along",
}


@click.command(epilog="Example: drunner-vault migrate notes root@newhost --stop, after a look with --dry-run")
@click.argument("service")
@click.argument("host")
@click.option("--as", "called", metavar="NAME", help="What the service is to be called there.")
@click.option("--stop", is_flag=True, help="Stop it here once it is proven there; its volumes are kept.")
@click.option("--replace", is_flag=True, help="Replace the content of volumes that an earlier uninstall kept there.")
@click.option("--dry-run", is_flag=True, help="Only show the plan, and what would differ.")
@click.option("--allow-partial", is_flag=True, help="Even if files cannot be read as they are.")
@click.option("--level", type=click.IntRange(1, 19), default=3, show_default=True, help="How hard zstd tries.")
@click.option("--threads", type=click.IntRange(0, 256), default=0, help="For compression; all processors by default.")
@bandwidth_option
@click.option(
    "--remote-program",
    default="drunner-vault",
    metavar="COMMAND",
    show_default=True,
    help="How drunner-vault is called there.",
)
@common_options
def command(
    service: str,
    host: str,
    called: str | None,
    stop: bool,
    replace: bool,
    dry_run: bool,
    allow_partial: bool,
    level: int,
    threads: int,
    bandwidth: int,
    remote_program: str,
    as_json: bool,
) -> int:
    """Bring SERVICE to HOST, which has drunner-vault too: in one stream through ssh, with nothing in between.

    HOST is what ssh takes: a name of its settings, or user@host. The user is root, or may use sudo without a password.
    The service pauses only while its volumes are read, and runs on here. With --stop it stays paused until it has
    proven to be well there, and is then uninstalled here, so that nothing is written that does not come along. If
    anything fails, it runs on here, and HOST is left as it was. The same command again finishes what was cut off.
    """
    from drunner_vault.memory import expect_bulk_work
    from drunner_vault.wiring.remote import other_side
    from drunner_vault.workflows.moving.migrate import migrate, plan_migration
    from drunner_vault.workflows.moving.plan import MigrationChoices

    expect_bulk_work()
    output = Output(as_json=as_json, long=True)
    there = other_side(os.environ, host, remote_program)
    choices = MigrationChoices(called, stop, replace, allow_partial, level, threads, bandwidth)
    here = service_host(output)
    if dry_run:
        plan = plan_migration(here, service, there, choices)
        output.document(asdict(plan))
        _show(plan, output)
        return 1 if plan.problems else 0
    with output.progress() as progress:
        report = migrate(here, service, there, choices, os.uname().nodename, progress)
    output.document(asdict(report))
    _tell(report, output)
    return 0


def _show(plan: MigrationPlan, output: Output) -> None:
    ending = f"{plan.service} is then stopped here" if plan.stop else f"{plan.service} runs on here"
    output.text(f"{plan.service} would move to {plan.host} as {plan.called}; {ending}")
    for name, count in plan.volumes.items():
        output.text(f"  volume {name}: {'of unknown size' if count is None else size(count)}")
    for reference, how in plan.images.items():
        output.text(f"  image {reference} {_HOW.get(how, how)}")
    for port in plan.ports:
        output.text(f"  port {port}")
    if plan.free is not None:
        output.text(f"  free there: {size(plan.free)}")
    for what, here, there in plan.differences:
        output.text(f"  differs: {what}: {one_line(here)} here, {one_line(there)} there")
    if plan.arrived:
        then = "it is replaced by what is here now" if plan.stop else "there is nothing left to do"
        output.text(f"  an earlier try, which was cut off, has got through: {then}")
    for problem in plan.problems:
        print(f"problem: {one_line(problem)}", file=sys.stderr)


def _tell(report: MigrationReport, output: Output) -> None:
    for volume, lost in report.lost.items():
        print(f"warning: {volume} went through Docker's archive calls, which lose: {'; '.join(lost)}", file=sys.stderr)
    for problem in report.problems:
        print(f"warning: {one_line(problem)}", file=sys.stderr)
    where = f"{report.called} is on {report.host}"
    here = f"uninstalled here, its volumes kept: {', '.join(report.kept_volumes) or 'none'}" if report.stopped else ""
    if report.finished:
        output.done(f"{where}: an earlier try had got through{'; ' + here if here else ''}")
        return
    well = "and says that it is well" if report.well else "but has no selftest to prove it with"
    paused = here or f"paused here for {report.paused:.1f} s"
    output.done(
        f"{where}, {well}: {report.members} files of {size(report.content)}, sent as {size(report.bytes)} in "
        f"{report.seconds:.1f} s; {paused}"
    )
