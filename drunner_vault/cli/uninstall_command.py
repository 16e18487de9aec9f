"""uninstall: a service, but not its volumes."""

from __future__ import annotations

import click

from drunner_vault.cli.common import common_options, service_host
from drunner_vault.cli.output import Output


@click.command(epilog="Example: drunner-vault uninstall notes")
@click.argument("service")
@click.option("--force", is_flag=True, help="Remove it even if its own uninstall hook fails.")
@common_options
def command(service: str, force: bool, as_json: bool) -> None:
    """Remove SERVICE and keep its volumes.

    `recover SERVICE IMAGE` brings it back.
    """
    from drunner_vault.workflows.services.remove import uninstall

    output = Output(as_json=as_json)
    kept = uninstall(service_host(output), service, force=force)
    output.document({"service": service, "kept_volumes": kept})
    output.done(f"{service} is uninstalled; kept: {', '.join(kept) or 'no volumes'}")
