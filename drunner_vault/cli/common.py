"""What all commands share: their options, and how a function becomes a command."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, cast

import click

from drunner_vault.cli.output import Output
from drunner_vault.errors import BadUsage, Interrupted, StorageError

if TYPE_CHECKING:
    from drunner_vault.age import Identity, Recipient
    from drunner_vault.stores.sources import ArchiveSource
    from drunner_vault.workflows.archives.places import Places
    from drunner_vault.workflows.host import ServiceHost

Command = TypeVar("Command", bound=Callable[..., Any])

_STOPPING = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


def common_options(command: Command) -> Command:
    """--json and --debug, which every command takes."""
    command = click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")(command)
    return click.option("--debug", is_flag=True, expose_value=False, help="Show a traceback with an error.")(command)


def key_file_option(command: Command) -> Command:
    """-i, for commands that read archives."""
    option = click.option(
        "-i",
        "--identity",
        "identity_files",
        multiple=True,
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Identity file to decrypt with; may be given several times.",
    )
    return option(command)


def recipient_options(command: Command) -> Command:
    """-r, -R and --unencrypted, for commands that write archives."""
    command = click.option("--unencrypted", is_flag=True, help="Leave the archive in the clear.")(command)
    command = click.option(
        "-R",
        "--recipients-file",
        "recipient_files",
        multiple=True,
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Encrypt to the recipients in this file.",
    )(command)
    option = click.option(
        "-r", "--recipient", "recipients", multiple=True, metavar="age1…", help="Encrypt to this recipient."
    )
    return option(command)


def access_option(command: Command) -> Command:
    """--volume-access, for commands that read or write volumes."""
    option = click.option(
        "--volume-access",
        type=click.Choice(["auto", "host", "engine"]),
        default="auto",
        show_default=True,
        help="Reach the files of volumes in their directories (full fidelity), or by Docker's archive calls.",
    )
    return option(command)


_RULES = {
    "last": "the newest N",
    "hourly": "the newest in each of the last N hours that have one",
    "daily": "the same for days",
    "weekly": "the same for weeks",
    "monthly": "the same for months",
    "yearly": "the same for years",
}


def bandwidth_option(command: Command) -> Command:
    """--bandwidth-limit, in bytes a second; 0 for none."""
    option = click.option(
        "--bandwidth-limit",
        "bandwidth",
        default="0",
        metavar="RATE",
        callback=_bytes,
        help="Write no more than this a second, as in 500K, 10M.",
    )
    return option(command)


def _bytes(_context: click.Context, _parameter: click.Parameter, text: str) -> int:
    from drunner_vault.config.values import parse_rate
    from drunner_vault.errors import BadUsage

    try:
        return parse_rate(text)
    except BadUsage as error:
        raise click.BadParameter(f"{error.message}; {error.hint}") from error


def retention_options(command: Command) -> Command:
    """--keep-last and so on, passed on as one mapping `keep` of what was given."""

    @functools.wraps(command)
    def gathering(**parameters: Any) -> Any:
        keep = {name: parameters.pop(name) for name in (*(f"keep_{rule}" for rule in _RULES), "keep_within")}
        return command(keep={name: value for name, value in keep.items() if value is not None}, **parameters)

    within = click.option("--keep-within", metavar="SPAN", help="Keep all of this span before the newest, as in 30d.")
    gathered = within(gathering)
    for rule, what in reversed(_RULES.items()):
        gathered = click.option(f"--keep-{rule}", type=int, metavar="N", help=f"Keep {what}.")(gathered)
    return cast(Command, gathered)


def service_host(output: Output) -> ServiceHost:
    """The host of this process's environment. Hooks' output is shown to a person who watches."""
    from drunner_vault import wiring

    shown = sys.stderr.buffer if output.interactive else None
    return wiring.service_host(os.environ, output.notice, shown)


def known_places() -> Places:
    """What stores and archives are called on this host."""
    from drunner_vault.wiring.stores import places

    return places(os.environ, Output().notice)


def archive_source(text: str) -> ArchiveSource:
    """The archive that a command's SOURCE names."""
    from drunner_vault.workflows.archives.finding import find_archive

    return find_archive(known_places(), text)


def chosen_recipients(recipients: tuple[str, ...], files: tuple[Path, ...], *, unencrypted: bool) -> list[Recipient]:
    """Whom an archive is for, from these options, the environment and the settings."""
    from drunner_vault import wiring
    from drunner_vault.workflows import keys

    known = wiring.settings(os.environ).recipients
    return keys.recipients(recipients, files, known, os.environ, unencrypted=unencrypted)


def offered_identities(files: tuple[Path, ...]) -> Callable[[], list[Identity]]:
    """What an archive may be opened with, looked for only when it is encrypted, and only once: it may ask a person."""
    from drunner_vault.workflows.keys import identities

    return cache(lambda: identities(files, os.environ, asker()))


@dataclass
class Outcome:
    """How it went with one of several. error: what failed and why; empty if all is well."""

    error: str = ""

    @property
    def code(self) -> int:
        """What the command exits with, as far as this one is concerned."""
        return 1 if self.error else 0


@contextlib.contextmanager
def going_on(output: Output, *, alone: bool) -> Iterator[Outcome]:
    """For a store among several: what fails in the block is said, and the others get their turn. alone: there are no
    others, and it is raised."""
    outcome = Outcome()
    try:
        yield outcome
    except (StorageError, BadUsage) as error:
        if alone:
            raise
        outcome.error = error.message
        output.failure(error)


def ask_passphrase(prompt: str) -> str:
    """A passphrase from the person at the terminal, not echoed."""
    return str(click.prompt(prompt, hide_input=True, err=True))


def asker() -> Callable[[str], str] | None:
    """How to ask for a passphrase; None where nobody can answer."""
    return ask_passphrase if sys.stdin.isatty() and sys.stderr.isatty() else None


def stop_on_signals() -> None:
    """A signal that ends the program is an error like others: everything is undone on the way out. Once is enough:
    further ones wait until that is done. What the caller ignores, as `nohup` does, stays ignored."""

    def stop(number: int, frame: object) -> NoReturn:
        for other in _STOPPING:
            # not SIG_IGN, which hooks would inherit
            signal.signal(other, lambda _number, _frame: None)
        raise Interrupted(f"stopped by {signal.Signals(number).name}; what was begun has been undone")

    for number in _STOPPING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, stop)
