"""enter: a shell inside a service."""

from __future__ import annotations

import click

from drunner_vault.cli.common import common_options, service_host
from drunner_vault.cli.output import Output


@click.command(
    context_settings={"allow_interspersed_args": False},
    epilog='Example: drunner-vault enter notes -c "ls /notes"',
)
@click.argument("service")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@common_options
def command(service: str, arguments: tuple[str, ...], as_json: bool) -> int:
    """Open a shell in SERVICE, or do what ARGUMENTS say.

    The exit code is the service's own.
    """
    from drunner_vault.workflows.services.use import enter

    return enter(service_host(Output(as_json=as_json)), service, list(arguments))
