"""Salvaging damaged archives: all that survives goes into a new archive, and what does not is listed.

file → chunks that open → frames that are whole → their places in the tar → members → a new archive
"""

from drunner_vault.archive.salvage.chunks import TRIES
from drunner_vault.archive.salvage.head import is_encrypted, open_chunks
from drunner_vault.archive.salvage.manifests import Hints, hints_from_name
from drunner_vault.archive.salvage.report import Loss, Salvaged, ranges_text
from drunner_vault.archive.salvage.rescue import Salvage
from drunner_vault.archive.salvage.stream import ClearStream, Stream

__all__ = [
    "TRIES",
    "ClearStream",
    "Hints",
    "Loss",
    "Salvage",
    "Salvaged",
    "Stream",
    "hints_from_name",
    "is_encrypted",
    "open_chunks",
    "ranges_text",
]
