"""status: whether a service is well."""

from __future__ import annotations

from dataclasses import asdict

import click

from drunner_vault.cli.common import common_options, service_host
from drunner_vault.cli.output import Output, one_line


@click.command(epilog="Example: drunner-vault status notes")
@click.argument("service")
@common_options
def command(service: str, as_json: bool) -> int:
    """Say what SERVICE is made of, and whether anything of it is missing.

    Exits 1 if something is.
    """
    from drunner_vault.workflows.services.use import status

    output = Output(as_json=as_json)
    state = status(service_host(output), service)
    output.document(asdict(state))
    output.text(f"service    {state.name}")
    output.text(f"image      {state.image}  {state.image_id[:19]}")
    output.text(f"installed  {state.installed or 'unknown'}")
    for volume in state.volumes:
        output.text(f"volume     {volume}")
    for problem in state.problems:
        output.text(f"problem    {one_line(problem)}")
    if not state.problems:
        output.text("all well")
    return 1 if state.problems else 0
