"""Where a secret is, apart from what it is: it is read when it is needed, and never shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from drunner_vault.config.tables import Table
from drunner_vault.errors import BadUsage


@dataclass(frozen=True)
class Secret:
    """A secret of one or several lines: in the settings themselves (lines), in a file, or in the environment.

    where: file and line of the settings that name it, for errors. lines are left out of its repr.
    """

    where: str
    lines: tuple[str, ...] = field(default=(), repr=False)
    file: str = ""
    variable: str = ""

    @property
    def is_somewhere(self) -> bool:
        """Whether the settings say where it is; if not, that has been complained about."""
        return bool(self.lines or self.file or self.variable)

    def value(self, environment: Mapping[str, str]) -> list[str]:
        """Its lines: at least one, none empty; lines of a file that begin with # are comments. Raises BadUsage."""
        if self.file:
            found = self._lines_of(self._text())
        elif self.variable:
            found = self._lines_of(environment.get(self.variable, ""))
        else:
            found = list(self.lines)
        if not found:
            raise BadUsage(f"{self.where}: {self.describe()} is empty", "put the secret there, a line each")
        return found

    def describe(self) -> str:
        """Where it is, in words that tell nothing of it."""
        if self.file:
            return f"the file {self.file}"
        return f"{self.variable} in the environment" if self.variable else "the text in the settings"

    def _text(self) -> str:
        try:
            return Path(self.file).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as cause:
            reason = cause.strerror if isinstance(cause, OSError) else "it is no UTF-8 text"
            raise BadUsage(f"{self.where}: cannot read {self.file}: {reason}", "check the path") from cause

    @staticmethod
    def _lines_of(text: str) -> list[str]:
        stripped = (line.strip() for line in text.splitlines())
        return [line for line in stripped if line and not line.startswith("#")]


def read_secret(table: Table, key: str) -> Secret | None:
    """The secret that `key`, `key_file` or `key_env` of a table names; None if none of them is there."""
    given = [name for name in (key, f"{key}_file", f"{key}_env") if name in table.keys]
    if len(given) > 1:
        table.refuse(f"{given[0]} and {given[1]} exclude each other", "keep one of them", given[1])
    if not given:
        return None
    where = table.where(given[0])
    if given[0] == f"{key}_file":
        return Secret(where, file=table.path(given[0]))
    if given[0] == f"{key}_env":
        return Secret(where, variable=table.text(given[0]))
    value = table.raw(key)
    lines = (value,) if isinstance(value, str) else table.texts(key)
    if not all(map(str.strip, lines)) or value == []:
        table.refuse(f"{key} is empty", f'leave it out, or name a file: {key}_file = "/…"', key)
        lines = ()
    return Secret(where, lines)
