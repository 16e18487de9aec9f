"""Proving a store before it is relied on: a small archive, as real as any, goes there and comes back."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from drunner_vault.age import Identity
from drunner_vault.archive import ImageRecord, ServiceRecord, VolumeRecord, archive_name
from drunner_vault.archive.sidecar import SUFFIX, assemble, encode_rest, place_of, state_head, state_place
from drunner_vault.clock import Clock, isoformat
from drunner_vault.engine.trees import TreeItem, VolumeTree
from drunner_vault.errors import AccessDenied, Locked, StorageError
from drunner_vault.stores.sources import StoredSource
from drunner_vault.stores.store import Store, put, storing
from drunner_vault.workflows.archives.recording import sidecar_of
from drunner_vault.workflows.archives.verify import verify, verify_without_key
from drunner_vault.workflows.backup import BackupChoices, backup
from drunner_vault.workflows.progress import Silent
from drunner_vault.workflows.trust import Trust
from drunner_vault.workflows.workload import Embed

SERVICE = "drunner-vault-proof"
_LARGE = 3 << 20  # bytes: several frames, so that what is read back is not all in one piece


@dataclass(frozen=True)
class Proof:
    """What was proven of a store. archive: what was written there and read back. decrypted: whether it was also opened,
    or only compared. removed: whether it could be deleted again; if not, why is in `left`."""

    archive: str
    bytes: int
    decrypted: bool
    removed: bool
    left: str = ""


def prove_store(
    store: Store, choices: BackupChoices, identities: Sequence[Identity], trust: Trust, clock: Clock
) -> Proof:
    """Write a small archive to a store, read it back, and delete it.

    identities: open it, to prove that what is made can be read; without any it is only held against its sidecar. Raises
    whatever goes wrong: StorageError, ArchiveError, KeyProblem.
    """
    created = clock.now()
    name = archive_name(SERVICE, created, encrypted=bool(choices.recipients))
    key = f"{choices.host}/{SERVICE}/{name}"
    with tempfile.TemporaryDirectory(prefix="drunner-vault.") as directory:
        try:
            with storing(store, key) as sink:
                sample = _Sample(Path(directory))
                result = backup(sample, sink, replace(choices, sidecar=True), clock, Silent(), created)
            assert result.head is not None and result.rest is not None  # noqa: S101, PT018 (they were asked for)
            head = replace(result.head, archive=name)
            place = state_place(place_of(head, "", "", isoformat(created)), None)
            put(
                store,
                key + SUFFIX,
                assemble(state_head(head, result.rest, choices.sign), place, encode_rest(result.rest)),
            )
            source = StoredSource(store, key, store.stat(key).size)
            if identities:
                verify(source, lambda: list(identities), None, trust, Silent())
            verify_without_key(source, sidecar_of(source, None), Silent())
        except BaseException:
            with contextlib.suppress(StorageError):
                _remove(store, key)
            raise
    try:
        _remove(store, key)
    except (AccessDenied, Locked) as error:
        return Proof(source.name, result.report.bytes, bool(identities), removed=False, left=error.message)
    return Proof(source.name, result.report.bytes, bool(identities), removed=True)


def _remove(store: Store, key: str) -> None:
    for each in (key + SUFFIX, key):
        store.delete(each)


class _Sample:
    """A workload with two files of its own, and no volumes. See Workload."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def describe(self) -> ServiceRecord:
        return ServiceRecord("proof", SERVICE, "", 0)

    def scripts(self) -> Mapping[str, bytes]:
        return {}

    def images(self, embed: Embed) -> list[ImageRecord]:
        return []

    def image_layout(self, images: list[ImageRecord]) -> Iterable[TreeItem]:
        return ()

    def volumes(self) -> list[tuple[VolumeRecord, VolumeTree]]:
        return []

    @contextlib.contextmanager
    def quiesced(self) -> Iterator[Path]:
        (self._directory / "large").write_bytes(os.urandom(_LARGE))
        (self._directory / "small").write_text("This archive only proves that its store works. It may be deleted.\n")
        yield self._directory
