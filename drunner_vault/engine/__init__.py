"""Docker: images, containers, volumes, and reading and writing a volume's tree. Home of the docker library."""

from __future__ import annotations

from collections.abc import Mapping

from drunner_vault.engine.connection import connect
from drunner_vault.engine.containers import Container, Containers, CopiedFile, RefusedMember
from drunner_vault.engine.hosttree import TreeReader, TreeWriter
from drunner_vault.engine.images import Image, Images
from drunner_vault.engine.volumes import Access, EntryWriter, Volume, Volumes, VolumeTree, mark_new


class Engine:
    """A Docker engine, connected."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        """Raises EngineDown if none answers where the environment says."""
        client = connect(environment)
        self.images = Images(client)
        self.containers = Containers(client)
        self.volumes = Volumes(client, self.containers)
        self._client = client

    def close(self) -> None:
        """Let go of the connection."""
        self._client.close()


__all__ = [
    "Access",
    "Container",
    "CopiedFile",
    "Engine",
    "EntryWriter",
    "Image",
    "RefusedMember",
    "TreeReader",
    "TreeWriter",
    "Volume",
    "VolumeTree",
    "mark_new",
]
