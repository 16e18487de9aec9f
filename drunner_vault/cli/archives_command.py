"""archives: which archives there are."""

from __future__ import annotations

import datetime as dt
import os
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from drunner_vault.cli.common import common_options, going_on, known_places
from drunner_vault.cli.output import Output, age, size

if TYPE_CHECKING:
    from drunner_vault.catalog.catalog import Archive

_HEADER = (
    "HOST",
    "SERVICE",
    "CREATED",
    "AGE",
    "SIZE",
    "FOR",
    "SIGNED BY",
    "VERIFIED",
    "DRILLED",
    "LOCKED UNTIL",
    "STATE",
    "ARCHIVE",
)


@click.command(epilog="Example: drunner-vault archives s3://backups/production --service notes")
@click.argument("store", required=False)
@click.option("--service", metavar="NAME", help="Only archives of this service.")
@click.option("--host", metavar="NAME", help="Only archives of this host.")
@click.option("--since", metavar="SPAN", help="Only archives made within this span, as in 7d.")
@click.option("--complete/--incomplete", "complete", default=None, help="Only those that are complete, or are not.")
@click.option("--latest", is_flag=True, help="Only the newest complete one of each service.")
@common_options
def command(
    store: str | None,
    service: str | None,
    host: str | None,
    since: str | None,
    complete: bool | None,
    latest: bool,
    as_json: bool,
) -> int:
    """List the archives in STORE, newest first; in all stores of the settings if none is given. No key is needed.

    STORE is s3://bucket/prefix, ssh://host/path, a name from the settings, or a directory. An archive is complete if
    its size is what its sidecar says; one without a sidecar, if its ends are as they must be. Of several stores those
    that can be read are listed; exits 1 if one could not be.
    """
    from drunner_vault.catalog.catalog import archives
    from drunner_vault.clock import SYSTEM_CLOCK
    from drunner_vault.policy import parse_duration
    from drunner_vault.stores.readonly import ReadOnlyStore

    output = Output(as_json=as_json)
    now, places = SYSTEM_CLOCK.now(), known_places()
    start = parse_duration(since).before(now, dt.UTC) if since else None
    documents, rows, code = [], [], 0
    for name in _names(store):
        with going_on(output, alone=store is not None) as went:
            opened = ReadOnlyStore(places.store(name))
            found = archives(opened, service=service, host=host)
            for item in _newest_of_each(found, now) if latest else found:
                if (start is None or item.created >= start) and complete in (None, item.complete):
                    documents.append({"store": opened.name, **_document(item, now)})
                    rows.append(_row(item, now))
        code = max(code, went.code)
    output.document(documents)
    output.table(_HEADER, rows)
    return code


def _names(store: str | None) -> list[str]:
    from drunner_vault import wiring
    from drunner_vault.errors import BadUsage

    names = [store] if store else list(wiring.settings(os.environ).stores)
    if not names:
        raise BadUsage("no store was given, and the settings name none", "drunner-vault archives s3://bucket/prefix")
    return names


def _newest_of_each(found: list[Archive], now: dt.datetime) -> list[Archive]:
    from drunner_vault.catalog.catalog import newest

    groups = sorted({item.group for item in found})
    tops = [newest([item for item in found if item.group == group], now) for group in groups]
    return [item for item in tops if item]


def _document(item: Archive, now: dt.datetime) -> dict[str, Any]:
    from drunner_vault.clock import isoformat

    values = {key: isoformat(value) if isinstance(value, dt.datetime) else value for key, value in asdict(item).items()}
    return {**values, "complete": item.complete, "age_seconds": round((now - item.created).total_seconds())}


def _drilled(item: Archive) -> str:
    """When a drill was held last, and how long the service took to come back."""
    if item.drill_failed and (item.drilled is None or item.drill_failed > item.drilled):
        return f"failed {item.drill_failed:%Y-%m-%d}"
    if item.drilled is None:
        return "-"
    taken = "" if item.drill_seconds is None else f": {item.drill_seconds:.0f} s"
    return f"{item.drilled:%Y-%m-%d}{taken}"


def _row(item: Archive, now: dt.datetime) -> tuple[str, ...]:
    state = "complete" if item.complete else item.fault
    if item.complete and item.problems:
        state += f", {item.problems} files not as they were"
    if item.complete and not item.has_sidecar:
        state += ", no sidecar"
    return (
        item.host or "-",
        item.service,
        f"{item.created:%Y-%m-%d %H:%M:%SZ}",
        age(now - item.created),
        size(item.size),
        ", ".join(item.sealed_to or item.recipients) or ("nobody: in the clear" if item.complete else "-"),
        item.signer[:17] or "-",
        f"{item.verified:%Y-%m-%d}" if item.verified else "-",
        _drilled(item),
        f"{item.locked_until:%Y-%m-%d}" if item.locked_until else "-",
        state,
        item.key,
    )
