"""key rehearse: whether a recovery key opens what it should."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from drunner_vault.cli.common import asker, common_options, key_file_option, known_places
from drunner_vault.cli.output import Output, one_line

if TYPE_CHECKING:
    from drunner_vault.workflows.recovery.rehearse import Rehearsal, RehearsalReport

_HEADER = ("HOST", "SERVICE", "CREATED", "OPENED BY", "SENDER", "STATE")


@click.command("rehearse", epilog="Example: drunner-vault key rehearse s3://backups/production -i key.txt")
@click.argument("store", required=False)
@key_file_option
@click.option("--service", "services", multiple=True, metavar="NAME", help="Only these services, or patterns of names.")
@click.option("--host", metavar="NAME", help="Only services of this host.")
@click.option("--full", is_flag=True, help="Read each archive to its end, and prove every byte, as verify does.")
@common_options
def rehearse_command(
    store: str | None,
    identity_files: tuple[Path, ...],
    services: tuple[str, ...],
    host: str | None,
    full: bool,
    as_json: bool,
) -> int:
    """Prove that an identity opens the newest archive of every service in STORE.

    Take the recovery key from where it is kept for the worst case, and try it before that comes. Each archive is really
    decrypted: its manifest, its index and its signature are proven, with a few reads. All stores of the settings are
    rehearsed if none is given. What opens is recorded beside the archive. Exits 1 if any service would not come back;
    the others are tried all the same.
    """
    from drunner_vault import wiring
    from drunner_vault.clock import SYSTEM_CLOCK
    from drunner_vault.errors import BadUsage, StorageError
    from drunner_vault.memory import expect_bulk_work
    from drunner_vault.workflows.keys import identities
    from drunner_vault.workflows.recovery.rehearse import Wanted, rehearse

    expect_bulk_work()
    output = Output(as_json=as_json, long=True)
    places = known_places()
    names = [store] if store else list(wiring.settings(os.environ).stores)
    if not names:
        raise BadUsage("no store was given, and the settings name none", "drunner-vault key rehearse STORE -i FILE")
    offered = identities(identity_files, os.environ, asker())
    wanted, trust = Wanted(services or ("*",), (), host), wiring.trust(os.environ)
    reports: list[RehearsalReport] = []
    unreachable: list[StorageError] = []
    with output.progress() as progress:
        for name in names:
            try:
                catalog = places.catalog(places.root(places.address(name)))
                reports.append(rehearse(catalog, wanted, offered, trust, SYSTEM_CLOCK, progress, full=full))
            except StorageError as error:
                if len(names) == 1:
                    raise
                unreachable.append(error)
    output.document({"stores": list(map(asdict, reports)), "unreachable": [failure.message for failure in unreachable]})
    output.table(_HEADER, [_row(item) for report in reports for item in report.services])
    for report in reports:
        _tell(output, report)
    for failure in unreachable:
        _complain(failure.message, failure.hint)
    return 1 if unreachable or any(report.failed for report in reports) else 0


def _row(item: Rehearsal) -> tuple[str, ...]:
    opened_by = ", ".join(item.by) or ("a passphrase" if item.encrypted else "anybody: in the clear")
    state = {"everything": "opens, every byte proven", "index": "opens"}.get(item.checked, "does not open")
    return (
        item.host or "-",
        item.service,
        item.created or "-",
        "-" if item.problem else opened_by,
        item.sender or "-",
        state if item.archive else "no archive",
    )


def _tell(output: Output, report: RehearsalReport) -> None:
    for item in report.services:
        for text in item.passed_over:
            output.notice(f"newer than what was opened, and passed over: {one_line(text)}")
    for name in report.idle:
        output.notice(f"the identity of {name}… opened nothing in {report.store}")
    for item in report.failed:
        of_host = f" of {item.host}" if item.host else ""
        _complain(f"{item.service}{of_host}: {item.problem}", item.hint)
    if report.services and not report.failed:
        output.done(f"all {len(report.services)} services in {report.store} would come back")


def _complain(message: str, hint: str) -> None:
    print(f"error: {one_line(message)}", *([f"hint: {one_line(hint)}"] if hint else []), sep="\n", file=sys.stderr)
