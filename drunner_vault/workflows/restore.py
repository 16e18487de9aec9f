"""Restoring: an archive back into a working service, or nothing at all.

    source → age → frames → tar → entries → volume

The archive is read once, from start to end, so a pipe will do. Only when its last byte has been proven is the service
told to work on what was restored; whatever goes wrong before or then is taken back.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from drunner_vault.archive import HOOK, IMAGES, VOLUMES, ArchiveReader
from drunner_vault.clock import Clock
from drunner_vault.engine.hosttree.writer import TreeWriter
from drunner_vault.engine.trees import EntryWriter, TreeItem
from drunner_vault.errors import DamagedArchive
from drunner_vault.tar import Entry, Kind, Member
from drunner_vault.workflows.workload import Reinstallation, Reinstaller

_REPORTED = 100


@dataclass
class RestoreReport:
    """What was restored. lost: by volume, what was lost on the way in or out. problems: attributes that this host's
    file systems refused. archived_problems: how many things the backup itself could not carry."""

    archived: str
    created: str
    members: int = 0
    content: int = 0
    seconds: float = 0.0
    volumes: list[str] = field(default_factory=list)
    lost: dict[str, list[str]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    archived_problems: int = 0


def restore(
    read: Callable[[int], bytes],
    reinstaller: Reinstaller,
    clock: Clock,
    signed: Iterator[bytes] | None = None,
) -> RestoreReport:
    """Install anew what the archive holds, and fill its volumes.

    read: gives up to n bytes of the archive's zstd stream. signed: see ArchiveReader. Raises whatever stops it; the
    host is then as it was.
    """
    started = clock.monotonic()
    with ArchiveReader(read, signed=signed) as archive:
        report = RestoreReport(archive.manifest.service.name, archive.manifest.created)
        with reinstaller.begin(archive.manifest) as reinstallation:
            _Restore(archive, reinstallation, report).run()
            reinstallation.resume()
    report.members = archive.root.members
    report.content = archive.root.content
    report.archived_problems = archive.root.problem_count
    report.seconds = round(clock.monotonic() - started, 3)
    return report


class _Restore:
    """One restore under way: hands each component of the archive to where it belongs."""

    def __init__(
        self,
        archive: ArchiveReader,
        reinstallation: Reinstallation,
        report: RestoreReport,
    ) -> None:
        self._archive = archive
        self._reinstallation = reinstallation
        self._report = report
        self._records = {volume.name.encode(): volume for volume in archive.manifest.volumes}
        self._filled: list[bytes] = []
        self._installed = False

    def run(self) -> None:
        """Everything up to the archive's last byte."""
        for (top, name), members in itertools.groupby(self._archive.members(), key=_component):
            prefix = top + b"/" + name if name else top
            items = self._items(members, prefix)
            if top == IMAGES:
                self._reinstallation.load_images(items)
            elif top == HOOK:
                self._install()
                self._fill(
                    TreeWriter(self._reinstallation.hook_directory, self._problem(prefix)), items, skip_root=True
                )
            elif top == VOLUMES:
                self._install()
                self._fill_volume(name, items)
        self._install()
        if missing := sorted(set(self._records) - set(self._filled)):
            raise DamagedArchive(
                f"the archive lacks the files of volume {missing[0].decode()}, which its manifest names",
                "do not trust this archive",
            )

    def _items(self, members: Iterable[tuple[Member, Iterator[bytes]]], prefix: bytes) -> Iterator[TreeItem]:
        """Members as entries below their component."""
        for member, content in members:
            yield _below(member.entry, prefix), content

    def _install(self) -> None:
        if not self._installed:
            self._reinstallation.install()
            self._installed = True

    def _fill_volume(self, name: bytes, items: Iterator[TreeItem]) -> None:
        record = self._records[name]
        tree = self._reinstallation.volume_tree(record)
        self._fill(tree.writer(self._problem(VOLUMES + b"/" + name)), items)
        self._filled.append(name)
        self._report.volumes.append(record.name)
        lost = [*record.lost, *tree.lost_writing]
        if lost:
            self._report.lost[record.name] = lost

    def _fill(
        self, writer: AbstractContextManager[EntryWriter], items: Iterator[TreeItem], skip_root: bool = False
    ) -> None:
        """skip_root: leave the directory's own owner and mode, which this host chose."""
        with writer as tree:
            for entry, content in items:
                if entry.path or not skip_root:
                    tree.write(entry, content)

    def _problem(self, prefix: bytes) -> Callable[[bytes, str], None]:
        def report(path: bytes, problem: str) -> None:
            if len(self._report.problems) < _REPORTED:
                self._report.problems.append(f"{(prefix + b'/' + path).decode('utf-8', 'backslashreplace')}: {problem}")

        return report


def _component(item: tuple[Member, Iterator[bytes]]) -> tuple[bytes, bytes]:
    """Which component a member belongs to: its top-level place, and in `volumes` the volume's name."""
    parts = item[0].entry.path.split(b"/", 2)
    return parts[0], parts[1] if parts[0] == VOLUMES else b""


def _below(entry: Entry, prefix: bytes) -> Entry:
    """The entry as it stands in its own tree. A hard link to outside of it keeps its name, which no tree accepts."""
    path = entry.path[len(prefix) + 1 :]
    if entry.kind is not Kind.HARDLINK:
        return Entry(path, *entry[1:])
    link = entry.link[len(prefix) + 1 :] if entry.link.startswith(prefix + b"/") else b"../" + entry.link
    return entry._replace(path=path, link=link)
