"""store: commands about stores themselves."""

from __future__ import annotations

import os
import time
from dataclasses import asdict

import click

from drunner_vault.cli.common import common_options, known_places
from drunner_vault.cli.output import Output, one_line


@click.group(epilog="Example: drunner-vault store check s3://backups/production")
def command() -> None:
    """Test stores, and say which store is at an address."""


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


@command.command("identity", epilog="Example: drunner-vault store identity /mnt/backups --accept")
@click.argument("store")
@click.option("--accept", is_flag=True, help="Accept STORE as the right one at its address from now on.")
@common_options
def identity(store: str, accept: bool, as_json: bool) -> None:
    """Print the identity of STORE; with --accept, remember it for this address.

    A store gets an identity from `init` or the first backup. A command fails if the store at a known address shows
    another identity or none, as it does when a disk is not mounted, or if the identity is known from another address.
    If that is right, because the store is new or was moved, accept it. A store without an identity gets one then.
    """
    from drunner_vault import wiring
    from drunner_vault.catalog.identity import make_identity, read_identity
    from drunner_vault.errors import NotFound
    from drunner_vault.hoststate.known_stores import KnownStores
    from drunner_vault.wiring.settings import vault_directory
    from drunner_vault.wiring.stores import address_text

    output = Output(as_json=as_json)
    address = known_places().address(store)
    opened = known_places().open(address)
    found = read_identity(opened)
    if accept:
        wiring.require_root()
        found = found or make_identity(opened)
        KnownStores(vault_directory(os.environ)).accept(address_text(os.environ, address), found)
    if not found:
        raise NotFound(f"{opened.name} has no identity", "the first backup writes one, or --accept does")
    output.document({"store": opened.name, "identity": found, "accepted": accept})
    output.text(found)
