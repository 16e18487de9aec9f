"""key: identities to decrypt with, and the recipients that belong to them."""

from __future__ import annotations

from pathlib import Path

import click

from drunner_vault.cli.common import asker, common_options
from drunner_vault.cli.output import Output


@click.group("key", epilog="Example: drunner-vault key new -o key.txt")
def command() -> None:
    """Make keys, and show what they are for."""


@command.command("new", epilog="Example: drunner-vault key new -o key.txt")
@click.option("-o", "--output", "path", required=True, type=click.Path(path_type=Path), help="File for the identity.")
@click.option(
    "--post-quantum", is_flag=True, help="An ML-KEM-768 and X25519 key, which only age 1.3 and later can open."
)
@common_options
def new(path: Path, post_quantum: bool, as_json: bool) -> None:
    """Make an identity, and print its recipient.

    The recipient (age1…) may be anywhere: it only encrypts. The identity opens every archive made for it: keep it off
    the hosts that make backups, and keep a copy.
    """
    from drunner_vault.age import HybridIdentity, X25519Identity
    from drunner_vault.clock import SYSTEM_CLOCK, isoformat
    from drunner_vault.durable import new_file

    output = Output(as_json=as_json)
    identity = HybridIdentity.generate() if post_quantum else X25519Identity.generate()
    recipient = str(identity.recipient())
    text = f"# created: {isoformat(SYSTEM_CLOCK.now())}\n# public key: {recipient}\n{identity}\n"
    with new_file(path) as stream:
        stream.write(text.encode())
    output.document({"recipient": recipient, "identity_file": str(path)})
    output.text(recipient)


@command.command("recipient", epilog="Example: drunner-vault key recipient key.txt")
@click.argument("path", metavar="FILE", type=click.Path(path_type=Path))
@common_options
def recipient(path: Path, as_json: bool) -> None:
    """Print the recipients of the identities in FILE."""
    from drunner_vault.workflows.keys import identities

    output = Output(as_json=as_json)
    found = [
        str(identity.recipient()) for identity in identities([path], {}, asker()) if hasattr(identity, "recipient")
    ]
    output.document({"recipients": found})
    for text in found:
        output.text(text)
