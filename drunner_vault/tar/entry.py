"""One entry of a file tree, as plain data.

The same type comes out of a volume, goes into a tar, comes out of a tar and goes into a volume.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple

NO_XATTRS: Mapping[str, bytes] = MappingProxyType({})


class Kind(StrEnum):
    """What an entry is. A hard link is a further name of a file that came earlier in the same tree."""

    FILE = "file"
    DIRECTORY = "dir"
    SYMLINK = "symlink"
    HARDLINK = "hardlink"
    FIFO = "fifo"
    CHARACTER = "char"
    BLOCK = "block"


class Segment(NamedTuple):
    """A run of data in a file with holes: `size` bytes that stand at `offset`."""

    offset: int
    size: int


class Entry(NamedTuple):
    """One name in a tree, with everything but the content. A named tuple, since millions of them are made.

    path: raw bytes, relative, parts separated by `/`, no leading or trailing slash; the tree's root is b"".
    mode: permission bits, at most 0o7777. mtime_ns: nanoseconds since 1970, may be negative.
    size: the content's length in bytes as a reader of the file sees it, holes included; 0 for all but files.
    link: target of a symlink, raw; for a hard link the path of its first name, in the same form as `path`.
    device: (major, minor) of a device node.
    xattrs: extended attributes by full name, ACLs and capabilities among them, values raw.
    segments: None for a plain file; for a file with holes its data runs, ascending and apart.
    """

    path: bytes
    kind: Kind
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    size: int = 0
    mtime_ns: int = 0
    link: bytes = b""
    device: tuple[int, int] = (0, 0)
    xattrs: Mapping[str, bytes] = NO_XATTRS
    segments: tuple[Segment, ...] | None = None

    @property
    def data_size(self) -> int:
        """How many bytes of content are stored: all of a plain file's, only the data runs' of one with holes."""
        if self.kind is not Kind.FILE:
            return 0
        return self.size if self.segments is None else sum(segment.size for segment in self.segments)
