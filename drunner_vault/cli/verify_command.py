"""verify: whether an archive is as it was written."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path

import click

from drunner_vault.cli.common import archive_source, asker, common_options, key_file_option, offered_identities
from drunner_vault.cli.output import Output, size


@click.command(epilog="Example: drunner-vault verify /backups/latest -i key.txt")
@click.argument("source")
@click.option("--quick", is_flag=True, help="Read only head and tail.")
@click.option("--no-key", is_flag=True, help="Hold the file against its sidecar, without any key.")
@click.option("--sidecar", type=click.Path(path_type=Path), metavar="FILE", help="The sidecar, if not SOURCE.json.")
@key_file_option
@common_options
def command(
    source: str, quick: bool, no_key: bool, sidecar: Path | None, identity_files: tuple[Path, ...], as_json: bool
) -> None:
    """Prove that the archive SOURCE is as it was written, without restoring it.

    Every byte is read: encryption, checksums, digests, the index against the tar, the signature. Exits 1 if anything
    is not as it must be. What is found of an archive in a store is remembered there, and shown by `archives`.
    """
    from drunner_vault import wiring
    from drunner_vault.clock import SYSTEM_CLOCK
    from drunner_vault.memory import expect_bulk_work
    from drunner_vault.workflows.archives.verify import (
        read_sidecar,
        recorded,
        sidecar_of,
        verify,
        verify_ends,
        verify_without_key,
    )

    if quick and no_key:
        raise click.UsageError("--quick needs a key, and --no-key reads everything")
    expect_bulk_work()
    output = Output(as_json=as_json, long=True)
    trust, offered = wiring.trust(os.environ), offered_identities(identity_files)
    archive = archive_source(source)
    with output.progress() as progress:
        if quick:
            report = verify_ends(archive, offered, trust)
        elif no_key and sidecar:
            report = verify_without_key(archive, read_sidecar(sidecar), progress)
        elif no_key:
            beside = sidecar_of(archive)  # a damaged sidecar says nothing about the archive
            report = recorded(archive, SYSTEM_CLOCK, lambda: verify_without_key(archive, beside, progress))
        else:
            report = recorded(archive, SYSTEM_CLOCK, lambda: verify(archive, offered, asker(), trust, progress))
    output.document(asdict(report))
    output.text(_summary(asdict(report)))
    if report.problem_count:
        output.notice(f"the backup itself could not carry {report.problem_count} files as they were; see inspect")


def _summary(report: dict[str, object]) -> str:
    if report["checked"] == "sidecar":
        return f"{report['archive']} is what its sidecar says, byte for byte"
    whole = "is whole" if report["checked"] == "everything" else "has both its ends; its middle was not read"
    content = report["content"]
    held = f"{report['members']} files of {size(float(str(content)))}"
    return (
        f"{report['archive']} {whole}: {report['service']} as it was at {report['created']}, {held}, {report['sender']}"
    )
