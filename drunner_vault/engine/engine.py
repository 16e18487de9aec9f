"""A Docker engine, connected."""

from __future__ import annotations

from collections.abc import Mapping

from drunner_vault.engine.connection import connect
from drunner_vault.engine.containers import Containers
from drunner_vault.engine.images import Images
from drunner_vault.engine.volumes import Volumes


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
