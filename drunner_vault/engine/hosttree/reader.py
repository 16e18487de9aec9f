"""A directory of this host as entries: full fidelity, on directory descriptors, no link ever followed."""

from __future__ import annotations

import contextlib
import copy
import errno
import itertools
import os
import stat
import sys
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from drunner_vault.durable import storage_error
from drunner_vault.engine.trees import Report, TreeItem
from drunner_vault.tar import Entry, Kind, Segment
from drunner_vault.tar.entry import NO_XATTRS
from drunner_vault.uncached import is_cached, read_at

_PIECE = 1 << 20
_AT_ONCE = 64 << 10  # files up to this size are read with one call
_SAMPLE = 8  # of so many small files one is asked whether it is in the page cache
_COMING = 32  # files that are fetched from the disk at the same time
_SPARSE_BLOCK = 512
_MAX_RUNS = 1 << 15  # of data in one file: their map has to fit into a frame of the archive, and so has its index row
_MAX_XATTRS = 4 << 20  # bytes of extended attributes, for the same reason
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NAMES = (sys.getfilesystemencoding(), sys.getfilesystemencodeerrors())  # as os.fsencode has them, which takes longer
_KINDS = {
    stat.S_IFDIR: Kind.DIRECTORY,
    stat.S_IFLNK: Kind.SYMLINK,
    stat.S_IFIFO: Kind.FIFO,
    stat.S_IFCHR: Kind.CHARACTER,
    stat.S_IFBLK: Kind.BLOCK,
}
SOCKET_NOTE = "socket, not carried: the program that listens on it makes it anew"


@dataclass
class _Level:
    """A directory that is being read: its descriptor, path, the names still to come, and those that were no regular
    files when it was listed. coming: files that are being fetched from the disk, open, and whether each had to be."""

    fd: int
    path: bytes
    names: Iterator[bytes]
    others: set[bytes]
    coming: dict[bytes, tuple[int, bool | None]] = field(default_factory=dict)

    def fetch(self) -> None:
        """Open the files that come next, and have the disk fetch what is not in the page cache: one that is asked for
        many things at a time answers sooner. They are few, since each takes a descriptor."""
        for name in itertools.islice(copy.copy(self.names), _COMING):
            if name in self.others:
                return
            with contextlib.suppress(OSError):  # whoever reads it in earnest will say so
                fd = _open(name, _READ, self.fd)
                self.coming[name] = fd, not is_cached(fd)

    def forget(self) -> None:
        """Close the files that were opened ahead."""
        while self.coming:
            os.close(self.coming.popitem()[1][0])

    def close(self) -> None:
        self.forget()
        os.close(self.fd)


class Place(NamedTuple):
    """Where a reader of a tree is: the entry it gave last, whether that is a directory, and of files that have several
    names the first: device, inode and path. Built-in types only."""

    path: bytes
    is_directory: bool
    links: list[tuple[int, int, bytes]]


class OpenFile:
    """The stored data of a file that is open: exactly what its entry announces. What cannot be read is made up with
    zeros, and reported."""

    def __init__(self, fd: int, entry: Entry, report: Report) -> None:
        self.fd = fd
        self._entry = entry
        self._report = report

    def __iter__(self) -> Iterator[bytes]:
        entry, unreadable = self._entry, ""
        for run in (Segment(0, entry.size),) if entry.segments is None else entry.segments:
            at, end = run.offset, run.offset + run.size
            while at < end:
                size = min(end - at, _PIECE)
                try:
                    piece = read_at(self.fd, size, at) or bytes(size)
                except OSError as cause:
                    unreadable = unreadable or f"could not be read from byte {at} on, zeros instead: {cause.strerror}"
                    piece = bytes(size)
                at += len(piece)
                yield piece
        self._judge(os.fstat(self.fd).st_size, unreadable)

    def _judge(self, size: int, unreadable: str) -> None:
        """Report, once, what is not as it was, now that it has been read."""
        path, expected = self._entry.path, self._entry.size
        if unreadable:
            self._report(path, unreadable)
        elif size < expected:
            self._report(path, f"shrank while it was read: zeros stand for what lay beyond byte {size}")
        elif size > expected:
            self._report(path, f"grew while it was read: only its first {expected} bytes are kept")


