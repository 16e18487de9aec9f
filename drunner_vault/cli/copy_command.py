"""copy: archives to another store."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict
from functools import partial

import click

from drunner_vault.cli.common import common_options, known_places
from drunner_vault.cli.output import Output, one_line, size


@click.command("copy", epilog="Example: drunner-vault copy s3://backups ssh://offsite/srv/backups")
@click.argument("source")
@click.argument("store")
@click.option("--service", metavar="NAME", help="From a store, only archives of this service.")
@click.option("--host", metavar="NAME", help="From a store, only archives of this host; of a file, whose it is.")
@common_options
def command(source: str, store: str, service: str | None, host: str | None, as_json: bool) -> int:
    """Copy archives to STORE, byte for byte; no key is needed.

    SOURCE is an archive, PLACE/latest, or a store, of which all complete archives are copied that STORE does not have.
    What has a sidecar is held against it on the way. Exits 1 if an archive could not be copied (others are all the
    same), 3 if there was nothing to copy.
    """
    from drunner_vault.catalog.catalog import archives
    from drunner_vault.stores.readonly import ReadOnlyStore
    from drunner_vault.wiring.stores import copying
    from drunner_vault.workflows.archives.copy import Target, copy_archives, copy_one
    from drunner_vault.workflows.archives.finding import find_archive, is_one_archive

    output = Output(as_json=as_json, long=True)
    places = known_places()
    target = Target(places.store(store), host or os.uname().nodename, partial(copying, os.environ))
    with output.progress() as progress:
        if is_one_archive(places, source):
            report = copy_one(find_archive(places, source), target, progress)
        else:
            origin = ReadOnlyStore(places.store(source))
            chosen = archives(origin, service=service, host=host)
            report = copy_archives(origin, chosen, archives(target.store), target, progress)
    output.document(asdict(report))
    for item in report.copied:
        output.done(f"{item.archive}: {size(item.bytes)}, copied from {item.source}")
    for failure in report.failed:
        print(one_line(f"error: {failure}"), file=sys.stderr)
    return 1 if report.failed else 0 if report.copied else 3
