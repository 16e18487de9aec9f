"""A multipart upload: parts on their way, several at the same time."""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any

from drunner_vault.errors import StorageError, Unavailable
from drunner_vault.stores.s3.bucket import Bucket
from drunner_vault.stores.s3.client import Answer
from drunner_vault.stores.s3.parts import Part, PartsPlan

ABORT_ATTEMPTS = 3  # somebody waits for the end, and `leftovers` finds what stays behind


class Multipart:
    """One upload, for one thread. new: how the object is to be stored. stop: set when all is to end quickly."""

    def __init__(self, bucket: Bucket, key: str, plan: PartsPlan, new: dict[str, Any], stop: threading.Event) -> None:
        self._bucket = bucket
        self._key = key
        self._plan = plan
        self._new = new
        self._stop = stop
        self._pool = ThreadPoolExecutor(plan.in_flight, "part")
        self._id = ""
        self._creations = 0
        self._sending: dict[Future[str], Part] = {}
        self._unsent: list[Part] = []
        self._error: BaseException | None = None
        self._sent: dict[int, str] = {}  # the server's ETags by part number
        self._digests: dict[int, bytes] = {}

    def etag(self) -> str:
        """What the server must call the whole: MD5 of the parts' MD5s, and how many they are."""
        digests = b"".join(digest for _, digest in sorted(self._digests.items()))
        return f"{hashlib.md5(digests, usedforsecurity=False).hexdigest()}-{len(self._digests)}"

    def send(self, part: Part) -> None:
        """Have a part sent; waits while enough are on their way. Raises StorageError, that of an earlier part too."""
        self._create()
        self._collect(lambda: self._has_room(part))
        self._sending[self._pool.submit(self._upload, part)] = part

    def check(self) -> None:
        """Raises what has become of a part meanwhile."""
        self._collect(lambda: not any(future.done() for future in self._sending))

    def resume(self) -> None:
        """Go on after Unavailable: what was not sent will be sent once more, also what is just failing."""
        if isinstance(self._error, Unavailable):
            for future in wait(self._sending).done:
                self._note(future, self._sending.pop(future))
            self._error = None

    def settle(self) -> None:
        """Wait until the server has all parts. Raises what has become of one."""
        while self._unsent:
            part = self._unsent[-1]
            self.send(part)
            self._unsent.remove(part)
        self._collect(lambda: not self._sending)

    def complete(self, **conditions: Any) -> Answer:
        """Ask once for the object to appear."""
        parts = [{"PartNumber": number, "ETag": etag} for number, etag in sorted(self._sent.items())]
        return self._bucket.client.once(
            "CompleteMultipartUpload", self._key, UploadId=self._id, MultipartUpload={"Parts": parts}, **conditions
        )

    def close(self) -> None:
        """End the threads and forget the parts. `stop` is set if any is still on its way."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        for part in (*self._sending.values(), *self._unsent):
            part.close()

    def abort(self) -> None:
        """Drop what the server has. Raises StorageError."""
        if self._id:
            self._bucket.drop(self._key, self._id, ABORT_ATTEMPTS)
        elif self._creations:
            self._drop_unanswered()

    def _create(self) -> None:
        if not self._id:
            self._id = self._bucket.client.repeat(self._create_once, self._stop)["UploadId"]
            if self._creations > 1:
                with contextlib.suppress(StorageError):
                    self._drop_unanswered()

    def _create_once(self) -> Answer:
        self._creations += 1
        return self._bucket.client.once_with("UploadId", "CreateMultipartUpload", self._key, **self._new)

    def _drop_unanswered(self) -> None:
        """A request whose answer got lost may have begun an upload that nobody knows: to this key, without parts."""
        full_key = self._bucket.client.full_key(self._key)
        for upload in list(self._bucket.unfinished(full_key)):
            mine = upload.key == full_key and upload.upload_id != self._id
            if mine and not self._bucket.parts(self._key, upload.upload_id):
                self._bucket.drop(self._key, upload.upload_id, ABORT_ATTEMPTS)

    def _upload(self, part: Part) -> str:
        """Send a part, in a thread of its own. Returns the server's ETag."""
        self._digests[part.number] = part.digest()
        return str(self._bucket.client.repeat(lambda: self._upload_once(part), self._stop)["ETag"])

    def _upload_once(self, part: Part) -> Answer:
        return self._bucket.client.once_with(
            "ETag",
            "UploadPart",
            self._key,
            UploadId=self._id,
            PartNumber=part.number,
            Body=part.body(self._stop),
            ContentMD5=part.md5(),
        )

    def _has_room(self, part: Part) -> bool:
        on_their_way = sum(other.size for other in self._sending.values())
        return self._plan.has_room(on_their_way, len(self._sending), part.size)

    def _collect(self, enough: Callable[[], bool]) -> None:
        """Wait for parts to arrive until that is enough. Raises what has become of the first that failed."""
        while self._error is None and not enough():
            done, _ = wait(self._sending, return_when=FIRST_COMPLETED)
            for future in done:
                self._note(future, self._sending.pop(future))
        if self._error is not None:
            raise self._error

    def _note(self, future: Future[str], part: Part) -> None:
        error = future.exception()
        if error is None:
            self._sent[part.number] = future.result()
            part.close()
        else:
            self._unsent.append(part)
            self._error = self._error or error
