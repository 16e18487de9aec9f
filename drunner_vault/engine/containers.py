"""Containers: helpers that are created and never started, and those of others that use a volume."""

from __future__ import annotations

import contextlib
import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

import docker
from docker import errors as docker_errors

from drunner_vault.engine.connection import engine_errors
from drunner_vault.engine.streams import PieceSource
from drunner_vault.tar import Kind, TarReader

HELPER_LABEL = "drunner-vault.helper"
_SCRIPTS_LIMIT = 64 << 20
_PASSWD_LIMIT = 1 << 20
_MAX_LINKS = 10


@dataclass(frozen=True)
class Container:
    """A container that uses some volume. automatic: removed by the engine as soon as it stops (`docker run --rm`)."""

    id: str
    name: str
    running: bool
    automatic: bool


@dataclass(frozen=True)
class CopiedFile:
    """A regular file copied out of an image. path: relative to what was copied."""

    path: str
    data: bytes


@dataclass(frozen=True)
class RefusedMember:
    """Something in an image that is not copied, and why."""

    path: str
    reason: str


@dataclass(frozen=True, order=True)
class HostPort:
    """A port of the host that a container publishes. address: of the host, empty for all of them. protocol: `tcp`,
    `udp` or `sctp`. container: its name."""

    number: int
    protocol: str
    address: str
    container: str

    def __str__(self) -> str:
        address = f"[{self.address}]:" if ":" in self.address else f"{self.address}:" if self.address else ""
        return f"{address}{self.number}/{self.protocol}"


class Containers:
    """The engine's containers."""

    def __init__(self, client: docker.DockerClient) -> None:
        self._client = client

    @contextlib.contextmanager
    def never_started(self, image: str, mounts: Mapping[str, str] | None = None) -> Iterator[str]:
        """A container of this image, by id, that is removed again. mounts: volume name to path inside.

        Nothing of the image runs: a container that is created can be copied from and to.
        """
        binds = [f"{volume}:{path}:nocopy" for volume, path in (mounts or {}).items()]
        with engine_errors(f"create a container of {image}"):
            created = self._client.api.create_container(
                image,
                command=["never-started"],
                entrypoint=["never-started"],
                labels={HELPER_LABEL: "1"},
                network_disabled=True,
                host_config=self._client.api.create_host_config(binds=binds),
            )
        try:
            yield created["Id"]
        finally:
            self.remove(created["Id"])

    def remove(self, container: str) -> None:
        """Remove a container and its unnamed volumes, running or not; none is fine."""
        with engine_errors("remove a container"), contextlib.suppress(docker_errors.NotFound):
            self._client.api.remove_container(container, v=True, force=True)

    def copy_out(self, container: str, path: str) -> list[CopiedFile | RefusedMember] | None:
        """The regular files below a directory of a container; None if there is no such directory.

        Links inside the directory become copies of the file they name; everything else is refused.
        """
        found: list[CopiedFile | RefusedMember] = []
        with engine_errors(f"copy {path} out of the image"):
            try:
                pieces, _ = self._client.api.get_archive(container, path)
            except docker_errors.NotFound:
                return None
            tar = TarReader(PieceSource(pieces))
            files: dict[str, bytes] = {}
            links: dict[str, str] = {}
            total = 0
            for member in tar:
                name = _below_top(member.entry.path)
                total += member.entry.size
                if total > _SCRIPTS_LIMIT:
                    return [RefusedMember(path, f"it holds more than {_SCRIPTS_LIMIT >> 20} MiB")]
                if member.entry.kind is Kind.FILE:
                    files[name] = b"".join(tar.content())
                elif member.entry.kind is Kind.HARDLINK:
                    links[name] = _below_top(member.entry.link)
                elif member.entry.kind is Kind.SYMLINK and name:
                    target = member.entry.link.decode("utf-8", "surrogateescape")
                    links[name] = posixpath.normpath(posixpath.join(posixpath.dirname(name), target))
                elif member.entry.kind is not Kind.DIRECTORY:
                    found.append(RefusedMember(name, f"it is no regular file but a {member.entry.kind.value}"))
        return found + _resolved(files, links)

    def user_id(self, container: str, user: str) -> int | None:
        """The numeric id an image's USER stands for, from the image's own /etc/passwd; None if it cannot be told."""
        name = user.partition(":")[0]
        if not name:
            return 0
        for line in self._read_file(container, "/etc/passwd").decode("utf-8", "replace").splitlines():
            fields = line.split(":")
            if len(fields) >= 3 and fields[0] == name and fields[2].isdecimal():
                return int(fields[2])
        return int(name) if name.isdecimal() else None

    def using(self, volumes: list[str]) -> list[Container]:
        """The containers, running or not, that mount any of these volumes; our own helpers left out."""
        found: dict[str, Container] = {}
        with engine_errors("list containers"):
            for volume in volumes:
                for item in self._client.api.containers(all=True, filters={"volume": volume}):
                    if HELPER_LABEL not in (item.get("Labels") or {}) and _mounts(item, volume):
                        found[item["Id"]] = self._container(item)
        return list(found.values())

    @contextlib.contextmanager
    def suspended(self, volumes: list[str]) -> Iterator[None]:
        """Nobody writes to these volumes inside the block; whoever ran before runs again afterwards.

        Containers are stopped and started. One that the engine would remove on stopping is paused, and restarted
        without a chance to write what it still holds in memory over the new data.
        """
        running = [container for container in self.using(volumes) if container.running]
        with engine_errors("stop the containers that use the volumes"):
            for container in running:
                if container.automatic:
                    self._client.api.pause(container.id)
                else:
                    self._client.api.stop(container.id)
        try:
            yield
        finally:
            with (
                engine_errors("start the containers that use the volumes"),
                contextlib.suppress(docker_errors.NotFound),
            ):
                for container in running:
                    if container.automatic:
                        self._client.api.restart(container.id, timeout=0)
                    else:
                        self._client.api.start(container.id)

    def run_as_root(self, image: str, volume: str, mount: str, script: str) -> None:
        """Run a line of the image's own /bin/bash as root, with nothing but one volume and no network."""
        with engine_errors(f"prepare volume {volume}"):
            self._client.containers.run(
                image,
                entrypoint=["/bin/bash", "-c", script],
                command=[],
                user="0",
                remove=True,
                network_mode="none",
                labels={HELPER_LABEL: "1"},
                volumes={volume: {"bind": mount, "mode": "rw,nocopy"}},
            )

    def published(self, volumes: list[str], name: str) -> list[HostPort]:
        """The host's ports that were given to the containers that use any of these volumes, or have this name; running
        or not. Ports that the engine chooses itself are left out."""
        with engine_errors("list containers"):
            found = [item for item in self._client.api.containers(all=True) if _is_of(item, volumes, name)]
            details = [self._inspected(item["Id"]) for item in found]
        return sorted({port for item in details if item for port in _host_ports(item)})

    def running(self, volumes: list[str], name: str) -> bool:
        """Whether a container runs, or is paused, that uses any of these volumes or has this name."""
        with engine_errors("list containers"):
            return any(_is_of(item, volumes, name) for item in self._client.api.containers())

    def published_now(self) -> list[HostPort]:
        """The host's ports that running containers have."""
        with engine_errors("list containers"):
            details = [self._inspected(item["Id"]) for item in self._client.api.containers()]
        return sorted({port for item in details if item for port in _host_ports(item)})

    def leftovers(self) -> list[str]:
        """Ids of helper containers that a killed run left behind."""
        with engine_errors("list containers"):
            found = self._client.api.containers(all=True, filters={"label": HELPER_LABEL, "status": "created"})
        return [item["Id"] for item in found]

    def _container(self, item: dict[str, object]) -> Container:
        details = self._client.api.inspect_container(item["Id"])
        return Container(
            id=str(item["Id"]),
            name=details["Name"].lstrip("/"),
            running=bool(details["State"]["Running"]),
            automatic=bool(details["HostConfig"].get("AutoRemove")),
        )

    def _inspected(self, identifier: str) -> dict[str, Any] | None:
        """None for a container that has gone meanwhile."""
        try:
            return cast("dict[str, Any]", self._client.api.inspect_container(identifier))
        except docker_errors.NotFound:
            return None

    def _read_file(self, container: str, path: str) -> bytes:
        """A small file of a container, links followed inside it; empty if it is not there."""
        for _ in range(_MAX_LINKS):
            try:
                with engine_errors(f"read {path} of the image"):
                    try:
                        pieces, _ = self._client.api.get_archive(container, path)
                    except docker_errors.NotFound:
                        return b""
                    tar = TarReader(PieceSource(pieces))
                    member = next(iter(tar), None)
                    if member is None or member.entry.size > _PASSWD_LIMIT:
                        return b""
                    if member.entry.kind is not Kind.SYMLINK:
                        return b"".join(tar.content())
            finally:
                pass
            path = posixpath.join(posixpath.dirname(path), member.entry.link.decode("utf-8", "surrogateescape"))
        return b""


