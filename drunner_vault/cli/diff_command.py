"""diff: what differs between archives, or between an archive and the service as it is."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from drunner_vault.cli.common import archive_source, common_options, key_file_option, offered_identities, service_host
from drunner_vault.cli.output import Output, one_line

if TYPE_CHECKING:
    from drunner_vault.workflows.archives.diff import Item

_SIGNS = {"added": "+", "removed": "-", "changed": "~"}


@click.command(epilog="Example: drunner-vault diff /backups/old.tar.zst.age /backups/latest -i key.txt")
@click.argument("source")
@click.argument("other", required=False)
@click.option("--live", metavar="SERVICE", help="Compare with this service as it is now, instead of another archive.")
@key_file_option
@common_options
def command(source: str, other: str | None, live: str | None, identity_files: tuple[Path, ...], as_json: bool) -> int:
    """Show which files of the volumes differ between the archive SOURCE and OTHER, or the live service.

    + is only in the second, - only in the first, ~ is in both and differs. With --json, one object a line. Exits 3
    if nothing differs.
    """
    from drunner_vault.workflows.archives.diff import archived_items, differences
    from drunner_vault.workflows.archives.opening import open_archive

    if (other is None) == (live is None):
        raise click.UsageError("give another archive, or --live SERVICE")
    offered = offered_identities(identity_files)
    found = False
    with ExitStack() as stack:
        first = archived_items(stack.enter_context(open_archive(archive_source(source), offered)).archive)
        second = (
            archived_items(stack.enter_context(open_archive(archive_source(other), offered)).archive)
            if other
            else _live(str(live))
        )
        for difference in differences(first, second):
            found = True
            path = f"{difference.place}/{os.fsdecode(difference.path)}".rstrip("/")
            if as_json:
                shown = path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
                print(json.dumps({"change": difference.change, "path": shown, "what": list(difference.what)}))
            else:
                what = f"  ({', '.join(difference.what)})" if difference.what else ""
                print(f"{_SIGNS[difference.change]} {one_line(path)}{what}")
    return 0 if found else 3


def _live(service: str) -> Iterator[Item]:
    from drunner_vault.engine.trees import Access
    from drunner_vault.workflows.archives.diff import live_items
    from drunner_vault.workflows.services.drunner_service import DrunnerService

    def report(path: bytes, problem: str) -> None:
        print(f"warning: {one_line(os.fsdecode(path))}: {problem}", file=sys.stderr)

    host = service_host(Output())
    yield from live_items(DrunnerService(host, host.home(service), Access.AUTO), report)
