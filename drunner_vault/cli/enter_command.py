"""enter: a shell inside a service."""

from __future__ import annotations

import click

from drunner_vault.cli.common import service_host
from drunner_vault.cli.output import Output


@click.command(
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    epilog='Example: drunner-vault enter notes -c "ls /notes"',
)
@click.argument("service")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def command(service: str, arguments: tuple[str, ...]) -> int:
    """Open a shell in SERVICE, or do what ARGUMENTS say.

    The exit code is the service's own.
    """
    from drunner_vault.workflows.use import enter

    return enter(service_host(Output()), service, list(arguments))
