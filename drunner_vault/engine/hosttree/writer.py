"""Entries into a directory of this host, and directories away: full fidelity, on directory descriptors.

Writing never leaves the root it was given, whatever a path says: every part of a path is opened in turn without
following links, nothing existing is ever opened for writing, and no name is made twice.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from drunner_vault.durable import storage_error
from drunner_vault.engine.hosttree.filler import Filler
from drunner_vault.engine.hosttree.newfiles import CREATE, write_all
from drunner_vault.engine.trees import Report
from drunner_vault.errors import DamagedArchive, VaultError
from drunner_vault.tar import Entry, Kind, Segment
from drunner_vault.writebehind import BehindFile, WriteBehind

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_LARGE = 256 << 10  # bytes of a file that is written while the next is decoded
_START = 250  # small files, before a process is started to make the others
_HAND_OVER = 1000  # small files, by when it is ready
_WAITING = 64  # directories whose last files are being made
_UNSAFE = frozenset((b"", b".", b".."))


@dataclass
class _Open:
    """A directory that is being filled; its attributes are set when it is left."""

    path: bytes
    fd: int
    entry: Entry | None
    mtime_ns: int


class TreeWriter:
    """Makes entries below a directory, in the order they come. Use as a context; leaving it sets what is still open.

    report: told of attributes that this file system refused. Raises DamagedArchive for a path that would leave the
    root or is there twice, NoSpace and StorageError for what the operating system refuses.
    """

    def __init__(self, root: Path, report: Report) -> None:
        self._root = root
        self._report = report
        self._stack: list[_Open] = []
        self._small_files = 0
        self._starting: Filler | None = None
        self._filler: Filler | None = None  # the same, once it is ready
        self._left: list[_Open] = []  # directories to close when the filler has made all their files
        self._behind = WriteBehind()

    def __enter__(self) -> TreeWriter:
        try:
            fd = os.open(self._root, _DIRECTORY)
        except OSError as cause:
            raise storage_error("write", self._root, cause) from cause
        self._stack = [_Open(b"", fd, None, os.fstat(fd).st_mtime_ns)]
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        try:
            while self._stack and error is None:
                self._leave()
            if error is None:
                self._settled()
        finally:
            if self._starting:
                self._starting.close()
            self._behind.close()
            for directory in (*self._stack, *self._left):
                os.close(directory.fd)
            self._stack, self._left = [], []

    def write(self, entry: Entry, content: Iterable[bytes]) -> None:
        """Make one entry. content: its stored data."""
        try:
            self._write(entry, content)
        except OSError as cause:
            raise self._error(entry.path, cause) from cause

    def _error(self, path: bytes, cause: OSError) -> VaultError:
        if cause.errno == errno.EEXIST:
            return DamagedArchive(f"the archive holds {_shown(path)} twice", "do not trust this archive")
        if cause.errno in (errno.ELOOP, errno.ENOTDIR):
            return _escape(path)
        if cause.errno == errno.ENOENT:
            return DamagedArchive(
                f"the archive holds {_shown(path)} before what it belongs to", "do not trust this archive"
            )
        return storage_error("write", self._root / os.fsdecode(path), cause)

    def _write(self, entry: Entry, content: Iterable[bytes]) -> None:
        if not entry.path:
            self._stack[0].entry = entry
            return
        parent, _, name = entry.path.rpartition(b"/")
        check_parts(entry.path)
        fd = self._enter(parent)
        if entry.kind is Kind.DIRECTORY:
            os.mkdir(name, 0o700, dir_fd=fd)
            self._stack.append(_Open(entry.path, os.open(name, _DIRECTORY, dir_fd=fd), entry, entry.mtime_ns))
        elif Filler.takes(entry):
            self._small_file(fd, name, entry, content)
        elif entry.kind is Kind.FILE and entry.size >= _LARGE and entry.segments is None:
            self._large_file(fd, name, entry, content)
        elif entry.kind is Kind.FILE:
            self._file(fd, name, entry, content)
        elif entry.kind is Kind.HARDLINK:
            self._settled()
            self._hard_link(fd, name, entry)
        else:
            self._special(fd, name, entry)

    def _small_file(self, fd: int, name: bytes, entry: Entry, content: Iterable[bytes]) -> None:
        self._small_files += 1
        if self._small_files == _START:
            self._starting = Filler()
        if self._small_files == _HAND_OVER and self._starting and self._starting.ready():
            self._filler = self._starting
        if self._filler:
            self._filler.add(fd, name, entry, b"".join(content))
        else:
            self._file(fd, name, entry, content)

    def _large_file(self, fd: int, name: bytes, entry: Entry, content: Iterable[bytes]) -> None:
        """It is whole only when all is settled; errors may come with a later file, by this one's name."""
        inner = os.open(name, CREATE, 0o600, dir_fd=fd)

        def finish() -> None:
            try:
                self._attributes(inner, entry)
            finally:
                os.close(inner)

        file = BehindFile(self._behind, inner, entry.path)
        try:
            for piece in content:
                file.write(piece)
        except OSError as cause:
            raise self._error(cause.filename, cause) from cause
        finally:
            file.finish(finish)

    def _settled(self) -> None:
        """Wait for files that are being made, and finish the directories they are in."""
        try:
            self._behind.settle()
            if self._filler:
                self._filler.settle()
        except OSError as cause:
            raise self._error(cause.filename or b"", cause) from cause
        while self._left:
            self._finish(self._left.pop(0))

    def _file(self, fd: int, name: bytes, entry: Entry, content: Iterable[bytes]) -> None:
        inner = os.open(name, CREATE, 0o600, dir_fd=fd)
        try:
            if entry.segments is None:
                for piece in content:
                    write_all(inner, piece)
            else:
                _write_runs(inner, entry.segments, content)
                os.ftruncate(inner, entry.size)
            self._attributes(inner, entry)
        finally:
            os.close(inner)

    def _attributes(self, fd: int, entry: Entry) -> None:
        """Owner first, since changing it clears setuid bits and capabilities; time last."""
        os.fchown(fd, entry.uid, entry.gid)
        os.fchmod(fd, entry.mode)
        for attribute, value in entry.xattrs.items():
            self._xattr(entry, fd, attribute, value)
        os.utime(fd, ns=(entry.mtime_ns, entry.mtime_ns))

    def _xattr(self, entry: Entry, where: int | bytes, attribute: str, value: bytes) -> None:
        try:
            if isinstance(where, int):
                os.setxattr(where, attribute, value)
            else:
                os.setxattr(where, attribute, value, follow_symlinks=False)
        except OSError as cause:
            # ext4 says that no space is left where a value is larger than it keeps; what does say so truly will again
            refused = (errno.EOPNOTSUPP, errno.EPERM, errno.EINVAL, errno.E2BIG, errno.ERANGE, errno.ENOSPC)
            if cause.errno not in refused or (cause.errno == errno.ENOSPC and _is_full(self._stack[0].fd)):
                raise
            self._report(entry.path, f"its attribute {attribute} is refused by this file system: {cause.strerror}")

    def _hard_link(self, fd: int, name: bytes, entry: Entry) -> None:
        check_parts(entry.link)
        parent, _, target = entry.link.rpartition(b"/")
        source = self._open_directory(parent)
        try:
            if not stat.S_ISDIR(os.stat(target, dir_fd=source, follow_symlinks=False).st_mode):
                os.link(target, name, src_dir_fd=source, dst_dir_fd=fd, follow_symlinks=False)
                return
        finally:
            os.close(source)
        raise _escape(entry.path)

    def _special(self, fd: int, name: bytes, entry: Entry) -> None:
        if entry.kind is Kind.SYMLINK:
            os.symlink(entry.link, name, dir_fd=fd)
        elif entry.kind is Kind.FIFO:
            os.mkfifo(name, 0o600, dir_fd=fd)
        else:
            kind = stat.S_IFCHR if entry.kind is Kind.CHARACTER else stat.S_IFBLK
            os.mknod(name, kind | 0o600, os.makedev(*entry.device), dir_fd=fd)
        os.chown(name, entry.uid, entry.gid, dir_fd=fd, follow_symlinks=False)
        where = b"/proc/self/fd/%d/%b" % (fd, name)
        if entry.kind is not Kind.SYMLINK:
            os.chmod(where, entry.mode)
        for attribute, value in entry.xattrs.items():
            self._xattr(entry, where, attribute, value)
        os.utime(name, ns=(entry.mtime_ns, entry.mtime_ns), dir_fd=fd, follow_symlinks=False)

    def _enter(self, parent: bytes) -> int:
        """The descriptor of the directory `parent`, leaving those that are done and opening those on the way."""
        if parent == self._stack[-1].path:
            return self._stack[-1].fd
        while self._stack[-1].path and not (parent + b"/").startswith(self._stack[-1].path + b"/"):
            self._leave()
        top = self._stack[-1]
        rest = parent[len(top.path) :].lstrip(b"/")
        for part in rest.split(b"/") if rest else ():
            fd = os.open(part, _DIRECTORY, dir_fd=self._stack[-1].fd)
            path = self._stack[-1].path + b"/" + part if self._stack[-1].path else part
            self._stack.append(_Open(path, fd, None, os.fstat(fd).st_mtime_ns))
        return self._stack[-1].fd

    def _leave(self) -> None:
        done = self._stack.pop()
        if self._filler and self._filler.leave(done.fd):
            self._left.append(done)
            if len(self._left) == _WAITING:
                self._settled()
        else:
            self._finish(done)

    def _finish(self, done: _Open) -> None:
        """Set a directory's attributes, its time last, and close it."""
        try:
            if done.entry is not None:
                self._attributes(done.fd, done.entry)
            else:
                os.utime(done.fd, ns=(done.mtime_ns, done.mtime_ns))
        except OSError as cause:
            raise storage_error("write", self._root / os.fsdecode(done.path), cause) from cause
        finally:
            os.close(done.fd)

    def _open_directory(self, path: bytes) -> int:
        """A new descriptor of a directory below the root, no link followed on the way."""
        fd = os.dup(self._stack[0].fd)
        for part in path.split(b"/") if path else ():
            try:
                inner = os.open(part, _DIRECTORY, dir_fd=fd)
            finally:
                os.close(fd)
            fd = inner
        return fd


