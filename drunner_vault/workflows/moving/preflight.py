"""Whether a service can be brought to a host, found out before anything is changed there."""

from __future__ import annotations

import errno
import re
import socket
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from drunner_vault.archive import ImageRecord
from drunner_vault.errors import VaultError
from drunner_vault.services.names import check_service_name
from drunner_vault.workflows.host import ServiceHost
from drunner_vault.workflows.services.drunner_restore import RestoreChoices, require_free

_PORT = re.compile(
    r"(?:\[(?P<six>[0-9a-fA-F:.%\w]+)\]:|(?P<four>\d+\.\d+\.\d+\.\d+):)?(?P<number>\d{1,5})/(?P<protocol>\w+)"
)
_LAST_PORT = 65535
_KINDS = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}


@dataclass(frozen=True)
class Needs:
    """What a service needs where it is to live. name: its name there. volumes: its paths that are kept in volumes.
    content: bytes in them, None if unknown. ports: of the host, as in `127.0.0.1:8080/tcp`. replace: whether volumes
    that are there already may be replaced."""

    name: str
    volumes: tuple[str, ...]
    content: int | None
    images: tuple[ImageRecord, ...]
    ports: tuple[str, ...] = ()
    replace: bool = False

    def document(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)


def parse_needs(document: dict[str, Any]) -> Needs:
    """The needs that `document` made. Raises KeyError, TypeError or ValueError for anything else."""
    images = tuple(ImageRecord(**{**image, "digests": tuple(image["digests"])}) for image in document["images"])
    content = document["content"]
    return Needs(
        name=str(document["name"]),
        volumes=tuple(map(str, document["volumes"])),
        content=None if content is None else int(content),
        images=images,
        ports=tuple(map(str, document["ports"])),
        replace=bool(document["replace"]),
    )


@dataclass(frozen=True)
class Fitness:
    """What stands against it. problems: why it cannot be, a sentence each; none if it can. images: by reference, how
    this host comes by each: `here`, `pull`, or `bring`, which is for whoever brings the service. wanted: bytes that it
    will take. engine, architecture, free: see EngineFacts."""

    problems: tuple[str, ...]
    images: dict[str, str]
    wanted: int
    engine: str
    architecture: str
    free: int | None


def fitness(host: ServiceHost, needs: Needs) -> Fitness:
    """Whether this host can take a service with such needs. Raises EngineDown."""
    facts = host.engine.facts()
    images = {image.reference: _how(host, image, facts.architecture) for image in needs.images if image.id}
    lacking = sum(image.size for image in needs.images if images.get(image.reference, "here") != "here")
    wanted = (needs.content or 0) + lacking
    problems = [
        *_name_problems(host, needs),
        *_image_problems(needs, images, facts.architecture),
        *_room_problems(wanted, facts.free),
        *(problem for port in needs.ports if (problem := _port_problem(host, port))),
    ]
    return Fitness(tuple(problems), images, wanted, facts.version, facts.architecture, facts.free)


def _name_problems(host: ServiceHost, needs: Needs) -> Iterator[str]:
    try:
        check_service_name(needs.name)
        require_free(host, host.home(needs.name), needs.volumes, RestoreChoices(needs.name, replace=needs.replace))
    except VaultError as problem:
        yield problem.message


def _how(host: ServiceHost, image: ImageRecord, architecture: str) -> str:
    """What the host has it has; and what a registry offers to it, for its own architecture, it can pull."""
    images = host.engine.images
    if images.find(image.id) is not None:
        return "here"
    for digest in image.digests:
        offered = images.find(digest) is not None or architecture in images.offered_for(digest)
        if offered:
            return "pull"
    return "bring"


def _image_problems(needs: Needs, images: dict[str, str], architecture: str) -> Iterator[str]:
    for image in needs.images:
        foreign = image.architecture not in ("", architecture)
        if foreign and images.get(image.reference) == "bring":
            yield f"image {image.reference} is made for {image.architecture}, and this host is {architecture}"


def _room_problems(wanted: int, free: int | None) -> Iterator[str]:
    if free is not None and wanted > free:
        yield f"{_mib(wanted)} MiB are needed, and only {_mib(free)} MiB are free where Docker keeps its data"


def _mib(count: int) -> int:
    return -(-count // (1 << 20))


def _port_problem(host: ServiceHost, text: str) -> str:
    """Why a port of this host cannot be given to a container; empty if it can.

    An engine may publish a port without anybody listening to it, so its containers are asked too.
    """
    match = _PORT.fullmatch(text)
    if match is not None:
        address = match["six"] or match["four"] or ""
        for port in host.engine.containers.published_now():
            same = (port.number, port.protocol) == (int(match["number"]), match["protocol"])
            if same and ("" in (address, port.address) or address == port.address):
                return f"port {text} is taken by container {port.container}"
    return own_port_problem(text)


def own_port_problem(text: str) -> str:
    """Why nobody can listen to a port of this host, as in `127.0.0.1:8080/tcp` or `53/udp`; empty if somebody can."""
    match = _PORT.fullmatch(text)
    if match is None or int(match["number"]) > _LAST_PORT:
        return f"{text!r} is no port"
    address, protocol = match["six"] or match["four"] or "", match["protocol"]
    if protocol not in _KINDS:
        return ""
    with socket.socket(socket.AF_INET6 if match["six"] else socket.AF_INET, _KINDS[protocol]) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, protocol == "tcp")
        try:
            trial.bind((address, int(match["number"])))
        except OSError as cause:
            if cause.errno == errno.EADDRINUSE:
                return f"port {text} is taken"
            if cause.errno == errno.EADDRNOTAVAIL:
                return f"port {text} cannot be had: this host has no address {address}"
            return f"port {text} cannot be had: {cause.strerror}"
    return ""
