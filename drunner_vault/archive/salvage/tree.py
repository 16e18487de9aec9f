"""The order in which an archive's members must come, and the directories without which they could not."""

from __future__ import annotations

from drunner_vault.archive import layout
from drunner_vault.tar import Entry, Kind

_WALKED = (layout.HOOK, layout.VOLUMES)
_Key = tuple[bytes, ...]


class TreeOrder:
    """Told of every member that is written; says of the next whether it can be, and what it needs before it.

    In `hook/` and the volumes each directory is there before what is in it, and names ascend.
    """

    def __init__(self, volumes: set[bytes]) -> None:
        """volumes: names of those that the manifest lists."""
        self._volumes = volumes
        self._rank = -1
        self._component: bytes = b""
        self._last: _Key = ()
        self._directories: list[_Key] = []
        self._seen: set[bytes] = set()

    def refusal(self, entry: Entry) -> str:
        """Why a member cannot come now; empty if it can, once its missing parents are there."""
        parts = _key(entry.path)
        rank = layout.place_rank(entry.path)
        if rank is None or any(part in (b"", b".", b"..") or b"\0" in part for part in parts):
            return "its name has no place in an archive"
        if rank < self._rank or (component(entry.path) != self._component and component(entry.path) in self._seen):
            return "it is out of order"
        if parts[0] not in _WALKED:
            return "its name is there already" if entry.path in self._seen else ""
        if parts[0] == layout.VOLUMES and (len(parts) < 2 or parts[1] not in self._volumes):
            return "it is in a volume that the manifest does not list"
        return self._refusal_in_tree(entry, parts)

    def _refusal_in_tree(self, entry: Entry, parts: _Key) -> str:
        root = _key(component(entry.path))
        if parts == root and entry.kind is not Kind.DIRECTORY:
            return "it is no directory, and must be one"
        if component(entry.path) == self._component:
            if parts <= self._last:
                return "it is out of order, or its name is there already"
            below_last = len(parts) > len(self._last) and parts[: len(self._last)] == self._last
            if below_last and self._last not in self._directories:
                return "it is below something that is no directory"
        if entry.kind is Kind.HARDLINK and (_key(entry.link)[: len(root)] != root or _key(entry.link) >= parts):
            return "it is a further name of what is not in the same place before it"
        return ""

    def missing_parents(self, entry: Entry) -> list[bytes]:
        """Directories that have to be written before a member, outermost first."""
        parts = _key(entry.path)
        if parts[0] not in _WALKED:
            return []
        known = self._directories if component(entry.path) == self._component else []
        depths = range(len(_key(component(entry.path))), len(parts))
        return [b"/".join(parts[:depth]) for depth in depths if parts[:depth] not in known]

    def accept(self, entry: Entry) -> None:
        """A member was written."""
        parts = _key(entry.path)
        rank = layout.place_rank(entry.path)
        self._rank = self._rank if rank is None else rank
        self._component = component(entry.path)
        if parts[0] not in _WALKED:
            self._seen.add(entry.path)
            return
        self._seen.add(self._component)
        self._directories = [known for known in self._directories if known == parts[: len(known)]]
        self._last = parts
        if entry.kind is Kind.DIRECTORY:
            self._directories.append(parts)


def component(path: bytes) -> bytes:
    """The tree a member belongs to: its top-level place, or the volume."""
    parts = path.split(b"/")
    return b"/".join(parts[:2]) if parts[0] == layout.VOLUMES else parts[0]


def _key(path: bytes) -> _Key:
    return tuple(path.split(b"/"))
