"""Backing up a dRunner service to where a person said: a file, a pipe, or a store."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from drunner_vault.archive import Head, Rest, archive_name
from drunner_vault.archive.sidecar import SUFFIX, assemble, encode_rest, place_of, state_head, state_place
from drunner_vault.clock import Clock, isoformat
from drunner_vault.durable import new_file
from drunner_vault.engine.trees import Access
from drunner_vault.errors import AlreadyExists
from drunner_vault.stores.plain import PIPE, destination_path, open_destination
from drunner_vault.workflows.backup import BackupChoices, BackupReport, backup
from drunner_vault.workflows.host import ServiceHost
from drunner_vault.workflows.progress import Progress
from drunner_vault.workflows.services.drunner_service import DrunnerService
from drunner_vault.workflows.working import working_on

if TYPE_CHECKING:
    from drunner_vault.workflows.into_store import StoreChoices  # a backup to a file does without


def backup_to_file(
    host: ServiceHost, name: str, destination: str, choices: BackupChoices, access: str, progress: Progress
) -> BackupReport:
    """Back up the service `name` to a file, into a directory, or down a pipe (`-`).

    Whatever can be refused is refused before the service is paused.
    """
    path: Path | None = None
    host.home(name).require()
    created = host.clock.now()
    if destination != PIPE:
        path = destination_path(destination, archive_name(name, created, encrypted=bool(choices.recipients)))
        if path.exists() or path.is_symlink():
            raise AlreadyExists(f"{path} exists already", "choose another name, or name a directory")
    with working_on(host, name, f"backup {name}") as home:
        service = DrunnerService(host, home, Access(access))
        with open_destination(path) as sink:
            result = backup(service, sink, choices, host.clock, progress, created)
        if path is not None and result.head is not None and result.rest is not None:
            with new_file(path.with_name(path.name + SUFFIX), 0o644) as stream:
                stream.write(_sidecar(replace(result.head, archive=path.name), result.rest, choices, host.clock))
    report = result.report
    report.archive = str(path) if path else "standard output"
    return report


def _sidecar(head: Head, rest: Rest, choices: BackupChoices, clock: Clock) -> bytes:
    """The sidecar of a plain file, whose place is in no store."""
    place = place_of(head, store="", etag="", at=isoformat(clock.now()))
    return assemble(state_head(head, rest, choices.sign), state_place(place, None), encode_rest(rest))


def backup_to_store(
    host: ServiceHost, name: str, to: StoreChoices, choices: BackupChoices, access: str, progress: Progress
) -> BackupReport:
    """Back up the service `name` to `HOST/SERVICE/` in a store; see `into_store`."""
    from drunner_vault.workflows.into_store import into_store

    host.home(name).require()
    with working_on(host, name, f"backup {name}") as home:
        service = DrunnerService(host, home, Access(access))
        return into_store(service, name, to, choices, host.clock, progress)
