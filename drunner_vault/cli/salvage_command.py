"""salvage: a new archive of all that survives in a damaged one."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from drunner_vault.cli.common import (
    archive_source,
    asker,
    chosen_recipients,
    common_options,
    key_file_option,
    offered_identities,
    recipient_options,
)
from drunner_vault.cli.output import Output, one_line, size

if TYPE_CHECKING:
    from drunner_vault.archive.salvage import Loss
    from drunner_vault.workflows.archives.salvage import SalvageReport


@click.command(
    epilog="Example: drunner-vault salvage notes.tar.zst.age --to notes-salvaged.tar.zst.age -i key.txt -r age1…"
)
@click.argument("source")
@click.option("--to", "target", required=True, metavar="FILE", help="The new archive; must not exist yet.")
@key_file_option
@click.option(
    "--sidecar",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The sidecar of SOURCE, if not SOURCE.json; it stands in for a lost head.",
)
@recipient_options
@common_options
def command(
    source: str,
    target: str,
    identity_files: tuple[Path, ...],
    sidecar: Path | None,
    recipients: tuple[str, ...],
    recipient_files: tuple[Path, ...],
    unencrypted: bool,
    as_json: bool,
) -> int:
    """Make a new, valid archive of all that survives in the damaged or cut archive SOURCE.

    What is lost is listed, by file and byte range; files of which only parts are left have holes where the rest was.
    Exits 0 only if nothing at all was lost. SOURCE is left as it is.
    """
    from drunner_vault.clock import SYSTEM_CLOCK
    from drunner_vault.workflows.archives.salvage import SalvageChoices, salvage
    from drunner_vault.workflows.archives.verify import read_sidecar

    output = Output(as_json=as_json, long=True)
    chosen = chosen_recipients(recipients, recipient_files, unencrypted=unencrypted)
    choices = SalvageChoices(chosen, read_sidecar(sidecar) if sidecar else None)
    archive = archive_source(source)
    with output.progress() as progress:
        report = salvage(archive, target, choices, offered_identities(identity_files), asker(), SYSTEM_CLOCK, progress)
    output.document(asdict(report))
    for loss in report.losses:
        output.text(one_line(_told(loss)))
    for notice in _notices(report):
        output.notice(notice)
    if report.complete:
        output.done(f"{report.archive}: nothing was lost, {report.saved} files of {size(report.content)}")
        return 0
    print(f"error: {_summary(report)}", file=sys.stderr)
    print(f"hint: see what is left with: drunner-vault ls {report.archive}", file=sys.stderr)
    return 1


def _told(loss: Loss) -> str:
    from drunner_vault.archive.salvage import ranges_text

    where = f"bytes {ranges_text(loss.ranges)} of {loss.size}: " if loss.ranges else ""
    return f"{loss.state}: {loss.path}: {where}{loss.reason}"


def _summary(report: SalvageReport) -> str:
    counts = f"{report.saved} files saved, {report.damaged} damaged, {report.lost} lost"
    if report.lost_unnamed is None:
        counts += ", and an unknown number of others lost with their names"
    elif report.lost_unnamed:
        counts += f", and {report.lost_unnamed} others lost with their names"
    return f"{report.archive} was written, but it is not all: {counts}"


def _notices(report: SalvageReport) -> list[str]:
    notices = []
    if report.manifest_lost:
        notices.append("the manifest was lost; the new one was made of what else is known, and names no image")
    if report.was_signed:
        notices.append("the new archive is not signed, as nobody can sign for the host that made the old one")
    if report.earlier_problems:
        notices.append(f"the backup itself could not carry {report.earlier_problems} files as they were; see inspect")
    return notices
