"""Opening an archive to look into it, wherever it is: few reads, nothing believed unproven."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from drunner_vault.age import MAGIC, Identity, SeekableReader
from drunner_vault.archive import SeekableArchive, archive_stamp
from drunner_vault.stores.plain import source_path
from drunner_vault.stores.ranged import CachedEnds, RangedSource, open_ranged

Offered = Callable[[], list[Identity]]


@dataclass(frozen=True)
class OpenArchive:
    """An archive behind ranged reads. recipients: kinds of those it is encrypted to; none if it is in the clear."""

    source: RangedSource
    archive: SeekableArchive
    recipients: tuple[str, ...]


@contextlib.contextmanager
def open_archive(source: str, offered: Offered) -> Iterator[OpenArchive]:
    """An archive in a file, or `DIRECTORY/latest`. offered: the identities, asked for only if it is encrypted."""
    with open_ranged(source_path(source, archive_stamp)) as ranged:
        yield opened_at_random(ranged, offered)


def opened_at_random(source: RangedSource, offered: Offered) -> OpenArchive:
    """The archive in a source. Raises NotAnArchive, DamagedArchive, NoKey, WrongKey."""
    ends = CachedEnds(source)
    if not ends.read_at(0, len(MAGIC)).startswith(MAGIC):
        return OpenArchive(source, SeekableArchive(ends.read_at, source.size), ())
    decrypted = SeekableReader(ends.read_at, source.size, offered())
    archive = SeekableArchive(decrypted.read_at, decrypted.size)
    return OpenArchive(source, archive, tuple(decrypted.header.recipient_types))


def is_seekable(source: str) -> bool:
    """Whether a source can be read from any offset."""
    return source != "-" and Path(source_path(source, archive_stamp)).is_file()
