"""key kit: a page to be printed, for the day the host is gone."""

from __future__ import annotations

import os
from pathlib import Path

import click

from drunner_vault.cli.common import asker, common_options, known_places
from drunner_vault.cli.output import Output, one_line


@click.command("kit", epilog="Example: drunner-vault key kit -i key.txt --store s3://backups/production --to kit.html")
@click.option("--to", "path", required=True, type=click.Path(path_type=Path), metavar="FILE.html", help="The page.")
@click.option(
    "-i",
    "--identity",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The recovery identity. Without it, the page is no secret, and says where to look for the key.",
)
@click.option("--store", "stores", multiple=True, help="Where the archives are; all stores of the settings by default.")
@common_options
def kit_command(path: Path, identity: Path | None, stores: tuple[str, ...], as_json: bool) -> None:
    """Make a recovery kit: one HTML page to be printed, and kept away from the host.

    It holds the identity as text and as QR codes, whom to trust, where the archives are, and the exact lines to type,
    with this program and without it. Whoever has the page can read the backups, so only you can read the file: print
    it, and delete it. An identity that has a passphrase keeps it; if somebody is there to be asked, it is tried. What
    would be in the way of a recovery as things are is said, and stands on the page.
    """
    from drunner_vault import wiring
    from drunner_vault.clock import SYSTEM_CLOCK
    from drunner_vault.errors import BadUsage
    from drunner_vault.services.home import installed
    from drunner_vault.wiring.settings import services_root
    from drunner_vault.workflows.recovery.kit import KitChoices, gather, write

    output = Output(as_json=as_json)
    settings = wiring.settings(os.environ)
    names = stores or tuple(settings.stores)
    if not names:
        raise BadUsage("no store was given, and the settings name none", "say where the archives are: --store URL")
    mine = installed(services_root(os.environ)) if os.geteuid() == 0 else []  # services are root's to see
    services = tuple(home.name for home in mine)
    choices = KitChoices(os.uname().nodename, identity, names, settings.recipients, services, path, os.environ)
    kit = gather(choices, known_places(), wiring.trust(os.environ), SYSTEM_CLOCK, asker())
    write(kit, path)
    output.document(
        {
            "kit": str(path),
            "secret": kit.key is not None,
            "recipients": list(kit.key.recipients) if kit.key else [],
            "signers": [signer.fingerprint for signer in kit.signers],
            "stores": [store.url for store in kit.stores],
            "services": [f"{item.host}/{item.service}" for store in kit.stores for item in store.services],
            "problems": list(kit.problems),
        }
    )
    for problem in kit.problems:
        output.notice(one_line(problem))
    if kit.key:
        output.done(f"{path} holds the key: print it, keep the paper away from this host, then: shred -u {path}")
