"""prune: deletes what retention no longer keeps."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from drunner_vault.cli.common import common_options, going_on, known_places, retention_options
from drunner_vault.cli.output import Output, one_line, size

if TYPE_CHECKING:
    from drunner_vault.stores.store import Leftover, Store
    from drunner_vault.workflows.archives.prune import PrunePlan, PruneReport, ServicePlan

_HEADER = ("", "HOST", "SERVICE", "CREATED", "SIZE", "LOCKED UNTIL", "WHY")


@click.command(
    epilog="Example: drunner-vault prune s3://backups --keep-daily 7 --keep-weekly 4 --keep-monthly 12 --apply"
)
@click.argument("store", required=False)
@retention_options
@click.option("--apply", is_flag=True, help="Do it; otherwise only show what would be done.")
@click.option("--service", metavar="NAME", help="Only archives of this service.")
@click.option("--host", metavar="NAME", help="Only archives of this host.")
@click.option("--accept", "accepted", multiple=True, metavar="SERVICE", help="The newest of SERVICE is right as it is.")
@common_options
def command(
    store: str | None,
    keep: dict[str, str | int],
    apply: bool,
    service: str | None,
    host: str | None,
    accepted: tuple[str, ...],
    as_json: bool,
) -> int:
    """Delete archives in STORE that no rule keeps, and what dead uploads left; without --apply only show what would be.

    Rules are those of the settings unless some are given here. Only complete archives count. The newest complete one
    of a service is never deleted, nor is anything locked. A service whose archives became much smaller or larger than
    usual is frozen until a person has looked and says --accept SERVICE (or HOST/SERVICE). Exits 1 if something is
    frozen or could not be done, 3 if there was nothing to do. Without STORE all stores of the settings are pruned that
    say what they keep, and one that fails does not stop the others.
    """
    output = Output(as_json=as_json)
    documents: list[dict[str, Any]] = []
    code, changed = 0, False
    for name in _names(store):
        with going_on(output, alone=store is not None) as went:
            plan, report = _prune(name, keep, apply, service, host, accepted, output)
            documents.append(_document(name, plan, report))
            _show(plan, output)
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
    from drunner_vault.catalog.catalog import archives
    from drunner_vault.clock import SYSTEM_CLOCK
    from drunner_vault.errors import BadUsage
    from drunner_vault.workflows.archives.prune import PrunePlan, PruneReport, accept, carry_out, plan_services

    places = known_places()
    address = places.address(name)
    retention = wiring.retention(os.environ, address.store, keep)
    if not retention.is_set and not accepted:
        raise BadUsage(
            f"nothing says what to keep in {address}", "give rules, as in --keep-daily 7 --keep-weekly 4, or set them"
        )
    opened, now, zone = places.open(address), SYSTEM_CLOCK.now(), wiring.timezone(os.environ)

    def planned() -> tuple[ServicePlan, ...]:
        found = archives(opened, service=service, host=host)
        return plan_services(found, retention, now, zone, can_lock=opened.can_lock)

    services = planned()
    for which in accepted:
        accept(opened, services, which, now)
    plan = PrunePlan(planned() if accepted else services, tuple(_leftovers(opened, output)))
    return plan, carry_out(opened, plan, now) if apply else PruneReport()


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


def _show(plan: PrunePlan, output: Output) -> None:
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
    for leftover in plan.leftovers:
        when = f"{leftover.active:%Y-%m-%d %H:%M:%SZ}"
        rows.append(("delete", "-", "-", when, size(leftover.size), "-", f"a dead upload of {leftover.key}"))
    output.table(_HEADER, rows)


def _alarms(store: str, plan: PrunePlan, report: PruneReport) -> int:
    for service in plan.services:
        if service.frozen:
            name = f"{service.host}/{service.service}" if service.host else service.service
            print(
                one_line(f"error: {name} is frozen: {service.frozen.key} {service.frozen.reason}"),
                f"hint: look at it; if its size is right: drunner-vault prune {store} --accept {name}",
                sep="\n",
                file=sys.stderr,
            )
    for failure in report.failed:
        print(one_line(f"error: {failure}"), file=sys.stderr)
    return 1 if report.failed or any(service.frozen for service in plan.services) else 0


def _document(name: str, plan: PrunePlan, report: PruneReport) -> dict[str, Any]:
    return {
        "store": name,
        "services": [
            {
                "host": service.host,
                "service": service.service,
                "frozen": service.frozen.reason if service.frozen else None,
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
        "leftovers": [leftover.key for leftover in plan.leftovers],
        **asdict(report),
    }


def _iso(moment: Any) -> str | None:
    from drunner_vault.clock import isoformat

    return isoformat(moment) if moment else None
