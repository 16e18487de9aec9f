"""The settings in vault.toml: parsed, checked, with messages that name the file and the line."""

from __future__ import annotations

import difflib
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from drunner_vault.errors import BadUsage

_KNOWN = ("recipients",)


@dataclass(frozen=True)
class Settings:
    """What vault.toml says. recipients: whom backups are encrypted to where nothing else is said."""

    recipients: tuple[str, ...] = ()


def read_settings(path: Path) -> Settings:
    """This host's settings; the defaults if there is no such file. Raises BadUsage for what makes no sense."""
    try:
        text = path.read_text(encoding="utf-8")
        document = tomllib.loads(text)
    except FileNotFoundError:
        return Settings()
    except (OSError, ValueError) as cause:
        raise BadUsage(f"cannot read the settings in {path}: {cause}", "mend the file; it is TOML") from cause
    for key in document:
        if key not in _KNOWN:
            near = difflib.get_close_matches(key, _KNOWN, 1)
            known = f"did you mean {near[0]}?" if near else f"known are: {', '.join(_KNOWN)}"
            raise BadUsage(f"{path}, line {_line_of(text, key)}: unknown setting {key}", known)
    return Settings(recipients=_texts(path, text, document, "recipients"))


def _texts(path: Path, text: str, document: dict[str, Any], key: str) -> tuple[str, ...]:
    value = document.get(key, [])
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise BadUsage(f"{path}, line {_line_of(text, key)}: {key} must be a list of texts", f'{key} = ["age1…"]')
    return tuple(value)


def _line_of(text: str, key: str) -> int:
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip("[ \t\"'").startswith(key):
            return number
    return 1
