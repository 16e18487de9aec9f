"""copy: archives to another store."""

from __future__ import annotations

import datetime as dt
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from functools import cache, partial
from typing import TYPE_CHECKING

import click

from drunner_vault.cli.common import common_options, known_places, retention_options
from drunner_vault.cli.output import Output, one_line, size

if TYPE_CHECKING:
    from drunner_vault.catalog.archive import Archive
    from drunner_vault.catalog.identity import StoreRoot
    from drunner_vault.stores.store import Store
    from drunner_vault.workflows.archives.copy import Lock
    from drunner_vault.workflows.archives.places import Places


@click.command("copy", epilog="Example: drunner-vault copy s3://backups ssh://offsite/srv/backups")
@click.argument("source")
@click.argument("store")
@click.option("--service", metavar="NAME", help="From a store, only archives of this service.")
@click.option("--host", metavar="NAME", help="From a store, only archives of this host; of a file, whose it is.")
@retention_options
@common_options
def command(
    source: str, store: str, service: str | None, host: str | None, keep: dict[str, str | int], as_json: bool
) -> int:
    """Copy archives to STORE, byte for byte; no key is needed.

    SOURCE is an archive, PLACE/latest, or a store. Of a store, all complete archives are copied that a key accepted on
    this host has signed and that STORE does not have; others only when you name them. Every byte is compared with the
    sidecar on the way. A store that locks archives does so until retention (--keep-…, or the settings) no longer keeps
    them. Exits 1 if an archive could not be copied (the others are), 3 if there was nothing to copy.
    """
    from drunner_vault import wiring
    from drunner_vault.clock import SYSTEM_CLOCK
    from drunner_vault.wiring.stores import copying
    from drunner_vault.workflows.archives.copy import Target, copy_archives, copy_one
    from drunner_vault.workflows.archives.finding import find_archive, is_one_archive
    from drunner_vault.workflows.archives.recording import locate

    output = Output(as_json=as_json, long=True)
    places = known_places()
    address = places.address(store)
    root = places.writable_root(address)
    sign = wiring.trust(os.environ).signing_key().sign
    lock = _lock(root.store, address.store, keep, output)
    identify = cache(lambda: places.identified(root).identity)
    target = Target(root, identify, sign, host or os.uname().nodename, partial(copying, os.environ), SYSTEM_CLOCK, lock)
    with output.progress() as progress:
        if is_one_archive(places, source):
            found = find_archive(places, source)
            report = copy_one(found, locate(places, found), partial(_present, places, root), target, progress)
        else:
            origin = places.root(places.address(source))
            chosen = places.catalog(origin, service=service, host=host).archives
            present = places.catalog(root).archives
            report = copy_archives(origin, chosen, present, target, progress)
    output.document(asdict(report))
    for item in report.copied:
        output.done(f"{item.archive}: {size(item.bytes)}, copied from {item.source}")
    for line in report.skipped:
        output.notice(one_line(line))
    for failure in report.failed:
        print(one_line(f"error: {failure}"), file=sys.stderr)
    return 1 if report.failed else 0 if report.copied else 3


def _present(places: Places, root: StoreRoot, directory: str) -> Sequence[Archive]:
    """The archives in a directory of a store; none if it may not be listed."""
    from dataclasses import replace

    from drunner_vault.errors import AccessDenied

    try:
        return places.catalog(replace(root, prefix=directory)).archives
    except AccessDenied:
        return ()


def _lock(store: Store, name: str, keep: dict[str, str | int], output: Output) -> Lock:
    """How copies in a store are locked. name: what the settings call it. keep: rules from the command line."""
    from drunner_vault import wiring
    from drunner_vault.clock import SYSTEM_CLOCK
    from drunner_vault.policy import lock_until
    from drunner_vault.workflows.archives.copy import no_lock

    if not store.can_lock:
        return no_lock
    retention, zone = wiring.retention(os.environ, name, keep), wiring.timezone(os.environ)
    if not retention.is_set:
        output.notice(f"what is copied to {store.name} is not locked: nothing says for how long (--keep-daily 7 …)")
        return no_lock

    def lock(created: dt.datetime, earlier: Sequence[dt.datetime]) -> dt.datetime | None:
        until = lock_until(created, earlier, retention, zone)
        return until if until and until > SYSTEM_CLOCK.now() else None

    return lock
