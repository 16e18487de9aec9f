"""The settings in vault.toml: parsed, checked, with messages that name the file and the line."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from drunner_vault.errors import BadUsage

_STORE_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")


@dataclass(frozen=True)
class StoreSettings:
    """A table [stores.NAME]. options: as in its URL, as texts. retention: as it stands in [stores.NAME.retention], to
    be checked by whoever knows its rules. where: file and line, for errors."""

    url: str
    options: Mapping[str, str]
    retention: Mapping[str, str | int]
    where: str


@dataclass(frozen=True)
class Settings:
    """What vault.toml says. recipients: whom backups are encrypted to where nothing else is said. stores: by name.
    timezone: whose days, weeks and months retention counts in; empty for this host's own; timezone_where: its file and
    line, for errors."""

    recipients: tuple[str, ...] = ()
    timezone: str = ""
    timezone_where: str = ""
    stores: Mapping[str, StoreSettings] = field(default_factory=dict)


def read_settings(path: Path) -> Settings:
    """This host's settings; the defaults if there is no such file. Raises BadUsage for what makes no sense."""
    try:
        text = path.read_text(encoding="utf-8")
        document = tomllib.loads(text)
    except FileNotFoundError:
        return Settings()
    except (OSError, ValueError) as cause:
        raise BadUsage(f"cannot read the settings in {path}: {cause}", "mend the file; it is TOML") from cause
    top = _Table(path, text, (), document)
    top.allow("recipients", "timezone", "stores")
    return Settings(
        recipients=top.texts("recipients"),
        timezone=top.text("timezone", ""),
        timezone_where=top.where("timezone"),
        stores={name: _store(top.table("stores").table(name)) for name in top.table("stores").keys},
    )


def _store(table: _Table) -> StoreSettings:
    name = table.place[-1]
    if not _STORE_NAME.fullmatch(name):
        table.refuse(f"{name} cannot be the name of a store", "use small letters, digits, - and _")
    retention = table.table("retention")
    return StoreSettings(
        url=table.text("url"),
        options={key: table.scalar(key) for key in table.keys if key not in ("url", "retention")},
        retention={key: retention.number_or_text(key) for key in retention.keys},
        where=table.where(),
    )


class _Table:
    """One table of the file, which knows where it stands."""

    def __init__(self, path: Path, text: str, place: tuple[str, ...], values: Mapping[str, Any]) -> None:
        self._path = path
        self._text = text
        self.place = place
        self._values = values

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(self._values)

    def allow(self, *known: str) -> None:
        """Raises BadUsage for any other key."""
        for key in self._values:
            if key not in known:
                near = difflib.get_close_matches(key, known, 1)
                hint = f"did you mean {near[0]}?" if near else f"known are: {', '.join(known)}"
                self.refuse(f"unknown setting {key}", hint, key)

    def text(self, key: str, default: str | None = None) -> str:
        value = self._values.get(key, default)
        if value is None:
            self.refuse(f"{key} is missing", f'{key} = "…"')
        if not isinstance(value, str):
            self.refuse(f"{key} must be a text", f'{key} = "…"', key)
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        value = self._values.get(key, [])
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            self.refuse(f"{key} must be a list of texts", f'{key} = ["…"]', key)
        return tuple(value)

    def scalar(self, key: str) -> str:
        """A text, number or truth, as the text that stands for it in a URL."""
        value = self._values[key]
        if isinstance(value, bool):
            return "true" if value else "false"
        if not isinstance(value, str | int):
            self.refuse(f"{key} must be a text, a number, true or false", f'{key} = "…"', key)
        return str(value)

    def number_or_text(self, key: str) -> str | int:
        value = self._values[key]
        if isinstance(value, bool) or not isinstance(value, str | int):
            self.refuse(f"{key} must be a number or a text", f"{key} = 7", key)
        return value

    def table(self, key: str) -> _Table:
        value = self._values.get(key, {})
        if not isinstance(value, dict):
            self.refuse(f"{key} must be a table", f"[{'.'.join((*self.place, key))}]", key)
        return _Table(self._path, self._text, (*self.place, key), value)

    def where(self, key: str = "") -> str:
        """File and line of the table, or of a key in it."""
        return f"{self._path}, line {_line_of(self._text, self.place, key)}"

    def refuse(self, problem: str, hint: str, key: str = "") -> NoReturn:
        raise BadUsage(f"{self.where(key)}: {problem}", hint)


def _line_of(text: str, place: tuple[str, ...], key: str) -> int:
    """The line of a key in a table, or of the table's own header; the nearest that can be told."""
    current: tuple[str, ...] = ()
    header = 1
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if stripped.startswith("["):
            current = tuple(part.strip(" \t\"'") for part in stripped.strip("[").partition("]")[0].split("."))
            header = number if current == place else header
            if key and current == (*place, key):
                return number
        elif key and current == place and re.match(rf"[\"']?{re.escape(key)}\b", stripped):
            return number
    return header
