"""Which names an archive may hold, and in which order. Both sides hold to it: writers never make what readers refuse.

Inside `hook/` and each volume, members come in the order of a walk: a directory right before what is in it, names in
byte order. So a name that is there twice, or lies below something that is no directory, is seen at once, in no
memory to speak of.
"""

from __future__ import annotations

from drunner_vault.archive import layout
from drunner_vault.errors import DamagedArchive
from drunner_vault.tar import Entry, Kind

_UNSAFE = (b"", b".", b"..")
_WALKED = (layout.HOOK, layout.VOLUMES)
_LEAVES = frozenset(Kind) - {Kind.DIRECTORY, Kind.HARDLINK}
Key = tuple[bytes, ...]


class NameOrder:
    """Told of every member in turn; refuses the first that is not where it must be."""

    def __init__(self, volumes: set[bytes]) -> None:
        """volumes: names of those that the manifest lists."""
        self._volumes = volumes
        self._place = -1
        self._component: Key = ()
        self._done: set[Key] = set()
        self._last = b""
        self._beside: bytes | None = None  # the directory of the last member, if that was not one itself
        self._directories: list[Key] = []
        self._seen: set[bytes] = set()

    def accept(self, entry: Entry) -> int:
        """The rank of the member's place. Raises DamagedArchive if its name is unsafe, out of order, or there already.

        entry: path and, for a hard link, link are full names.
        """
        path = entry.path
        directory, _, name = path.rpartition(b"/")
        if directory == self._beside and path > self._last and entry.kind in _LEAVES and _is_safe_part(name):
            self._last = path
            return self._place
        return self._accept(entry, tuple(path.split(b"/")))

    def _accept(self, entry: Entry, parts: Key) -> int:
        """Any member but a file or the like that follows another one in the same directory."""
        path = entry.path
        self._beside = None
        rank = layout.place_rank(path)
        if rank is None or rank < self._place or not _is_safe(parts):
            raise refused(path, "out of place")
        self._place = rank
        if parts[0] == layout.VOLUMES and (len(parts) < 2 or parts[1] not in self._volumes):
            raise refused(path, "in a volume that its manifest does not list")
        if parts[0] in _WALKED:
            self._walk(entry, parts)
        elif path in self._seen:
            raise refused(path, "twice")
        else:
            self._seen.add(path)
        return rank

    def _walk(self, entry: Entry, parts: Key) -> None:
        depth = 2 if parts[0] == layout.VOLUMES else 1
        if parts[:depth] != self._component:
            self._enter(entry, parts, depth)
            return
        last = tuple(self._last.split(b"/"))
        if parts <= last:
            raise refused(entry.path, "twice" if parts == last else "out of order")
        while self._directories and self._directories[-1] != parts[: len(self._directories[-1])]:
            self._directories.pop()
        if not self._directories or self._directories[-1] != parts[:-1]:
            raise refused(entry.path, "below something that is no directory")
        if entry.kind is Kind.HARDLINK:
            self._check_link(entry, parts, depth)
        self._last = entry.path
        if entry.kind is Kind.DIRECTORY:
            self._directories.append(parts)
        else:
            self._beside = entry.path.rpartition(b"/")[0]

    def _enter(self, entry: Entry, parts: Key, depth: int) -> None:
        """The first member of a component: its own directory."""
        if len(parts) != depth or entry.kind is not Kind.DIRECTORY or parts in self._done:
            raise refused(entry.path, "out of order")
        self._done.add(parts)
        self._component, self._last = parts, entry.path
        self._directories = [parts]

    def _check_link(self, entry: Entry, parts: Key, depth: int) -> None:
        """A hard link is a further name of what came earlier in the same component."""
        target = tuple(entry.link.split(b"/"))
        if target[:depth] != self._component or not _is_safe(target) or target >= parts:
            raise refused(entry.path, "as a further name of what is not in the same place before it")


def refused(path: bytes, why: str) -> DamagedArchive:
    """The error for a member that no archive may hold."""
    return DamagedArchive(f"the archive has {path[:200]!r} {why}", "do not trust this archive")


def _is_safe(parts: Key) -> bool:
    return all(map(_is_safe_part, parts))


def _is_safe_part(part: bytes) -> bool:
    return part not in _UNSAFE and b"\0" not in part
