"""Volumes: making, removing and filling them, and the choice of how their files are reached."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import docker
from docker import errors as docker_errors

from drunner_vault.durable import storage_error
from drunner_vault.engine.archivecalls import LOST_READING, LOST_WRITING, MOUNT, ArchiveCallWriter, read_tree
from drunner_vault.engine.connection import engine_errors
from drunner_vault.engine.containers import HELPER_LABEL, Containers
from drunner_vault.engine.hosttree.gatherer import read_tree as read_host_tree
from drunner_vault.engine.hosttree.reader import stored_bytes
from drunner_vault.engine.hosttree.writer import TreeWriter, remove_below, remove_tree
from drunner_vault.engine.trees import Access, EntryWriter, Report, TreeItem, VolumeTree
from drunner_vault.errors import BadUsage, VolumeProblem
from drunner_vault.tar import Entry, Kind


@dataclass(frozen=True)
class Volume:
    """A volume of the engine. mountpoint: its directory, on the engine's host."""

    name: str
    driver: str
    options: Mapping[str, str]
    labels: Mapping[str, str]
    mountpoint: Path


class Volumes:
    """The engine's volumes."""

    def __init__(self, client: docker.DockerClient, containers: Containers) -> None:
        self._client = client
        self._containers = containers

    def find(self, name: str) -> Volume | None:
        """The volume of this name, if there is one."""
        with engine_errors(f"look up volume {name}"):
            try:
                found = self._client.api.inspect_volume(name)
            except docker_errors.NotFound:
                return None
        return Volume(
            name=found["Name"],
            driver=found["Driver"],
            options=dict(found.get("Options") or {}),
            labels=dict(found.get("Labels") or {}),
            mountpoint=Path(found["Mountpoint"] or "/nonexistent"),
        )

    def get(self, name: str) -> Volume:
        """The volume of this name. Raises VolumeProblem if there is none."""
        volume = self.find(name)
        if volume is None:
            raise VolumeProblem(f"volume {name} is missing", "drunner-vault recover SERVICE makes missing volumes anew")
        return volume

    def create(
        self, name: str, labels: Mapping[str, str], driver: str = "local", options: Mapping[str, str] | None = None
    ) -> Volume:
        """Make a volume."""
        with engine_errors(f"create volume {name}"):
            self._client.api.create_volume(name, driver, dict(options or {}), dict(labels))
        return self.get(name)

    def labelled(self, label: str) -> list[str]:
        """Names of the volumes that carry `label`, given as `key=value`."""
        with engine_errors("list volumes"):
            found = self._client.api.volumes(filters={"label": label})
        return [volume["Name"] for volume in found.get("Volumes") or ()]

    def remove(self, name: str) -> None:
        """Remove a volume; none is fine. Raises VolumeProblem if containers use it."""
        users = ", ".join(container.name for container in self._containers.using([name]))
        if users:
            raise VolumeProblem(f"volume {name} is still used by {users}", f"docker rm -f {users.replace(',', '')}")
        with engine_errors(f"remove volume {name}"), contextlib.suppress(docker_errors.NotFound):
            for helper in self._client.api.containers(all=True, filters={"volume": name, "label": HELPER_LABEL}):
                self._containers.remove(helper["Id"])  # a killed command left it
            self._client.api.remove_volume(name)

    def tree(self, volume: Volume, image: str, access: Access = Access.AUTO) -> VolumeTree:
        """The volume's files. image: one that is here, for helper containers. Raises BadUsage if HOST is impossible."""
        obstacle = self._obstacle(volume) if access is not Access.ENGINE else ""
        if access is Access.HOST and obstacle:
            raise BadUsage(
                f"volume {volume.name} cannot be read from the host: {obstacle}", "use --volume-access engine"
            )
        if access is Access.ENGINE or obstacle:
            return EngineTree(self._client, self._containers, self, image, volume)
        return HostTree(volume)

    def _obstacle(self, volume: Volume) -> str:
        """Why the volume's directory must not be used directly; empty if it may."""
        if volume.driver != "local":
            return f"its driver is {volume.driver}"
        if volume.options:
            return "it has mount options, so it is only mounted while a container uses it"
        if not self._client.api.base_url.startswith("http+docker:"):
            return "the engine is on another machine"
        if os.geteuid() != 0:
            return "we are not root"
        if not volume.mountpoint.parent.is_dir():
            return f"{volume.mountpoint} is not to be seen from here"
        return "the engine maps users to others" if self._users_are_mapped else ""

    @cached_property
    def _users_are_mapped(self) -> bool:
        with engine_errors("ask the engine about itself"):
            security = self._client.api.info().get("SecurityOptions") or []
        return any("userns" in option or "rootless" in option for option in security)


