"""obliterate: a service with its volumes."""

from __future__ import annotations

import click

from drunner_vault.cli.common import common_options, service_host
from drunner_vault.cli.output import Output


@click.command(epilog="Example: drunner-vault obliterate notes")
@click.argument("service")
@click.option("--force", is_flag=True, help="Even if its hook fails; also remove containers that use its volumes.")
@common_options
def command(service: str, force: bool, as_json: bool) -> None:
    """Remove SERVICE and all its data."""
    from drunner_vault.workflows.services.remove import obliterate

    output = Output(as_json=as_json)
    obliterate(service_host(output), service, force=force)
    output.document({"service": service})
    output.done(f"{service} and its volumes are gone")
