"""Using what is installed: its commands, its shell, its state, and the list of all."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass

from drunner_vault.errors import BadUsage, VaultError
from drunner_vault.services import paused
from drunner_vault.services.dialect import Event
from drunner_vault.services.home import ServiceHome, installed
from drunner_vault.services.hooks import pass_through, run_help, run_hook
from drunner_vault.services.launcher import is_our_launcher
from drunner_vault.services.names import volume_names
from drunner_vault.workflows.host import ServiceHost
from drunner_vault.workflows.undo import Undo


@dataclass(frozen=True)
class ServiceState:
    """One installed service. problems: what is wrong with it, a sentence each; empty when all is well."""

    name: str
    image: str
    image_id: str
    installed: str
    volumes: tuple[str, ...]
    problems: tuple[str, ...]


def service_command(host: ServiceHost, name: str, arguments: list[str]) -> int:
    """A command of the service's own. Its arguments, environment, directory, input and exit code are the caller's.

    Returns only for help; otherwise this process becomes the service's script. Raises UnknownService, or BadUsage for
    a command that is not the caller's to give.
    """
    home = host.home(name)
    home.require()
    if not arguments or arguments[0] == "help":
        run_help([str(home.servicerunner), "help"], host.environment)
        return 0
    if arguments[0] in home.dialect().reserved:
        raise BadUsage(
            f"{arguments[0]} is not a command of the service itself",
            f"drunner-vault --help lists what the host can do with a service; what {name} itself can: {name} help",
        )
    return pass_through([str(home.servicerunner), *arguments], host.environment)


def enter(host: ServiceHost, name: str, arguments: list[str]) -> int:
    """A shell inside the service, or a command in it; returns the service's exit code. It always has a terminal."""
    home = host.home(name)
    home.require()
    host.call_hook(home, Event.ENTER_START)
    hook = home.dialect().hook(Event.ENTER) or "enter"
    command = [str(home.servicerunner), hook, *arguments]
    environment = host.hook_environment()
    if os.isatty(0) and os.isatty(1):
        pass_through(command, environment)
    return run_hook(command, env=environment, terminal=False, relay=sys.stdout.buffer, feed=sys.stdin.buffer).code


def services(host: ServiceHost) -> list[ServiceState]:
    """All installed services, by name. Docker is not asked."""
    unfinished = {journal.service for journal in paused.unfinished(host.root)}
    return [_state(host, home, home.name in unfinished) for home in installed(host.root)]


def status(host: ServiceHost, name: str) -> ServiceState:
    """The state of one service, its image and volumes included. Raises UnknownService."""
    home = host.home(name)
    home.require()
    unfinished = {journal.service for journal in paused.unfinished(host.root)}
    state = _state(host, home, name in unfinished)
    missing = missing_parts(host, home)
    problems = dict.fromkeys([*state.problems, *missing])
    return ServiceState(state.name, state.image, state.image_id, state.installed, state.volumes, tuple(problems))


def missing_parts(host: ServiceHost, home: ServiceHome) -> list[str]:
    """What an installed service lacks on this host: files, launcher, volumes, image; a sentence each."""
    problems = home.validate()
    if not is_our_launcher(host.bin_dir, home.name):
        problems.append(f"its launcher {host.bin_dir / home.name} is missing")
    if problems:
        return problems
    for volume in volume_names(home.name, home.config().volumes):
        if host.engine.volumes.find(volume) is None:
            problems.append(f"volume {volume} is missing")
    if host.engine.images.find(home.image()) is None:
        problems.append(f"image {home.image()} is missing")
    return problems


def _state(host: ServiceHost, home: ServiceHome, left_paused: bool) -> ServiceState:
    problems = home.validate()
    if Undo.unfinished(host, home.name) is not None:
        problems.append("a command on it was killed, and will be taken back by the next")
    if left_paused:
        problems.append("a backup of it was killed, and the next command will resume it")
    image, volumes = "", tuple[str, ...]()
    try:
        image = home.image()
        volumes = volume_names(home.name, home.config().volumes)
    except VaultError:
        pass  # validate has said so already
    record = home.record()
    return ServiceState(
        home.name,
        image,
        record.image_id if record else "",
        record.installed if record else "",
        volumes,
        tuple(problems),
    )
