"""What came of salvaging an archive: what was saved, and exactly what was not."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from drunner_vault.archive.salvage.stream import Span
from drunner_vault.tar import Entry

DAMAGED = "damaged"
LOST = "lost"
_SHOWN = 20


@dataclass(frozen=True)
class Loss:
    """One member that is not as it was.

    path: full name, bytes that are no UTF-8 with a backslash. state: DAMAGED, in the new archive but not as it was, or
    LOST, not in it. size: of the file, in bytes. ranges: bytes of the file that are lost, each from its first up to,
    and without, its second number. reason: what happened, in words.
    """

    path: str
    state: str
    size: int
    ranges: tuple[Span, ...]
    reason: str


@dataclass
class Salvaged:
    """saved: members that are as they were; damaged, lost: numbers of losses of each sort. proven: how many files were
    held against the index's BLAKE3. gaps: parts of the tar that may have held members of which nothing is known.
    unnamed: how many members were lost there, None if nothing tells. problems: what the damaged archive itself could
    not carry as it should. made_anew: the manifest was lost, and one was made from what is known. unsigned: a
    signature was there, and cannot be for the new archive."""

    service: str
    created: str
    saved: int = 0
    damaged: int = 0
    lost: int = 0
    proven: int = 0
    content: int = 0
    gaps: int = 0
    unnamed: int | None = 0
    problems: int = 0
    made_anew: bool = False
    was_signed: bool = False
    losses: list[Loss] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether nothing at all was lost."""
        return not (self.losses or self.gaps or self.made_anew)

    def add(self, loss: Loss) -> None:
        """Count a member that is not as it was."""
        self.losses.append(loss)
        if loss.state == DAMAGED:
            self.damaged += 1
        else:
            self.lost += 1


def shown(path: bytes) -> str:
    """A member's name for people and JSON."""
    return path.decode("utf-8", "backslashreplace")


def lost_member(entry: Entry, reason: str) -> Loss:
    """The loss of a whole member."""
    ranges = ((0, entry.size),) if entry.size else ()
    return Loss(shown(entry.path), LOST, entry.size, ranges, reason)


def ranges_text(ranges: Iterable[Span]) -> str:
    """Byte ranges for people, first and last byte of each."""
    texts = [f"{start}-{end - 1}" for start, end in ranges]
    more = f" and {len(texts) - _SHOWN} more ranges" if len(texts) > _SHOWN else ""
    return ", ".join(texts[:_SHOWN]) + more
