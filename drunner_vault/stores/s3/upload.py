"""One object on its way into a bucket."""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import secrets
import threading
from collections.abc import Mapping

from drunner_vault.alongside import Alongside
from drunner_vault.errors import AlreadyExists, StorageError, Unavailable
from drunner_vault.stores.s3.bucket import Bucket, Found, plain_etag
from drunner_vault.stores.s3.client import Answer
from drunner_vault.stores.s3.errors import NoSuchUpload, NotPermitted
from drunner_vault.stores.s3.multipart import ABORT_ATTEMPTS, Multipart
from drunner_vault.stores.s3.parts import PartsPlan

_PIECE = 8 << 20


class S3Upload:
    """See Upload. An object that fits into the first part is stored with one request, when it is committed.

    Which upload an object comes from stands in its metadata, so that it is known after a request whose answer got lost.
    """

    def __init__(self, bucket: Bucket, key: str, until: dt.datetime | None, plan: PartsPlan) -> None:
        self._bucket = bucket
        self._key = key
        self._until = until
        self._plan = plan
        self._token = secrets.token_hex(8)
        self._new = bucket.new_object(self._token, until)
        self._stop = threading.Event()
        self._part = plan.part(1)
        self._multipart: Multipart | None = None
        self._size = 0
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._digesting = Alongside(self._md5.update)
        self._broken: BaseException | None = None
        self._last_sent = False
        self._asked = False  # for the object to appear
        self._doubtful = False  # whether it has: an answer got lost
        self._appeared = False
        self._ended = False
        self._answered = ""  # the ETag in the answer to the request that made the object appear
        self.etag = ""

    def write(self, data: bytes) -> None:
        """See Upload."""
        self._require_intact()
        try:
            if self._multipart is not None:
                self._multipart.check()
            self._take(memoryview(data))
        except BaseException as error:
            self._broken = error
            raise

    def commit(self) -> None:
        """See Upload. Looks at what is stored afterwards: its size, and an ETag that is MD5 of the content, or of its
        parts. A server whose ETags are something else, and that does not encrypt with KMS, is made to give everything
        back; that costs as much as reading the object, and nothing else would be a proof."""
        if self._ended:
            return
        self._require_intact()
        try:
            self._digesting.settle()
            self._store()
            self.etag = self._bound_etag(self._prove())
        except Unavailable:
            raise
        except BaseException as error:
            self._broken = error
            raise
        self._end()

    def abort(self) -> None:
        """See Upload. Gives notice of what could not be removed, and never raises: what made the upload end is what a
        person must be told."""
        if self._ended:
            return
        self._stop.set()
        self._end()
        thing = self._bucket.client.place.thing(self._key)
        try:
            if self._multipart is not None:
                self._multipart.abort()
            if self._asked:
                self._take_back()
        except StorageError as error:
            self._bucket.notice(f"something of the upload of {thing} may be left there: {error.message}")

    def _require_intact(self) -> None:
        if self._broken is not None:
            raise self._broken

    def _take(self, view: memoryview) -> None:
        while view:
            if self._part.full:
                self._send_part()
                self._part = self._plan.part(self._part.number + 1)
            taken = view[: self._part.fill(view)]
            self._digesting.give(taken)
            self._size += len(taken)
            view = view[len(taken) :]

    def _send_part(self) -> None:
        if self._multipart is None:
            self._multipart = Multipart(self._bucket, self._key, self._plan, self._new, self._stop)
        self._multipart.send(self._part)

    def _store(self) -> None:
        """Make the object appear, unless that has been done."""
        if self._multipart is not None:
            self._multipart.resume()
            if not self._last_sent:
                self._send_part()
                self._last_sent = True
            self._multipart.settle()
        if not self._asked:
            # a server that cannot create only overwrites what appears between this and the next request
            self._bucket.require_absent(self._key)
        if not self._appeared and not (self._doubtful and self._is_there()):
            self._ask()
        self._appeared = True

    def _ask(self) -> None:
        """Ask for the object to appear, and find out whether it has where the answer leaves a doubt."""
        self._asked = True
        try:
            answer = self._bucket.create_only(
                self._ask_once, lambda action: self._bucket.client.repeat(action, self._stop)
            )
            self._answered = plain_etag(answer)
        except (AlreadyExists, NoSuchUpload, Unavailable):
            if not self._is_there():
                raise

    def _ask_once(self, conditions: Mapping[str, str]) -> Answer:
        before, self._doubtful = self._doubtful, True
        try:
            return self._multipart.complete(**conditions) if self._multipart else self._put(conditions)
        except Unavailable:
            raise
        except StorageError:
            self._doubtful = before
            raise

    def _put(self, conditions: Mapping[str, str]) -> Answer:
        return self._bucket.client.once_with(
            "ETag",
            "PutObject",
            self._key,
            Body=self._part.body(self._stop),
            ContentMD5=self._part.md5(),
            **self._new,
            **conditions,
        )

    def _is_there(self) -> bool:
        """Whether this upload's object is there after all. Raises AlreadyExists if it is another's."""
        try:
            found = self._bucket.look(self._key, ABORT_ATTEMPTS)
        except NotPermitted:
            return False
        if found is None:
            return False
        if not self._is_ours(found):
            thing = self._bucket.client.place.thing(self._key)
            raise AlreadyExists(f"{thing} exists already", "choose another name")
        return True

    def _is_ours(self, found: Found) -> bool:
        """Whether it comes from this upload. Where a server keeps no metadata, the same content will do if we have
        asked for it."""
        return found.token == self._token if found.token else self._doubtful and self._is_what_was_sent(found)

    def _is_what_was_sent(self, found: Found) -> bool:
        return found.size == self._size and (found.etag in self._etags() or found.keyed or self._reads_back())

    def _etags(self) -> set[str]:
        """What the server may call this content: some give multipart objects the MD5 of the whole."""
        whole = self._md5.hexdigest()
        return {whole} if self._multipart is None else {whole, self._multipart.etag()}

    def _reads_back(self) -> bool:
        """Whether what can be read is what was written. Where nothing may be read, each part's checksum has to do."""
        found = hashlib.md5(usedforsecurity=False)
        try:
            for start in range(0, self._size, _PIECE):
                found.update(self._bucket.fetch(self._key, start, min(_PIECE, self._size - start)))
        except NotPermitted:
            self._tell_unproven()
            return True
        return found.digest() == self._md5.digest()

    def _bound_etag(self, found: Found | None) -> str:
        """Return the ETag of the object that this upload created; empty if it is not known. found: from HEAD.

        The ETag in `found` is used only if it follows from the bytes that were sent: the object may have been
        overwritten since. It then takes precedence over the one in the answer, because rclone lists another ETag than
        it returns from CompleteMultipartUpload.
        """
        return found.etag if found is not None and found.etag in self._etags() else self._answered

    def _prove(self) -> Found | None:
        """Return the stored object, or None if HEAD is not permitted. Raises StorageError if what is stored is not what
        was written, and removes it if it is surely ours."""
        thing = self._bucket.client.place.thing(self._key)
        try:
            found = self._bucket.look(self._key)
        except NotPermitted:
            self._tell_unproven()
            return None
        if found is None or not self._is_what_was_sent(found):
            found = self._bucket.look(self._key)  # an answer whose head was cut in the middle of a number looks whole
        if found is None or not self._is_what_was_sent(found):
            self._take_back()
            hint = "run it again; if this comes back, do not trust this server"
            raise StorageError(f"what {thing} holds is not what was sent", hint)
        if self._until is not None and (found.locked_until is None or found.locked_until < self._until):
            self._bucket.lock(self._key, self._until, found.version)
        return found

    def _tell_unproven(self) -> None:
        name = self._bucket.options.name
        self._bucket.notice_once(
            f"may not look at what was stored in {name}: the server has confirmed each part by its checksum"
        )

    def _take_back(self) -> None:
        """Remove the object if it has appeared and is surely of this upload. Raises StorageError."""
        with contextlib.suppress(NotPermitted):
            found = self._bucket.look(self._key, ABORT_ATTEMPTS)
            if found is not None and found.token == self._token:
                self._bucket.remove_version(self._key, found)

    def _end(self) -> None:
        """Nothing is to be sent any more."""
        self._ended = True
        if self._multipart is not None:
            self._multipart.close()
        self._part.close()