def _host_ports(details: dict[str, Any]) -> Iterator[HostPort]:
    name = str(details["Name"]).lstrip("/")
    for inside, bindings in (details["HostConfig"].get("PortBindings") or {}).items():
        for binding in bindings or ():
            number, address = str(binding.get("HostPort") or ""), str(binding.get("HostIp") or "")
            if number.isdecimal() and number != "0":
                everywhere = address in ("0.0.0.0", "::")  # noqa: S104 (compared, not bound)
                yield HostPort(int(number), inside.partition("/")[2] or "tcp", "" if everywhere else address, name)


def _below_top(path: bytes) -> str:
    """A path of Docker's archive without the name of the directory that was asked for."""
    return path.partition(b"/")[2].decode("utf-8", "surrogateescape")


def _resolved(files: dict[str, bytes], links: dict[str, str]) -> list[CopiedFile | RefusedMember]:
    found: list[CopiedFile | RefusedMember] = [CopiedFile(name, data) for name, data in files.items()]
    for name, named in links.items():
        target = named
        for _ in range(_MAX_LINKS):
            target = links.get(target, target)
        if target in files:
            found.append(CopiedFile(name, files[target]))
        else:
            found.append(RefusedMember(name, f"it is a link to {target}, outside of the directory"))
    return found


def _is_of(item: dict[str, Any], volumes: list[str], name: str) -> bool:
    return any(_mounts(item, volume) for volume in volumes) or f"/{name}" in (item.get("Names") or ())


def _mounts(item: dict[str, object], volume: str) -> bool:
    """The engine's volume filter also matches mount paths; only the volume of this very name counts."""
    mounts = item.get("Mounts") or []
    return any(mount.get("Name") == volume for mount in mounts)  # type: ignore[attr-defined]
