"""A store in a directory of another host, reached as SFTP over the system's own ssh.

So the user's ~/.ssh/config, agent, known hosts and jump hosts count, and an account that may do nothing but SFTP is
enough. How an object is written: see `upload`. SFTP has no checksums; on the wire ssh proves every byte.
"""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath

from drunner_vault.durable import partial_name, partial_target
from drunner_vault.errors import NotFound, StorageError, Unsupported
from drunner_vault.stores.ssh.client import Session
from drunner_vault.stores.ssh.failures import Absent, Refused
from drunner_vault.stores.ssh.options import SshOptions
from drunner_vault.stores.ssh.protocol import Attributes, Entry, Handle, Open
from drunner_vault.stores.ssh.site import FILE_MODE, Site
from drunner_vault.stores.ssh.upload import SshUpload
from drunner_vault.stores.store import Leftover, StoredObject, Upload, check_key

_TRIES = 5  # at a directory that others remove, since it was empty, before our file is in it


class SshStore:
    """See Store. notice: called with a line for a person, once, if the server cannot do all that is promised.

    Connects at the first call, and again after the connection was lost. `close` ends the connection; so does the end of
    the store or of the program.
    """

    can_lock = False

    def __init__(self, options: SshOptions, notice: Callable[[str], None] = lambda _line: None) -> None:
        self.name = options.name
        self._host = options.host
        self._site = Site(options, notice)
        self.close = self._site.close

    def begin(self, key: str, lock: dt.datetime | None = None) -> Upload:
        """See Store."""
        path = self._path(key)
        if lock is not None:
            raise self._no_locks()
        session = self._site.session()
        with self._site.telling("write", str(path), 1):
            if session.find(str(path)) is not None:
                raise self._site.taken(str(path))
            hidden = str(path.with_name(partial_name(path.name)))
            try:
                return SshUpload(self._site, session, self._create(session, hidden), hidden, str(path))
            except BaseException:
                # a signal may come after the file was made, and before anybody knows of it
                with contextlib.suppress(Refused, StorageError):
                    session.remove(hidden)
                raise

    def read(self, key: str, offset: int, length: int) -> bytes:
        """See Store."""
        path = str(self._path(key))
        session = self._site.session()
        with self._finding(path):
            try:
                handle = session.open(path, Open.READ)
                try:
                    return session.read(handle, offset, length)
                finally:
                    session.forget(handle)
            except Refused as no:
                # servers refuse a directory with a code of their own choice, when it is opened or when it is read
                if session.stat(path).is_directory:
                    raise self._absent(path) from no
                raise

    def stat(self, key: str) -> StoredObject:
        """See Store."""
        path = str(self._path(key))
        with self._finding(path):
            found = self._site.session().stat(path)
        if not found.is_file:
            raise self._absent(path)
        return StoredObject(key, found.size or 0, _moment(found))

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        """See Store."""
        for path, found in self._files(prefix):
            if not path.name.startswith("."):
                yield StoredObject(self._key(path), found.size or 0, _moment(found))

    def delete(self, key: str) -> None:
        """See Store."""
        path = self._path(key)
        session = self._site.session()
        with self._site.telling("delete", str(path)):
            session.remove(str(path))
        session.sync_directory(str(path.parent))
        self._site.remove_empty(path.parent)

    def lock(self, key: str, until: dt.datetime) -> None:
        """See Store."""
        raise self._no_locks()

    def leftovers(self, prefix: str = "") -> Iterator[Leftover]:
        """See Store."""
        for path, found in self._files(prefix):
            target = partial_target(path.name)
            if target is not None:
                yield Leftover(self._key(path.with_name(target)), _moment(found), found.size or 0, str(path))

    def discard(self, leftover: Leftover) -> None:
        """See Store."""
        with self._site.telling("delete", leftover.handle):
            self._site.session().remove(leftover.handle)
        self._site.remove_empty(PurePosixPath(leftover.handle).parent)

    def _create(self, session: Session, hidden: str) -> Handle:
        """A new file; its directories come with it. Others may just be removing them."""
        for _ in range(_TRIES):
            with contextlib.suppress(Absent):
                return session.open(hidden, Open.WRITE | Open.CREATE | Open.EXCLUSIVE, FILE_MODE)
            self._site.require_root()
            self._site.make_directories(PurePosixPath(hidden).parent)
        return session.open(hidden, Open.WRITE | Open.CREATE | Open.EXCLUSIVE, FILE_MODE)

    def _files(self, prefix: str) -> Iterator[tuple[PurePosixPath, Attributes]]:
        """Regular files below a directory, with what the server knows of them; none of a file that has just gone."""
        self._site.require_root()
        session = self._site.session()
        pending = [self._path(prefix) if prefix else self._site.root]
        while pending:
            directory = pending.pop()
            with self._site.telling("list", str(directory)):
                entries = _entries(session, str(directory))
                pending += [directory / entry.name for entry in entries if _is_place(entry)]
            for entry in entries:
                found = _followed(session, directory / entry.name, entry.attributes)
                if found.is_file:
                    yield directory / entry.name, found

    def _path(self, key: str) -> PurePosixPath:
        return self._site.root / check_key(key)

    def _key(self, path: PurePosixPath) -> str:
        return str(path.relative_to(self._site.root))

    @contextlib.contextmanager
    def _finding(self, path: str) -> Iterator[None]:
        with self._site.telling("read", path):
            try:
                yield
            except Refused as no:
                if isinstance(no, Absent) or self._is_below_a_file(path):
                    self._site.require_root()
                    raise self._absent(path) from no
                raise

    def _is_below_a_file(self, path: str) -> bool:
        """Which some servers do not take for absent."""
        with contextlib.suppress(Refused):
            return self._site.session().stat(str(PurePosixPath(path).parent)).is_file
        return False

    def _absent(self, path: str) -> NotFound:
        return NotFound(f"there is no {path} on {self._host}", f"see what there is: drunner-vault archives {self.name}")

    def _no_locks(self) -> Unsupported:
        return Unsupported(
            f"{self.name} is a directory, where nothing can be locked", "leave out the lock, or use an S3 bucket"
        )


def _entries(session: Session, directory: str) -> list[Entry]:
    """What is in a directory, by name; nothing if it has just gone."""
    try:
        return sorted(session.entries(directory), key=lambda entry: entry.name)
    except Absent:
        return []


def _followed(session: Session, path: PurePosixPath, found: Attributes) -> Attributes:
    """What a link leads to; nothing known of one that leads nowhere."""
    if not found.is_link:
        return found
    try:
        return session.stat(str(path))
    except Refused:
        return Attributes()


def _is_place(entry: Entry) -> bool:
    return entry.attributes.is_directory and not entry.name.startswith(".")


def _moment(found: Attributes) -> dt.datetime:
    return dt.datetime.fromtimestamp(found.modified or 0, dt.UTC)
