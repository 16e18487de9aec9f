"""Copying archives to another store, byte for byte and without any key: the further copies of 3-2-1."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial

from drunner_vault.age import MAGIC, read_outline
from drunner_vault.archive import HashingSink, Sidecar, archive_service, archive_stamp, parse_sidecar
from drunner_vault.archive.sidecar import SUFFIX
from drunner_vault.catalog.catalog import Archive
from drunner_vault.catalog.records import parse_stamp
from drunner_vault.clock import isoformat
from drunner_vault.errors import BadUsage, DamagedArchive, NotFound
from drunner_vault.stores.sources import ArchiveSource
from drunner_vault.stores.store import Store, Upload, finishing, put
from drunner_vault.workflows.finding import stored
from drunner_vault.workflows.progress import Progress, counted_read

_PIECE = 1 << 20
_HEAD = 72 << 10


@dataclass(frozen=True)
class Copied:
    """An archive that was copied. bytes: of it. new: whether it was not there before."""

    source: str
    archive: str
    bytes: int
    new: bool = True


@dataclass(frozen=True)
class Target:
    """Where archives are copied to. host: under whose name those go whose own is not known. guard: entered while an
    archive of a host and service is on its way, so that nobody here takes it for a dead upload."""

    store: Store
    host: str
    guard: Callable[[str, str], AbstractContextManager[None]]


def copy_archives(
    source: Store, chosen: Sequence[Archive], present: Sequence[Archive], target: Target, progress: Progress
) -> list[Copied]:
    """Copy what is complete and not yet in the target, the oldest first; returns what was done.

    present: what the target holds. Raises StorageError; what was copied until then stays.
    """
    have = {item.key for item in present if item.complete and item.has_sidecar}
    done = []
    for item in reversed(chosen):
        key = f"{item.host or target.host}/{item.service}/{item.name}"
        if item.complete and key not in have:
            done.append(copy_archive(stored(source, item.key), key, target, progress))
    return done


def key_of(source: ArchiveSource, host: str) -> str:
    """Where an archive goes that lies in no store of ours. Raises BadUsage if its name is not an archive's."""
    name = source.name.rpartition("/")[2]
    service = archive_service(name)
    if service is None:
        raise BadUsage(f"{name} is not named like an archive", "name it SERVICE-YYYYMMDDTHHMMSSZ.tar.zst.age")
    sidecar = _sidecar(source)
    if sidecar:
        return f"{sidecar[0].host or host}/{sidecar[0].service or service}/{name}"
    return f"{host}/{service}/{name}"


def copy_archive(source: ArchiveSource, key: str, target: Target, progress: Progress) -> Copied:
    """Copy one archive, and commit it with its sidecar: its own, or one made on the way.

    Raises AlreadyExists; DamagedArchive if the source is not what its sidecar says: nothing is copied then.
    """
    known = _sidecar(source)
    host, service, name = key.split("/")[-3:]
    with target.guard(host, service), source.sequential() as opened:
        progress.begin(f"copying {name}", opened.size)
        with finishing(target.store.begin(key)) as upload:
            head, sink = _pass_on(counted_read(opened.read, progress), upload)
            written = sink.measured(_facts(key))
            if known:
                _require_same(source.name, known[0], written)
            encoded = known[1] if known else _with_outline(written, head).encode()
        put(target.store, key + SUFFIX, encoded)
    return Copied(source.name, f"{target.store.name.rstrip('/')}/{key}", written.size)


def _pass_on(read: Callable[[int], bytes], upload: Upload) -> tuple[bytes, HashingSink]:
    """All of the source into the upload; returns its beginning, and what hashed it on the way."""
    sink, head = HashingSink(upload), b""
    for piece in iter(partial(read, _PIECE), b""):
        head += piece[: _HEAD - len(head)]
        sink.write(piece)
    return head, sink


def _sidecar(source: ArchiveSource) -> tuple[Sidecar, bytes] | None:
    """The sidecar beside an archive, read and as it is; None if there is none that can be read."""
    try:
        data = source.beside(SUFFIX)
        return parse_sidecar(data), data
    except (NotFound, DamagedArchive):
        return None


def _require_same(name: str, expected: Sidecar, found: Sidecar) -> None:
    if (found.size, found.sha256) != (expected.size, expected.sha256):
        raise DamagedArchive(f"{name} is not what its sidecar says", "see where: drunner-vault verify --no-key SOURCE")


def _facts(key: str) -> Sidecar:
    """What the name of an archive tells."""
    host, service, name = key.split("/")[-3:]
    created = parse_stamp(archive_stamp(name) or "")
    return Sidecar(name, 0, "", created=isoformat(created) if created else "", host=host, service=service)


def _with_outline(sidecar: Sidecar, head: bytes) -> Sidecar:
    """The same, with what the age header tells. Raises ArchiveError for what is no whole age file."""
    if not head.startswith(MAGIC):
        return sidecar
    outline = read_outline(head, sidecar.size)
    return replace(sidecar, age_header=outline.head, recipients=list(outline.header.recipient_types))
