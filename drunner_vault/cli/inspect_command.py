"""inspect: what an archive is."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from drunner_vault.cli.common import archive_source, common_options, key_file_option, offered_identities
from drunner_vault.cli.output import Output, one_line, size


@click.command("inspect", epilog="Example: drunner-vault inspect /backups/latest -i key.txt")
@click.argument("source")
@key_file_option
@common_options
def command(source: str, identity_files: tuple[Path, ...], as_json: bool) -> None:
    """Say what the archive SOURCE is: of which service, made when, where and by whom, what it holds, who can open it.

    Only its ends are read.
    """
    from drunner_vault import wiring
    from drunner_vault.workflows.archives.looking import inspect
    from drunner_vault.workflows.archives.opening import open_archive

    output = Output(as_json=as_json)
    with open_archive(archive_source(source), offered_identities(identity_files)) as opened:
        found = inspect(opened, wiring.trust(os.environ))
    output.document(found)
    for label, value in _lines(found):
        output.text(f"{label:<10} {one_line(value)}")


def _lines(found: dict[str, Any]) -> list[tuple[str, str]]:
    manifest = found["manifest"]
    service = manifest["service"]
    lines = [
        ("archive", f"{found['archive']}, {size(found['size'])}"),
        ("service", f"{service['name']}, from {service['image']}"),
        ("made", f"{manifest['created']} on {manifest['host']} by {manifest['tool']}"),
        ("opens with", ", ".join(found["recipients"]) or "anything: it is not encrypted"),
        ("sender", found["sender"]),
        ("holds", f"{found['members']} files of {size(found['content'])} in {found['frames']} frames"),
    ]
    for image in manifest["images"]:
        where = "in the archive" if image["embedded"] else ", ".join(image["digests"]) or "nowhere to be had"
        lines.append(("image", f"{image['reference']} {image['id'][:19]}, {where}"))
    for volume in manifest["volumes"]:
        part = found["components"].get(f"volumes/{volume['name']}", {"members": 0, "content": 0})
        lost = f"; lost: {', '.join(volume['lost'])}" if volume["lost"] else ""
        lines.append(
            ("volume", f"{volume['name']} at {volume['path']}: {part['members']} files, {size(part['content'])}{lost}")
        )
    lines += [("problem", f"{entry['path']}: {entry['problem']}") for entry in found["problems"]]
    return lines
