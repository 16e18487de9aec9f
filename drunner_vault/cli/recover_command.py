"""recover: a service anew over its volumes."""

from __future__ import annotations

import click

from drunner_vault.cli.common import common_options, service_host
from drunner_vault.cli.output import Output


@click.command(epilog="Example: drunner-vault recover notes registry.example/notes:2")
@click.argument("service")
@click.argument("image", required=False)
@common_options
def command(service: str, image: str | None, as_json: bool) -> None:
    """Install SERVICE anew over the volumes it has.

    From IMAGE, or from the image it was installed from. It need not be installed, if its IMAGE is given.
    """
    from drunner_vault.workflows.services.install import recover

    output = Output(as_json=as_json)
    recover(service_host(output), service, image)
    output.document({"service": service})
    output.done(f"{service} is installed anew over its volumes")
