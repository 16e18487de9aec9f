"""A Docker engine, connected."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from drunner_vault.engine.connection import connect, engine_errors
from drunner_vault.engine.containers import Containers
from drunner_vault.engine.images import Images
from drunner_vault.engine.volumes import Volumes


@dataclass(frozen=True)
class EngineFacts:
    """What an engine says of itself. architecture: as images have it, `amd64`. free: bytes where it keeps volumes, None
    if that place is not to be seen from here."""

    version: str
    architecture: str
    free: int | None


class Engine:
    """A Docker engine, connected."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        """Raises EngineDown if none answers where the environment says."""
        client = connect(environment)
        self.images = Images(client)
        self.containers = Containers(client)
        self.volumes = Volumes(client, self.containers)
        self._client = client

    def facts(self) -> EngineFacts:
        """What kind of engine this is, and how much room it has."""
        with engine_errors("ask the engine about itself"):
            version = self._client.api.version()
            root = str(self._client.api.info().get("DockerRootDir") or "")
            local = self._client.api.base_url.startswith("http+docker:")
        return EngineFacts(str(version["Version"]), str(version["Arch"]), _free(root) if local else None)

    def close(self) -> None:
        """Let go of the connection."""
        self._client.close()


def _free(directory: str) -> int | None:
    try:
        found = os.statvfs(directory)
    except OSError:
        return None
    return found.f_bavail * found.f_frsize
