"""One bucket, in the terms of this package: what is stored there, one version at a time."""

from __future__ import annotations

import contextlib
import datetime as dt
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from drunner_vault.clock import Clock
from drunner_vault.errors import AlreadyExists, Locked, NotFound, StorageError, Unavailable, Unsupported
from drunner_vault.stores.s3.client import Answer, Client
from drunner_vault.stores.s3.errors import NoSuchUpload, NotPermitted, OutOfRange
from drunner_vault.stores.s3.options import S3Options

_PIECE = 1 << 20
_VERSIONS = 100  # of one key: a store writes one, and other programs perhaps some
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(?:\d+|\*)")
_UPLOAD = "drunner-vault-upload"  # in an object's metadata: which upload made it
_CREATE_ONLY = {"IfNoneMatch": "*"}


@dataclass(frozen=True)
class Found:
    """An object as the server describes it. etag: without quotes. version: None where there are none. held: against
    deletion without a date. token: of the upload that made it, empty if the server keeps none. keyed: whether it is
    encrypted so that the ETag says nothing of the content."""

    size: int
    modified: dt.datetime
    etag: str
    version: str | None
    locked_until: dt.datetime | None
    held: bool
    token: str
    keyed: bool


@dataclass(frozen=True)
class Unfinished:
    """A multipart upload that has not ended. initiated: in UTC."""

    key: str
    upload_id: str
    initiated: dt.datetime


