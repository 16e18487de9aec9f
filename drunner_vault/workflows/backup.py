"""Backing up: a workload's definition, images and volumes into one archive, in one pass.

    volume → entries → tar → frames → age → destination

Nothing is copied aside. The workload is paused only while its volumes are read; images go before, the index after.
"""

from __future__ import annotations

import datetime as dt
import io
import secrets
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from drunner_vault import __version__
from drunner_vault.age import EncryptWriter, Recipient, read_header
from drunner_vault.archive import (
    HOOK,
    IMAGES,
    SCRIPTS,
    VOLUMES,
    ArchiveWriter,
    HashingSink,
    Head,
    Manifest,
    Rest,
    Root,
    Sink,
    VolumeRecord,
    WriterOptions,
)
from drunner_vault.archive.sidecar import Digests
from drunner_vault.clock import Clock, isoformat
from drunner_vault.engine.hosttree.reader import TreeReader
from drunner_vault.engine.trees import TreeItem, VolumeTree
from drunner_vault.tar import Entry, Kind
from drunner_vault.workflows.pace import LimitedSink
from drunner_vault.workflows.progress import Progress, Silent, counted
from drunner_vault.workflows.workload import Embed, Workload

_HINT = 16  # characters of a public key: enough to know one's own, too few to be encrypted to


@dataclass(frozen=True)
class BackupChoices:
    """What the operator decides about a backup.

    recipients: public keys or a passphrase; none leaves it unencrypted. embed: which images to include. level: of zstd.
    threads: 0 for one each core. host: its name. sign: signs the archive's root, its sidecar and its place; None leaves
    them unsigned. sidecar: True to compute what a sidecar needs. limit: bytes a second to write at most, 0 for no
    limit.
    """

    recipients: Sequence[Recipient] = ()
    embed: Embed = Embed.AUTO
    level: int = 3
    threads: int = 0
    host: str = "localhost"
    sign: Callable[[bytes], bytes] | None = None
    sidecar: bool = False
    limit: int = 0


