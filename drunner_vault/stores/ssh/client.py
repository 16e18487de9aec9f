"""The requests of SFTP as calls, over a connection that is made when it is first needed, and again after it was lost.

A client of our own, because the Python libraries for SFTP either bring an ssh of their own, which knows nothing of the
user's settings, agent and jump hosts, or leave out fsync, without which nothing is known to be on the other disk.
"""

from __future__ import annotations

import contextlib
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from typing import TypeVar

from drunner_vault.errors import StorageError
from drunner_vault.stores.ssh import protocol
from drunner_vault.stores.ssh.connection import Answer, Connection
from drunner_vault.stores.ssh.failures import Absent, AtEnd, Refused, not_sftp, refusal
from drunner_vault.stores.ssh.options import SshOptions
from drunner_vault.stores.ssh.protocol import Attributes, Code, Data, Entry, Handle, Kind, Names, Open, Request, Status

WINDOW = 4 << 20  # bytes that may be under way at once; ssh itself lets no more than 2 MiB go unconfirmed
_SAFE_LENGTH = 32 << 10  # of a read or write that every server takes
_BEST_LENGTH = 255 << 10  # the longest that OpenSSH takes

Parsed = TypeVar("Parsed")
Wanted = TypeVar("Wanted")


class Session:
    """What the server does for us, until the connection is lost.

    Every method raises Refused for the server's no, Unavailable when the connection is lost or silent, and StorageError
    for a server that does not keep to SFTP. longest_write: bytes.
    """

    def __init__(self, options: SshOptions) -> None:
        self._options = options
        self.connection = Connection(options)
        self.longest_read = self.longest_write = _SAFE_LENGTH
        if self.offers(protocol.LIMITS):
            limits = self._extension(protocol.LIMITS, b"", protocol.parse_limits)
            self.longest_read = min(limits.read or _BEST_LENGTH, _BEST_LENGTH)
            self.longest_write = min(limits.write or _BEST_LENGTH, _BEST_LENGTH)

    def offers(self, extension: str) -> bool:
        """Whether the server knows an extension."""
        return extension in self.connection.extensions

    def open(self, path: str, how: Open, mode: int = 0) -> Handle:
        """Open a file. mode: the permissions of a new one."""
        return self._ask(Handle, protocol.open_file(path, how, mode))

    def close(self, handle: Handle) -> None:
        """Close a file that was written, and learn whether that went well."""
        self._do(protocol.on_handle(Kind.CLOSE, handle))

    def forget(self, handle: Handle) -> None:
        """Close without waiting: a file that was read, or one of a connection that may be lost."""
        with contextlib.suppress(StorageError):
            self.connection.send(protocol.on_handle(Kind.CLOSE, handle))

    def read(self, handle: Handle, offset: int, length: int) -> bytes:
        """Bytes of a file, fewer only at its end; many requests are under way at once."""
        end, pieces = offset + length, []
        asked: deque[tuple[int, int, Answer]] = deque()
        while offset < end or asked:
            while offset < end and len(asked) * self.longest_read < WINDOW:
                size = min(self.longest_read, end - offset)
                asked.append((offset, size, self.connection.send(protocol.read(handle, offset, size))))
                offset += size
            start, size, answer = asked.popleft()
            piece = self._whole_piece(handle, start, size, answer)
            pieces.append(piece)
            if len(piece) < size:
                break
        return b"".join(pieces)

    def _whole_piece(self, handle: Handle, offset: int, length: int, answer: Answer) -> bytes:
        """What was asked for, even if the server sends it bit by bit; shorter only where the file ends."""
        piece = self._piece(answer, length)
        while piece and len(piece) < length:
            rest = protocol.read(handle, offset + len(piece), length - len(piece))
            more = self._piece(self.connection.send(rest), length - len(piece))
            if not more:
                break
            piece += more
        return piece

    def _piece(self, answer: Answer, length: int) -> bytes:
        try:
            data = self._settled(Data, answer).value
        except AtEnd:
            return b""
        if not 0 < len(data) <= length:
            raise not_sftp(self._options, f"{len(data)} bytes where {length} were asked for")
        return data

    def send_write(self, handle: Handle, offset: int, data: bytes) -> Answer:
        """Begin to write. `settle` tells how it went."""
        return self.connection.send(protocol.write(handle, offset, data))

    def send_sync(self, handle: Handle) -> Answer:
        """Begin to bring all that was written before to the disk. `settle` tells how it went."""
        return self.connection.send(protocol.extended(protocol.FSYNC, protocol.string(handle.value)))

    def settle(self, answer: Answer) -> None:
        """Wait until something is done."""
        self._settled(Status, answer)

    def sync_directory(self, path: str) -> None:
        """Make the names in a directory durable, where the server lets us."""
        if not self.offers(protocol.FSYNC):
            return
        with contextlib.suppress(Refused):
            handle = self.open(path, Open.READ)
            try:
                self.settle(self.send_sync(handle))
            finally:
                self.forget(handle)

    def stat(self, path: str) -> Attributes:
        """What is known of a file, or of what a link leads to."""
        return self._ask(Attributes, protocol.on_path(Kind.STAT, path))

    def find(self, path: str) -> Attributes | None:
        """What is known of a file, or of the link itself; None if there is nothing of this name."""
        try:
            return self._ask(Attributes, protocol.on_path(Kind.LSTAT, path))
        except Absent:
            return None

    def stat_open(self, handle: Handle) -> Attributes:
        """What is known of an open file."""
        return self._ask(Attributes, protocol.on_handle(Kind.FSTAT, handle))

    def set_mode(self, path: str, mode: int) -> None:
        """Set the permissions of a file."""
        self._do(protocol.on_path(Kind.SETSTAT, path, protocol.permissions(mode)))

    def entries(self, path: str) -> list[Entry]:
        """All that is in a directory, but for `.` and `..`."""
        handle = self._ask(Handle, protocol.on_path(Kind.OPENDIR, path))
        try:
            return [entry for page in self._pages(handle) for entry in page if entry.name not in (".", "..")]
        finally:
            self.forget(handle)

    def _pages(self, handle: Handle) -> Iterator[tuple[Entry, ...]]:
        with contextlib.suppress(AtEnd):
            while True:
                page = self._ask(Names, protocol.on_handle(Kind.READDIR, handle)).entries
                for entry in page:
                    self._check_name(entry.name)
                yield page

    def _check_name(self, name: str) -> None:
        if not name or "/" in name or "\0" in name:
            raise not_sftp(self._options, f"{name!r} as a name in a directory")

    def make_directory(self, path: str, mode: int) -> None:
        """Make one directory."""
        self._do(protocol.on_path(Kind.MKDIR, path, protocol.permissions(mode)))

    def remove_directory(self, path: str) -> None:
        """Remove an empty directory."""
        self._do(protocol.on_path(Kind.RMDIR, path))

    def remove(self, path: str) -> None:
        """Remove a file; one that is not there is no error."""
        with contextlib.suppress(Absent):
            self._do(protocol.on_path(Kind.REMOVE, path))

    def rename(self, old: str, new: str) -> None:
        """Give a file another name, which must not be taken."""
        self._do(protocol.on_path(Kind.RENAME, old, protocol.path(new)))

    def link(self, old: str, new: str) -> None:
        """Give a file a second name, which must not be taken."""
        self._do(protocol.extended(protocol.HARDLINK, protocol.path(old) + protocol.path(new)))

    def space(self, path: str) -> protocol.Space | None:
        """What the file system of a path has left; None where the server does not say."""
        if not self.offers(protocol.STATVFS):
            return None
        try:
            return self._extension(protocol.STATVFS, protocol.path(path), protocol.parse_space)
        except Refused:
            return None

    def _extension(self, name: str, rest: bytes, parse: Callable[[protocol.Extended], Parsed]) -> Parsed:
        reply = self._ask(protocol.Extended, protocol.extended(name, rest))
        try:
            return parse(reply)
        except protocol.Malformed as problem:
            raise not_sftp(self._options, str(problem)) from problem

    def _do(self, request: Request) -> None:
        self._ask(Status, request)

    def _ask(self, wanted: type[Wanted], request: Request) -> Wanted:
        return self._settled(wanted, self.connection.send(request))

    def _settled(self, wanted: type[Wanted], answer: Answer) -> Wanted:
        reply = self.connection.wait(answer)
        if isinstance(reply, Status) and reply.code != Code.OK:
            raise refusal(reply.code, reply.message)
        if not isinstance(reply, wanted):
            raise not_sftp(self._options, f"{type(reply).__name__} where {wanted.__name__} should come")
        return reply


class Client:
    """Keeps one session, for all threads. It ends with `close`, with the client, or with the program."""

    def __init__(self, options: SshOptions) -> None:
        self._options = options
        self._guard = threading.Lock()
        self._session: Session | None = None
        self._end: Callable[[], object] = lambda: None

    def session(self) -> Session:
        """The session, connected anew if it has been lost. Raises as Connection."""
        with self._guard:
            if self._session is None or not self._session.connection.usable:
                self._end()
                self._session = Session(self._options)
                self._end = weakref.finalize(self, self._session.connection.close)
            return self._session

    def close(self) -> None:
        """End the session; the next call begins another."""
        with self._guard:
            self._session = None
            self._end()
