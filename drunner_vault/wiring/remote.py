"""Other hosts, and what stands on both ends of the line between two of them."""

from __future__ import annotations

import contextlib
import os
import shlex
from collections.abc import Callable, Mapping

from drunner_vault.errors import BadUsage
from drunner_vault.stores.ssh.channel import Channel, Gone
from drunner_vault.stores.ssh.remote import RemoteProgram, remote_program

_PATIENCE = 120.0  # seconds; the sender gives a sign of life every 15


def other_side(environment: Mapping[str, str], host: str, program: str) -> RemoteProgram:
    """The host that a text names, with this program ready to receive. program: how it is called there, perhaps with
    words before it. Raises BadUsage."""
    try:
        words = shlex.split(program)
    except ValueError as cause:
        raise BadUsage(
            f"{program!r} is no command: {cause}", "as in --remote-program /opt/venv/bin/drunner-vault"
        ) from cause
    if not words:
        raise BadUsage("--remote-program is empty", "leave it out, or name the program")
    return remote_program(host, [*words, "receive"], environment)


def line_to_sender() -> tuple[Channel, Callable[[str], None]]:
    """The channel to whoever started us through ssh, and how to tell them something. What else is written to standard
    output goes to standard error from here on."""
    writing = os.dup(1)
    os.dup2(2, 1)
    reading = os.dup(0)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    channel = Channel(reading, writing, _PATIENCE)
    return channel, lambda text: _notify(channel, text)


def _notify(channel: Channel, text: str) -> None:
    """Best effort: nobody may be listening any more, and there may still be something to take back."""
    with contextlib.suppress(Gone):
        channel.send(notice=text)
