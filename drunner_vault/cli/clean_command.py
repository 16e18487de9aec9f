"""clean: what nobody needs any more."""

from __future__ import annotations

from dataclasses import asdict

import click

from drunner_vault.cli.common import common_options, service_host
from drunner_vault.cli.output import Output


@click.command(epilog="Example: drunner-vault clean")
@common_options
def command(as_json: bool) -> None:
    """Remove unused images without a name, and take back what killed commands left.

    Exits 3 if there is nothing to remove.
    """
    from drunner_vault.workflows.services.clean import clean

    output = Output(as_json=as_json)
    cleaned = clean(service_host(output))
    output.document(asdict(cleaned))
    output.done(
        f"removed {len(cleaned.images)} images, {len(cleaned.containers)} containers, {len(cleaned.paths)} "
        f"directories, what {len(cleaned.drills)} drills left, and what was killed on {len(cleaned.services)} services"
    )
