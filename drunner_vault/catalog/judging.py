"""Whether an archive that has no sidecar is whole, as far as this can be told without a key, by reading its ends.

An encrypted one: its header can be read, and what it holds has a size that finished archives are padded to. Of cut
ones few have such a size: one in some hundred of the smallest, one in many thousands of the others. One in the clear:
its locator, root and seek table are there and agree.
"""

from __future__ import annotations

from drunner_vault.age import MAGIC, read_outline
from drunner_vault.archive import SeekableArchive, is_padded_size
from drunner_vault.errors import ArchiveError
from drunner_vault.stores.ranged import HEAD, CachedEnds, RangedSource


def judge(source: RangedSource) -> tuple[list[str], str]:
    """The kinds of recipients an archive is encrypted to, and what is wrong with it: nothing, as far as one can see, if
    that is empty. Raises StorageError."""
    ends, size = CachedEnds(source), source.size
    try:
        if not ends.read_at(0, len(MAGIC)).startswith(MAGIC):
            _ = SeekableArchive(ends.read_at, size).closing
            return [], ""
        outline = read_outline(ends.read_at(0, HEAD), size)
        cut = "" if is_padded_size(outline.size) else "it is cut short: no finished archive has this size"
        return list(outline.header.recipient_types), cut
    except ArchiveError as error:
        return [], error.message