@dataclass
class BackupReport:
    """What was backed up.

    bytes: of the archive. paused: seconds for which the workload was paused. locked_until: when it may be deleted,
    empty if at any time. created, archive_id: as in its manifest. sha256: of the archive; empty if it was not computed.
    etag: of the object; empty where the store has none. problems: files that could not be read consistently. notes:
    what was left out on purpose. lost: by volume, what the way of reading it cannot carry.
    """

    service: str
    archive: str = ""
    bytes: int = 0
    content: int = 0
    members: int = 0
    seconds: float = 0.0
    paused: float = 0.0
    encrypted: bool = True
    locked_until: str = ""
    created: str = ""
    archive_id: str = ""
    sha256: str = ""
    etag: str = ""
    images: list[str] = field(default_factory=list)
    lost: dict[str, list[str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    problem_count: int = 0
    problems: list[dict[str, str]] = field(default_factory=list)


@dataclass(frozen=True)
class BackupResult:
    """A finished backup. head, rest: for its sidecar, if one was asked for; the head has no file name yet."""

    report: BackupReport
    head: Head | None = None
    rest: Rest | None = None


class _CountingSink:
    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self.bytes = 0

    def write(self, data: bytes) -> None:
        self._sink.write(data)
        self.bytes += len(data)


def backup(
    workload: Workload,
    sink: Sink,
    choices: BackupChoices,
    clock: Clock,
    progress: Progress | None = None,
    created: dt.datetime | None = None,
) -> BackupResult:
    """Write a whole archive of the workload into `sink`, which is not closed.

    created: the time that its name says; now, if none has been given. Raises whatever stops it; what the sink
    got so far is then no archive, and whoever owns the sink drops it.
    """
    started = clock.monotonic()
    run = _Backup(workload, choices, clock, progress or Silent(), created or clock.now())
    target = LimitedSink(sink, choices.limit, clock, time.sleep) if choices.limit else sink
    hashing = HashingSink(target) if choices.sidecar else None
    counting = _CountingSink(hashing or target)
    encrypted = EncryptWriter(counting, choices.recipients) if choices.recipients else None
    run.write(encrypted or counting)
    if encrypted:
        encrypted.close()
    report = run.report
    report.bytes = counting.bytes
    report.encrypted = encrypted is not None
    report.created, report.archive_id = run.manifest.created, run.manifest.id
    report.seconds = round(clock.monotonic() - started, 3)
    if hashing is None:
        return BackupResult(report)
    digests = hashing.digests()
    report.sha256 = digests.sha256
    header = encrypted.head if encrypted else b""
    return BackupResult(report, _head(digests, run, header), Rest(age_header=header, chunks=digests.chunks))


def _head(digests: Digests, run: _Backup, header: bytes) -> Head:
    """What the sidecar says of the archive; its file name is still to be filled in."""
    public = [str(recipient) for recipient in run.choices.recipients if str(recipient).startswith("age1")]
    return Head(
        archive="",
        host=run.manifest.host,
        workload=run.manifest.service.name,
        kind=run.manifest.service.kind,
        id=run.manifest.id,
        created=run.manifest.created,
        size=digests.size,
        sha256=digests.sha256,
        recipients=tuple(read_header(io.BytesIO(header)).recipient_types) if header else (),
        sealed_to=tuple(text[:_HINT] for text in public),
        problems=run.report.problem_count,
    )


class _Backup:
    """One backup under way."""

    def __init__(
        self, workload: Workload, choices: BackupChoices, clock: Clock, progress: Progress, created: dt.datetime
    ) -> None:
        self._workload = workload
        self.choices = choices
        self._clock = clock
        self._progress = progress
        self._service = workload.describe()
        self._images = workload.images(choices.embed)
        self._volumes = workload.volumes()
        self.report = BackupReport(self._service.name)
        self._started = created
        self.manifest = self._manifest(isoformat(self._started))

    def write(self, sink: Sink) -> None:
        choices = self.choices
        options = WriterOptions(choices.level, choices.threads, pad=bool(choices.recipients), sign=choices.sign)
        with ArchiveWriter(sink, self.manifest, int(self._started.timestamp()), options) as writer:
            self._add_scripts(writer)
            self._add_images(writer)
            self._add_quiesced(writer)
            root = writer.finish(isoformat(self._clock.now()))
        self._summarize(root)

    def _manifest(self, created: str) -> Manifest:
        return Manifest(
            id=secrets.token_hex(16),
            created=created,
            tool=f"drunner-vault {__version__}",
            host=self.choices.host,
            service=self._service,
            images=tuple(self._images),
            volumes=tuple(record for record, _ in self._volumes),
            level=self.choices.level,
        )

    def _add_scripts(self, writer: ArchiveWriter) -> None:
        for name, data in sorted(self._workload.scripts().items()):
            writer.add(
                SCRIPTS, Entry(name.encode("utf-8", "surrogateescape"), Kind.FILE, 0o755, size=len(data)), (data,)
            )

    def _add_images(self, writer: ArchiveWriter) -> None:
        embedded = [image for image in self._images if image.embedded]
        if embedded:
            self._progress.begin("saving images", sum(image.size for image in embedded))
            self._add_tree(writer, IMAGES, self._workload.image_layout(embedded))
            self.report.images = [image.reference for image in embedded]

    def _add_quiesced(self, writer: ArchiveWriter) -> None:
        """What has to stand still while it is read, and nothing else."""
        started = self._clock.monotonic()
        with self._workload.quiesced() as hook_directory:
            self._add_hook(writer, hook_directory)
            for record, tree in self._volumes:
                self._add_volume(writer, record, tree)
        self.report.paused = round(self._clock.monotonic() - started, 3)

    def _add_hook(self, writer: ArchiveWriter, directory: Path) -> None:
        def report(path: bytes, problem: str) -> None:
            writer.report(HOOK + b"/" + path, problem)

        self._add_tree(writer, HOOK, TreeReader(directory, report, self._note))

    def _add_volume(self, writer: ArchiveWriter, record: VolumeRecord, tree: VolumeTree) -> None:
        prefix = VOLUMES + b"/" + record.name.encode()

        def report(path: bytes, problem: str) -> None:
            writer.report(prefix + b"/" + path, problem)

        self._progress.begin(f"reading {record.name}", tree.estimate() if self._progress.visible else None)
        self._add_tree(writer, prefix, tree.read(report, self._note))
        if tree.lost_reading:
            self.report.lost[record.name] = list(tree.lost_reading)

    def _add_tree(self, writer: ArchiveWriter, prefix: bytes, items: Iterable[TreeItem]) -> None:
        for entry, content in items:
            writer.add(prefix, entry, counted(content, self._progress))

    def _note(self, path: bytes, text: str) -> None:
        self.report.notes.append(f"{path.decode('utf-8', 'backslashreplace')}: {text}")

    def _summarize(self, root: Root) -> None:
        self.report.content = root.content
        self.report.members = root.members
        self.report.problem_count = root.problem_count
        self.report.problems = root.problems
