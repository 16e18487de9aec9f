"""What the environment and the settings say, as the rest of the program takes it.

Most commands need neither rules nor keys, so these are imported where they are asked for.
"""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drunner_vault.config import Settings, StoreSettings, read_settings
from drunner_vault.errors import BadUsage
from drunner_vault.hoststate.state import DIRECTORY
from drunner_vault.services.config_sh import HostConfig, read_config_sh
from drunner_vault.wiring.environment import adopt

if TYPE_CHECKING:
    from drunner_vault.policy import Retention
    from drunner_vault.workflows.trust import Trust

SETTINGS_FILE = "vault.toml"

_LOCALTIME = Path("/etc/localtime")
_ROOT, _CONFIG = Path("/opt/drunner"), Path("/etc/drunner")


def config_directory(environment: Mapping[str, str]) -> Path:
    """Where this host's settings are."""
    return Path(environment.get("DRUNNER_CONFIG_DIR") or _CONFIG)


def settings(environment: Mapping[str, str]) -> Settings:
    """vault.toml of this host, whose environment file is taken into the environment. Raises BadUsage."""
    known = read_settings(config_directory(environment) / SETTINGS_FILE)
    adopt(known, environment)
    return known


def config_sh(environment: Mapping[str, str]) -> HostConfig:
    return read_config_sh(config_directory(environment) / "config.sh")


def services_root(environment: Mapping[str, str]) -> Path:
    """Where services are."""
    return Path(environment.get("DRUNNER_ROOT") or config_sh(environment).root or _ROOT).absolute()


def vault_directory(environment: Mapping[str, str]) -> Path:
    """Return the directory in which this host remembers things between commands."""
    return services_root(environment) / DIRECTORY


def trust(environment: Mapping[str, str]) -> Trust:
    """This host's signing key and the signers it trusts. Raises BadUsage for bad settings."""
    from drunner_vault.workflows.trust import Named, Trust

    known = settings(environment)
    named = Named(known.signers, known.where_of("signers"))
    return Trust(config_directory(environment), os.uname().nodename, named)


def retention(environment: Mapping[str, str], store: str, given: Mapping[str, str | int]) -> Retention:
    """What is to be kept in a store: as given, else as the settings say for the store of this name. Raises BadUsage."""
    stored = settings(environment).stores.get(store)
    if given or stored is None:
        return _retention(given, lambda _rule: "the command line")
    return named_retention(stored)


def named_retention(stored: StoreSettings) -> Retention:
    """What the settings say is to be kept in a store. Raises BadUsage."""
    return _retention(stored.retention, stored.where_of)


def _retention(values: Mapping[str, str | int], where: Callable[[str], str]) -> Retention:
    import difflib
    from dataclasses import fields

    from drunner_vault.policy import Retention, parse_duration

    known = [field.name for field in fields(Retention)]
    rules: dict[str, Any] = {}
    for key, value in values.items():
        if key not in known:
            near = difflib.get_close_matches(key, known, 1)
            raise BadUsage(
                f"{where(key)}: unknown rule {key}", f"did you mean {near[0]}?" if near else ", ".join(known)
            )
        if (key == "keep_within") is isinstance(value, int):
            example = 'keep_within = "30d"' if key == "keep_within" else f"{key} = 7"
            raise BadUsage(f"{where(key)}: {key} cannot be {value!r}", f"write it as in {example}")
        try:
            rules[key] = parse_duration(str(value)) if key == "keep_within" else value
            Retention(**rules)
        except BadUsage as error:
            raise BadUsage(f"{where(key)}: {error.message}", error.hint) from error
    return Retention(**rules)


def timezone(environment: Mapping[str, str]) -> dt.tzinfo:
    """In whose days and weeks retention counts: that of the settings, of TZ, or this host's. Raises BadUsage."""
    known = settings(environment)
    name, where = known.timezone, known.timezone_where
    if not name:
        name, where = environment.get("TZ", "").lstrip(":"), "TZ in the environment"
    return zone_of(name, where)


def zone_of(name: str, where: str) -> dt.tzinfo:
    """The time zone of this name or file; this host's, if it is empty. Raises BadUsage, saying where it stands."""
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    path = Path(name or _LOCALTIME)
    try:
        return _zone_of_file(path) if path.is_absolute() else ZoneInfo(name)
    except (ValueError, OSError, ZoneInfoNotFoundError) as cause:
        hint = 'write it as in timezone = "Europe/Berlin", in vault.toml; is tzdata installed?'
        raise BadUsage(f"{where}: there is no time zone {name} here", hint) from cause


def _zone_of_file(path: Path) -> dt.tzinfo:
    from zoneinfo import ZoneInfo

    try:
        with path.open("rb") as stream:
            return ZoneInfo.from_file(stream)
    except FileNotFoundError:
        if path != _LOCALTIME:
            raise
        return dt.UTC