class TreeReader:
    """The tree below a directory, the root itself first, names in byte order, depth first.

    report: told, with the path, what could not be read as it was; the tree goes on without it.
    note: told of what needs no carrying, such as sockets.
    """

    def __init__(self, root: Path, report: Report, note: Report) -> None:
        self._root = root
        self._report = report
        self._note = note
        self._links: dict[tuple[int, int], bytes] = {}
        self._open: int | None = None  # the file whose data is being taken
        self.small_files = 0
        self._cold = False  # whether the last small file that was asked was not in the page cache
        self._levels: list[_Level] = []  # a stack of our own: a volume may be nested deeper than Python's

    def __iter__(self) -> Generator[TreeItem]:
        """Each entry with its stored data, which must be read before the next entry is asked for."""
        return self._walk(self._begin)

    def after(self, place: Place) -> Generator[TreeItem]:
        """What comes after a place that another reader of this tree has come to."""
        return self._walk(lambda: self._return_to(place))

    def place(self, last: Entry) -> Place:
        """Where it is, having given `last`."""
        links = [(device, inode, path) for (device, inode), path in self._links.items()]
        return Place(last.path, last.kind is Kind.DIRECTORY, links)

    def _walk(self, enter: Callable[[], TreeItem | None]) -> Generator[TreeItem]:
        try:
            if (first := enter()) is not None:
                yield first
            while self._levels:
                level = self._levels[-1]
                for name in level.names:
                    item = self._item(level, name)
                    if item is not None:
                        yield item
                        self._finish_file()
                    if self._levels[-1] is not level:
                        break
                else:
                    self._levels.pop().close()
        finally:
            self._finish_file()
            while self._levels:
                self._levels.pop().close()

    def _begin(self) -> TreeItem:
        """Enter the root, which is the first entry."""
        self._enter_root()
        fd = self._levels[-1].fd
        return self._entry(b"", os.fstat(fd), fd), ()

    def _return_to(self, place: Place) -> None:
        """Enter the root and the directories below it that lead to the place, which are no entries any more."""
        self._links = {(device, inode): path for device, inode, path in place.links}
        names = place.path.split(b"/") if place.path else []
        inside = [*names, b""] if place.is_directory else names  # in the last directory, everything is still to come
        self._enter_root(after=inside[0])
        path = b""
        for name, after in itertools.pairwise(inside):
            path = path + b"/" + name if path else name
            try:
                self._enter(_open(name, _DIRECTORY, self._levels[-1].fd), path, after)
            except OSError as cause:
                self._report(path, _problem(cause))
                break

    def _enter_root(self, after: bytes = b"") -> None:
        try:
            self._enter(os.open(self._root, _DIRECTORY), b"", after)
        except OSError as cause:
            raise storage_error("read", self._root, cause) from cause

    def _enter(self, fd: int, path: bytes, after: bytes = b"") -> None:
        """Go on inside a directory that was opened, with the names that come after one."""
        if self._levels:
            self._levels[-1].forget()  # a descriptor a level is enough
        level = _Level(fd, path, iter(()), set())
        self._levels.append(level)
        names = []
        with os.scandir(fd) as found:
            for item in found:
                name = item.name.encode(*_NAMES)
                if name > after:
                    names.append(name)
                    if not item.is_file(follow_symlinks=False):
                        level.others.add(name)
        names.sort()
        level.names = iter(names)

    def _item(self, level: _Level, name: bytes) -> TreeItem | None:
        path = level.path + b"/" + name if level.path else name
        try:
            item = self._file(level.fd, name, path) if name not in level.others else None
            return item or self._other(level.fd, name, path)
        except OSError as cause:
            self._finish_file()
            self._report(path, _problem(cause))
            return None

    def _other(self, fd: int, name: bytes, path: bytes) -> TreeItem | None:
        """What was no regular file when its directory was read, or is none any more."""
        status = os.stat(name, dir_fd=fd, follow_symlinks=False)
        kind = stat.S_IFMT(status.st_mode)
        if kind == stat.S_IFDIR:
            inner = _open(name, _DIRECTORY, fd)
            self._enter(inner, path)
            return self._entry(path, os.fstat(inner), inner), ()
        if kind == stat.S_IFSOCK:
            self._note(path, SOCKET_NOTE)
            return None
        if kind == stat.S_IFREG:
            if (item := self._file(fd, name, path)) is None:
                raise OSError(errno.ENOENT, "replaced while it was read")
            return item
        if (first := self._first_name(status)) is not None:
            return _hard_link(path, status, first), ()
        link = os.readlink(name, dir_fd=fd) if kind == stat.S_IFLNK else b""
        entry = self._entry(path, status, b"/proc/self/fd/%d/%b" % (fd, name), link=link)
        self._remember(status, path)
        return entry, ()

    def _file(self, fd: int, name: bytes, path: bytes) -> TreeItem | None:
        """A regular file or a further name of one, judged by what was opened: another may take its name meanwhile. None
        if something else has taken it."""
        coming = self._levels[-1].coming
        inner, fetched = coming.pop(name) if name in coming else (-1, None)
        try:
            inner = self._open = inner if inner >= 0 else _open(name, _READ, fd)
        except OSError as cause:
            if cause.errno in (errno.ELOOP, errno.ENXIO):  # now a symbolic link, or a socket
                return None
            raise
        status = os.fstat(inner)
        if not stat.S_ISREG(status.st_mode):
            self._finish_file()
            return None
        if status.st_nlink > 1:
            if (first := self._first_name(status)) is not None:
                self._finish_file()
                return _hard_link(path, status, first), ()
            self._remember(status, path)
        size = status.st_size
        runs = _data_runs(inner, size) if status.st_blocks * 512 < size else None
        entry = _file_entry(path, status, self._xattrs(path, inner), runs)
        if size <= _AT_ONCE and runs is None:
            data = self._small(inner, size + 1, fetched)
            if len(data) == size:  # not a byte more or less: it is as it was
                self._finish_file()
                return entry, (data,) if data else ()
        return entry, OpenFile(inner, entry, self._report)

    def _small(self, fd: int, size: int, fetched: bool | None) -> bytes:
        """Up to `size` bytes of a file. What has to come from the disk does not stay in the page cache, and what comes
        next in its directory is fetched meanwhile. fetched: whether it had to be; None if nobody has looked."""
        if fetched is None and size > 1 and (self._cold or not self.small_files % _SAMPLE):
            fetched = not is_cached(fd)
        self.small_files += 1
        if fetched is not None:
            self._cold = fetched
        if not fetched:
            return os.pread(fd, size, 0)
        if not self._levels[-1].coming:
            self._levels[-1].fetch()
        data = os.pread(fd, size, 0)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        return data

    def _finish_file(self) -> None:
        """Close the file whose data has been taken."""
        if self._open is not None:
            fd, self._open = self._open, None
            os.close(fd)

    def _first_name(self, status: os.stat_result) -> bytes | None:
        """The name under which this file was carried already."""
        return self._links.get((status.st_dev, status.st_ino)) if status.st_nlink > 1 else None

    def _remember(self, status: os.stat_result, path: bytes) -> None:
        if status.st_nlink > 1:
            self._links[status.st_dev, status.st_ino] = path

    def _entry(self, path: bytes, status: os.stat_result, where: int | bytes | str, link: bytes = b"") -> Entry:
        """Of anything but a file."""
        kind = _KINDS[stat.S_IFMT(status.st_mode)]
        device = (0, 0)
        if kind in (Kind.CHARACTER, Kind.BLOCK):
            device = (os.major(status.st_rdev), os.minor(status.st_rdev))
        return Entry(
            path,
            kind,
            stat.S_IMODE(status.st_mode),
            status.st_uid,
            status.st_gid,
            0,
            status.st_mtime_ns,
            link,
            device,
            self._xattrs(path, where),
        )

    def _xattrs(self, path: bytes, where: int | bytes | str) -> Mapping[str, bytes]:
        try:
            names = os.listxattr(where) if isinstance(where, int) else os.listxattr(where, follow_symlinks=False)
        except OSError as cause:
            if cause.errno != errno.EOPNOTSUPP:
                self._report(path, f"its extended attributes could not be read: {cause.strerror}")
            names = []
        return self._values(path, where, names) if names else NO_XATTRS

    def _values(self, path: bytes, where: int | bytes | str, names: list[str]) -> dict[str, bytes]:
        values = {}
        for name in names:
            try:
                follow = isinstance(where, int)
                values[name] = os.getxattr(where, name) if follow else os.getxattr(where, name, follow_symlinks=False)
            except OSError as cause:
                self._report(path, f"its attribute {name} could not be read: {cause.strerror}")
        if sum(map(len, values.values())) > _MAX_XATTRS:
            self._report(path, f"its extended attributes are left out: they are larger than {_MAX_XATTRS >> 20} MiB")
            return {}
        return values


