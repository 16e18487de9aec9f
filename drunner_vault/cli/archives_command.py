"""archives: which archives there are."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from drunner_vault.cli.common import (
    asker,
    common_options,
    going_on,
    key_file_option,
    known_places,
    offered_identities,
)
from drunner_vault.cli.output import Output, age, one_line, size

if TYPE_CHECKING:
    from drunner_vault.catalog.archive import Archive
    from drunner_vault.workflows.archives.adopt import AdoptReport

_HEADER = (
    "HOST",
    "SERVICE",
    "CREATED",
    "AGE",
    "SIZE",
    "FOR",
    "SIGNED BY",
    "STANDING",
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
@click.option("--adopt", is_flag=True, help="Sign the archives that this host's history knows and nobody has signed.")
@key_file_option
@common_options
def command(
    store: str | None,
    service: str | None,
    host: str | None,
    since: str | None,
    complete: bool | None,
    latest: bool,
    adopt: bool,
    identity_files: tuple[Path, ...],
    as_json: bool,
) -> int:
    """List the archives in STORE, newest first; in all stores of the settings if none is given. No key is needed.

    STORE is s3://bucket/prefix, ssh://host/path, a name from the settings, or a directory. STANDING says what an
    archive is worth: `proven` and `stated` ones are signed by a key that is accepted on this host, all others count for
    nothing. Of several stores those that can be read are listed; exits 1 if one could not be.

    --adopt signs archives of versions before 1.1, which did not sign sidecars: those that this host's history lists
    with the same name and size, that appeared in the store at that time, and whose bytes match their sidecar. With -i,
    those whose signature inside is by an accepted key. Every byte is read. Exits 3 if there is nothing to adopt.
    """
    from drunner_vault.clock import SYSTEM_CLOCK
    from drunner_vault.policy import parse_duration

    output = Output(as_json=as_json, long=adopt)
    if identity_files and not adopt:
        raise click.UsageError("-i is for --adopt")
    if adopt:
        return _adopt(_names(store), service, host, identity_files, output, alone=store is not None)
    now, places = SYSTEM_CLOCK.now(), known_places()
    start = parse_duration(since).before(now, dt.UTC) if since else None
    documents, rows, code = [], [], 0
    for name in _names(store):
        with going_on(output, alone=store is not None) as went:
            root = places.root(places.address(name))
            found = places.catalog(root, service=service, host=host).archives
            for item in _newest_of_each(found, now) if latest else found:
                if (start is None or item.created >= start) and complete in (None, item.complete):
                    documents.append({"store": root.name, **_document(item, now)})
                    rows.append(_row(item, now))
        code = max(code, went.code)
    output.document(documents)
    output.table(_HEADER, rows)
    return code


def _adopt(
    names: list[str],
    service: str | None,
    host: str | None,
    identity_files: tuple[Path, ...],
    output: Output,
    *,
    alone: bool,
) -> int:
    documents: list[dict[str, Any]] = []
    code, adopted = 0, 0
    for name in names:
        with going_on(output, alone=alone) as went:
            report = _adopt_in(name, service, host, identity_files, output)
            documents.append(asdict(report))
            adopted += len(report.adopted)
            for item in report.adopted:
                output.text(f"{item.archive}: adopted by {item.basis}, {size(item.bytes)}")
            for refused in report.refused:
                output.notice(one_line(f"not adopted: {refused}"))
        code = max(code, went.code)
    output.document({"stores": documents})
    return code or (0 if adopted else 3)


def _adopt_in(
    name: str, service: str | None, host: str | None, identity_files: tuple[Path, ...], output: Output
) -> AdoptReport:
    """Adopt in one store: archives of this host, or with a key those of all hosts, unless one is named."""
    from drunner_vault import wiring
    from drunner_vault.clock import SYSTEM_CLOCK
    from drunner_vault.hoststate.archive_log import ArchiveLog
    from drunner_vault.memory import expect_bulk_work
    from drunner_vault.wiring.settings import vault_directory
    from drunner_vault.wiring.stores import host_memory
    from drunner_vault.workflows.archives.adopt import Opening, adopt

    wiring.require_root()
    expect_bulk_work()
    places, trust = known_places(), wiring.trust(os.environ)
    trust.signing_key()
    root = places.identified(places.writable_root(places.address(name)))
    offered = offered_identities(identity_files)
    opening = Opening(offered, asker()) if identity_files else None
    catalog = places.catalog(root, service=service, host=host or (None if opening else os.uname().nodename))
    log = ArchiveLog(vault_directory(os.environ))
    with output.progress() as progress:
        return adopt(catalog, host_memory(os.environ, places, root), trust, log, SYSTEM_CLOCK, progress, opening)


def _names(store: str | None) -> list[str]:
    from drunner_vault import wiring
    from drunner_vault.errors import BadUsage

    names = [store] if store else list(wiring.settings(os.environ).stores)
    if not names:
        raise BadUsage("no store was given, and the settings name none", "drunner-vault archives s3://bucket/prefix")
    return names


def _newest_of_each(found: Sequence[Archive], now: dt.datetime) -> list[Archive]:
    from drunner_vault.catalog.catalog import newest

    groups = sorted({item.group for item in found})
    tops = [newest([item for item in found if item.group == group], now) for group in groups]
    return [item for item in tops if item]


def _document(item: Archive, now: dt.datetime) -> dict[str, Any]:
    from drunner_vault.clock import isoformat

    values = {entry.name: getattr(item, entry.name) for entry in fields(item) if entry.name != "objects"}
    values = {key: isoformat(value) if isinstance(value, dt.datetime) else value for key, value in values.items()}
    values |= {"standing": item.standing.value, "series": item.series.fingerprint if item.series else ""}
    values |= {"name": item.name, "complete": item.complete, "keys": item.keys}
    return {**values, "age_seconds": round((now - item.created).total_seconds())}


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
        state += f", {item.problems} files not read consistently"
    if item.complete and item.why and not item.is_stated:
        state += f", {item.why}"
    return (
        item.host or "-",
        item.service,
        f"{item.created:%Y-%m-%d %H:%M:%SZ}",
        age(now - item.created),
        size(item.size),
        ", ".join(item.sealed_to or item.recipients) or ("nobody: in the clear" if item.complete else "-"),
        item.signer[:17] or "-",
        item.standing.value,
        f"{item.verified:%Y-%m-%d}" if item.verified else "-",
        _drilled(item),
        f"{item.locked_until:%Y-%m-%d}" if item.locked_until else "-",
        state,
        item.key,
    )
