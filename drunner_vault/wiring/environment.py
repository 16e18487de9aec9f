"""What the settings add to the environment: cron and timers give hardly any, and stores want credentials."""

from __future__ import annotations

import re
from collections.abc import Mapping, MutableMapping
from pathlib import Path

from drunner_vault.config import Settings
from drunner_vault.errors import BadUsage

_LINE = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)=(.*)")
_NOT_HERE = ("DRUNNER_CONFIG_DIR", "PATH", "LD_PRELOAD", "LD_LIBRARY_PATH")
_FOR_HOOKS = ("DOCKER_", "DRUNNER_ROOT", "DRUNNER_BIN")


def adopt(known: Settings, environment: Mapping[str, str]) -> None:
    """Take the lines of the environment file into the environment, if it is this process's own or otherwise can be
    changed. What is set there already stays. Raises BadUsage."""
    if not known.environment_file or not isinstance(environment, MutableMapping):
        return
    for name, value in read_environment_file(known).items():
        environment.setdefault(name, value)


def for_hooks(known: Settings, environment: Mapping[str, str]) -> Mapping[str, str]:
    """The environment as services get it: the keys to our stores are none of theirs. Raises BadUsage."""
    if not known.environment_file:
        return environment
    hidden = {name for name in read_environment_file(known) if not name.startswith(_FOR_HOOKS)}
    return {name: value for name, value in environment.items() if name not in hidden}


def read_environment_file(known: Settings) -> dict[str, str]:
    """The variables of the environment file. Raises BadUsage, naming the line."""
    path, where = Path(known.environment_file), known.where_of("environment_file")
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as cause:
        reason = cause.strerror if isinstance(cause, OSError) else "it is no UTF-8 text"
        raise BadUsage(f"{where}: cannot read {path}: {reason}", "check the path, or leave the setting out") from cause
    found: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _LINE.fullmatch(line.strip())
        if match is None:
            raise BadUsage(f"{path}, line {number}: this is no variable", "write lines as in AWS_REGION=eu-central-1")
        if match[1] in _NOT_HERE:
            raise BadUsage(
                f"{path}, line {number}: {match[1]} cannot be set here", "set it where the program is called"
            )
        found[match[1]] = _unquoted(match[2])
    return found


def _unquoted(value: str) -> str:
    """A value without the quotes around it. Nothing in it is expanded."""
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"" else value
