"""The host that the environment names."""

from __future__ import annotations

import os
import resource
import shutil
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from drunner_vault.config import Settings
from drunner_vault.errors import BadUsage
from drunner_vault.wiring.environment import for_hooks
from drunner_vault.wiring.settings import config_sh, services_root, settings

if TYPE_CHECKING:
    from drunner_vault.engine.engine import Engine
    from drunner_vault.workflows.host import ServiceHost  # which looking into archives does without

PROGRAM = "drunner"
_BIN = Path("/usr/local/bin")


def require_root() -> None:
    """Raises BadUsage without root's rights."""
    if os.geteuid() != 0:
        raise BadUsage("services belong to root, and we are not", "run it with sudo")


def service_host(
    environment: Mapping[str, str], notice: Callable[[str], None], hook_output: BinaryIO | None = None
) -> ServiceHost:
    """The host that the environment names. Raises BadUsage for bad settings, or without root's rights."""
    from drunner_vault.workflows.host import ServiceHost

    require_root()
    _allow_many_files()
    known = _settings_if_sound(environment, notice)
    config = config_sh(environment)
    bin_dir = Path(environment.get("DRUNNER_BIN") or _BIN).absolute()
    return ServiceHost(
        root=services_root(environment),
        bin_dir=bin_dir,
        environment=for_hooks(known, environment),
        connect=partial(_connect, environment),
        notice=notice,
        config=config,
        hook_output=hook_output,
        path_dirs=(bin_dir, program_directory()),
    )


def _settings_if_sound(environment: Mapping[str, str], notice: Callable[[str], None]) -> Settings:
    """The settings; none, with notice given, if they make no sense: services are to be usable all the same, and whoever
    needs them will say what is wrong."""
    try:
        return settings(environment)
    except BadUsage as error:
        notice(f"the settings are passed over: {error.message}")
        return Settings()


def _connect(environment: Mapping[str, str]) -> Engine:
    from drunner_vault.engine.engine import Engine

    return Engine(environment)


def program_directory() -> Path:
    """Where the commands `drunner` and `drunner-vault` are that this program was installed with."""
    return Path(sys.executable).parent


def program_command() -> tuple[str, ...]:
    """What starts this program, wherever its caller is."""
    program = program_directory() / "drunner-vault"
    # without -P, what lies in the current directory would be taken for parts of the program
    return (str(program),) if program.exists() else (sys.executable, "-P", "-m", "drunner_vault")


def link_program(host: ServiceHost) -> None:
    """See to it that launchers find `drunner`: a link beside them, if nothing of that name is on PATH."""
    ours = program_directory() / PROGRAM
    link = host.bin_dir / PROGRAM
    if shutil.which(PROGRAM, path=host.environment.get("PATH")) or link.is_symlink() or not ours.exists():
        return
    link.symlink_to(ours)
    host.notice(f"linked {link} to {ours}, since launchers call it")


def _allow_many_files() -> None:
    """Deeply nested volumes need a descriptor a level."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
