"""Salvaging a damaged or cut archive into a new one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from drunner_vault.age import EncryptWriter, Identity, Recipient, ScryptIdentity
from drunner_vault.archive import Sidecar, WriterOptions
from drunner_vault.archive.salvage import (
    TRIES,
    ClearStream,
    Hints,
    Loss,
    Salvage,
    Salvaged,
    Stream,
    hints_from_name,
    is_encrypted,
    open_chunks,
)
from drunner_vault.clock import Clock
from drunner_vault.durable import new_file
from drunner_vault.errors import AlreadyExists, DamagedArchive, NotFound, UnsupportedArchive
from drunner_vault.stores.plain import destination_path
from drunner_vault.stores.ranged import RangedSource
from drunner_vault.stores.sources import ArchiveSource
from drunner_vault.workflows.archives.recording import sidecar_of
from drunner_vault.workflows.progress import Progress

_START = 200


@dataclass(frozen=True)
class SalvageChoices:
    """What a person decides. recipients: whom the new archive is encrypted to; none: in the clear. sidecar: of the
    damaged archive, if not the one beside it. tries: how often a chunk may be looked for where it was not written."""

    recipients: Sequence[Recipient] = ()
    sidecar: Sidecar | None = None
    tries: int = TRIES


@dataclass
class SalvageReport:
    """What came of it; see archive.salvage.Salvaged. archive: the new one."""

    source: str
    archive: str
    service: str
    created: str
    complete: bool
    saved: int
    damaged: int
    lost: int
    lost_unnamed: int | None
    proven: int
    content: int
    manifest_lost: bool
    was_signed: bool
    encrypted: bool
    earlier_problems: int
    losses: list[Loss] = field(default_factory=list)


def salvage(
    source: ArchiveSource,
    destination: str,
    choices: SalvageChoices,
    offered: Callable[[], list[Identity]],
    ask: Callable[[str], str] | None,
    clock: Clock,
    progress: Progress,
) -> SalvageReport:
    """Write a new archive of all that survives in a damaged one. The damaged one is only read.

    offered: identities for the damaged archive, asked for only if it is encrypted. ask: prompts for a passphrase.
    Raises ArchiveError or KeyProblem if nothing can be salvaged; there is no new file then.
    """
    name = source.name.rpartition("/")[2]
    target = destination_path(destination, name)
    if target.exists() or target.is_symlink():
        raise AlreadyExists(f"{target} exists already", "choose another name, or move it away first")
    with source.ranged() as ranged:
        sidecar = choices.sidecar or _sidecar(source)
        stream = _stream(ranged, sidecar, choices, offered, ask)
        progress.begin("looking for what survives", ranged.size)
        found = Salvage(stream, _hints(name, sidecar), clock, progress.advance)
        progress.begin("writing what survives", None)
        with new_file(target) as sink:
            options = WriterOptions(pad=bool(choices.recipients))
            encrypted = EncryptWriter(sink, choices.recipients) if choices.recipients else None
            result = found.write(encrypted or sink, options)
            if encrypted:
                encrypted.close()
    return _report(source.name, str(target), result, encrypted=bool(choices.recipients))


def _sidecar(source: ArchiveSource) -> Sidecar | None:
    """The sidecar beside the archive; a damaged one counts as none."""
    try:
        return sidecar_of(source, None)
    except (NotFound, DamagedArchive, UnsupportedArchive):
        return None


def _stream(
    source: RangedSource,
    sidecar: Sidecar | None,
    choices: SalvageChoices,
    offered: Callable[[], list[Identity]],
    ask: Callable[[str], str] | None,
) -> Stream:
    """What survives of the zstd stream in a file."""
    copy = sidecar.rest.age_header if sidecar else None
    if not is_encrypted(source.read_at, source.size, copy):
        return ClearStream(source.read_at, source.size)
    keys = offered()
    start = copy or source.read_at(0, min(_START, source.size))
    if not keys and ask and b"-> scrypt " in start:
        keys = [ScryptIdentity(ask(f"Passphrase of {source.name}"))]
    size = sidecar.head.size if sidecar else None
    return open_chunks(source.read_at, source.size, keys, copy or b"", size, choices.tries)


def _hints(archive: str, sidecar: Sidecar | None) -> Hints:
    name = hints_from_name(archive)
    if sidecar is None:
        return name
    head = sidecar.head
    return Hints(head.id, head.created, head.host, head.workload).or_else(name)


def _report(source: str, archive: str, result: Salvaged, *, encrypted: bool) -> SalvageReport:
    return SalvageReport(
        source=source,
        archive=archive,
        service=result.service,
        created=result.created,
        complete=result.complete,
        saved=result.saved,
        damaged=result.damaged,
        lost=result.lost,
        lost_unnamed=result.unnamed,
        proven=result.proven,
        content=result.content,
        manifest_lost=result.made_anew,
        was_signed=result.was_signed,
        encrypted=encrypted,
        earlier_problems=result.problems,
        losses=result.losses,
    )
