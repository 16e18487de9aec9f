"""A volume's tree through Docker's archive calls, on a container that is created and never started.

Works with any engine, near or far, and any volume driver, and carries less than reading the directory: see
LOST_READING. The volume is mounted with `nocopy`, so that creating the container cannot fill an empty volume from
the image.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from types import TracebackType

import docker

from drunner_vault.engine.connection import engine_errors
from drunner_vault.engine.containers import Containers
from drunner_vault.engine.hosttree import TreeItem, check_parts
from drunner_vault.engine.streams import PieceSource, Upload
from drunner_vault.tar import END_OF_ARCHIVE, Entry, Kind, TarReader, encode_header, padding

MOUNT = "/drunner-vault-volume"
LOST_READING = (
    "times below a second",
    "extended attributes and ACLs, other than file capabilities",
    "holes in files: they are stored as zeros",
)
LOST_WRITING = ("holes in files: they are written as zeros",)


def read_tree(client: docker.DockerClient, containers: Containers, image: str, volume: str) -> Iterator[TreeItem]:
    """The volume's tree as get_archive gives it. Raises DamagedArchive if the stream lacks its end marker."""
    with containers.never_started(image, {volume: MOUNT}) as container, engine_errors(f"read volume {volume}"):
        pieces, _ = client.api.get_archive(container, MOUNT)
        tar = TarReader(PieceSource(pieces))
        for member in tar:
            yield _below_mount(member.entry), tar.content()


def _below_mount(entry: Entry) -> Entry:
    """Docker names everything from the mount point's own name on; a path here starts inside the volume."""
    top = MOUNT.strip("/").encode()
    path = entry.path.removeprefix(top).lstrip(b"/")
    link = entry.link.removeprefix(top + b"/") if entry.kind is Kind.HARDLINK else entry.link
    return replace(entry, path=path, link=link)


class ArchiveCallWriter:
    """Sends entries into a volume with put_archive, as they come. Use as a context."""

    def __init__(self, client: docker.DockerClient, containers: Containers, image: str, volume: str) -> None:
        self._client = client
        self._volume = volume
        self._container = containers.never_started(image, {volume: MOUNT})

    def __enter__(self) -> ArchiveCallWriter:
        identifier = self._container.__enter__()
        self._upload = Upload(lambda pieces: self._put(identifier, pieces))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                with self._upload:
                    self._upload.write(END_OF_ARCHIVE)
            else:
                self._upload.__exit__(kind, error, trace)
        finally:
            self._container.__exit__(None, None, None)

    def write(self, entry: Entry, content: Iterable[bytes]) -> None:
        """Send one entry. Raises DamagedArchive for one whose path would leave the volume."""
        if entry.path:
            check_parts(entry.path)
        if entry.kind is Kind.HARDLINK:
            check_parts(entry.link)
        self._upload.write(encode_header(entry, entry.path or b".", entry.link))
        for piece in content:
            self._upload.write(piece)
        self._upload.write(padding(entry.data_size))

    def _put(self, container: str, pieces: Iterator[bytes]) -> None:
        with engine_errors(f"write volume {self._volume}"):
            self._client.api.put_archive(container, MOUNT, pieces)