class Bucket:
    """What is done to objects. Keys are relative to the store. May be used from several threads."""

    def __init__(self, options: S3Options, client: Client, clock: Clock, notice: Callable[[str], None]) -> None:
        self.client = client
        self.options = options
        self.notice = notice
        self._clock = clock
        self._is_there = False
        self._has_locks = False
        self._conditions = True
        self._told: set[str] = set()

    def notice_once(self, text: str) -> None:
        """Say something that is the same for all objects."""
        if text not in self._told:
            self._told.add(text)
            self.notice(text)

    def look(self, key: str, attempts: int | None = None) -> Found | None:
        """What is known of an object; None if it is not there. Raises AccessDenied, Unavailable, StorageError."""
        try:
            return self.client.repeat(lambda: self._look_once(key), attempts=attempts)
        except NotFound:
            self._require_bucket()
            return None
        except Unavailable:
            raise
        except StorageError:
            self._explain(key)
            raise

    def _look_once(self, key: str) -> Found:
        answer = self.client.once_with("ETag", "HeadObject", key)
        if not {"ContentLength", "LastModified"} <= answer.keys():
            raise self.client.place.garbled()
        return _found(answer)

    def require_absent(self, key: str) -> None:
        """Raises AlreadyExists. Who may write only is not told what there is, and goes on: the server checks it too."""
        with contextlib.suppress(NotPermitted):
            if self.look(key) is not None:
                raise AlreadyExists(f"{self.client.place.thing(key)} exists already", "choose another name")

    def _require_bucket(self) -> None:
        """An answer that something is not there does not tell whether the bucket is. Raises StorageError if not."""
        if not self._is_there:
            with contextlib.suppress(NotPermitted):
                next(self._pages(MaxKeys=1))
            self._is_there = True

    def _explain(self, key: str) -> None:
        """A refused HEAD has no body that says why; asks for the same with one. Returns if that tells no more."""
        with contextlib.suppress(NotFound, OutOfRange):
            self.client.call("GetObject", key, Range="bytes=0-0")["Body"].close()

    def create_only(
        self, request: Callable[[Mapping[str, str]], Answer], repeat: Callable[[Callable[[], Answer]], Answer]
    ) -> Answer:
        """Make a request so that it creates and never overwrites, where the server can. Raises AlreadyExists."""
        if self._conditions:
            try:
                return repeat(lambda: request(_CREATE_ONLY))
            except Unsupported:
                pass  # or something else is; then the next one says so
        answer = repeat(lambda: request({}))
        self._conditions = False
        return answer

    def fetch(self, key: str, offset: int, length: int) -> bytes:
        """A range of an object; shorter only where it ends. Raises NotFound."""
        data = bytearray()
        try:
            self.client.repeat(lambda: self._fetch_rest(key, offset, length, data))
        except NotFound:
            self._require_bucket()
            raise
        return bytes(data)

    def _fetch_rest(self, key: str, offset: int, length: int, data: bytearray) -> None:
        """Get what is missing of a range, after a part of it has come perhaps."""
        start = offset + len(data)
        if len(data) == length:
            return
        try:
            answer = self.client.once("GetObject", key, Range=f"bytes={start}-{offset + length - 1}")
        except OutOfRange:
            return
        with self.client.mapped("GetObject", key), contextlib.closing(answer["Body"]) as body:
            end = len(data) + self._promised(answer, start, length - len(data))
            while piece := body.read(min(_PIECE, end - len(data))):
                data += piece
        if len(data) < end:
            raise self.client.place.garbled()

    def _promised(self, answer: Answer, start: int, wanted: int) -> int:
        """How many of the wanted bytes an answer says it has: a connection that is cut ends like any other."""
        told = _CONTENT_RANGE.fullmatch(str(answer.get("ContentRange", "")))
        if told is not None and int(told[1]) == start:
            return min(wanted, int(told[2]) + 1 - start)
        if told is not None or "ContentLength" not in answer:
            raise self.client.place.garbled()
        if start:
            raise self.client.place.not_s3()  # all of it, from its first byte
        return min(wanted, int(answer["ContentLength"]))

    def remove(self, key: str) -> None:
        """Remove an object with all its versions. Raises Locked, AccessDenied."""
        for _ in range(_VERSIONS):
            found = self.look(key)
            if found is None:
                return
            self.remove_version(key, found)
            if found.version is None:
                return

    def remove_version(self, key: str, found: Found) -> None:
        """Remove just what was found. Raises Locked, AccessDenied."""
        version: dict[str, Any] = {} if found.version is None else {"VersionId": found.version}
        try:
            self.client.call("DeleteObject", key, **version)
        except (NotFound, Unavailable) as failure:
            if isinstance(failure, Unavailable):
                raise
        except StorageError as refusal:
            raise self._locked(key, found) or refusal from refusal

    def _locked(self, key: str, found: Found) -> Locked | None:
        """Why a refusal may have been one, if it is a lock."""
        thing = self.client.place.thing(key)
        if found.locked_until is not None and found.locked_until > self._clock.now():
            return Locked(f"{thing} is locked until {found.locked_until:%Y-%m-%d %H:%M:%S} UTC", "wait until then")
        if found.held:
            return Locked(f"{thing} is under a legal hold", "lift the hold first")
        return None

    def lock(self, key: str, until: dt.datetime, version: str | None) -> None:
        """Lock an object until then. Raises Unsupported, AccessDenied."""
        retention = {"Mode": str(self.options.lock).upper(), "RetainUntilDate": until}
        which: dict[str, Any] = {} if version is None else {"VersionId": version}
        self.client.call("PutObjectRetention", key, Retention=retention, **which)

    def require_locks(self) -> None:
        """Raises Unsupported unless the bucket has Object Lock, as far as we may ask: some servers take locks and do
        not keep them."""
        if self.options.lock is None:
            raise Unsupported(
                f"{self.options.name} is used without Object Lock", "leave out the lock, or set a lock mode"
            )
        if self._has_locks:
            return
        with contextlib.suppress(NotPermitted):
            answer = self.client.call("GetObjectLockConfiguration")
            if answer.get("ObjectLockConfiguration", {}).get("ObjectLockEnabled") != "Enabled":
                hint = "make a bucket that has it, or leave out the lock"
                raise Unsupported(f"bucket {self.options.bucket} has no Object Lock", hint)
        self._has_locks = True

    def new_object(self, token: str, until: dt.datetime | None) -> dict[str, Any]:
        """The parameters that say how something new is to be stored."""
        options = self.options
        wanted = {
            "StorageClass": options.storage_class,
            "ServerSideEncryption": options.encryption,
            "SSEKMSKeyId": options.kms_key,
            "ObjectLockMode": options.lock and until and options.lock.upper(),
            "ObjectLockRetainUntilDate": until,
        }
        return {"Metadata": {_UPLOAD: token}} | {name: value for name, value in wanted.items() if value is not None}

    def objects(self, prefix: str) -> Iterator[Answer]:
        """What a listing tells of all keys that begin with `prefix`, a key of the bucket."""
        for page in self._pages(Prefix=prefix):
            yield from page.get("Contents", ())

    def _pages(self, **more: Any) -> Iterator[Answer]:
        return self.client.pages("ListObjectsV2", {"NextContinuationToken": "ContinuationToken"}, **more)

    def unfinished(self, prefix: str) -> Iterator[Unfinished]:
        """Uploads under way to keys that begin with `prefix`, a key of the bucket; `key` is one of the bucket too."""
        carried = {"NextKeyMarker": "KeyMarker", "NextUploadIdMarker": "UploadIdMarker"}
        pages = self.client.pages("ListMultipartUploads", carried, Prefix=prefix)
        # rclone says NoSuchUpload of a bucket that has never had one
        with contextlib.suppress(NoSuchUpload):
            for upload in (upload for page in pages for upload in page.get("Uploads", ())):
                yield Unfinished(upload["Key"], upload["UploadId"], upload["Initiated"].astimezone(dt.UTC))

    def parts(self, key: str, upload_id: str) -> list[Answer]:
        """The parts an unfinished upload has; none if it is gone."""
        carried = {"NextPartNumberMarker": "PartNumberMarker"}
        with contextlib.suppress(NoSuchUpload):
            pages = self.client.pages("ListParts", carried, key, UploadId=upload_id)
            return [part for page in pages for part in page.get("Parts", ())]
        return []

    def drop(self, key: str, upload_id: str, attempts: int | None = None) -> None:
        """Abort a multipart upload; one that is gone is no error."""
        with contextlib.suppress(NoSuchUpload):
            self.client.call("AbortMultipartUpload", key, attempts=attempts, UploadId=upload_id)


def plain_etag(answer: Answer) -> str:
    """Return the ETag of an answer or of an entry of a listing, without quotes. Empty if there is none, or a weak one:
    that may be the same for other content."""
    text = str(answer.get("ETag", ""))
    return "" if text.startswith("W/") else text.strip('"')


def _found(answer: Answer) -> Found:
    until = answer.get("ObjectLockRetainUntilDate")
    return Found(
        size=answer["ContentLength"],
        modified=answer["LastModified"].astimezone(dt.UTC),
        etag=plain_etag(answer),
        version=answer.get("VersionId"),
        locked_until=until and until.astimezone(dt.UTC),
        held=answer.get("ObjectLockLegalHoldStatus") == "ON",
        token=answer.get("Metadata", {}).get(_UPLOAD, ""),
        keyed=str(answer.get("ServerSideEncryption", "")).startswith("aws:kms") or "SSECustomerAlgorithm" in answer,
    )
