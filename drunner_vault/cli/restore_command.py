"""restore: a service back from one file."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict
from pathlib import Path

import click

from drunner_vault.cli.common import (
    access_option,
    asker,
    common_options,
    key_file_option,
    known_places,
    offered_identities,
    service_host,
)
from drunner_vault.cli.output import Output, one_line, size


@click.command(
    epilog="Example: drunner-vault restore s3://backups/production notes -i key.txt, or: drunner-vault restore "
    "notes-20260131T030000Z.tar.zst.age notes-clone -i key.txt"
)
@click.argument("source")
@click.argument("service", required=False)
@key_file_option
@click.option("--as", "called", metavar="NAME", help="What the service is to be called here.")
@click.option("--image", metavar="IMAGE", help="Install from this image instead of the one that was backed up.")
@click.option("--replace", is_flag=True, help="Replace the content of volumes that an earlier uninstall kept.")
@click.option("--any-sender", is_flag=True, help="Even if nobody who is trusted here has signed the archive.")
@access_option
@common_options
def command(
    source: str,
    service: str | None,
    identity_files: tuple[Path, ...],
    called: str | None,
    image: str | None,
    replace: bool,
    any_sender: bool,
    volume_access: str,
    as_json: bool,
) -> None:
    """Restore a service from the archive SOURCE, under its old name or as SERVICE; or the newest of SERVICE in a store.

    SOURCE is a file, a store (s3://bucket/prefix, ssh://host/path, a name from the settings, a directory), an archive
    in one, PLACE/latest for the newest below that place, or - for standard input. The service is installed anew, its
    volumes are filled and its restore hook is run; if anything fails, the host is left as it was.
    """
    from drunner_vault import wiring
    from drunner_vault.engine.trees import Access
    from drunner_vault.memory import expect_bulk_work
    from drunner_vault.workflows.archives.finding import find_to_restore
    from drunner_vault.workflows.restore_service import restore_service
    from drunner_vault.workflows.services.drunner_restore import RestoreChoices

    expect_bulk_work()
    output = Output(as_json=as_json, long=True)
    host = service_host(output)
    archive, name = find_to_restore(known_places(), source, service)
    choices = RestoreChoices(called or name, image, replace, Access(volume_access))

    with output.progress() as progress:
        trust = None if any_sender else wiring.trust(os.environ)
        name, report = restore_service(
            host, archive, choices, offered_identities(identity_files), asker(), trust, progress
        )
    output.document({"service": name, **asdict(report)})
    for volume, lost in report.lost.items():
        print(f"warning: {volume} went through Docker's archive calls, which lose: {'; '.join(lost)}", file=sys.stderr)
    for problem in report.problems:
        print(f"warning: {one_line(problem)}", file=sys.stderr)
    if report.archived_problems:
        print(
            f"warning: the backup itself could not carry {report.archived_problems} files as they were", file=sys.stderr
        )
    output.done(
        f"{name} is restored, as it was at {report.created}: {report.members} files of {size(report.content)} in "
        f"{report.seconds:.1f} s"
    )