def _open(name: bytes, flags: int, directory: int) -> int:
    """A descriptor, without marking what it is of as read, where we may: that would be a write for each file."""
    try:
        return os.open(name, flags | os.O_NOATIME, dir_fd=directory)
    except PermissionError:  # O_NOATIME is for a file's owner, and root
        return os.open(name, flags, dir_fd=directory)


def _problem(cause: OSError) -> str:
    """What to report of something that could not be read."""
    return "vanished while it was read" if cause.errno == errno.ENOENT else f"could not be read: {cause.strerror}"


def _hard_link(path: bytes, status: os.stat_result, first: bytes) -> Entry:
    mode = stat.S_IMODE(status.st_mode)
    return Entry(path, Kind.HARDLINK, mode, status.st_uid, status.st_gid, mtime_ns=status.st_mtime_ns, link=first)


def _file_entry(
    path: bytes, status: os.stat_result, xattrs: Mapping[str, bytes], segments: tuple[Segment, ...] | None
) -> Entry:
    mode = stat.S_IMODE(status.st_mode)
    of_file = path, Kind.FILE, mode, status.st_uid, status.st_gid, status.st_size, status.st_mtime_ns
    return Entry(*of_file, xattrs=xattrs, segments=segments)


def _data_runs(fd: int, size: int) -> tuple[Segment, ...] | None:
    """The data runs of a file that may have holes, each but the last a multiple of 512 bytes; None if it has none."""
    runs: list[Segment] = []
    at = 0
    while at < size:
        try:
            start = os.lseek(fd, at, os.SEEK_DATA)
        except OSError as cause:
            if cause.errno == errno.ENXIO:
                break
            if cause.errno == errno.EINVAL:
                return None
            raise
        at = os.lseek(fd, start, os.SEEK_HOLE)
        start -= start % _SPARSE_BLOCK
        end = min(at + -at % _SPARSE_BLOCK, size)
        runs.append(Segment(start, end - start))
    runs = _fewer(runs)
    if runs == [Segment(0, size)]:
        return None
    if not runs or runs[-1].offset + runs[-1].size < size:
        runs.append(Segment(size, 0))
    return tuple(runs)


