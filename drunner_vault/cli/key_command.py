"""key: identities to decrypt with, and the recipients that belong to them."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from drunner_vault.cli.common import asker, common_options
from drunner_vault.cli.key_kit import kit_command
from drunner_vault.cli.key_rehearse import rehearse_command
from drunner_vault.cli.output import Output


@click.group("key", epilog="Example: drunner-vault key new -o key.txt")
def command() -> None:
    """Make keys, print them, try them, and say whom to trust."""


command.add_command(kit_command)
command.add_command(rehearse_command)


@command.command("new", epilog="Example: drunner-vault key new -o key.txt")
@click.option("-o", "--output", "path", required=True, type=click.Path(path_type=Path), help="File for the identity.")
@click.option(
    "--post-quantum", is_flag=True, help="An ML-KEM-768 and X25519 key, which only age 1.3 and later can open."
)
@common_options
def new(path: Path, post_quantum: bool, as_json: bool) -> None:
    """Make an identity, and print its recipient.

    The recipient (age1…) may be anywhere: it only encrypts. The identity opens every archive made for it: keep it off
    the hosts that make backups, and keep a copy; `key kit` makes one to be printed.

    To change keys, make a new one, and let its recipient take the old one's place in the settings: what is made from
    then on opens with the new identity, and what was made before with the old one, which is therefore to be kept as
    long as its archives are.
    """
    from drunner_vault.clock import SYSTEM_CLOCK
    from drunner_vault.workflows.setup.new_key import new_identity

    output = Output(as_json=as_json)
    recipient = new_identity(path, SYSTEM_CLOCK, post_quantum=post_quantum)
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


@command.command("signer", epilog="Example: drunner-vault key signer > this-host.signer")
@common_options
def signer(as_json: bool) -> None:
    """Print the line by which other hosts trust archives of this one.

    It goes into their /etc/drunner/allowed_signers, which `key trust` does; ssh-keygen -Y verify reads it too.
    """
    from drunner_vault import wiring

    output = Output(as_json=as_json)
    trust = wiring.trust(os.environ)
    line = trust.signer_line()
    output.document({"signer": line, "fingerprint": trust.signing_key().public().fingerprint})
    output.text(line)


@command.command("trust", epilog="Example: drunner-vault key trust other-host.signer")
@click.argument("signer", metavar="LINE|FILE")
@common_options
def trust(signer: str, as_json: bool) -> None:
    """Trust a signer: archives it made may be restored here.

    Give the line that `key signer` printed on the host that makes the archives, a file that holds it, or - for
    standard input. A public key alone (ssh-ed25519 AAAA…) is trusted for archives of any host. Exits 3 if it is
    trusted already.
    """
    from drunner_vault import wiring

    output = Output(as_json=as_json)
    line = signer if "ssh-ed25519" in signer else _read_line(signer)
    added = wiring.trust(os.environ).add(line)
    output.document({"fingerprint": added.fingerprint})
    output.done(f"{added.fingerprint} is trusted here")


def _read_line(signer: str) -> str:
    from drunner_vault.durable import storage_error

    if signer == "-":
        return sys.stdin.read()
    path = Path(signer)
    try:
        return path.read_text(encoding="utf-8")
    except OSError as cause:
        raise storage_error("read", path, cause) from cause
