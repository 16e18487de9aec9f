"""Whether an archive's size speaks of lost data: until a person has looked, nothing older should be deleted."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

_JUDGED = 5
_COMPARED = 10
_SHRUNK = 2
_GROWN = 4
_NOTICEABLE = 16 << 10


@dataclass(frozen=True)
class Sized:
    """An archive and its size in bytes.

    created: aware. accepted: a person has said that this size is right. flagged: an earlier look found it suspicious.
    """

    key: str
    created: dt.datetime
    size: int
    accepted: bool = False
    flagged: bool = False


@dataclass(frozen=True)
class Suspicion:
    """An archive that is not of its usual size; sizes in bytes."""

    key: str
    size: int
    usual: int
    reason: str


def suspicion(history: Sequence[Sized]) -> Suspicion | None:
    """The oldest archive whose size is suspicious, or None.

    history: the archives of one service, in any order. It starts anew with the newest that was accepted. Each of the
    newest five is judged by the median of up to ten before it that are not suspicious themselves: less than half of it
    or more than four times it, and 16 KiB away from it, is suspicious. What was flagged stays so until it or a newer
    one is accepted, even if there is nothing left to compare it with.
    """
    line = _since_accepted(sorted(history, key=lambda archive: (archive.created, archive.key)))
    usual: list[int] = []
    for place, archive in enumerate(line):
        found = _judge(archive, usual[-_COMPARED:], judged=place >= len(line) - _JUDGED)
        if found:
            return found
        usual.append(archive.size)
    return None


def _since_accepted(line: list[Sized]) -> list[Sized]:
    accepted = [place for place, archive in enumerate(line) if archive.accepted]
    return line[accepted[-1] :] if accepted else line


def _judge(archive: Sized, earlier: list[int], *, judged: bool) -> Suspicion | None:
    """earlier: sizes to compare with, perhaps none. judged: whether it is new enough to be doubted for its size."""
    if archive.accepted:
        return None
    usual = int(median(earlier)) if earlier else archive.size
    if (judged or archive.flagged) and _differs(archive.size, usual):
        return Suspicion(archive.key, archive.size, usual, _reason(archive.size, usual))
    if archive.flagged:
        reason = f"was found suspicious before, and not accepted since ({_readable(archive.size)})"
        return Suspicion(archive.key, archive.size, usual, reason)
    return None


def _differs(size: int, usual: int) -> bool:
    return abs(size - usual) >= _NOTICEABLE and (size * _SHRUNK < usual or size > usual * _GROWN)


def _reason(size: int, usual: int) -> str:
    """Rounded away from the limit, so that what is just under a half is not called 50 %."""
    sizes = f"({_readable(size)}, usually {_readable(usual)})"
    if not usual:
        return f"grew from nothing {sizes}"
    if size > usual:
        return f"grew to {-(-100 * size // usual)} % of its usual size {sizes}"
    share = f"{100 * size // usual} %" if 100 * size >= usual else "less than 1 %"
    return f"shrank to {share} of its usual size {sizes}"


def _readable(size: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1 << 10:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1 << 10
    return f"{size:.1f} TiB"
