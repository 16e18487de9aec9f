"""The right to change one service: its lock, and the tidying up of what a killed command left behind."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator

from drunner_vault.errors import ServiceError
from drunner_vault.services import paused
from drunner_vault.services.home import ServiceHome
from drunner_vault.services.lock import service_lock
from drunner_vault.workflows.host import ServiceHost
from drunner_vault.workflows.undo import Undo


@contextlib.contextmanager
def working_on(host: ServiceHost, name: str, doing: str) -> Iterator[ServiceHome]:
    """Hold the service for the block. What an earlier command was killed in the middle of is taken back first.

    doing: the command, as a person knows it. Raises ServiceBusy if another command holds the service.
    """
    home = host.home(name)
    with contextlib.ExitStack() as last:
        last.callback(remove_if_empty, host, keep_root=is_empty(host))
        with service_lock(host.root, name, doing):
            _finish_earlier(host, home)
            yield home


def _finish_earlier(host: ServiceHost, home: ServiceHome) -> None:
    journal = paused.owed(host.root, home.name)
    if journal is not None:
        host.notice(f"{home.name} was left paused by a command that was killed: resuming it")
        result = paused.resume(host.root, journal, host.hook_environment())
        if result.code not in journal.success:
            host.notice(f"resuming {home.name} failed with exit code {result.code}; it is tried again next time")
    undo = Undo.unfinished(host, home.name)
    if undo is not None:
        host.notice(f"'{undo.doing}' was killed before it was done: taking back what it did")
        problems = undo.roll_back()
        if problems:
            raise ServiceError(
                f"'{undo.doing}' was killed, and what it did could not all be taken back: {problems[0]}",
                "mend that and run the same command again",
            )
    home.sweep()
    for leftover in (host.root / "tmp").glob(f"{home.name}.*"):
        # a name may go on after a dot: what belongs to `notes.db` is not of `notes`
        if leftover.name.count(".") == home.name.count(".") + 1:
            shutil.rmtree(leftover, ignore_errors=True)


def is_empty(host: ServiceHost) -> bool:
    """Whether the root is there, with nothing in it: then somebody made it for us, and it stays."""
    return host.root.is_dir() and not any(host.root.iterdir())


def remove_if_empty(host: ServiceHost, *, keep_root: bool) -> None:
    """A command that came to nothing, or removed the last service, leaves no empty directories."""
    for directory in (host.root / "services", *(() if keep_root else (host.root,))):
        with contextlib.suppress(OSError):
            directory.rmdir()
