"""store: about places for archives."""

from __future__ import annotations

import time
from dataclasses import asdict

import click

from drunner_vault.cli.common import common_options, known_places
from drunner_vault.cli.output import Output, one_line


@click.group(epilog="Example: drunner-vault store check s3://backups/production")
def command() -> None:
    """About places for archives."""


@command.command("check", epilog="Example: drunner-vault store check s3://backups/production")
@click.argument("store")
@common_options
def check(store: str, as_json: bool) -> int:
    """Try on STORE itself all that archives rely on: that nothing half is seen, nothing overwritten, and so on.

    Some small objects and two of 21 MB are written below a directory of its own and removed again. Exits 1 if a promise
    is broken, or none could be tried.
    """
    from drunner_vault.clock import SYSTEM_CLOCK
    from drunner_vault.workflows.archives.store_check import check_store

    output = Output(as_json=as_json)
    opened = known_places().store(store)
    findings = []
    for finding in check_store(opened, SYSTEM_CLOCK, time.sleep):
        findings.append(finding)
        details = f": {finding.details}" if finding.details else ""
        output.text(one_line(f"{finding.verdict:<8} {finding.text} ({finding.seconds:.1f} s){details}"))
    broken = [finding for finding in findings if finding.verdict in ("broken", "failed")]
    tried = any(finding.verdict == "kept" for finding in findings)
    output.document({"store": opened.name, "ok": tried and not broken, "findings": [asdict(item) for item in findings]})
    if not tried:
        output.notice("nothing could be tried")
    return 0 if tried and not broken else 1
