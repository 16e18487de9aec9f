"""prune: deletes what retention no longer keeps."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import click

from drunner_vault.cli.common import common_options, going_on, known_places, retention_options
from drunner_vault.cli.output import Output, one_line, size

if TYPE_CHECKING:
    from drunner_vault.catalog.archive import Archive
    from drunner_vault.stores.store import Leftover, Store
    from drunner_vault.workflows.archives.prune import PrunePlan, PruneReport

_HEADER = ("", "HOST", "SERVICE", "CREATED", "SIZE", "LOCKED UNTIL", "WHY")
_UNSIGNED_HEADER = ("", "STANDING", "CREATED", "SIZE", "SIGNED BY", "WHY", "ARCHIVE")


@click.command(
    epilog="Example: drunner-vault prune s3://backups --keep-daily 7 --keep-weekly 4 --keep-monthly 12 --apply"
)
@click.argument("store", required=False)
@retention_options
@click.option("--apply", is_flag=True, help="Do it; otherwise only show what would be done.")
@click.option("--service", metavar="NAME", help="Only archives of this service.")
@click.option("--host", metavar="NAME", help="Only archives of this host.")
@click.option(
    "--accept", "accepted", multiple=True, metavar="SERVICE", help="Confirm the size of the newest of SERVICE."
)
@click.option("--unsigned", is_flag=True, help="List, and with --apply delete, what no accepted key has signed.")
@common_options
def command(
    store: str | None,
    keep: dict[str, str | int],
    apply: bool,
    service: str | None,
    host: str | None,
    accepted: tuple[str, ...],
    unsigned: bool,
    as_json: bool,
) -> int:
    """Delete archives in STORE that no rule keeps, and what dead uploads left; without --apply only show what would be.

    Rules are those of the settings unless some are given here. Only proven archives count: those that a key accepted on
    this host has signed and has seen in this store. Those of each signer are counted by themselves. The newest intact
    one is never deleted, nor is anything locked. A service whose archives became much smaller or larger than usual is
    frozen until you confirm it with --accept SERVICE (or HOST/SERVICE). A directory that holds what this program does
    not know is frozen too. Exits 1 if something is frozen or could not be done, 3 if there was nothing to do. Without
    STORE all stores of the settings are pruned that have rules, and one that fails does not stop the others.

    Archives that no accepted key has signed stay. --unsigned lists them, and deletes them with --apply.
    """
    output = Output(as_json=as_json)
    if unsigned:
        if store is None or keep or accepted:
            raise click.UsageError("--unsigned takes one STORE, and neither rules nor --accept")
        return _unsigned(store, service, host, apply, output)
    documents: list[dict[str, Any]] = []
    code, changed = 0, False
    for name in _names(store):
        with going_on(output, alone=store is not None) as went:
            plan, report = _prune(name, keep, apply, service, host, accepted, output)
            documents.append(_document(name, plan, report))
            _show(name, plan, output)
            code = max(code, _alarms(name, plan, report))
            changed = changed or not apply or any(asdict(report).values()) or bool(accepted)
        if went.error:
            documents.append({"store": name, "error": went.error})
        code = max(code, went.code)
    output.document(documents[0] if store else documents)
    return code or (0 if changed else 3)


def _names(store: str | None) -> list[str]:
    from drunner_vault import wiring
    from drunner_vault.errors import BadUsage

    names = [store] if store else [name for name, item in wiring.settings(os.environ).stores.items() if item.retention]
    if not names:
        raise BadUsage(
            "no store was given, and the settings say of none what it keeps", "drunner-vault prune STORE --keep-daily 7"
        )
    return names


def _prune(
    name: str,
    keep: dict[str, str | int],
    apply: bool,
    service: str | None,
    host: str | None,
    accepted: tuple[str, ...],
    output: Output,
) -> tuple[PrunePlan, PruneReport]:
    from drunner_vault import wiring
    from drunner_vault.clock import SYSTEM_CLOCK
    from drunner_vault.errors import BadUsage
    from drunner_vault.workflows.archives.prune import PruneReport, accept, carry_out, plan_prune

    places = known_places()
    address = places.address(name)
    retention = wiring.retention(os.environ, address.store, keep)
    if not retention.is_set and not accepted:
        raise BadUsage(
            f"nothing says what to keep in {address}", "give rules, as in --keep-daily 7 --keep-weekly 4, or set them"
        )
    root, now, zone = places.decisive_root(address), SYSTEM_CLOCK.now(), wiring.timezone(os.environ)

    def planned() -> PrunePlan:
        return plan_prune(places.catalog(root, service=service, host=host), retention, now, zone)

    plan = planned()
    sign = wiring.trust(os.environ).signing_key().sign if accepted or apply else None
    if sign is not None:
        for which in accepted:
            accept(root, plan.services, which, now, sign)
    plan = replace(planned() if accepted else plan, leftovers=tuple(_leftovers(root.store, output)))
    return plan, carry_out(root, plan, now, sign) if apply and sign is not None else PruneReport()


def _unsigned(name: str, service: str | None, host: str | None, apply: bool, output: Output) -> int:
    from drunner_vault import wiring
    from drunner_vault.wiring.stores import host_memory
    from drunner_vault.workflows.archives.prune import PruneReport, delete_unsigned, plan_unsigned

    wiring.require_root()
    places = known_places()
    root = places.decisive_root(places.address(name))
    memory = host_memory(os.environ, places, root)
    plan = plan_unsigned(places.catalog(root, service=service, host=host), memory.lists)
    report = delete_unsigned(root.store, plan) if apply else PruneReport()
    rows = [_unsigned_row("delete", item, item.why) for item in plan.doomed]
    rows += [_unsigned_row("keep", item, why) for item, why in plan.kept]
    output.table(_UNSIGNED_HEADER, rows)
    doomed = [{"key": item.key, "standing": item.standing.value, "why": item.why} for item in plan.doomed]
    kept = [{"key": item.key, "standing": item.standing.value, "why": why} for item, why in plan.kept]
    output.document({"store": name, "unsigned": doomed, "kept": kept, **asdict(report)})
    for failure in report.failed:
        print(one_line(f"error: {failure}"), file=sys.stderr)
    if report.failed:
        return 1
    return 0 if report.deleted or (plan.doomed and not apply) else 3


def _unsigned_row(action: str, item: Archive, why: str) -> tuple[str, ...]:
    created = f"{item.created:%Y-%m-%d %H:%M:%SZ}"
    return (action, item.standing.value, created, size(item.size), item.signer or "-", why, item.key)


def _leftovers(store: Store, output: Output) -> list[Leftover]:
    from drunner_vault.clock import SYSTEM_CLOCK
    from drunner_vault.errors import AccessDenied, Unsupported
    from drunner_vault.wiring.stores import is_idle
    from drunner_vault.workflows.archives.prune import dead_leftovers

    try:
        return dead_leftovers(store, SYSTEM_CLOCK.now(), is_idle(os.environ))
    except (AccessDenied, Unsupported) as error:  # some servers cannot list them either
        output.notice(f"dead uploads were not looked for: {error.message}")
        return []


def _show(store: str, plan: PrunePlan, output: Output) -> None:
    rows = []
    for service in plan.services:
        for verdict in service.verdicts:
            item = verdict.archive
            until = verdict.lock_until or item.locked_until
            rows.append(
                (
                    "keep" if verdict.keep else "delete",
                    service.host or "-",
                    service.service,
                    f"{item.created:%Y-%m-%d %H:%M:%SZ}",
                    size(item.size),
                    f"{until:%Y-%m-%d}" if until else "-",
                    "; ".join(verdict.reasons),
                )
            )
    for orphan in plan.orphans:
        when = f"{orphan.created:%Y-%m-%d %H:%M:%SZ}"
        rows.append(("delete", orphan.host, orphan.service, when, "-", "-", "its archive is gone"))
    for leftover in plan.leftovers:
        when = f"{leftover.active:%Y-%m-%d %H:%M:%SZ}"
        rows.append(("delete", "-", "-", when, size(leftover.size), "-", f"a dead upload of {leftover.key}"))
    output.table(_HEADER, rows)
    for others in plan.others:
        output.notice(
            one_line(f"kept: {others.describe()}, {size(others.bytes)}; see: drunner-vault prune {store} --unsigned")
        )


def _alarms(store: str, plan: PrunePlan, report: PruneReport) -> int:
    for service in plan.services:
        name = f"{service.host}/{service.service}" if service.host else service.service
        if service.frozen:
            _alarm(
                f"{name} is frozen: {service.frozen.key} {service.frozen.reason}",
                f"look at it; if its size is right: drunner-vault prune {store} --accept {name}",
            )
    held = {(service.host, service.service): service.held for service in plan.services if service.held}
    for (host, name), reason in held.items():
        _alarm(
            f"{host}/{name} is frozen: {reason}",
            "use a newer drunner-vault if a newer one writes there; else remove what does not belong there",
        )
    for failure in report.failed:
        print(one_line(f"error: {failure}"), file=sys.stderr)
    return 1 if report.failed or held or any(service.frozen for service in plan.services) else 0


def _alarm(text: str, hint: str) -> None:
    print(one_line(f"error: {text}"), one_line(f"hint: {hint}"), sep="\n", file=sys.stderr)


def _document(name: str, plan: PrunePlan, report: PruneReport) -> dict[str, Any]:
    return {
        "store": name,
        "services": [
            {
                "host": service.host,
                "service": service.service,
                "signer": service.signer,
                "frozen": service.frozen.reason if service.frozen else service.held or None,
                "archives": [
                    {
                        "key": verdict.archive.key,
                        "action": "keep" if verdict.keep else "delete",
                        "reasons": list(verdict.reasons),
                        "locked_until": _iso(verdict.archive.locked_until),
                        "lock_until": _iso(verdict.lock_until),
                    }
                    for verdict in service.verdicts
                ],
            }
            for service in plan.services
        ],
        "others": [asdict(others) for others in plan.others],
        "orphans": [orphan.key for orphan in plan.orphans],
        "leftovers": [leftover.key for leftover in plan.leftovers],
        **asdict(report),
    }


def _iso(moment: Any) -> str | None:
    from drunner_vault.clock import isoformat

    return isoformat(moment) if moment else None