def _fewer(runs: list[Segment]) -> list[Segment]:
    """At most _MAX_RUNS of them, the smallest holes between them filled: what was a hole there is stored as zeros."""
    filled = _SPARSE_BLOCK
    while len(runs) > _MAX_RUNS:
        filled *= 2
        merged = runs[:1]
        for run in runs[1:]:
            last = merged[-1]
            if run.offset - (last.offset + last.size) <= filled:
                merged[-1] = Segment(last.offset, run.offset + run.size - last.offset)
            else:
                merged.append(run)
        runs = merged
    return runs


def stored_bytes(root: Path) -> int:
    """About how many bytes of content lie below a directory, holes left out."""
    total = 0
    levels = [_names_below(os.open(root, _DIRECTORY))]
    try:
        while levels:
            fd, names = levels[-1]
            name = next(names, None)
            if name is None:
                os.close(levels.pop()[0])
                continue
            with contextlib.suppress(OSError):  # what vanishes meanwhile
                status = os.stat(name, dir_fd=fd, follow_symlinks=False)
                total += min(status.st_size, status.st_blocks * 512)
                if stat.S_ISDIR(status.st_mode):
                    levels.append(_names_below(os.open(name, _DIRECTORY, dir_fd=fd)))
    finally:
        for fd, _ in levels:
            os.close(fd)
    return total


def _names_below(fd: int) -> tuple[int, Iterator[str]]:
    return fd, iter(os.listdir(fd))
