"""Restoring a dRunner service from where a person said, if its sender is to be trusted."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from drunner_vault.age import Identity
from drunner_vault.clock import Clock
from drunner_vault.errors import WrongKey
from drunner_vault.stores.sources import ArchiveSource
from drunner_vault.workflows.archives.opening import open_archive
from drunner_vault.workflows.host import ServiceHost
from drunner_vault.workflows.keys import opened
from drunner_vault.workflows.progress import Progress, counted_read
from drunner_vault.workflows.restore import RestoreReport, restore
from drunner_vault.workflows.services.drunner_restore import DrunnerReinstaller, RestoreChoices
from drunner_vault.workflows.trust import Trust, require_trusted
from drunner_vault.workflows.workload import Reinstaller

_SCRYPT = "scrypt"  # whoever made it knows the passphrase


def restore_service(
    host: ServiceHost,
    source: ArchiveSource,
    choices: RestoreChoices,
    offered: Callable[[], list[Identity]],
    ask: Callable[[str], str] | None,
    trust: Trust | None,
    progress: Progress,
) -> tuple[str, RestoreReport]:
    """Restore a service from an archive; returns its name on this host, and what was done. See restore_with."""
    report = restore_with(DrunnerReinstaller(host, choices), host.clock, source, offered, ask, trust, progress)
    return choices.name or report.archived, report


def restore_with(
    reinstaller: Reinstaller,
    clock: Clock,
    source: ArchiveSource,
    offered: Callable[[], list[Identity]],
    ask: Callable[[str], str] | None,
    trust: Trust | None,
    progress: Progress,
) -> RestoreReport:
    """Have what an archive holds installed anew; returns what was done.

    offered: the identities to decrypt with, asked for only if the archive is encrypted. trust: who may have made the
    archive; None for anybody. Raises WrongKey if an archive for a public key was made by nobody who is trusted.
    """
    with contextlib.ExitStack() as stack:
        archive = stack.enter_context(source.sequential())
        progress.begin("restoring", archive.size)
        stream = opened(counted_read(archive.read, progress), archive.name, offered, ask)
        signed = None
        if trust is not None and stream.recipients and _SCRYPT not in stream.recipients:
            signed = _signed_frames(stack, source, offered, trust)
        return restore(stream.read, reinstaller, clock, signed)


def _signed_frames(
    stack: contextlib.ExitStack,
    source: ArchiveSource,
    offered: Callable[[], list[Identity]],
    trust: Trust,
) -> Iterator[bytes]:
    """The frames that a trusted signature vouches for, known before any of them is used.

    Anybody can encrypt to a public key. A signature stands at the archive's end, so a pipe shows it too late: the
    service's scripts would have run by then.
    """
    if not source.can_seek:
        raise WrongKey(
            f"{source.name} is no file, so its signature cannot be checked before its scripts are run",
            "save it to a file first; or, if you know where it comes from: restore --any-sender",
        )
    random_access = stack.enter_context(open_archive(source, offered)).archive
    closing = random_access.closing
    sender = trust.sender(closing.root_bytes, closing.signature, random_access.manifest.host, source.modified())
    require_trusted(sender, source.name)
    return random_access.frame_lines()
