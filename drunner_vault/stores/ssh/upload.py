"""One object on its way to another host.

It is written to a hidden file beside its target, synced there, linked to its name, which never overwrites, and its
directory is synced. What is not known to be on the other disk is kept here meanwhile, so that a `commit` whose
connection was lost can write it again: the server's cache may have gone with the connection.
"""

from __future__ import annotations

import contextlib
from collections import deque
from dataclasses import dataclass
from pathlib import PurePosixPath

from drunner_vault.errors import StorageError
from drunner_vault.stores.ssh import protocol
from drunner_vault.stores.ssh.client import WINDOW, Session
from drunner_vault.stores.ssh.connection import Answer
from drunner_vault.stores.ssh.failures import Absent, Refused
from drunner_vault.stores.ssh.protocol import Attributes, Handle, Open
from drunner_vault.stores.ssh.site import FILE_MODE, Site

_OTHER_MODE = 0o400
_SYNC_EVERY = 32 << 20  # bytes: no sync has much to do then, however slow the disk, and little has to be kept here


@dataclass(frozen=True)
class _UnderWay:
    """A request without an answer yet. length: bytes to be written. safe: up to which offset all is safe once it is
    done; 0 if it tells nothing of that."""

    answer: Answer
    length: int
    safe: int


class SshUpload:
    """See Upload. hidden: path of a file that was just made, open in `session` as `handle`. target: its later path."""

    etag = ""

    def __init__(self, site: Site, session: Session, handle: Handle, hidden: str, target: str) -> None:
        self._site = site
        self._session = session
        self._handle = handle
        self._open = True
        self._hidden = hidden
        self._target = target
        self._buffer = bytearray()
        self._sent = 0  # bytes
        self._sync_asked = 0  # up to which offset
        self._kept: deque[tuple[int, bytes]] = deque()  # offset and bytes of what is not yet safe
        self._under_way: deque[_UnderWay] = deque()
        self._broken = False
        self._whole = False  # and safe, under the hidden name
        self._naming = False
        self._ended = False

    def write(self, data: bytes) -> None:
        """See Upload."""
        self._require_sound()
        longest, rest = self._session.longest_write, memoryview(data)
        try:
            while rest:
                room = longest - len(self._buffer)
                self._buffer += rest[:room]
                rest = rest[room:]
                if len(self._buffer) == longest:
                    self._send_buffer()
        except StorageError:
            self._broken = True
            raise

    def commit(self) -> None:
        """See Upload."""
        if self._ended:
            return
        self._require_sound()
        if not self._whole:
            if not self._session.connection.usable:
                self._begin_again()
            self._finish()
        self._appear()
        self._ended = True

    def abort(self) -> None:
        """See Upload."""
        if self._ended:
            return
        self._broken = True
        self._kept.clear()
        self._under_way.clear()
        if self._open:
            self._open = False
            self._session.forget(self._handle)
        with self._site.telling("remove", self._hidden):
            self._site.forget_hidden(self._hidden)
        self._site.remove_empty(PurePosixPath(self._hidden).parent)
        self._ended = True

    def _require_sound(self) -> None:
        if self._broken:
            raise StorageError(f"not all of {self._target} was written", "store it anew")

    @property
    def _can_sync(self) -> bool:
        return self._session.offers(protocol.FSYNC)

    def _send_buffer(self) -> None:
        offset, data = self._sent, bytes(self._buffer)
        self._kept.append((offset, data))
        self._sent += len(data)
        self._buffer.clear()
        self._send(offset, data)
        if self._can_sync and self._sent - self._sync_asked >= _SYNC_EVERY:
            self._send_sync()

    def _send(self, offset: int, data: bytes) -> None:
        answer = self._session.send_write(self._handle, offset, data)
        safe = 0 if self._can_sync else offset + len(data)
        self._under_way.append(_UnderWay(answer, len(data), safe))
        while sum(request.length for request in self._under_way) > WINDOW:
            self._settle_first()

    def _send_sync(self) -> None:
        self._under_way.append(_UnderWay(self._session.send_sync(self._handle), 0, self._sent))
        self._sync_asked = self._sent

    def _settle_first(self) -> None:
        first = self._under_way.popleft()
        try:
            self._session.settle(first.answer)
        except Refused as no:
            self._broken = True
            raise self._site.refused("write", self._target, no, max(first.length, 1)) from no
        while self._kept and self._kept[0][0] < first.safe:
            self._kept.popleft()

    def _begin_again(self) -> None:
        """In a new session: what is safe stays, the rest is written again."""
        self._under_way.clear()
        self._session, self._open = self._site.session(), False
        safe = self._kept[0][0] if self._kept else self._sent
        with self._telling():
            self._handle, self._open = self._session.open(self._hidden, Open.WRITE), True
            self._broken = (self._session.stat_open(self._handle).size or 0) < safe
        self._require_sound()
        for offset, data in self._kept.copy():
            self._send(offset, data)

    def _finish(self) -> None:
        """All of it is there, under the hidden name, and safe."""
        if self._buffer:
            self._send_buffer()
        if self._can_sync:
            self._send_sync()
        else:
            self._site.warn_of_no_sync()
        while self._under_way:
            self._settle_first()
        with self._telling():
            self._require_size(self._session.stat_open(self._handle))
            self._open = False
            self._session.close(self._handle)
        self._whole = True

    def _appear(self) -> None:
        """Give it its name, durably."""
        again, self._naming = self._naming, True
        session = self._site.session()
        with self._telling():
            self._name(session, again)
            self._site.forget_hidden(self._hidden)
            session.sync_directory(str(PurePosixPath(self._target).parent))
            self._require_size(session.find(self._target))

    def _name(self, session: Session, again: bool) -> None:
        """A link is never made over a name that is there. A renaming is not, in version 3; servers without links may
        differ, so they are asked first."""
        if self._link(session):
            return
        target = session.find(self._target)
        if target is None:
            self._rename(session)
        elif not self._is_ours(session, target, again):
            raise self._site.taken(self._target)

    def _link(self, session: Session) -> bool:
        """Whether it was done. A no has many reasons: the name is taken, or the file system knows no links."""
        with contextlib.suppress(Refused):
            if session.offers(protocol.HARDLINK):
                session.link(self._hidden, self._target)
                return True
        return False

    def _rename(self, session: Session) -> None:
        try:
            session.rename(self._hidden, self._target)
        except Absent as no:
            raise StorageError(f"{self._hidden} was removed before it was whole", "store it anew") from no
        except Refused as no:
            if session.find(self._target) is not None:
                raise self._site.taken(self._target) from no
            raise

    def _is_ours(self, session: Session, target: Attributes, again: bool) -> bool:
        """Whether the target is what this upload wrote, named by a `commit` whose answer got lost."""
        if not again or target.size != self._sent:
            return False
        if session.find(self._hidden) is None:
            return True
        # of a file with two names, a change by one is seen by the other
        mode = _OTHER_MODE if (target.mode or 0) & 0o777 == FILE_MODE else FILE_MODE
        session.set_mode(self._hidden, mode)
        changed = session.find(self._target)
        session.set_mode(self._hidden, FILE_MODE)
        return changed is not None and (changed.mode or 0) & 0o777 == mode

    def _require_size(self, found: Attributes | None) -> None:
        size = None if found is None else found.size
        if size != self._sent:
            self._broken = True
            raise StorageError(f"{self._target} should have {self._sent} bytes, and has {size}", "store it anew")

    def _telling(self) -> contextlib.AbstractContextManager[None]:
        return self._site.telling("write", self._target, 1)
