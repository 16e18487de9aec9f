"""rebuild: all services of a host that is gone."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

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

if TYPE_CHECKING:
    from drunner_vault.catalog.catalog import Catalog
    from drunner_vault.workflows.moving.rebuild import RebuildPlan, RebuildReport, ServiceOutcome

_PLAN = ("SERVICE", "CREATED", "SIZE", "CONTENT", "", "WHY")


@click.command(epilog="Example: drunner-vault rebuild s3://backups/production --host oldhost -i key.txt --dry-run")
@click.argument("store")
@click.option(
    "--host", "old_host", metavar="NAME", help="Whose services; needed where there are those of several hosts."
)
@click.option("--services", default="*", metavar="LIST", help="Only these: names or patterns, separated by commas.")
@key_file_option
@click.option("--dry-run", is_flag=True, help="Only show the plan.")
@click.option("--replace", is_flag=True, help="Replace the content of volumes that an earlier uninstall kept.")
@click.option("--any-sender", is_flag=True, help="Even if nobody who is trusted here has signed the archives.")
@access_option
@common_options
def command(
    store: str,
    old_host: str | None,
    services: str,
    identity_files: tuple[Path, ...],
    dry_run: bool,
    replace: bool,
    any_sender: bool,
    volume_access: str,
    as_json: bool,
) -> int:
    """Restore every service of a host that is gone, from the newest complete archive of each in STORE.

    First each archive is opened, and held against this host: key, sender, disk, architecture, names, ports. Then they
    are restored one after the other, by name. One that fails is taken back and does not stop the others. The same
    command again goes on where it was stopped, leaves alone what it has restored, and asks again what was not well
    then. Exits 1 if one could not be
    restored, 3 if nothing was left to do.
    """
    from drunner_vault import wiring
    from drunner_vault.engine.trees import Access
    from drunner_vault.errors import BadUsage
    from drunner_vault.memory import expect_bulk_work
    from drunner_vault.workflows.moving.rebuild import HERE, Keys, Wish, plan_rebuild, rebuild

    expect_bulk_work()
    output = Output(as_json=as_json, long=True)
    host = service_host(output)
    names = tuple(filter(None, map(str.strip, services.split(","))))
    if not names:
        raise BadUsage("--services names none", "leave it out for all of them, or separate names by commas")
    wish = Wish(old_host, names, replace, Access(volume_access))
    keys = Keys(offered_identities(identity_files), asker(), None if any_sender else wiring.trust(os.environ))
    places = known_places()
    root = places.root(places.address(store))
    catalog = places.catalog(root, host=old_host)
    catalog = catalog if catalog.archives else places.catalog(root)  # to say what there is
    plan = plan_rebuild(host, catalog, wish, keys)
    if dry_run:
        output.document(_plan_document(plan))
        _show(plan, output)
        return 1 if any(item.action == "impossible" for item in plan.services) else 0
    if output.interactive:
        _show(plan, output)
    with output.progress() as progress:
        report = rebuild(host, catalog.root.store, plan, wish, keys, progress, lambda outcome: _tell(outcome, output))
    output.document({**asdict(report), "plan": _plan_document(plan)})
    _sum_up(report, output)
    if any(outcome.verdict == "restored" for outcome in report.services):
        _tell_old_keys(catalog, plan.host, output)
    if any(outcome.bad for outcome in report.services):
        return 1
    return 3 if all(outcome.verdict == HERE for outcome in report.services) else 0


def _plan_document(plan: RebuildPlan) -> dict[str, Any]:
    document = asdict(plan)
    for item in document["services"]:
        del item["appeared"]
    return document


def _tell_old_keys(catalog: Catalog, host: str, output: Output) -> None:
    """Whoever has the old host's disks has its key: it should not count for new archives any more."""
    own = catalog.signers.own
    for key in sorted(catalog.signers.current(host) - ({own} if own else set()), key=lambda key: key.fingerprint):
        output.notice(
            f"the key of the old host still counts; when {host} is gone for good: drunner-vault key retire "
            f"{key.fingerprint}"
        )


def _show(plan: RebuildPlan, output: Output) -> None:
    rows = [
        (item.service, item.created or "-", size(item.size), size(item.content), item.action, item.why)
        for item in plan.services
    ]
    output.table(_PLAN, rows)
    free = "" if plan.free is None else f", {size(plan.free)} are free"
    output.text(f"from host {plan.host} in {plan.store}: {size(plan.needed)} to restore{free}")
    for hint in dict.fromkeys(item.hint for item in plan.services if item.hint):
        print(one_line(f"hint: {hint}"), file=sys.stderr)
    for item in plan.services:
        for archive in item.passed_over:
            output.notice(one_line(f"{item.service}: newer, and passed over: {archive}"))


def _tell(outcome: ServiceOutcome, output: Output) -> None:
    """At once, so that a long rebuild is not silent about what failed."""
    for warning in outcome.warnings:
        print(one_line(f"warning: {outcome.service}: {warning}"), file=sys.stderr)
    if outcome.bad:
        print(one_line(f"error: {outcome.service}: {outcome.why}"), file=sys.stderr)
        if outcome.hint:
            print(one_line(f"hint: {outcome.hint}"), file=sys.stderr)
    elif outcome.verdict == "restored":
        well = ", and says that it is well" if outcome.well else ""
        output.done(f"{outcome.service} is restored in {outcome.seconds:.1f} s{well}")


def _sum_up(report: RebuildReport, output: Output) -> None:
    counts: dict[str, int] = {}
    for outcome in report.services:
        counts[outcome.verdict] = counts.get(outcome.verdict, 0) + 1
    output.done(f"{len(report.services)} services of {report.host}: {', '.join(f'{n} {v}' for v, n in counts.items())}")
