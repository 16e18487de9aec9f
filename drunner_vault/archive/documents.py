"""JSON as archives hold it, read strictly: objects, texts and whole numbers, nothing that only looks like them."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

from drunner_vault.errors import DamagedArchive

Value = TypeVar("Value")


class Fields:
    """One object of a document. Every getter raises ValueError for what is missing or of the wrong kind."""

    def __init__(self, values: object) -> None:
        if not isinstance(values, dict):
            raise ValueError(f"{str(values)[:40]!r} is no object")
        self.values: dict[str, Any] = values

    def text(self, key: str, default: str | None = None) -> str:
        """A text that UTF-8 can carry."""
        value = self._of(str, key, default)
        value.encode()
        return value

    def number(self, key: str, default: int | None = None) -> int:
        """A whole number that is not negative, below 2^63."""
        value = self.signed(key, default)
        if not 0 <= value < 1 << 63:
            raise ValueError(f"{key} is negative or too large")
        return value

    def signed(self, key: str, default: int | None = None) -> int:
        """A whole number of at most 80 bits; times in nanoseconds need more than 64."""
        value = self._of(int, key, default)
        if isinstance(value, bool) or value.bit_length() > 80:
            raise ValueError(f"{key} is no number that an archive could have")
        return value

    def flag(self, key: str, default: bool) -> bool:
        """True or false."""
        return self._of(bool, key, default)

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts; empty if it is missing."""
        return tuple(Fields({"": item}).text("") for item in self._of(list, key, []))

    def numbers(self, key: str) -> tuple[int, ...]:
        """A list of whole numbers that are not negative; empty if it is missing."""
        return tuple(Fields({"": item}).number("") for item in self._of(list, key, []))

    def items(self, key: str) -> tuple[Any, ...]:
        """A list of any values."""
        return tuple(self._of(list, key, None))

    def objects(self, key: str) -> list[Fields]:
        """A list of objects; empty if it is missing."""
        return [Fields(item) for item in self._of(list, key, [])]

    def object(self, key: str) -> Fields:
        """An object; empty if it is missing."""
        return Fields(self.values.get(key) or {})

    def name(self, key: str) -> bytes:
        """A byte string: text, or base64 under `key_base64` where it is no UTF-8; empty if it is missing."""
        if f"{key}_base64" in self.values:
            return base64.b64decode(self.text(f"{key}_base64"), validate=True)
        return self.text(key, "").encode()

    def _of(self, kind: type[Value], key: str, default: Value | None) -> Value:
        value = self.values.get(key, default)
        if not isinstance(value, kind):
            raise ValueError(f"{key or 'an item'} is {'missing' if value is None else 'of the wrong kind'}")
        return value


def parse(data: bytes, what: str, build: Callable[[Fields], Value]) -> Value:
    """What `build` makes of a JSON object. Raises DamagedArchive, naming `what`, where either is not as it must be."""
    try:
        return build(Fields(json.loads(data, parse_float=_refuse, parse_constant=_refuse)))
    except (ValueError, RecursionError) as cause:
        reason = str(cause) or "it is nested too deeply"
        raise DamagedArchive(f"{what} is malformed: {reason}", "use another copy of the archive") from cause


def _refuse(text: str) -> NoReturn:
    raise ValueError(f"{text[:40]} is no whole number")
