"""A dRunner service as a workload: how it is described, and how it is paused."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from drunner_vault.archive import ImageRecord, ServiceRecord, VolumeRecord
from drunner_vault.engine.containers import HostPort
from drunner_vault.engine.engine import EngineFacts
from drunner_vault.engine.images import Image
from drunner_vault.engine.trees import Access, TreeItem, VolumeTree
from drunner_vault.errors import (
    Interrupted,
    ServiceError,
    VaultError,
)
from drunner_vault.services import paused
from drunner_vault.services.dialect import Event
from drunner_vault.services.home import ServiceHome
from drunner_vault.services.names import volume_names
from drunner_vault.workflows.host import ServiceHost
from drunner_vault.workflows.services.install import check_image, require_valid
from drunner_vault.workflows.services.selftest import is_running
from drunner_vault.workflows.workload import Embed

KIND = "drunner"


class DrunnerService:
    """An installed service, to be backed up. Whoever makes one holds the service's lock."""

    def __init__(self, host: ServiceHost, home: ServiceHome, access: Access) -> None:
        self._host = host
        self._home = home
        self._access = access
        self._left_paused = False
        home.require()
        require_valid(home)
        self._image = host.engine.images.get(home.image())

    def describe(self) -> ServiceRecord:
        """See Workload."""
        config, record = self._home.config(), self._home.record()
        uid = record.uid if record else check_image(self._host, self._home.image()).uid
        settings = {
            "dialect": self._home.dialect().name,
            "volumes": list(config.volumes),
            "extra_containers": list(config.extra_containers),
            "environment": self._environment(),
            "ports": [str(port) for port in self.ports()],
            "running": is_running(self._host, self._home),
        }
        return ServiceRecord(KIND, self._home.name, self._home.image(), uid, settings)

    def _environment(self) -> dict[str, str]:
        """What the service kept for itself. What cannot be read literally is left behind, and said."""
        try:
            return self._home.environment()
        except ServiceError as problem:
            self._host.notice(f"{problem.message}; it is not in the backup")
            return {}

    def ports(self) -> list[HostPort]:
        """The ports of this host that its containers have."""
        names = volume_names(self._home.name, self._home.config().volumes)
        return self._host.engine.containers.published(list(names), self._home.name)

    def engine_facts(self) -> EngineFacts:
        """What kind of engine it runs on."""
        return self._host.engine.facts()

    def leave_paused(self) -> None:
        """At the end of the block of `quiesced` it is not resumed, nor later: it is about to be removed, since it lives
        elsewhere now."""
        self._left_paused = True

    def scripts(self) -> Mapping[str, bytes]:
        """See Workload."""
        return self._home.files()

    def images(self, embed: Embed) -> list[ImageRecord]:
        """See Workload. Extra images that are not on this host are recorded by name only."""
        images = self._host.engine.images
        found: dict[str, Image | None] = {self._home.image(): self._image}
        for reference in self._home.config().extra_containers:
            found.setdefault(reference, images.find(reference))
        records = []
        for reference, image in found.items():
            if image is None:
                records.append(ImageRecord(reference, ""))
                continue
            wanted = embed is Embed.ALWAYS or (embed is Embed.AUTO and not images.in_registry(image))
            records.append(
                ImageRecord(reference, image.id, image.digests, image.architecture, image.os, image.size, wanted)
            )
        return records

    def image_layout(self, images: list[ImageRecord]) -> Iterable[TreeItem]:
        """See Workload."""
        return self._host.engine.images.save(list(dict.fromkeys(image.id for image in images)))

    def volumes(self) -> list[tuple[VolumeRecord, VolumeTree]]:
        """See Workload."""
        paths = self._home.config().volumes
        return [
            self._volume(name, path) for name, path in zip(volume_names(self._home.name, paths), paths, strict=True)
        ]

    def _volume(self, name: str, path: str) -> tuple[VolumeRecord, VolumeTree]:
        volume = self._host.engine.volumes.get(name)
        tree = self._host.engine.volumes.tree(volume, self._image.id, self._access)
        record = VolumeRecord(
            name, path, volume.driver, volume.options, volume.labels, tree.access.value, tree.lost_reading
        )
        return record, tree

    @contextlib.contextmanager
    def quiesced(self) -> Iterator[Path]:
        """See Workload. `backupend` follows `backupstart` even if that failed, and even if we are killed.

        If it is interrupted itself, it is called once more.
        """
        host, home = self._host, self._home
        dialect = home.dialect()
        with host.staging(home.name) as directory:
            command = [str(home.servicerunner), str(dialect.hook(Event.BACKUP_END)), str(directory)]
            success = [code for code in range(256) if dialect.succeeded(Event.BACKUP_END, code)]
            promise = paused.begin(
                host.root, home.name, command, cwd=Path.cwd(), env=host.hook_environment(), success=success
            )
            try:
                try:
                    host.call_hook(home, Event.BACKUP_START, str(directory))
                    yield directory
                except BaseException:
                    self._resume_after_failure(directory)
                    raise
                if self._left_paused:
                    return
                try:
                    host.call_hook(home, Event.BACKUP_END, str(directory))
                except (Interrupted, KeyboardInterrupt):
                    self._resume_after_failure(directory)
                    raise
            finally:
                promise.done()

    def _resume_after_failure(self, directory: Path) -> None:
        # a second Ctrl-C must not leave the service paused
        with _signals_wait():
            try:
                self._host.call_hook(self._home, Event.BACKUP_END, str(directory))
            except VaultError as problem:
                self._host.notice(f"{problem.message}; {self._home.name} may still be paused")


@contextlib.contextmanager
def _signals_wait() -> Iterator[None]:
    handlers = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
