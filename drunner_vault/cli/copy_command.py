"""copy: archives to another store."""

from __future__ import annotations

import os
from dataclasses import asdict
from functools import partial

import click

from drunner_vault.cli.common import common_options, known_places
from drunner_vault.cli.output import Output, size


@click.command("copy", epilog="Example: drunner-vault copy s3://backups ssh://offsite/srv/backups")
@click.argument("source")
@click.argument("store")
@click.option("--service", metavar="NAME", help="From a store, only archives of this service.")
@click.option("--host", metavar="NAME", help="From a store, only archives of this host; of a file, whose it is.")
@common_options
def command(source: str, store: str, service: str | None, host: str | None, as_json: bool) -> int:
    """Copy archives to STORE, byte for byte; no key is needed.

    SOURCE is an archive, PLACE/latest, or a store, of which all complete archives are copied that STORE does not have.
    What has a sidecar is held against it on the way. Exits 3 if there was nothing to copy.
    """
    from drunner_vault.catalog.catalog import archives
    from drunner_vault.stores.readonly import ReadOnlyStore
    from drunner_vault.wiring.stores import copying
    from drunner_vault.workflows.copy import Target, copy_archive, copy_archives, key_of
    from drunner_vault.workflows.finding import find_archive, is_one_archive

    output = Output(as_json=as_json, long=True)
    places = known_places()
    target = Target(places.store(store), host or os.uname().nodename, partial(copying, os.environ))
    with output.progress() as progress:
        if is_one_archive(places, source):
            archive = find_archive(places, source)
            done = [copy_archive(archive, key_of(archive, target.host), target, progress)]
        else:
            origin = ReadOnlyStore(places.store(source))
            chosen = archives(origin, service=service, host=host)
            done = copy_archives(origin, chosen, archives(target.store), target, progress)
    output.document({"copied": [asdict(item) for item in done]})
    for item in done:
        output.done(f"{item.archive}: {size(item.bytes)}, copied from {item.source}")
    return 0 if done else 3
