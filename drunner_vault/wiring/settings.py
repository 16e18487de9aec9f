"""What the environment and the settings say, as the rest of the program takes it."""

from __future__ import annotations

import datetime as dt
import difflib
import os
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from drunner_vault.config import Settings, read_settings
from drunner_vault.errors import BadUsage
from drunner_vault.policy import Retention, parse_duration
from drunner_vault.services.config_sh import HostConfig, read_config_sh
from drunner_vault.workflows.trust import Trust

_LOCALTIME = Path("/etc/localtime")
_ROOT, _CONFIG = Path("/opt/drunner"), Path("/etc/drunner")


def config_directory(environment: Mapping[str, str]) -> Path:
    """Where this host's settings are."""
    return Path(environment.get("DRUNNER_CONFIG_DIR") or _CONFIG)


def settings(environment: Mapping[str, str]) -> Settings:
    """vault.toml of this host. Raises BadUsage."""
    return read_settings(config_directory(environment) / "vault.toml")


def config_sh(environment: Mapping[str, str]) -> HostConfig:
    return read_config_sh(config_directory(environment) / "config.sh")


def services_root(environment: Mapping[str, str]) -> Path:
    """Where services are."""
    return Path(environment.get("DRUNNER_ROOT") or config_sh(environment).root or _ROOT).absolute()


def trust(environment: Mapping[str, str]) -> Trust:
    """This host's signing key and the signers it trusts."""
    return Trust(config_directory(environment), os.uname().nodename)


def retention(environment: Mapping[str, str], store: str, given: Mapping[str, str | int]) -> Retention:
    """What is to be kept in a store: as given, else as the settings say for the store of this name. Raises BadUsage."""
    stored = settings(environment).stores.get(store)
    if given or stored is None:
        return _retention(given, "the command line")
    return _retention(stored.retention, f"{stored.where}, retention")


def _retention(values: Mapping[str, str | int], where: str) -> Retention:
    known = [field.name for field in fields(Retention)]
    for key, value in values.items():
        if key not in known:
            near = difflib.get_close_matches(key, known, 1)
            raise BadUsage(f"{where}: unknown rule {key}", f"did you mean {near[0]}?" if near else ", ".join(known))
        if (key == "keep_within") is isinstance(value, int):
            example = 'keep_within = "30d"' if key == "keep_within" else f"{key} = 7"
            raise BadUsage(f"{where}: {key} cannot be {value!r}", f"write it as in {example}")
    numbers = {key: value for key, value in values.items() if isinstance(value, int)}
    within = values.get("keep_within")
    try:
        return Retention(**numbers, keep_within=None if within is None else parse_duration(str(within)))
    except BadUsage as error:
        raise BadUsage(f"{where}: {error.message}", error.hint) from error


def timezone(environment: Mapping[str, str]) -> dt.tzinfo:
    """In whose days and weeks retention counts: that of the settings, of TZ, or this host's. Raises BadUsage."""
    known = settings(environment)
    name, where = known.timezone, known.timezone_where
    if not name:
        name, where = environment.get("TZ", "").lstrip(":"), "TZ in the environment"
    path = Path(name or _LOCALTIME)
    try:
        return _zone_of_file(path) if path.is_absolute() else ZoneInfo(name)
    except (ValueError, OSError, ZoneInfoNotFoundError) as cause:
        hint = 'write it as in timezone = "Europe/Berlin", in vault.toml; is tzdata installed?'
        raise BadUsage(f"{where}: there is no time zone {name} here", hint) from cause


def _zone_of_file(path: Path) -> dt.tzinfo:
    try:
        with path.open("rb") as stream:
            return ZoneInfo.from_file(stream)
    except FileNotFoundError:
        if path != _LOCALTIME:
            raise
        return dt.UTC
