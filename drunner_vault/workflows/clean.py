"""Removing what nobody needs any more: images without a name, and what killed commands left behind."""

from __future__ import annotations

import shutil
from dataclasses import dataclass

from drunner_vault.errors import NoChange
from drunner_vault.services.home import installed
from drunner_vault.workflows.host import ServiceHost


@dataclass(frozen=True)
class Cleaned:
    """What was removed: ids of images and containers, and paths."""

    images: tuple[str, ...]
    containers: tuple[str, ...]
    paths: tuple[str, ...]


def clean(host: ServiceHost) -> Cleaned:
    """Remove unused images without a name, helper containers of killed commands, and their working directories.

    An image that an installed service was installed from stays. Raises NoChange if there was nothing.
    """
    needed = {record.image_id for home in installed(host.root) if (record := home.record())}
    containers = host.engine.containers.leftovers()
    for container in containers:
        host.engine.containers.remove(container)
    images = []
    for image in host.engine.images.dangling():
        if image not in needed:
            host.engine.images.remove(image)
            if host.engine.images.find(image) is None:
                images.append(image)
    paths = [path for path in (host.root / "tmp").glob("*") if not _in_use(host, path.name.rpartition(".")[0])]
    for path in paths:
        shutil.rmtree(path, ignore_errors=True)
    if not (containers or images or paths):
        raise NoChange("there is nothing to clean")
    return Cleaned(tuple(images), tuple(containers), tuple(str(path) for path in paths))


def _in_use(host: ServiceHost, service: str) -> bool:
    return (host.root / "locks" / f"{service}.lock").exists() or (host.root / "paused" / f"{service}.json").exists()
