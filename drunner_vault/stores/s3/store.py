"""A store in a bucket of Amazon S3 or of any server that speaks as it does."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator

from drunner_vault.clock import SYSTEM_CLOCK, Clock
from drunner_vault.errors import BadUsage, NotFound
from drunner_vault.stores.s3.bucket import Bucket, Found, Unfinished, plain_etag
from drunner_vault.stores.s3.client import Client, backoff
from drunner_vault.stores.s3.options import S3Options
from drunner_vault.stores.s3.parts import MIB, PartsPlan, growing, uniform
from drunner_vault.stores.s3.upload import S3Upload
from drunner_vault.stores.store import Leftover, StoredObject, Upload, check_key

_R2 = ".r2.cloudflarestorage.com"
_R2_PART = 64 * MIB


class S3Store:
    """See Store. notice: takes a line that a person should see. delay: seconds to wait after the n-th failure in a row.

    Objects are of any size up to 5 TiB; at Cloudflare's R2, which wants parts of one size, they are of 64 MiB and
    objects of up to 625 GiB, unless `part_size` says otherwise. See PartsPlan for the memory and disk it takes.

    Raises BadUsage for a profile, region or endpoint that cannot be.
    """

    def __init__(
        self,
        options: S3Options,
        clock: Clock = SYSTEM_CLOCK,
        *,
        notice: Callable[[str], None],
        delay: Callable[[int], float] = backoff,
    ) -> None:
        self.name = options.name
        self._client = Client(options, clock, delay)
        self._bucket = Bucket(options, self._client, clock, notice)
        part_size = options.part_size or (_R2_PART if self._client.host.endswith(_R2) else None)
        self._plan = PartsPlan(uniform(part_size) if part_size else growing, options.in_flight)

    @property
    def can_lock(self) -> bool:
        """See Store. Whether a lock mode was chosen; `begin` finds out whether the bucket has Object Lock."""
        return self._bucket.options.lock is not None

    def begin(self, key: str, lock: dt.datetime | None = None) -> Upload:
        """See Store."""
        check_key(key)
        if lock is not None:
            self._bucket.require_locks()
        self._bucket.require_absent(key)
        return S3Upload(self._bucket, key, lock and _whole_seconds(lock), self._plan)

    def read(self, key: str, offset: int, length: int) -> bytes:
        """See Store. What is missing after a connection was cut is asked for again."""
        check_key(key)
        if length <= 0:
            self._found(key)
            return b""
        return self._bucket.fetch(key, offset, length)

    def stat(self, key: str) -> StoredObject:
        """See Store."""
        found = self._found(check_key(key))
        return StoredObject(key, found.size, found.modified, found.locked_until, found.etag)

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        """See Store. What others have put there under names that a store does not have is left out."""
        for item in self._bucket.objects(self._directory(prefix)):
            key = self._key(item["Key"])
            if key is not None:
                modified = item["LastModified"].astimezone(dt.UTC)
                yield StoredObject(key, item["Size"], modified, etag=plain_etag(item))

    def delete(self, key: str) -> None:
        """See Store. In a bucket with versions they are all removed: an object that can be brought back is not gone."""
        self._bucket.remove(check_key(key))

    def lock(self, key: str, until: dt.datetime) -> None:
        """See Store."""
        self._bucket.require_locks()
        found = self._found(check_key(key))
        if found.locked_until is None or found.locked_until < until:
            self._bucket.lock(key, _whole_seconds(until), found.version)

    def leftovers(self, prefix: str = "") -> Iterator[Leftover]:
        """See Store. The handle is the server's upload ID."""
        for upload in self._bucket.unfinished(self._directory(prefix)):
            key = self._key(upload.key)
            if key is not None:
                yield self._leftover(key, upload)

    def discard(self, leftover: Leftover) -> None:
        """See Store."""
        self._bucket.drop(leftover.key, leftover.handle)

    def _leftover(self, key: str, upload: Unfinished) -> Leftover:
        parts = self._bucket.parts(key, upload.upload_id)
        active = [part["LastModified"].astimezone(dt.UTC) for part in parts]
        return Leftover(key, max([upload.initiated, *active]), sum(part["Size"] for part in parts), upload.upload_id)

    def _found(self, key: str) -> Found:
        found = self._bucket.look(key)
        if found is None:
            raise NotFound(f"there is no {key} in {self.name}", "see what there is: drunner-vault archives STORE")
        return found

    def _directory(self, prefix: str) -> str:
        """What keys below a directory of the store begin with in the bucket."""
        return self._client.full_key(f"{check_key(prefix)}/" if prefix else "")

    def _key(self, full_key: str) -> str | None:
        """The key in the store for one in the bucket; None if it could not be ours."""
        try:
            return check_key(full_key.removeprefix(self._client.full_key("")))
        except BadUsage:
            return None


def _whole_seconds(until: dt.datetime) -> dt.datetime:
    """Not before then, in seconds as S3 counts."""
    return until if until.microsecond == 0 else until.replace(microsecond=0) + dt.timedelta(seconds=1)
