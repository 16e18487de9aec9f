"""update: a service from a newer image."""

from __future__ import annotations

import click

from drunner_vault.cli.common import common_options, service_host
from drunner_vault.cli.output import Output


@click.command(epilog="Example: drunner-vault update notes")
@click.argument("service")
@common_options
def command(service: str, as_json: bool) -> None:
    """Bring SERVICE up to date with its image.

    The image is pulled first, unless /etc/drunner/config.sh says PULLONUPDATE=0. Exits 3 if there is nothing new.
    """
    from drunner_vault.workflows.services.update import update

    output = Output(as_json=as_json)
    update(service_host(output), service)
    output.document({"service": service})
    output.done(f"{service} is up to date")
