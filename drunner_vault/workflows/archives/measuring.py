"""Reading an archive from start to end for its checksums, and for what its beginning says."""

from __future__ import annotations

from functools import partial

from drunner_vault.age import MAGIC, read_outline
from drunner_vault.archive import HashingSink
from drunner_vault.archive.frames import Sink
from drunner_vault.archive.sidecar import Digests
from drunner_vault.stores.sources import ArchiveSource
from drunner_vault.workflows.progress import Progress, counted_read

HEAD = 72 << 10  # bytes: the age header and its first chunk
_PIECE = 1 << 20


class Nowhere:
    """A sink for what is only read."""

    def write(self, data: bytes) -> None:
        """See Sink."""


def measure(source: ArchiveSource, doing: str, progress: Progress, sink: Sink | None = None) -> tuple[Digests, bytes]:
    """Read an archive to its end; returns its checksums and its first HEAD bytes.

    doing: for the progress. sink: receives all bytes. Raises NotFound, StorageError, and what the sink raises.
    """
    hashing, start = HashingSink(sink or Nowhere()), b""
    with source.sequential() as archive:
        progress.begin(doing, archive.size)
        for piece in iter(partial(counted_read(archive.read, progress), _PIECE), b""):
            start += piece[: HEAD - len(start)]
            hashing.write(piece)
    return hashing.digests(), start


def age_facts(start: bytes, size: int) -> tuple[bytes, tuple[str, ...]]:
    """Return the age header and the kinds of recipients of a file by its beginning; nothing if it is not encrypted.

    Raises ArchiveError for what is not a complete age file.
    """
    if not start.startswith(MAGIC):
        return b"", ()
    outline = read_outline(start, size)
    return outline.head, tuple(outline.header.recipient_types)
