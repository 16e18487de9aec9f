"""What differs between two archives, or between an archive and the service as it is now."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from drunner_vault.archive import VOLUMES, MemberRow, SeekableArchive, data_digest
from drunner_vault.tar import Entry, Kind
from drunner_vault.workflows.workload import Workload

Key = tuple[bytes, ...]


@dataclass(frozen=True)
class Item:
    """A member as far as a comparison goes. place: the path its volume is mounted at, or the component's name."""

    place: str
    path: bytes
    facts: tuple[object, ...]


@dataclass(frozen=True)
class Difference:
    """change: `added`, `removed` or `changed`, seen from the first side. what: which facts changed."""

    change: str
    place: str
    path: bytes
    what: tuple[str, ...] = ()


_FACTS = ("type", "mode", "owner", "group", "size", "link", "content", "time")


def differences(one: Iterable[Item], other: Iterable[Item]) -> Iterator[Difference]:
    """What is in one side and not in the other, or different. Both sides come in an archive's order, and are read
    once."""
    left, right = iter(one), iter(other)
    a, b = next(left, None), next(right, None)
    while a is not None or b is not None:
        if b is None or (a is not None and _key(a) < _key(b)):
            assert a is not None  # noqa: S101 (for the type checker)
            yield Difference("removed", a.place, a.path)
            a = next(left, None)
        elif a is None or _key(b) < _key(a):
            yield Difference("added", b.place, b.path)
            b = next(right, None)
        else:
            if a.facts != b.facts:
                pairs = zip(_FACTS, a.facts, b.facts, strict=True)
                yield Difference("changed", a.place, a.path, tuple(name for name, x, y in pairs if x != y))
            a, b = next(left, None), next(right, None)


def archived_items(archive: SeekableArchive) -> Iterator[Item]:
    """The files of an archive's volumes, sorted by where they are mounted."""
    mounted = {volume.name.encode(): volume.path for volume in archive.manifest.volumes}
    for name, place in sorted(mounted.items(), key=lambda item: item[1]):
        prefix = VOLUMES + b"/" + name
        for row in archive.member_rows():
            if row.path == prefix or row.path.startswith(prefix + b"/"):
                yield _from_row(row, place, len(prefix) + 1)


def live_items(workload: Workload, report: Callable[[bytes, str], None]) -> Iterator[Item]:
    """The files of a service's volumes as they are now, read through once for their digests."""
    for record, tree in sorted(workload.volumes(), key=lambda pair: pair[0].path):
        for entry, content in tree.read(report, lambda path, note: None):
            yield _from_entry(entry, content, record.path)


def _key(item: Item) -> tuple[str, Key]:
    """The order of a walk: names byte by byte, a directory right before what is in it."""
    return item.place, tuple(item.path.split(b"/")) if item.path else ()


def _from_row(row: MemberRow, place: str, skip: int) -> Item:
    link = row.link[skip:] if row.kind is Kind.HARDLINK else row.link
    facts = (row.kind, row.mode, row.uid, row.gid, row.size, link, row.digest, row.mtime_ns)
    return Item(place, row.path[skip:], facts)


def _from_entry(entry: Entry, content: Iterable[bytes], place: str) -> Item:
    digest = data_digest(content) if entry.kind is Kind.FILE else ""
    facts = (entry.kind, entry.mode, entry.uid, entry.gid, entry.size, entry.link, digest, entry.mtime_ns)
    return Item(place, entry.path, facts)
