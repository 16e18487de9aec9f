"""Lengths of time and rates as people write them in settings."""

from __future__ import annotations

import re

from drunner_vault.errors import BadUsage

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_NAMES = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
SHORT, LONG = "smh", "hdw"
"""Units of what is short, and of what is long: an `m` that could be minutes or months is not among the latter."""

NO_LIMIT = "0"
_RATE = re.compile(r"(\d+(?:\.\d+)?) ?([KMGT]?)(?:i?B)?", re.IGNORECASE)


def parse_length(text: str, units: str) -> float:
    """Seconds of a length of time such as 90s, 1h30m or 8d. units: those that may be used. Raises BadUsage."""
    pattern = "".join(rf"(?:(\d{{1,7}}){unit})?" for unit in sorted(units, key=_UNITS.__getitem__, reverse=True))
    match = re.fullmatch(pattern, text)
    if match is None or not text:
        example = "10m" if "m" in units else "36h or 8d"
        raise BadUsage(
            f"{text!r} is no length of time", f"write it as {example}: {', '.join(_NAMES[unit] for unit in units)}"
        )
    ordered = sorted(units, key=_UNITS.__getitem__, reverse=True)
    return float(sum(int(number) * _UNITS[unit] for number, unit in zip(match.groups("0"), ordered, strict=True)))


def parse_rate(text: str) -> int:
    """Bytes a second of a rate such as 500K, 10M or 1.5G. Raises BadUsage."""
    match = _RATE.fullmatch(text)
    if match is None:
        raise BadUsage(f"{text!r} is no number of bytes", "write it as 500K, 10M or 1.5G")
    return int(float(match[1]) * 1024 ** " KMGT".index(match[2].upper() or " "))


def format_length(seconds: float) -> str:
    """A length of time as parse_length reads it, in its largest unit that fits."""
    unit = next((unit for unit, length in reversed(_UNITS.items()) if seconds and seconds % length == 0), "s")
    return f"{seconds / _UNITS[unit]:.0f}{unit}"
