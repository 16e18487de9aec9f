"""Verifying an archive without restoring it: every byte, or only its ends; or, without a key, against its sidecar."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from drunner_vault.age import Identity
from drunner_vault.archive import ArchiveReader, Manifest, Root, Sidecar, differences, parse_sidecar
from drunner_vault.catalog.records import RecordKind
from drunner_vault.durable import storage_error
from drunner_vault.errors import DamagedArchive
from drunner_vault.stores.sources import ArchiveSource
from drunner_vault.workflows.archives.opening import Offered, open_archive
from drunner_vault.workflows.archives.recording import Observed, Recorder
from drunner_vault.workflows.keys import opened
from drunner_vault.workflows.progress import Progress, counted_read
from drunner_vault.workflows.trust import Sender, Trust

_PIECE = 1 << 20


@dataclass
class VerifyReport:
    """What was verified.

    checked: `everything`, `index`, `ends` or `sidecar`. sender: in words. problem_count: files that the backup itself
    could not read consistently; the archive is as it was written all the same. recorded: True if a record was written
    beside the archive. accepted: True if an accepted key has signed the sidecar.
    """

    archive: str
    checked: str
    service: str = ""
    created: str = ""
    members: int = 0
    content: int = 0
    sender: str = ""
    trusted: bool = False
    problem_count: int = 0
    problems: list[dict[str, str]] = field(default_factory=list)
    recorded: bool = False
    accepted: bool = False


def verify(
    source: ArchiveSource,
    offered: Callable[[], list[Identity]],
    ask: Callable[[str], str] | None,
    trust: Trust,
    progress: Progress,
) -> VerifyReport:
    """Read the whole archive, and prove every byte of it. Raises ArchiveError or KeyProblem for what is not as it must
    be."""
    with source.sequential() as archive:
        progress.begin("verifying", archive.size)
        stream = opened(counted_read(archive.read, progress), archive.name, offered, ask)
        with ArchiveReader(stream.read) as reader:
            for _, content in reader.members():
                for _ in content:
                    pass
            sender = trust.sender(reader.root_bytes, reader.signature, reader.manifest.host, source.modified())
            return _report(archive.name, "everything", reader.manifest, reader.root, sender)


def verify_ends(source: ArchiveSource, offered: Offered, trust: Trust) -> VerifyReport:
    """Prove head and tail only: that the archive is complete, whose it is, and what it should hold."""
    with open_archive(source, offered) as opened_archive:
        archive = opened_archive.archive
        sender = trust.sender(
            archive.closing.root_bytes, archive.closing.signature, archive.manifest.host, source.modified()
        )
        return _report(opened_archive.source.name, "ends", archive.manifest, archive.root, sender)


def verify_index(source: ArchiveSource, offered: Offered, trust: Trust) -> VerifyReport:
    """Prove head, tail, and the list of all that the archive holds: what any restore or extraction goes by."""
    with open_archive(source, offered) as opened_archive:
        archive = opened_archive.archive
        sender = trust.sender(
            archive.closing.root_bytes, archive.closing.signature, archive.manifest.host, source.modified()
        )
        listed, framed = sum(1 for _ in archive.member_rows()), sum(1 for _ in archive.frame_lines())
        if (listed, framed) != (archive.root.members, archive.root.frames):
            raise DamagedArchive("the index lists other files than its root says", "do not trust this archive")
        return _report(opened_archive.source.name, "index", archive.manifest, archive.root, sender)


def verify_without_key(source: ArchiveSource, expected: Sidecar, progress: Progress) -> VerifyReport:
    """Compare a file with its sidecar. Raises DamagedArchive, NotFound."""
    with source.sequential() as archive:
        progress.begin("verifying", archive.size)
        pieces = iter(partial(counted_read(archive.read, progress), _PIECE), b"")
        wrong = list(differences(expected, pieces))
        if wrong:
            raise DamagedArchive(f"{archive.name} is not what its sidecar says: {'; '.join(wrong)}", "use another copy")
        return VerifyReport(archive.name, "sidecar", expected.head.workload, expected.head.created)


def recorded(source: ArchiveSource, recorder: Recorder, check: Callable[[ArchiveSource], VerifyReport]) -> VerifyReport:
    """Return the report of a check that reads all of an archive, and record beside the archive what was found."""
    observed = Observed(source)
    with recorder.recording_damage():
        report = check(observed)
    report.recorded = recorder.record(RecordKind.VERIFIED, {"checked": report.checked}, observed.sha256)
    report.accepted = recorder.located is not None and recorder.located.is_accepted
    return report


def read_sidecar(path: Path) -> Sidecar:
    """The sidecar in a file of this host. Raises NotFound, StorageError, DamagedArchive."""
    try:
        return parse_sidecar(path.read_bytes())
    except OSError as cause:
        raise storage_error("read", path, cause) from cause


def _report(name: str, checked: str, manifest: Manifest, root: Root, sender: Sender) -> VerifyReport:
    return VerifyReport(
        name,
        checked,
        manifest.service.name,
        manifest.created,
        root.members,
        root.content,
        sender.describe(),
        sender.trusted,
        root.problem_count,
        root.problems,
    )
