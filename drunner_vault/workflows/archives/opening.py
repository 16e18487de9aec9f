"""Opening an archive to look into it, wherever it is: few reads, nothing believed unproven."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from drunner_vault.age import MAGIC, Identity, SeekableReader
from drunner_vault.archive import SeekableArchive
from drunner_vault.stores.ranged import CachedEnds, RangedSource
from drunner_vault.stores.sources import ArchiveSource

Offered = Callable[[], list[Identity]]


@dataclass(frozen=True)
class OpenArchive:
    """An archive behind ranged reads. recipients: kinds of those it is encrypted to; none if it is in the clear."""

    source: RangedSource
    archive: SeekableArchive
    recipients: tuple[str, ...]


@contextlib.contextmanager
def open_archive(source: ArchiveSource, offered: Offered) -> Iterator[OpenArchive]:
    """offered: the identities, asked for only if it is encrypted."""
    with source.ranged() as ranged:
        yield opened_at_random(ranged, offered)


def opened_at_random(source: RangedSource, offered: Offered) -> OpenArchive:
    """The archive in a source. Raises NotAnArchive, DamagedArchive, NoKey, WrongKey."""
    ends = CachedEnds(source)
    if not ends.read_at(0, len(MAGIC)).startswith(MAGIC):
        return OpenArchive(source, SeekableArchive(ends.read_at, source.size), ())
    decrypted = SeekableReader(ends.read_at, source.size, offered())
    archive = SeekableArchive(decrypted.read_at, decrypted.size)
    return OpenArchive(source, archive, tuple(decrypted.header.recipient_types))
