"""A directory of another host, as a store and its uploads both deal with it: sessions, and what a no means."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath

from drunner_vault.errors import AccessDenied, AlreadyExists, NoSpace, StorageError
from drunner_vault.stores.ssh.client import Client, Session
from drunner_vault.stores.ssh.failures import Absent, Refused, why_refused
from drunner_vault.stores.ssh.options import SshOptions
from drunner_vault.stores.ssh.protocol import Code

FILE_MODE, DIRECTORY_MODE = 0o600, 0o700


class Site:
    """See the top of this module. notice: called with a line for a person."""

    def __init__(self, options: SshOptions, notice: Callable[[str], None]) -> None:
        self.options = options
        self.root = PurePosixPath(options.path)
        self._client = Client(options)
        self._notice = notice
        self._told: set[str] = set()
        self.session = self._client.session
        self.close = self._client.close

    @contextlib.contextmanager
    def telling(self, action: str, path: str, needed: int = 0) -> Iterator[None]:
        """Turns a server's no within the block into an error of our tree. See `refused`."""
        try:
            yield
        except Refused as no:
            raise self.refused(action, path, no, needed) from no

    def refused(self, action: str, path: str, no: Refused, needed: int = 0) -> StorageError:
        """The error for a no to doing `action` to `path`. needed: bytes that had to be free for it; servers do not say
        that they are not."""
        if needed and no.code == Code.FAILURE:
            space = self.session().space(str(PurePosixPath(path).parent))
            if space and space.read_only:
                return AccessDenied(
                    f"cannot {action} {path} on {self.options.host}: it is read-only there",
                    f"mount it for writing there: {self.options.by_hand}",
                )
            if space and (space.bytes_free < needed or not space.takes_files):
                return NoSpace(
                    f"cannot {action} {path}: no space is left on {self.options.host}",
                    "free some space there, or choose another destination",
                )
        return why_refused(action, path, self.options, no)

    def require_root(self) -> None:
        """Raises StorageError unless the store's directory is there."""
        path, host = str(self.root), self.options.host
        with self.telling("read", path), contextlib.suppress(Absent):
            if self.session().stat(path).is_directory:
                return
        # not NotFound: a disk that is not mounted says nothing about what is on it
        raise StorageError(
            f"there is no directory {path} on {host}",
            f"{self.options.by_hand} mkdir -p {shlex.quote(path)}, or mount what belongs there",
        )

    def make_directories(self, path: PurePosixPath) -> None:
        """Make a directory and its parents as far up as the root, durably; not all, if others remove some meanwhile."""
        session = self.session()
        for directory in reversed([path, *path.parents][: len(path.relative_to(self.root).parts)]):
            if session.find(str(directory)) is None and self._made(session, str(directory)):
                session.sync_directory(str(directory.parent))

    def _made(self, session: Session, directory: str) -> bool:
        """Whether it was made; not if somebody else just did, or removed its parent."""
        try:
            session.make_directory(directory, DIRECTORY_MODE)
        except Absent:
            return False
        except Refused as no:
            if session.find(directory) is None:
                raise self.refused("create", directory, no, 1) from no
            return False
        return True

    def remove_empty(self, directory: PurePosixPath) -> None:
        """Directories come with their first object, and go with their last, or with an upload that made them."""
        session = self.session()
        with contextlib.suppress(Refused):
            while directory != self.root:
                session.remove_directory(str(directory))
                directory = directory.parent

    def taken(self, path: str) -> AlreadyExists:
        """The error for a target that is there before us."""
        return AlreadyExists(
            f"{path} exists already on {self.options.host}", "choose another name, or move it away first"
        )

    def warn_of_no_sync(self) -> None:
        """Tell, once, what this server cannot promise."""
        self._notice_once(
            f"{self.options.host} cannot be asked to bring files to its disk (fsync): what it has just stored may "
            "be lost if it loses power"
        )

    def forget_hidden(self, path: str) -> None:
        """Remove the hidden name of an upload. A login that may add and not remove is told once what that leaves."""
        try:
            self.session().remove(path)
        except Refused as no:
            if no.code != Code.PERMISSION_DENIED:
                raise
            self._notice_once(
                f"this login may not remove files on {self.options.host}: hidden ones that end in .partial stay there "
                "until prune is called with a login that may"
            )

    def _notice_once(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            self._notice(text)
