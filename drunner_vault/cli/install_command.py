"""install: a service from an image."""

from __future__ import annotations

import click

from drunner_vault.cli.common import common_options, service_host
from drunner_vault.cli.output import Output


@click.command(epilog="Example: drunner-vault install registry.example/notes:2 mynotes")
@click.argument("image")
@click.argument("service", required=False)
@common_options
def command(image: str, service: str | None, as_json: bool) -> None:
    """Install a service from IMAGE, under the name SERVICE.

    Without SERVICE, the name is the last part of the image's. Volumes that an earlier uninstall kept are used again.
    Exits 3 if the service is installed from this image already.
    """
    from drunner_vault.wiring import link_program
    from drunner_vault.workflows.services.install import install

    output = Output(as_json=as_json)
    host = service_host(output)
    name = install(host, image, service)
    link_program(host)
    output.document({"service": name, "image": image})
    output.done(f"{name} is installed. Its commands: {name} help")