class HostTree:
    """A volume's directory, used directly."""

    access = Access.HOST
    lost_reading: tuple[str, ...] = ()
    lost_writing: tuple[str, ...] = ()

    def __init__(self, volume: Volume) -> None:
        self._root = volume.mountpoint

    def read(self, report: Report, note: Report) -> Iterable[TreeItem]:
        """See VolumeTree."""
        return read_host_tree(self._root, report, note)

    def estimate(self) -> int | None:
        """See VolumeTree."""
        return stored_bytes(self._root)

    def empty(self) -> None:
        """See VolumeTree."""
        remove_below(self._root)

    def writer(self, report: Report) -> AbstractContextManager[EntryWriter]:
        """See VolumeTree."""
        return TreeWriter(self._root, report)

    def copy_aside(self, token: str) -> None:
        """See VolumeTree. Nothing to do: a rename is enough, whatever the size."""

    def set_aside(self, token: str) -> None:
        """See VolumeTree."""
        try:
            self._root.rename(self._root.with_name(token))
            self._root.mkdir(0o755)
        except OSError as cause:
            raise storage_error("set aside", self._root, cause) from cause

    def put_back(self, token: str) -> None:
        """See VolumeTree."""
        aside = self._root.with_name(token)
        if not aside.exists():
            return
        try:
            if self._root.exists():
                remove_tree(self._root)
            aside.rename(self._root)
        except OSError as cause:
            raise storage_error("put back", self._root, cause) from cause

    def discard(self, token: str) -> None:
        """See VolumeTree."""
        aside = self._root.with_name(token)
        if aside.exists():
            remove_tree(aside)


class EngineTree:
    """A volume's files through Docker's archive calls."""

    access = Access.ENGINE
    lost_reading: tuple[str, ...] = LOST_READING
    lost_writing: tuple[str, ...] = LOST_WRITING

    def __init__(
        self, client: docker.DockerClient, containers: Containers, volumes: Volumes, image: str, volume: Volume
    ) -> None:
        self._client = client
        self._containers = containers
        self._volumes = volumes
        self._image = image
        self._volume = volume

    def read(self, report: Report, note: Report) -> Iterator[TreeItem]:
        """See VolumeTree. The engine logs what it cannot read and leaves it out; nothing here can tell."""
        return read_tree(self._client, self._containers, self._image, self._volume.name)

    def estimate(self) -> int | None:
        """See VolumeTree."""
        return None

    def empty(self) -> None:
        """See VolumeTree. A plain volume that nobody uses is made anew; else the image's own shell deletes its files.

        What lies behind a driver or mount options would outlast its volume.
        """
        volume = self._volume
        plain = volume.driver == "local" and not volume.options
        if plain and not self._containers.using([volume.name]):
            self._volumes.remove(volume.name)
            self._volumes.create(volume.name, volume.labels, volume.driver, volume.options)
            return
        script = f'shopt -s dotglob nullglob; set -- {MOUNT}/*; [ $# -eq 0 ] || rm -rf -- "$@"'
        self._containers.run_as_root(self._image, volume.name, MOUNT, script)

    def writer(self, report: Report) -> AbstractContextManager[EntryWriter]:
        """See VolumeTree."""
        return ArchiveCallWriter(self._client, self._containers, self._image, self._volume.name, report)

    def copy_aside(self, token: str) -> None:
        """See VolumeTree. A copy into another volume, as volumes cannot be renamed."""
        self._copy(self._volume, self._volumes.create(token, {}))

    def set_aside(self, token: str) -> None:
        """See VolumeTree."""
        self.empty()

    def put_back(self, token: str) -> None:
        """See VolumeTree."""
        aside = self._volumes.find(token)
        if aside is not None:
            self.empty()
            self._copy(aside, self._volume)
            self.discard(token)

    def discard(self, token: str) -> None:
        """See VolumeTree."""
        self._volumes.remove(token)

    def _copy(self, source: Volume, target: Volume) -> None:
        with ArchiveCallWriter(
            self._client, self._containers, self._image, target.name, lambda path, problem: None
        ) as writer:
            for entry, content in read_tree(self._client, self._containers, self._image, source.name):
                writer.write(entry, content)


def mark_new(tree: VolumeTree, uid: int, installed: str, mtime_ns: int) -> None:
    """What a new volume gets: the image's user as its owner, and the file install_date, which says `installed`.

    A volume that is not empty keeps its owner: the engine fills an empty one from the image when it is first mounted.
    """
    line = installed.encode() + b"\n"
    with tree.writer(lambda path, problem: None) as writer:
        writer.write(Entry(b"", Kind.DIRECTORY, 0o755, uid=uid, mtime_ns=mtime_ns), ())
        writer.write(Entry(b"install_date", Kind.FILE, 0o644, size=len(line), mtime_ns=mtime_ns), (line,))
