"""Writing down in the history what a person has backed up by hand."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from drunner_vault.errors import StorageError, VaultError
from drunner_vault.workflows.backup import BackupReport
from drunner_vault.workflows.host import ServiceHost
from drunner_vault.workflows.unattended.history import DONE, FAILED, PARTIAL, History, Run, new_run


def recorded_backup(
    host: ServiceHost,
    history: History | None,
    service: str,
    store: str,
    back_up: Callable[[], BackupReport],
    *,
    allow_partial: bool,
) -> BackupReport:
    """Do a backup, and write down what came of it, if there is a history. That it cannot be written is said, and fails
    nothing. Raises what the backup does; UnknownService before anything is written."""
    host.home(service).require()
    if history is None:
        return back_up()
    run = new_run(host.clock, "", "backup", service, store)
    started = host.clock.monotonic()

    def add(ended: Run) -> None:
        with _said(host):
            history.add(replace(ended, seconds=round(host.clock.monotonic() - started, 3)))

    with contextlib.ExitStack() as marked:
        with _said(host):
            history.interrupted()
            marked.enter_context(history.underway(run))
        try:
            report = back_up()
        except BaseException as error:
            add(replace(run, verdict=FAILED, why=error.message if isinstance(error, VaultError) else repr(error)))
            raise
        add(replace(run, **_facts(report, allow_partial=allow_partial)))
    return report


@contextlib.contextmanager
def _said(host: ServiceHost) -> Iterator[None]:
    try:
        yield
    except StorageError as error:
        host.notice(f"the history lacks this: {error.message}")


def _facts(report: BackupReport, *, allow_partial: bool) -> dict[str, Any]:
    whole: dict[str, Any] = {
        "archive": report.archive,
        "bytes": report.bytes,
        "content": report.content,
        "paused": report.paused,
    }
    whole |= {"archive_id": report.archive_id, "sha256": report.sha256, "etag": report.etag}
    rate = int(report.content / report.seconds) if report.seconds else 0
    if not report.problem_count:
        return {**whole, "rate": rate, "verdict": DONE}
    verdict = PARTIAL if allow_partial else FAILED
    return {**whole, "rate": rate, "verdict": verdict, "why": f"{report.problem_count} files are not as they were"}
