"""drill: whether a service would come back, and how soon."""

from __future__ import annotations

import os
import re
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

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
from drunner_vault.cli.output import Output, size

if TYPE_CHECKING:
    from drunner_vault.workflows.drilling.drill import DrillReport

_UNITS = {"s": 1, "m": 60, "h": 3600, "": 1}


def _seconds(_context: click.Context, _parameter: click.Parameter, text: str) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?) ?([smh]?)", text.strip())
    if match is None or not float(match[1]):
        raise click.BadParameter(f"{text!r} is no span of time; write it as 90s, 10m or 1h")
    return float(match[1]) * _UNITS[match[2]]


@click.command(epilog="Example: drunner-vault drill s3://backups/production notes -i key.txt")
@click.argument("source")
@click.argument("service", required=False)
@key_file_option
@click.option(
    "--timeout",
    default="10m",
    show_default=True,
    metavar="SPAN",
    callback=_seconds,
    help="How long each hook may take, and the service to become well.",
)
@click.option("--image", metavar="IMAGE", help="Install from this image instead of the one that was backed up.")
@click.option("--any-sender", is_flag=True, help="Even if nobody who is trusted here has signed the archive.")
@access_option
@common_options
def command(
    source: str,
    service: str | None,
    identity_files: tuple[Path, ...],
    timeout: float,
    image: str | None,
    any_sender: bool,
    volume_access: str,
    as_json: bool,
) -> int:
    """Restore the archive SOURCE for real, apart from everything else; see whether its service is well, and how long it
    took; and remove it again. Or the newest archive of SERVICE in a store.

    The service gets a throwaway name, a network that leads nowhere, and sees no other container. It is well if its
    containers are healthy and its own `selftest`, if it has one, says so. The result is remembered beside the archive,
    and shown by `archives`. Exits 1 if the service does not come back.
    """
    from drunner_vault import wiring
    from drunner_vault.clock import SYSTEM_CLOCK
    from drunner_vault.engine.trees import Access
    from drunner_vault.errors import DrillFailed
    from drunner_vault.memory import expect_bulk_work
    from drunner_vault.workflows.archives.finding import find_to_restore
    from drunner_vault.workflows.archives.recording import Recorder, locate
    from drunner_vault.workflows.drilling.drill import PASSED, DrillChoices, drill

    expect_bulk_work()
    output = Output(as_json=as_json, long=True)
    host = service_host(output)
    places = known_places()
    archive, _ = find_to_restore(places, source, service)
    recorder = Recorder(locate(places, archive), wiring.trust(os.environ), SYSTEM_CLOCK)
    choices = DrillChoices(timeout, image, Access(volume_access))
    with output.progress() as progress:
        trust = None if any_sender else wiring.trust(os.environ)
        report = drill(host, archive, choices, offered_identities(identity_files), asker(), trust, progress, recorder)
    output.document(asdict(report))
    for line in report.refused:
        output.notice(f"refused: {line}")
    if report.verdict != PASSED:
        error = DrillFailed(f"{report.service or archive.name} did not come back: {report.why}", report.hint)
        Output().error(error)
        return error.exit_code
    for line in report.changed:
        output.note(f"not as on its own host: {line}")
    output.text(_summary(report))
    return 0


def _summary(report: DrillReport) -> str:
    proofs = [f"{len(report.containers)} containers are well"] if report.containers else []
    proofs += ["its selftest says so"] if report.selftest else []
    proven = " and ".join(proofs) or "nothing runs, and it has no selftest: only its data is proven"
    fetched = f", {len(report.fetched)} images fetched" if report.fetched else ""
    return (
        f"{report.service} as it was at {report.created} is back in {report.seconds:.1f} s ({size(report.content)} in "
        f"{report.restored:.1f} s{fetched}): {proven}"
    )
