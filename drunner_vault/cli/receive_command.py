"""receive: the other side of migrate. Not for people, so not in the overview."""

from __future__ import annotations

import os

import click

from drunner_vault.cli.common import common_options


@click.command(hidden=True, epilog="Example: drunner-vault migrate notes root@newhost, which calls this on newhost")
@common_options
def command(as_json: bool) -> None:
    """Take in a service that another host sends; `migrate` calls this through ssh."""
    from drunner_vault import wiring
    from drunner_vault.errors import Unavailable
    from drunner_vault.memory import expect_bulk_work
    from drunner_vault.stores.ssh.channel import Gone, Malformed
    from drunner_vault.wiring.remote import line_to_sender
    from drunner_vault.workflows.moving.receive import receive

    if os.isatty(0) or os.isatty(1):
        raise click.UsageError("this is for programs: drunner-vault migrate calls it through ssh")
    expect_bulk_work()
    channel, notice = line_to_sender()
    try:
        receive(wiring.service_host(os.environ, notice), channel, os.uname().nodename)
    except Gone as cause:
        raise Unavailable("the sender has gone; what was begun has been undone", "give its command again") from cause
    except Malformed as cause:
        raise Unavailable(f"the sender makes no sense: {cause}", "bring both sides to the same version") from cause
