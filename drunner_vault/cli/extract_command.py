"""extract: files out of an archive."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict
from pathlib import Path

import click

from drunner_vault.cli.common import archive_source, common_options, key_file_option, offered_identities
from drunner_vault.cli.output import Output, one_line, size


@click.command(epilog="Example: drunner-vault extract /backups/latest 'volumes/*/0001.txt' --to ./out -i key.txt")
@click.argument("source")
@click.argument("paths", nargs=-1, required=True, metavar="PATH…")
@click.option(
    "--to",
    "target",
    required=True,
    metavar="DIR",
    help="A directory, made if it is not there; or - for standard output.",
)
@key_file_option
@common_options
def command(source: str, paths: tuple[str, ...], target: str, identity_files: tuple[Path, ...], as_json: bool) -> int:
    """Take files out of the archive SOURCE, each PATH with all that is below it; a PATH may be a glob.

    Only the parts of the archive that hold them are read. Existing files are never overwritten.
    """
    from drunner_vault.workflows.archives.looking import extract, extract_to_stream
    from drunner_vault.workflows.archives.opening import open_archive

    output = Output(as_json=as_json)
    wanted = [os.fsencode(path) for path in paths]
    with open_archive(archive_source(source), offered_identities(identity_files)) as opened:
        if target == "-":
            if len(wanted) != 1 or as_json:
                raise click.UsageError("standard output takes one file, and nothing else")
            extract_to_stream(opened.archive, wanted[0], sys.stdout.buffer)
            return 0
        found = extract(opened.archive, wanted, Path(target))
    output.document(asdict(found))
    for problem in found.problems:
        print(f"warning: {one_line(problem)}", file=sys.stderr)
    output.done(f"{found.members} files of {size(found.content)} are in {target}")
    return 0
