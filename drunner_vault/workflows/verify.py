"""Proving an archive without restoring it: every byte, or only its ends, or, without any key, against its sidecar."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from drunner_vault.age import Identity
from drunner_vault.archive import ArchiveReader, Manifest, Root, Sidecar, archive_stamp, differences, parse_sidecar
from drunner_vault.archive.sidecar import SUFFIX
from drunner_vault.durable import storage_error
from drunner_vault.errors import DamagedArchive, NotFound
from drunner_vault.stores.plain import open_source
from drunner_vault.workflows.keys import opened
from drunner_vault.workflows.opening import Offered, open_archive
from drunner_vault.workflows.progress import Progress, counted_read
from drunner_vault.workflows.trust import Sender, Trust

_PIECE = 1 << 20


@dataclass
class VerifyReport:
    """What was proven. checked: `everything`, `ends` or `sidecar`. sender: in words. problem_count: what the backup
    itself could not carry; the archive is as it was written all the same."""

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


def verify(
    source: str,
    offered: Callable[[], list[Identity]],
    ask: Callable[[str], str] | None,
    trust: Trust,
    progress: Progress,
) -> VerifyReport:
    """Read the whole archive, and prove every byte of it. Raises ArchiveError or KeyProblem for what is not as it must
    be."""
    with open_source(source, archive_stamp) as archive:
        progress.begin("verifying", archive.size)
        stream = opened(counted_read(archive.read, progress), archive.name, offered, ask)
        with ArchiveReader(stream.read) as reader:
            for _, content in reader.members():
                for _ in content:
                    pass
            sender = trust.sender(reader.root_bytes, reader.signature, reader.manifest.host)
            return _report(archive.name, "everything", reader.manifest, reader.root, sender)


def verify_ends(source: str, offered: Offered, trust: Trust) -> VerifyReport:
    """Prove head and tail only: that the archive is complete, whose it is, and what it should hold."""
    with open_archive(source, offered) as opened_archive:
        archive = opened_archive.archive
        sender = trust.sender(archive.closing.root_bytes, archive.closing.signature, archive.manifest.host)
        return _report(opened_archive.source.name, "ends", archive.manifest, archive.root, sender)


def verify_without_key(source: str, sidecar_path: Path | None, progress: Progress) -> VerifyReport:
    """Hold the object against its sidecar, `<archive>.json` beside it unless given. Raises DamagedArchive, NotFound."""
    with open_source(source, archive_stamp) as archive:
        sidecar = read_sidecar(sidecar_path or Path(archive.name + SUFFIX))
        progress.begin("verifying", archive.size)
        pieces = iter(partial(counted_read(archive.read, progress), _PIECE), b"")
        wrong = list(differences(sidecar, pieces))
        if wrong:
            raise DamagedArchive(f"{archive.name} is not what its sidecar says: {'; '.join(wrong)}", "use another copy")
        return VerifyReport(archive.name, "sidecar", sidecar.service, sidecar.created)


def read_sidecar(path: Path) -> Sidecar:
    """The sidecar in a file. Raises NotFound, StorageError, DamagedArchive."""
    try:
        return parse_sidecar(path.read_bytes())
    except FileNotFoundError as cause:
        raise NotFound(
            f"there is no sidecar {path}", "check the archive with a key instead: verify SOURCE -i FILE"
        ) from cause
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