def remove_below(root: Path) -> None:
    """Remove everything in a directory, however deep, following no link. Raises StorageError."""
    try:
        levels = [(os.open(root, _DIRECTORY), b"")]
        try:
            while levels:
                fd, name = levels[-1]
                inner = _remove_files(fd)
                if inner is not None:
                    levels.append((os.open(inner, _DIRECTORY, dir_fd=fd), inner))
                    continue
                os.close(levels.pop()[0])
                if levels:
                    os.rmdir(name, dir_fd=levels[-1][0])
        finally:
            for fd, _ in levels:
                os.close(fd)
    except OSError as cause:
        raise storage_error("empty", root, cause) from cause


def remove_tree(root: Path) -> None:
    """Remove a directory and everything in it. Raises StorageError."""
    remove_below(root)
    try:
        root.rmdir()
    except OSError as cause:
        raise storage_error("remove", root, cause) from cause


def _remove_files(fd: int) -> bytes | None:
    """Remove what is no directory; returns the name of a directory that is still there."""
    with os.scandir(fd) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                return os.fsencode(entry.name)
            os.unlink(entry.name, dir_fd=fd)
    return None


def _is_full(fd: int) -> bool:
    return os.fstatvfs(fd).f_bavail == 0


def check_parts(path: bytes) -> None:
    """Raises DamagedArchive for a path that would leave the tree it is in."""
    if b"\0" in path or not _UNSAFE.isdisjoint(path.split(b"/")):
        raise _escape(path)


def _escape(path: bytes) -> DamagedArchive:
    return DamagedArchive(
        f"the archive holds {_shown(path)}, which would leave its volume; nothing was written there",
        "do not trust this archive",
    )


def _shown(path: bytes) -> str:
    return repr(os.fsdecode(path[:200]))


def _write_runs(fd: int, segments: tuple[Segment, ...], content: Iterable[bytes]) -> None:
    """Spread the stored data over the runs it belongs to, leaving holes between them."""
    runs = iter(segments)
    run = next(runs, Segment(0, 0))
    done = 0
    for piece in content:
        view = memoryview(piece)
        while view:
            while done == run.size:
                run, done = next(runs), 0
            part = view[: run.size - done]
            view = view[len(part) :]
            at = run.offset + done
            done += len(part)
            while part:
                written = os.pwrite(fd, part, at)
                part, at = part[written:], at + written
