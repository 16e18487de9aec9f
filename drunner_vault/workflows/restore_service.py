"""Restoring a dRunner service from where a person said."""

from __future__ import annotations

from collections.abc import Callable

from drunner_vault.age import Identity
from drunner_vault.archive import archive_stamp
from drunner_vault.stores.plain import open_source
from drunner_vault.workflows.drunner_service import DrunnerReinstaller, RestoreChoices
from drunner_vault.workflows.host import ServiceHost
from drunner_vault.workflows.keys import opened
from drunner_vault.workflows.progress import Progress
from drunner_vault.workflows.restore import RestoreReport, restore


def restore_from_file(
    host: ServiceHost,
    source: str,
    choices: RestoreChoices,
    offered: Callable[[], list[Identity]],
    ask: Callable[[str], str] | None,
    progress: Progress,
) -> tuple[str, RestoreReport]:
    """Restore a service from a file or a pipe; returns its name on this host, and what was done.

    offered: the identities to decrypt with, asked for only if the archive is encrypted.
    """
    with open_source(source, archive_stamp) as archive:

        def read(size: int) -> bytes:
            data = archive.read(size)
            progress.advance(len(data))
            return data

        progress.begin("restoring", archive.size)
        stream = opened(read, archive.name, offered, ask)
        report = restore(stream, DrunnerReinstaller(host, choices), host.clock)
    return choices.name or report.archived, report
