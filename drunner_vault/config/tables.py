"""A table of vault.toml that knows where it stands, so that every complaint names file and line."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from drunner_vault.config.lines import Place
from drunner_vault.config.values import SHORT, parse_length
from drunner_vault.errors import BadUsage

Report = Callable[[BadUsage], None]
Value = TypeVar("Value")


def raise_it(problem: BadUsage) -> None:
    """A Report that stops at the first problem."""
    raise problem


class Table:
    """One table of the file.

    Its methods give a value of the kind they are named for. Where there is none, or one of another kind, `report` is
    told; if it returns, as that of `config check` does to find all problems at once, they give the default.
    """

    def __init__(
        self, path: Path, lines: Mapping[Place, int], place: Place, values: Mapping[str, Any], report: Report = raise_it
    ) -> None:
        self._path = path
        self._lines = lines
        self.place = place
        self._values = values
        self._report = report

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(self._values)

    @property
    def directory(self) -> Path:
        """Where the file is: relative paths in it start there."""
        return self._path.parent

    def allow(self, *known: str) -> None:
        """Complains about any other key."""
        for key in self._values:
            if key not in known:
                self.refuse(f"unknown setting {key}", suggestion(key, known), key)

    def text(self, key: str, default: str | None = None) -> str:
        """A text; it must be there if there is no default."""
        value = self._values.get(key, default)
        if value is None:
            self.refuse(f"{key} is missing", f'{key} = "…"')
            return ""
        return str(self._of(str, key, value, default or "", "a text", '"…"'))

    def texts(self, key: str, default: tuple[str, ...] = ()) -> tuple[str, ...]:
        value = self._values.get(key, list(default))
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            self.refuse(f"{key} must be a list of texts", f'{key} = ["…"]', key)
            return default
        return tuple(value)

    def choice(self, key: str, default: str, allowed: Sequence[str]) -> str:
        """One of some words."""
        value = self.text(key, default)
        return value if self._is_among(key, value, allowed) else default

    def choices(self, key: str, default: tuple[str, ...], allowed: Sequence[str]) -> tuple[str, ...]:
        """Some of some words."""
        return tuple(value for value in self.texts(key, default) if self._is_among(key, value, allowed))

    def truth(self, key: str, default: bool) -> bool:
        value = self._values.get(key, default)
        return bool(self._of(bool, key, value, default, "true or false", "true"))

    def number(self, key: str, default: int, least: int, most: int) -> int:
        """A whole number in a range."""
        value = self._values.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            self.refuse(f"{key} must be a number from {least} to {most}", f"{key} = {default or least}", key)
            return default
        return value

    def length(self, key: str, default: Value, units: str) -> float | Value:
        """A length of time in seconds, written in these units: of s, m, h, d and w."""
        if key not in self._values:
            return default
        text = self._values[key]
        if not isinstance(text, str):
            self.refuse(f"{key} must be a text", f'{key} = "{"10m" if units == SHORT else "36h"}"', key)
            return default
        try:
            return parse_length(text, units)
        except BadUsage as problem:
            self.refuse(f"{key}: {problem.message}", problem.hint, key)
            return default

    def path(self, key: str) -> str:
        """A path, made absolute; empty if there is none."""
        value = self.text(key, "")
        return str(self.directory.absolute() / value) if value else ""

    def paths(self, key: str) -> tuple[str, ...]:
        return tuple(str(self.directory.absolute() / value) for value in self.texts(key))

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
            return 0
        return value

    def raw(self, key: str) -> Any:
        """The value as it is; None if there is none."""
        return self._values.get(key)

    def table(self, key: str) -> Table:
        """A table in this one, empty if there is none."""
        value = self._values.get(key, {})
        value = self._of(dict, key, value, {}, "a table", "", f"[{'.'.join((*self.place, key))}]")
        return Table(self._path, self._lines, (*self.place, key), value, self._report)

    def where(self, key: str = "") -> str:
        """File and line of the table, or of a key in it."""
        place = (*self.place, key) if key else self.place
        line = next((self._lines[place[:end]] for end in range(len(place), 0, -1) if place[:end] in self._lines), 1)
        return f"{self._path}, line {line}"

    def refuse(self, problem: str, hint: str, key: str = "") -> None:
        """Complain about the table, or about a key in it."""
        self._report(BadUsage(f"{self.where(key)}: {problem}", hint))

    def _is_among(self, key: str, value: str, allowed: Sequence[str]) -> bool:
        if value not in allowed:
            self.refuse(f"{key} cannot be {value!r}", suggestion(value, allowed), key)
        return value in allowed

    def _of(self, kind: type, key: str, value: Any, default: Any, what: str, example: str, hint: str = "") -> Any:
        if isinstance(value, kind):
            return value
        self.refuse(f"{key} must be {what}", hint or f"{key} = {example}", key)
        return default


def suggestion(word: str, known: Sequence[str]) -> str:
    """What somebody who wrote a word that is not known may have meant."""
    near = difflib.get_close_matches(word, known, 1)
    return f"did you mean {near[0]}?" if near else f"known are: {', '.join(known) or 'none'}"
