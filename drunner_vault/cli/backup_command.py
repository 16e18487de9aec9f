"""backup: a service into one file."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from drunner_vault.cli.common import (
    access_option,
    bandwidth_option,
    chosen_recipients,
    common_options,
    known_places,
    recipient_options,
    retention_options,
    service_host,
)
from drunner_vault.cli.output import Output, one_line, size

if TYPE_CHECKING:
    from drunner_vault.workflows.backup import BackupReport


@click.command(
    epilog="Example: drunner-vault backup notes s3://backups/production -r age1…, or: PASS=secret drunner-vault backup "
    "notes n.backup"
)
@click.argument("service", required=False)
@click.argument("dest", required=False)
@click.option("--all", "all_services", is_flag=True, help="Every service of this host; only DEST is named then.")
@recipient_options
@click.option(
    "--images",
    type=click.Choice(["auto", "always", "never"]),
    default="auto",
    show_default=True,
    help="Take the images along: auto takes those that no registry could give again.",
)
@click.option("--sidecar", is_flag=True, help="Also write ARCHIVE.json, by which it can be checked without a key.")
@click.option("--level", type=click.IntRange(1, 19), default=3, show_default=True, help="How hard zstd tries.")
@click.option("--threads", type=click.IntRange(0, 256), default=0, help="For compression; all processors by default.")
@bandwidth_option
@click.option("--background", is_flag=True, help="Give way to all else on this host.")
@click.option("--allow-partial", is_flag=True, help="Exit 0 even if files could not be read as they were.")
@retention_options
@access_option
@common_options
def command(
    service: str | None,
    dest: str | None,
    all_services: bool,
    keep: dict[str, str | int],
    recipients: tuple[str, ...],
    recipient_files: tuple[Path, ...],
    unencrypted: bool,
    images: str,
    sidecar: bool,
    level: int,
    threads: int,
    bandwidth: int,
    background: bool,
    allow_partial: bool,
    volume_access: str,
    as_json: bool,
) -> int:
    """Back up SERVICE into one file.

    DEST is a store (s3://bucket/prefix, ssh://host/path, file:///path, or a name from the settings), a file, a
    directory (the file in it is named after service and time), or - for standard output; the current directory if it is
    not given. The archive is encrypted to the recipients, or with a passphrase from PASS, DRUNNER_PASSPHRASE or
    DRUNNER_PASSPHRASE_FILE.

    In a store the archive is HOST/SERVICE/SERVICE-TIME.tar.zst.age, with a sidecar to list and check it by
    without a key. A store that locks archives does so until retention (--keep-…, or the settings) lets them go.

    With --all every service is backed up, each independent of the others; exits 1 if one failed.
    """
    if all_services:
        if dest is not None:
            raise click.UsageError("with --all, only DEST is named")
        from drunner_vault.cli.backup_all import back_up_all

        return back_up_all(click.get_current_context(), service or "./", as_json=as_json)
    if service is None:
        raise click.UsageError("name a service, or say --all")
    dest = dest or "./"
    from drunner_vault import wiring
    from drunner_vault.memory import expect_bulk_work
    from drunner_vault.wiring.history import history_of_hand
    from drunner_vault.wiring.stores import store_choices
    from drunner_vault.workflows.backup import BackupChoices
    from drunner_vault.workflows.backup_service import backup_to_file, backup_to_store
    from drunner_vault.workflows.pace import step_back
    from drunner_vault.workflows.unattended.recording import recorded_backup
    from drunner_vault.workflows.workload import Embed

    if dest == "-" and as_json:
        raise click.UsageError("standard output cannot take both the archive and --json")
    if dest == "-" and sidecar:
        raise click.UsageError("a pipe has no place beside it for a sidecar")
    expect_bulk_work()
    if background:
        step_back()
    output = Output(as_json=as_json, long=True)
    host = service_host(output)
    chosen = chosen_recipients(recipients, recipient_files, unencrypted=unencrypted)
    key = wiring.trust(os.environ).signing_key()
    choices = BackupChoices(chosen, Embed(images), level, threads, os.uname().nodename, key.sign, sidecar, bandwidth)
    places = known_places()

    def back_up() -> BackupReport:
        with output.progress() as progress:
            if dest != "-" and places.is_store(dest):
                to = store_choices(os.environ, places, dest, keep, output.notice)
                return backup_to_store(host, service, to, choices, volume_access, progress)
            return backup_to_file(host, service, dest, choices, volume_access, progress)

    report = recorded_backup(host, history_of_hand(os.environ), service, dest, back_up, allow_partial=allow_partial)
    output.document(asdict(report))
    _tell(output, report)
    if report.problem_count and not allow_partial:
        _tell_partial(report)
        return 1
    return 0


def _tell(output: Output, report: BackupReport) -> None:
    """What a person should know of a backup."""
    for volume, lost in report.lost.items():
        output.note(f"{volume} was read through Docker's archive calls, which lose: {'; '.join(lost)}")
    for note in report.notes:
        output.note(one_line(note))
    for problem in report.problems:
        print(f"warning: {one_line(problem['path'])}: {problem['problem']}", file=sys.stderr)
    output.done(
        f"{report.archive}: {size(report.bytes)}, {report.members} files of {size(report.content)}, "
        f"in {report.seconds:.1f} s ({report.service} paused {report.paused:.1f} s)"
    )


def _tell_partial(report: BackupReport) -> None:
    print(
        f"error: {report.archive} was written, but {report.problem_count} files are not as they were",
        "hint: see the warnings; --allow-partial accepts such backups",
        sep="\n",
        file=sys.stderr,
    )
