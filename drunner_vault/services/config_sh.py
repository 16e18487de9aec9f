"""`/etc/drunner/config.sh`, which dRunner of 2016 left on its hosts. Read literally, never sourced."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from drunner_vault.errors import BadUsage
from drunner_vault.services.shell import LiteralError, Value, parse_assignments


@dataclass(frozen=True)
class HostConfig:
    """What config.sh still decides.

    pull_on_update: whether `update` pulls images first (PULLONUPDATE; 0 keeps local builds). root: where services
    live (ROOTPATH), None if it does not say.
    """

    pull_on_update: bool = True
    root: Path | None = None


def read_config_sh(path: Path) -> HostConfig:
    """The settings in `path`; the usual ones if there is no such file.

    Other variables that dRunner kept there are passed over. Raises BadUsage, naming the file and the line, for anything
    that is not a literal assignment or has no meaning.
    """
    try:
        values = parse_assignments(path.read_bytes())
    except FileNotFoundError:
        return HostConfig()
    except OSError as cause:
        raise BadUsage(f"cannot read {path}: {cause.strerror}", "check its permissions") from cause
    except LiteralError as cause:
        raise BadUsage(
            f"{path}, line {cause.line}: {cause.reason}: {cause.text}", "write it as NAME=value, without expansions"
        ) from cause
    return HostConfig(
        pull_on_update=_flag(path, values.get("PULLONUPDATE", "1")), root=_root(path, values.get("ROOTPATH", ""))
    )


def _flag(path: Path, value: Value) -> bool:
    if value not in ("0", "1"):
        raise BadUsage(f"{path}: PULLONUPDATE is {value!r}", "write PULLONUPDATE=0 or PULLONUPDATE=1")
    return value == "1"


def _root(path: Path, value: Value) -> Path | None:
    if value == "":
        return None
    if not isinstance(value, str) or not value.startswith("/"):
        raise BadUsage(f"{path}: ROOTPATH is {value!r}", "write an absolute path")
    return Path(value)
