"""What a kind of thing must be able to do to be backed up and restored. Today there is one kind, dRunner services.

Backup and restore know nothing else of what they carry; another kind (a compose project, bare volumes) joins by
implementing these two interfaces.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from drunner_vault.archive import ImageRecord, Manifest, ServiceRecord, VolumeRecord
from drunner_vault.engine.trees import TreeItem, VolumeTree


class Embed(StrEnum):
    """Whether images go into the archive: AUTO takes those that no registry could give again."""

    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"


class Workload(Protocol):
    """Something installed that can be backed up."""

    def describe(self) -> ServiceRecord:
        """What it is, and what installing it anew takes."""

    def scripts(self) -> Mapping[str, bytes]:
        """Its definition as files, by relative path."""

    def images(self, embed: Embed) -> list[ImageRecord]:
        """The images it needs, each marked with whether it goes into the archive."""

    def image_layout(self, images: list[ImageRecord]) -> Iterable[TreeItem]:
        """The images themselves, as one layout."""

    def volumes(self) -> list[tuple[VolumeRecord, VolumeTree]]:
        """Its volumes, in its own order. Raises VolumeProblem if one is missing."""

    def quiesced(self) -> AbstractContextManager[Path]:
        """Inside the block its volumes stand still. Gives the directory that its backup hook wrote to.

        Whatever happens in the block, it is resumed; even if this process is killed.
        """


class Reinstallation(Protocol):
    """One installing anew, from an archive. Everything it does can be taken back until it is committed.

    hook_directory: where what the backup hook wrote is put.
    """

    hook_directory: Path

    def load_images(self, layout: Iterable[TreeItem]) -> None:
        """Take in the images of the archive."""

    def install(self) -> None:
        """Install it with empty volumes, on which nobody works any more."""

    def volume_tree(self, record: VolumeRecord) -> VolumeTree:
        """Where the files of a volume of the archive belong."""

    def resume(self) -> None:
        """The volumes are filled and the archive is proven: let it work on them."""


class Reinstaller(Protocol):
    """Makes Reinstallations of one kind."""

    def begin(self, manifest: Manifest) -> AbstractContextManager[Reinstallation]:
        """A context that commits if its block ends, and leaves the host as it was if it raises.

        Raises ServiceExists and the like before anything is changed.
        """
