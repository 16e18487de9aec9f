"""init: sets a host up."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from drunner_vault.cli.common import asker, common_options, key_file_option
from drunner_vault.cli.output import Output, one_line, size

if TYPE_CHECKING:
    from drunner_vault.workflows.setup.proving import Proof
    from drunner_vault.workflows.setup.setting_up import SetUp

_KEY = "recovery-key.txt"


@click.command(epilog="Example: drunner-vault init --store s3://backups/production")
@click.option("--store", default="", metavar="URL", help="Where archives are to go: a directory, s3://… or ssh://…")
@click.option("-r", "--recipient", "recipients", multiple=True, metavar="age1…", help="Whom backups are encrypted to.")
@click.option(
    "--recovery-key",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help=f"Where to put the identity that is made if there is no -r; {_KEY} beside the settings, if it is not said.",
)
@click.option("--post-quantum", is_flag=True, help="Make one that only age 1.3 and later can use.")
@click.option(
    "--environment-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="KEY=VALUE lines that commands need, such as AWS_ACCESS_KEY_ID: cron does not have yours.",
)
@key_file_option
@common_options
def command(
    store: str,
    recipients: tuple[str, ...],
    recovery_key: Path | None,
    post_quantum: bool,
    environment_file: Path | None,
    identity_files: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Set this host up for backups: keys, and a vault.toml with comments, to be changed to taste.

    Asks nothing. Without -r an identity is made, which opens the backups: take its file away from this host, and keep
    it where you will find it when the host is gone. The store is proven with a small real archive, which is written,
    read back, decrypted (with that identity, or those of -i) and deleted; vault.toml is written only if that works.
    Nothing that is there is ever overwritten. Exits 3 if this host is set up already.
    """
    from drunner_vault import wiring
    from drunner_vault.clock import SYSTEM_CLOCK
    from drunner_vault.config.template import Start
    from drunner_vault.wiring.proving import prove_url
    from drunner_vault.workflows.setup.setting_up import KeyFile, require_as_asked, set_up

    output = Output(as_json=as_json)
    directory = wiring.config_directory(os.environ)
    path = directory / "vault.toml"
    variables = str(environment_file.absolute()) if environment_file else ""
    start = Start(_checked(recipients), _as_url(store), variables)
    if path.exists():
        require_as_asked(path, wiring.settings(os.environ), start)

    def prove(to: Sequence[str], made: Path | None) -> Proof:
        files = (*identity_files, made) if made else identity_files
        return prove_url(os.environ, start, to, files, asker(), output.notice)

    key = KeyFile(recovery_key or directory / _KEY, post_quantum)
    done = set_up(path, start, key, wiring.trust(os.environ), prove if store else None, SYSTEM_CLOCK)
    output.document(asdict(done))
    _tell(output, done)


def _checked(recipients: tuple[str, ...]) -> tuple[str, ...]:
    from drunner_vault.age import parse_recipient

    return tuple(str(parse_recipient(text)) for text in recipients)


def _as_url(store: str) -> str:
    """The store as it can stand in the settings, where there is no current directory."""
    return str(Path(store).absolute()) if store.startswith(("./", "../")) or store in (".", "..") else store


def _tell(output: Output, done: SetUp) -> None:
    if done.proof:
        proof = done.proof
        how = "read back and decrypted" if proof.decrypted else "read back, but not decrypted, for want of an identity"
        output.text(f"proven    {one_line(proof.archive)}: {size(proof.bytes)} were written, {how}")
        if not proof.removed:
            output.notice(f"it could not be deleted, and may be at any time: {one_line(proof.left)}")
    output.text(f"settings  {done.settings}")
    output.text(f"signer    {done.signer}")
    for recipient in done.recipients:
        output.text(f"recipient {recipient}")
    if done.key_file:
        output.text(f"identity  {done.key_file}")
        output.notice(
            f"{done.key_file} opens all backups: take it away from this host now, and keep a copy where you find it "
            "when this host is gone. Without it no backup can be restored"
        )
    if not done.proof:
        output.notice(f"no store has been set: name one in {done.settings}, then: drunner-vault store check main")
    else:
        output.done("next: drunner-vault run nightly, then drunner-vault schedule install")
