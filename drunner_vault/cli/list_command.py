"""list: the services of this host."""

from __future__ import annotations

from dataclasses import asdict

import click

from drunner_vault.cli.common import common_options, service_host
from drunner_vault.cli.output import Output, one_line


@click.command("list", epilog="Example: drunner-vault list --json")
@common_options
def command(as_json: bool) -> None:
    """List the services that are installed."""
    from drunner_vault.workflows.services.use import services

    output = Output(as_json=as_json)
    found = services(service_host(output))
    output.document([asdict(state) for state in found])
    rows = [
        (
            state.name,
            state.image,
            state.installed or "?",
            str(len(state.volumes)),
            one_line("; ".join(state.problems)) or "ok",
        )
        for state in found
    ]
    output.table(("SERVICE", "IMAGE", "INSTALLED", "VOLUMES", "STATE"), rows)
