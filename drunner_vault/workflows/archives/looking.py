"""Looking into an archive: what it is, what it holds, and files out of it. Few reads, wherever it lies."""

from __future__ import annotations

import datetime as dt
import fnmatch
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

from drunner_vault.archive import MemberRow, SeekableArchive
from drunner_vault.durable import storage_error
from drunner_vault.engine.hosttree.writer import TreeWriter
from drunner_vault.errors import AlreadyExists, BadUsage, DamagedArchive, NotFound
from drunner_vault.tar import Entry, Kind
from drunner_vault.workflows.archives.opening import OpenArchive
from drunner_vault.workflows.trust import Trust

_GLOB = re.compile(rb"[*?\[]")


def inspect(opened: OpenArchive, trust: Trust, appeared: dt.datetime | None = None) -> dict[str, Any]:
    """Return all that an archive says about itself, as plain data. appeared: when it appeared in its store."""
    archive = opened.archive
    sender = trust.sender(archive.closing.root_bytes, archive.closing.signature, archive.manifest.host, appeared)
    return {
        "archive": opened.source.name,
        "size": opened.source.size,
        "recipients": list(opened.recipients),
        "sender": sender.describe(),
        "trusted": sender.trusted,
        "manifest": asdict(archive.manifest),
        "finished": archive.root.finished,
        "members": archive.root.members,
        "content": archive.root.content,
        "frames": archive.root.frames,
        "components": {name: asdict(component) for name, component in archive.root.components.items()},
        "problem_count": archive.root.problem_count,
        "problems": archive.root.problems,
    }


def listing(archive: SeekableArchive, path: bytes) -> Iterator[MemberRow]:
    """The members that `path` names: itself and what is below it, or what matches it as a glob; all if it is empty."""
    return (row for row in archive.member_rows() if _matches(row.path, path))


@dataclass
class Extracted:
    """What was taken out. problems: attributes that the file system refused."""

    members: int
    content: int
    problems: list[str]


def extract(archive: SeekableArchive, paths: Iterable[bytes], target: Path) -> Extracted:
    """Put the members that the paths name below a directory, under their own names. It is made if it is not there.

    A hard link whose first name is not wanted becomes a file of its own. Raises NotFound if a path names nothing,
    AlreadyExists if something is in the way.
    """
    found = Extracted(0, 0, [])
    rows = _wanted(archive, paths)
    _make_way(target, {row.path.split(b"/", 1)[0] for row in rows})

    def report(path: bytes, problem: str) -> None:
        found.problems.append(f"{path.decode('utf-8', 'backslashreplace')}: {problem}")

    made: set[bytes] = set()
    with TreeWriter(target, report) as writer:
        for row in rows:
            for directory in _missing_directories(row.path, made):
                writer.write(Entry(directory, Kind.DIRECTORY, 0o755), ())
            entry, content = _item(archive, rows, row, made)
            writer.write(entry, content)
            made.add(row.path)
            found.members += 1
            found.content += entry.data_size
    return found


def _make_way(target: Path, tops: Iterable[bytes]) -> None:
    """See to it that the directory is there and holds nothing of these names."""
    try:
        target.mkdir(exist_ok=True)
    except OSError as cause:
        raise storage_error("create", target, cause) from cause
    for top in sorted(tops):
        place = target / os.fsdecode(top)
        if place.exists() or place.is_symlink():
            raise AlreadyExists(f"{place} exists already", "choose another directory, or move it away first")


def extract_to_stream(archive: SeekableArchive, path: bytes, stream: BinaryIO) -> None:
    """Write the content of one file, holes as zeros. Raises BadUsage if the path names no single file."""
    rows = [row for row in _wanted(archive, [path]) if row.kind in (Kind.FILE, Kind.HARDLINK)]
    if len(rows) != 1:
        raise BadUsage(f"{_shown(path)} names {len(rows)} files, and standard output takes one", "name it exactly")
    entry, content = _item(archive, rows, rows[0], set())
    at = 0
    for run, piece in _placed(entry, content):
        _write_zeros(stream, run - at)
        stream.write(piece)
        at = run + len(piece)
    _write_zeros(stream, entry.size - at)


def _placed(entry: Entry, content: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    """Pieces of a file's data with the offset each belongs to."""
    if entry.segments is None:
        at = 0
        for piece in content:
            yield at, piece
            at += len(piece)
        return
    runs = iter(entry.segments)
    run, done = next(runs), 0
    for piece in content:
        rest = piece
        while rest:
            while done == run.size:
                run, done = next(runs), 0
            part, rest = rest[: run.size - done], rest[run.size - done :]
            yield run.offset + done, part
            done += len(part)


def _write_zeros(stream: BinaryIO, count: int) -> None:
    while count > 0:
        stream.write(bytes(min(count, 1 << 20)))
        count -= 1 << 20


def _item(
    archive: SeekableArchive, rows: list[MemberRow], row: MemberRow, made: set[bytes]
) -> tuple[Entry, Iterable[bytes]]:
    """A member's entry and data; a hard link to what was not made takes the data of its first name."""
    member, content = archive.read(row)
    if row.kind is not Kind.HARDLINK or row.link in made:
        return member.entry, content
    first = next((other for other in archive.member_rows() if other.path == row.link), None)
    if first is None or first.kind is Kind.HARDLINK:
        raise DamagedArchive(f"{_shown(row.path)} is a further name of nothing", "use another copy of the archive")
    member, content = archive.read(first)
    return member.entry._replace(path=row.path), content


def _wanted(archive: SeekableArchive, paths: Iterable[bytes]) -> list[MemberRow]:
    wanted = [path.strip(b"/") for path in paths]
    rows = [row for row in archive.member_rows() if any(_matches(row.path, path) for path in wanted)]
    for path in wanted:
        if not any(_matches(row.path, path) for row in rows):
            raise NotFound(f"the archive holds no {_shown(path)}", "see what it holds: drunner-vault ls SOURCE")
    return rows


def _matches(name: bytes, path: bytes) -> bool:
    if not path or name == path or name.startswith(path + b"/"):
        return True
    return bool(_GLOB.search(path)) and fnmatch.fnmatchcase(name, path)


def _missing_directories(path: bytes, made: set[bytes]) -> Iterator[bytes]:
    parts = path.split(b"/")[:-1]
    for depth in range(1, len(parts) + 1):
        directory = b"/".join(parts[:depth])
        if directory not in made:
            made.add(directory)
            yield directory


def _shown(path: bytes) -> str:
    return path.decode("utf-8", "backslashreplace")
