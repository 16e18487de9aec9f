"""Removing what nobody needs any more: images without a name, and what killed commands left behind."""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import dataclass
from pathlib import Path

from drunner_vault.errors import BadServiceName, NoChange, ServiceBusy
from drunner_vault.services import paused
from drunner_vault.services.home import installed
from drunner_vault.services.lock import locked_services, service_lock
from drunner_vault.workflows.drilling.drill_room import sweep
from drunner_vault.workflows.host import ServiceHost
from drunner_vault.workflows.working import is_empty, remove_if_empty, working_on


@dataclass(frozen=True)
class Cleaned:
    """What was removed: ids of images and containers, paths, and the names of services that were being drilled.
    services: names of those on which a command was killed, and what it did taken back."""

    images: tuple[str, ...]
    containers: tuple[str, ...]
    paths: tuple[str, ...]
    drills: tuple[str, ...]
    services: tuple[str, ...]


def clean(host: ServiceHost) -> Cleaned:
    """Take back what killed commands did. Remove unused images without a name, helper containers of killed commands,
    and their working directories; and all that killed drills have left.

    An image that an installed service was installed from stays. Raises NoChange if there was nothing.
    """
    keep_root = is_empty(host)
    services = _taken_back(host)
    containers = _leftover_containers(host)
    drills = sweep(host)  # after the helpers, which may keep an image
    images = _unused_images(host)
    paths = [path for path in (host.root / "tmp").glob("*") if _remove_directory(host, path)]
    remove_if_empty(host, keep_root=keep_root)
    if not (containers or images or paths or drills or services):
        raise NoChange("there is nothing to clean")
    return Cleaned(tuple(images), tuple(containers), tuple(str(path) for path in paths), tuple(drills), tuple(services))


def _taken_back(host: ServiceHost) -> list[str]:
    """Finish what a killed command has left of a service, as the next command on it would: there may be none."""
    names = {path.stem for path in (host.root / "undo").glob("*.json")}
    done = []
    for name in sorted(names | {journal.service for journal in paused.unfinished(host.root)}):
        with contextlib.suppress(ServiceBusy, BadServiceName), working_on(host, name, "clean"):
            done.append(name)
    return done


def _leftover_containers(host: ServiceHost) -> list[str]:
    """Remove helper containers, but none while a command is at work: it may be its own."""
    found = host.engine.containers.leftovers()  # before the locks, so that those of later commands are not among them
    if locked_services(host.root, "clean"):
        return []
    for container in found:
        host.engine.containers.remove(container)
    return found


def _unused_images(host: ServiceHost) -> list[str]:
    needed = {record.image_id for home in installed(host.root) if (record := home.record())}
    images = host.engine.images
    removed = []
    for image in images.dangling():
        if image not in needed:
            images.remove(image)
            if images.find(image) is None:
                removed.append(image)
    return removed


def _remove_directory(host: ServiceHost, path: Path) -> bool:
    """Remove a working directory, `NAME.…`, unless its service is being worked on or is still to be resumed."""
    name = path.name.rpartition(".")[0]
    try:
        with service_lock(host.root, name, "clean"):
            if (host.root / "paused" / f"{name}.json").exists():
                return False
            shutil.rmtree(path, ignore_errors=True)
    except (ServiceBusy, BadServiceName):
        return False
    with contextlib.suppress(OSError):
        path.parent.rmdir()
    return True
