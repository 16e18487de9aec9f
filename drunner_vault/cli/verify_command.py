"""verify: whether an archive is as it was written."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path

import click

from drunner_vault.cli.common import asker, common_options, key_file_option, known_places, offered_identities
from drunner_vault.cli.output import Output, size


@click.command(epilog="Example: drunner-vault verify /backups/latest -i key.txt")
@click.argument("source")
@click.option("--quick", is_flag=True, help="Read only head and tail.")
@click.option("--no-key", is_flag=True, help="Compare the file with its sidecar, without any key.")
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
    from drunner_vault.workflows.archives.finding import find_archive
    from drunner_vault.workflows.archives.recording import Recorder, locate, sidecar_of
    from drunner_vault.workflows.archives.verify import (
        read_sidecar,
        recorded,
        verify,
        verify_ends,
        verify_without_key,
    )

    if quick and no_key:
        raise click.UsageError("--quick needs a key, and --no-key reads everything")
    expect_bulk_work()
    output = Output(as_json=as_json, long=True)
    places = known_places()
    trust, offered = wiring.trust(os.environ), offered_identities(identity_files)
    archive = find_archive(places, source)
    with output.progress() as progress:
        if quick:
            report = verify_ends(archive, offered, trust)
        elif no_key and sidecar:
            report = verify_without_key(archive, read_sidecar(sidecar), progress)
        else:
            recorder = Recorder(locate(places, archive), trust, SYSTEM_CLOCK)
            if no_key:
                beside = sidecar_of(archive, recorder.located)  # a damaged sidecar says nothing about the archive
                report = recorded(archive, recorder, lambda each: verify_without_key(each, beside, progress))
            else:
                report = recorded(archive, recorder, lambda each: verify(each, offered, asker(), trust, progress))
    output.document(asdict(report))
    output.text(_summary(asdict(report)))
    if no_key and not report.accepted and not sidecar:
        output.notice("no accepted key has signed the sidecar, so this is not recorded; see: drunner-vault archives")
    if report.problem_count:
        output.notice(f"the backup could not read {report.problem_count} files consistently; see inspect")


def _summary(report: dict[str, object]) -> str:
    if report["checked"] == "sidecar":
        return f"{report['archive']} is what its sidecar says, byte for byte"
    whole = "is whole" if report["checked"] == "everything" else "has both its ends; its middle was not read"
    content = report["content"]
    held = f"{report['members']} files of {size(float(str(content)))}"
    return (
        f"{report['archive']} {whole}: {report['service']} as it was at {report['created']}, {held}, {report['sender']}"
    )
