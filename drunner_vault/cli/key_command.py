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
@click.option("--pattern", is_flag=True, help="Accept patterns or several hosts; good for opening archives only.")
@common_options
def trust(signer: str, pattern: bool, as_json: bool) -> None:
    """Trust a signer: archives it made for its host may be restored on this host, and count in stores.

    Use the line that `key signer` printed on the host that makes the archives, a file that holds it, or - for standard
    input. The command prints the host name that the line is for: check that it is the right one. Exits 3 if the signer
    is trusted already.
    """
    from drunner_vault import wiring

    output = Output(as_json=as_json)
    line = signer if "ssh-ed25519" in signer else _read_line(signer)
    added = wiring.trust(os.environ).add(line.strip(), pattern=pattern)
    hosts = ",".join(added.principals)
    output.document({"fingerprint": added.key.fingerprint, "hosts": list(added.principals), "counts": added.is_literal})
    purpose = "" if added.is_literal else ", for opening archives only"
    output.text(f"{added.key.fingerprint} is trusted for host {hosts}{purpose}")


@command.command("signers", epilog="Example: drunner-vault key signers")
@common_options
def signers(as_json: bool) -> None:
    """List the signers that this host trusts: its own key, those added by `key trust`, and those of the settings."""
    from drunner_vault import wiring
    from drunner_vault.clock import isoformat

    output = Output(as_json=as_json)
    trust = wiring.trust(os.environ)
    own = trust.signing_key().public()
    rows = [(own.fingerprint, trust.host, "this host", "")]
    for item in trust.signers():
        use = "counts" if item.is_literal else "opens archives only"
        retired = isoformat(item.valid_before) if item.valid_before else ""
        rows.append((item.key.fingerprint, ",".join(item.principals), use, retired))
    names = ("fingerprint", "hosts", "use", "retired")
    output.document({"signers": [dict(zip(names, row, strict=True)) for row in rows]})
    output.table(("FINGERPRINT", "HOSTS", "USE", "RETIRED"), [(*row[:3], row[3] or "-") for row in rows])


@command.command("retire", epilog="Example: drunner-vault key retire SHA256:n8Sb…")
@click.argument("signer", metavar="FINGERPRINT|LINE")
@common_options
def retire(signer: str, as_json: bool) -> None:
    """Retire the key of another host: what it signs from now on does not count any more.

    Archives that appeared in their store before now keep their worth, by the store's clock. If the host has another key
    that is trusted on this host, they belong to the series of that key. Exits 3 if the key is retired already.
    """
    from drunner_vault import wiring
    from drunner_vault.clock import SYSTEM_CLOCK

    output = Output(as_json=as_json)
    lines = wiring.trust(os.environ).retire(signer.strip(), SYSTEM_CLOCK.now())
    fingerprint = lines[0].key.fingerprint
    output.document({"fingerprint": fingerprint, "hosts": sorted({host for line in lines for host in line.principals})})
    output.text(f"{fingerprint} is retired")


@command.command("rotate", epilog="Example: drunner-vault key rotate")
@common_options
def rotate(as_json: bool) -> None:
    """Replace this host's signing key, and retire the old one.

    What the old key has signed until now keeps its worth. Other hosts that trust this one need the new line, and
    `key retire` for the old key. Print a new recovery kit afterwards.
    """
    from drunner_vault import wiring
    from drunner_vault.clock import SYSTEM_CLOCK

    wiring.require_root()
    output = Output(as_json=as_json)
    trust = wiring.trust(os.environ)
    old, new = trust.rotate(SYSTEM_CLOCK.now())
    line = trust.signer_line()
    output.document({"retired": old.fingerprint, "fingerprint": new.fingerprint, "signer": line})
    output.text(line)
    output.notice(f"{old.fingerprint} is retired; on other hosts: drunner-vault key trust LINE, then key retire it")


def _read_line(signer: str) -> str:
    from drunner_vault.durable import storage_error

    if signer == "-":
        return sys.stdin.read()
    path = Path(signer)
    try:
        return path.read_text(encoding="utf-8")
    except OSError as cause:
        raise storage_error("read", path, cause) from cause
