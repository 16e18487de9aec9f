"""Checks whether an archive that has no sidecar is complete, as far as its ends show it without a key.

An encrypted archive: its header can be read, and its payload has one of the sizes that finished archives are padded to.
Of cut archives few have such a size: one in some hundred of the smallest, one in many thousands of the others. An
unencrypted archive: its locator, root and seek table exist and agree.
"""

from __future__ import annotations

from drunner_vault.age import MAGIC, read_outline
from drunner_vault.archive import SeekableArchive, is_padded_size
from drunner_vault.errors import ArchiveError
from drunner_vault.stores.ranged import HEAD, CachedEnds, RangedSource


def check_completeness(source: RangedSource) -> tuple[tuple[str, ...], str]:
    """Return the kinds of recipients an archive is encrypted to, and what is wrong with it; empty if nothing is.

    Raises StorageError.
    """
    ends, size = CachedEnds(source), source.size
    try:
        if not ends.read_at(0, len(MAGIC)).startswith(MAGIC):
            _ = SeekableArchive(ends.read_at, size).closing
            return (), ""
        outline = read_outline(ends.read_at(0, HEAD), size)
        cut = "" if is_padded_size(outline.size) else "it is cut short: no finished archive has this size"
        return tuple(outline.header.recipient_types), cut
    except ArchiveError as error:
        return (), error.message
