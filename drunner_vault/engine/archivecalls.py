"""A volume's tree through Docker's archive calls, on a container that is created and never started.

Works with any engine, near or far, and any volume driver, and carries less than reading the directory: see
LOST_READING. The volume is mounted with `nocopy`, so that creating the container cannot fill an empty volume from
the image.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from types import TracebackType

import docker

from drunner_vault.engine.connection import engine_errors
from drunner_vault.engine.containers import Containers
from drunner_vault.engine.hosttree.writer import check_parts
from drunner_vault.engine.streams import PieceSource, Upload
from drunner_vault.engine.trees import Report, TreeItem
from drunner_vault.tar import END_OF_ARCHIVE, Entry, Kind, TarReader, encode_header, padding

MOUNT = "/drunner-vault-volume"
_TOP = MOUNT.strip("/").encode()
_DEFAULT_ACL = "system.posix_acl_default"
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
    path = entry.path.removeprefix(_TOP).lstrip(b"/")
    link = entry.link.removeprefix(_TOP + b"/") if entry.kind is Kind.HARDLINK else entry.link
    return entry._replace(path=path, link=link)


def _is_in(path: bytes, directory: bytes) -> bool:
    return bool(path) and (not directory or path.startswith(directory + b"/"))


class ArchiveCallWriter:
    """Sends entries into a volume with put_archive, as they come. Use as a context.

    The engine is told to unpack at the container's root, in which the volume is mounted: where it unpacks, it refuses
    links that point outside, and passes over what is said of the directory itself, its owner and mode.
    """

    def __init__(
        self, client: docker.DockerClient, containers: Containers, image: str, volume: str, report: Report
    ) -> None:
        """report: told of what the engine cannot be given."""
        self._client = client
        self._volume = volume
        self._container = containers.never_started(image, {volume: MOUNT})
        self._report = report
        self._unfinished: list[Entry] = []

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
                    self._finish(b"")
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
        self._finish(entry.path)
        entry = self._bearable(entry)
        if _DEFAULT_ACL in entry.xattrs:
            # what is made in such a directory would take on its ACL: it gets it when it is full
            self._unfinished.append(entry)
            entry = entry._replace(xattrs={k: v for k, v in entry.xattrs.items() if k != _DEFAULT_ACL})
        self._send(entry, content)

    def _finish(self, path: bytes) -> None:
        """Send once more, whole, the directories that `path` is not in."""
        while self._unfinished and not _is_in(path, self._unfinished[-1].path):
            self._send(self._unfinished.pop(), ())

    def _bearable(self, entry: Entry) -> Entry:
        """The entry without what the engine would take for something else."""
        lost = [name for name, value in entry.xattrs.items() if "=" in name or not value]
        for name in lost:
            self._report(entry.path, f"its attribute {name} cannot be written through Docker's archive calls")
        if entry.mtime_ns < 0 and entry.kind is not Kind.SYMLINK:
            self._report(entry.path, "its time, before 1970, cannot be written through Docker's archive calls")
        return entry._replace(xattrs={k: v for k, v in entry.xattrs.items() if k not in lost}) if lost else entry

    def _send(self, entry: Entry, content: Iterable[bytes]) -> None:
        name = _TOP + b"/" + entry.path if entry.path else _TOP
        link = _TOP + b"/" + entry.link if entry.kind is Kind.HARDLINK else entry.link
        self._upload.write(encode_header(entry, name, link, escaped=False))
        for piece in content:
            self._upload.write(piece)
        self._upload.write(padding(entry.data_size))

    def _put(self, container: str, pieces: Iterator[bytes]) -> None:
        with engine_errors(f"write volume {self._volume}"):
            self._client.api.put_archive(container, "/", pieces)
