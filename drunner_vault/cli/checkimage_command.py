"""checkimage: whether an image makes a service."""

from __future__ import annotations

import click

from drunner_vault.cli.common import common_options, service_host
from drunner_vault.cli.output import Output


@click.command(epilog="Example: drunner-vault checkimage drunner/dtest")
@click.argument("image")
@common_options
def command(image: str, as_json: bool) -> None:
    """Say whether IMAGE makes a service.

    The image is pulled if it is not here. Nothing of it is run.
    """
    from drunner_vault.workflows.services.install import check

    output = Output(as_json=as_json)
    checked = check(service_host(output), image)
    output.document(
        {
            "image": image,
            "id": checked.image.id,
            "uid": checked.uid,
            "volumes": checked.config.volumes,
            "extra_containers": checked.config.extra_containers,
            "dialect": checked.dialect.name,
        }
    )
    volumes = len(checked.config.volumes)
    output.text(f"{image} is a service: user {checked.uid}, {volumes} volumes, dialect {checked.dialect.name}")
