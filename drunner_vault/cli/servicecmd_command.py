"""servicecmd: a command of the service's own. Launchers call it."""

from __future__ import annotations

import click

from drunner_vault.cli.common import common_options, service_host
from drunner_vault.cli.output import Output


@click.command(
    context_settings={"allow_interspersed_args": False},
    epilog="Example: drunner-vault servicecmd notes add 'buy milk', which is what `notes add 'buy milk'` does",
)
@click.argument("service")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@common_options
def command(service: str, arguments: tuple[str, ...], as_json: bool) -> int:
    """Give SERVICE one of its own commands.

    Arguments, environment, input and exit code are passed through unchanged.
    """
    from drunner_vault.workflows.services.use import service_command

    return service_command(service_host(Output(as_json=as_json)), service, list(arguments))
