"""ls: what an archive holds."""

from __future__ import annotations

import base64
import datetime as dt
import json
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import click

from drunner_vault.cli.common import archive_source, common_options, key_file_option, offered_identities
from drunner_vault.cli.output import one_line

if TYPE_CHECKING:
    from drunner_vault.archive import MemberRow

_TYPES = {
    "file": stat.S_IFREG,
    "dir": stat.S_IFDIR,
    "symlink": stat.S_IFLNK,
    "hardlink": stat.S_IFREG,
    "fifo": stat.S_IFIFO,
    "char": stat.S_IFCHR,
    "block": stat.S_IFBLK,
}


@click.command("ls", epilog="Example: drunner-vault ls -l /backups/latest 'volumes/*/config' -i key.txt")
@click.argument("source")
@click.argument("path", required=False, default="")
@click.option("-l", "long", is_flag=True, help="Also mode, owner, size and time.")
@key_file_option
@common_options
def command(source: str, path: str, long: bool, identity_files: tuple[Path, ...], as_json: bool) -> None:
    """List what the archive SOURCE holds: all, or PATH and what is below it; PATH may be a glob.

    With --json, one object a line.
    """
    from drunner_vault.errors import NotFound
    from drunner_vault.workflows.archives.looking import listing
    from drunner_vault.workflows.archives.opening import open_archive

    shown = 0
    with open_archive(archive_source(source), offered_identities(identity_files)) as opened:
        for row in listing(opened.archive, os.fsencode(path).strip(b"/")):
            print(_as_json(row) if as_json else _long(row) if long else _name(row.path))
            shown += 1
    if path and not shown:
        raise NotFound(f"the archive holds no {path}", f"drunner-vault ls {source}")


def _name(path: bytes) -> str:
    return one_line(path.decode("utf-8", "backslashreplace"))


def _long(row: MemberRow) -> str:
    mode = stat.filemode(_TYPES[row.kind] | row.mode)
    time = dt.datetime.fromtimestamp(row.mtime_ns // 10**9, dt.UTC).strftime("%Y-%m-%d %H:%M:%S")
    arrow = {"symlink": " -> ", "hardlink": " link to "}.get(row.kind.value, "")
    extent = f"{row.device[0]},{row.device[1]}" if row.kind in ("char", "block") else str(row.size)
    return f"{mode} {row.uid}/{row.gid} {extent:>12} {time} {_name(row.path)}{arrow}{_name(row.link) if arrow else ''}"


def _as_json(row: MemberRow) -> str:
    fields = {
        "type": row.kind.value,
        "mode": row.mode,
        "uid": row.uid,
        "gid": row.gid,
        "size": row.size,
        "mtime_ns": row.mtime_ns,
        "blake3": row.digest,
        "xattrs": list(row.xattrs),
    }
    return json.dumps({**_text("path", row.path), **fields, **(_text("link", row.link) if row.link else {})})


def _text(key: str, value: bytes) -> dict[str, str]:
    try:
        return {key: value.decode("utf-8")}
    except UnicodeDecodeError:
        return {f"{key}_base64": base64.b64encode(value).decode()}
