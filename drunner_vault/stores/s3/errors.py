"""What S3 servers and boto3 say when something fails, in the errors of this program.

Sources: the error codes of the Amazon S3 API reference, MinIO's own (XMinio…), and what botocore raises by itself.
"""

from __future__ import annotations

import contextlib
import email.utils
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from boto3.exceptions import Boto3Error
from botocore import exceptions as boto
from botocore.parsers import ResponseParserError
from urllib3.exceptions import HTTPError

from drunner_vault.clock import Clock
from drunner_vault.errors import (
    AccessDenied,
    AlreadyExists,
    BadUsage,
    NoSpace,
    NotFound,
    StorageError,
    Unavailable,
    Unsupported,
    VaultError,
)

_LIBRARIES = (boto.BotoCoreError, boto.ClientError, ResponseParserError, Boto3Error, HTTPError, OSError)
_OPERATIONS = {  # what we were about to do, and the permission it takes
    "HeadObject": ("look at", "s3:GetObject"),
    "GetObject": ("read", "s3:GetObject"),
    "PutObject": ("store", "s3:PutObject"),
    "CreateMultipartUpload": ("store", "s3:PutObject"),
    "UploadPart": ("store", "s3:PutObject"),
    "CompleteMultipartUpload": ("store", "s3:PutObject"),
    "AbortMultipartUpload": ("abort the upload of", "s3:AbortMultipartUpload"),
    "ListObjectsV2": ("list", "s3:ListBucket"),
    "ListMultipartUploads": ("list the unfinished uploads of", "s3:ListBucketMultipartUploads"),
    "ListParts": ("look at the unfinished upload of", "s3:ListMultipartUploadParts"),
    "DeleteObject": ("delete", "s3:DeleteObject and s3:DeleteObjectVersion"),
    "PutObjectRetention": ("lock", "s3:PutObjectRetention"),
    "GetObjectLockConfiguration": ("ask for the locks of", "s3:GetBucketObjectLockConfiguration"),
}
_TRY_AGAIN = "try again later"
_REACH = "check the endpoint and the network, or try again later"
_CHECK_KEYS = "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the profile"
_RENEW = "renew them, for example: aws sso login, and run it again"

_Row = tuple[type[VaultError], str, str]  # the class, why it failed, what to do next
_FULL: _Row = (NoSpace, "the store or its quota is full", "free some space there, or raise the quota")
_EXPIRED: _Row = (AccessDenied, "the credentials have expired", _RENEW)
_CODES: Mapping[str, _Row] = {
    "InvalidAccessKeyId": (AccessDenied, "the server does not know this access key", _CHECK_KEYS),
    "SignatureDoesNotMatch": (AccessDenied, "the secret key does not belong to the access key", _CHECK_KEYS),
    "InvalidToken": (AccessDenied, "the session token is not valid", _RENEW),
    "ExpiredToken": _EXPIRED,
    "ExpiredTokenException": _EXPIRED,
    "TokenRefreshRequired": _EXPIRED,
    "PreconditionFailed": (AlreadyExists, "it exists already", "choose another name"),
    "InvalidObjectState": (
        StorageError,
        "it is in a storage class from which it must be brought back first",
        "restore the object there, for example: aws s3api restore-object, and try again when it is back",
    ),
    "EntityTooLarge": (StorageError, "the server takes nothing that large", "set a smaller part_size"),
    "KeyTooLongError": (BadUsage, "the name is too long for the server", "choose a shorter prefix"),
    "InvalidBucketName": (BadUsage, "this cannot be the name of a bucket", "check how the bucket is spelled"),
    "InvalidStorageClass": (BadUsage, "the server knows no such storage class", "choose another storage class"),
    "QuotaExceeded": _FULL,
    "XMinioStorageFull": _FULL,
    "XMinioAdminBucketQuotaExceeded": _FULL,
    "InsufficientStorage": _FULL,
    "StorageFull": _FULL,
}
_PASSING_CODES = {  # beside those with a status from 500 on
    "BadDigest": "what arrived there was not what was sent",
    "XAmzContentSHA256Mismatch": "what arrived there was not what was sent",
    "IncompleteBody": "only a part of what was sent arrived there",
    "RequestTimeout": "the server waited in vain for what was being sent",
    "ConditionalRequestConflict": "something else is being done to it there",
    "OperationAborted": "something else is being done to it there",
    "SlowDown": "the server asks for fewer requests",
    "Throttling": "the server asks for fewer requests",
    "ThrottlingException": "the server asks for fewer requests",
    "RequestLimitExceeded": "the server asks for fewer requests",
    "InternalError": "the server has met an error of its own",
    "ServiceUnavailable": "the server is not available",
}
_PASSING_STATUSES = frozenset({408, 429} | set(range(500, 600)) - {501, 505, 507})
_REGION = "x-amz-bucket-region"
_NO_LOCKS = ("InvalidRequest", "ObjectLockConfigurationNotFoundError")
_ELSEWHERE = ("PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException")
_NO_ANSWER = (
    boto.SSLError,
    boto.EndpointConnectionError,
    boto.ConnectTimeoutError,
    boto.ReadTimeoutError,
    boto.ProxyConnectionError,
    boto.HTTPClientError,  # also ConnectionClosedError and ResponseStreamingError
    boto.IncompleteReadError,
    HTTPError,
    OSError,
)
_NO_CREDENTIALS = (boto.NoCredentialsError, boto.NoAuthTokenError)
_BAD_CREDENTIALS = (
    boto.PartialCredentialsError,
    boto.CredentialRetrievalError,
    boto.TokenRetrievalError,
    boto.SSOError,
    boto.UnauthorizedSSOTokenError,
)


class NotPermitted(AccessDenied):
    """The credentials are good, and do not go that far: some hosts may write and do nothing else."""


class NoSuchUpload(StorageError):
    """A multipart upload is not there, or no longer. To a person it is a StorageError like others."""


class Garbled(Unavailable):
    """An answer without what belongs into it: its connection was cut, or it is not S3 that answers, which shows when it
    is the same again. It never leaves this package."""


class OutOfRange(StorageError):
    """What was asked for begins behind the end of the object. It never leaves this package."""


@dataclass(frozen=True)
class Place:
    """Where requests go, for messages. name: of the store. endpoint: without user and password."""

    name: str
    bucket: str
    endpoint: str
    region: str

    def thing(self, key: str) -> str:
        """An object by its whole name; the store itself for an empty key."""
        return f"{self.name.rstrip('/')}/{key}" if key else self.name

    def garbled(self) -> Garbled:
        """An answer that is not all there, or that no S3 server gives."""
        return Garbled(f"{self.endpoint} gave half an answer", _TRY_AGAIN)

    def not_s3(self) -> StorageError:
        """An answer that no S3 server gives."""
        return StorageError(f"{self.endpoint} does not answer like S3", "check the endpoint: its host, port and path")


@dataclass(frozen=True)
class _Refusal:
    """An answer that is an error. code: of S3; the status as text where the answer had none, as those to HEAD."""

    code: str
    status: int
    words: str
    details: Mapping[str, Any]
    headers: Mapping[str, str]

    @property
    def bare(self) -> bool:
        """Whether the server said no more than a status."""
        return self.code in ("", "Unknown", str(self.status))


@contextlib.contextmanager
def mapped(operation: str, place: Place, key: str, clock: Clock) -> Iterator[None]:
    """Turns what the libraries raise in the block into our errors; our own pass as they are."""
    before = sys.exception()
    try:
        yield
    except _LIBRARIES as cause:
        own = _own_inside(cause, before)
        if own is not None:
            raise own from None
        raise _error(cause, operation, place, key, clock) from cause


def _own_inside(cause: BaseException | None, before: BaseException | None) -> VaultError | None:
    """A signal's error, which botocore takes for a failure of the connection that it interrupted. before: what was
    being handled already, and is no part of this failure."""
    while cause is not None and cause is not before:
        if isinstance(cause, VaultError):
            return cause
        cause = cause.__cause__ or cause.__context__
    return None


def _error(cause: Exception, operation: str, place: Place, key: str, clock: Clock) -> VaultError:
    """The error of our tree for one of a library's, met while doing an operation to an object."""
    doing = f"cannot {_OPERATIONS[operation][0]} {place.thing(key)}"
    if isinstance(cause, boto.ClientError):
        return _refused(_refusal(cause), operation, place, doing, clock)
    return _failed(cause, place, doing)


def _refusal(cause: boto.ClientError) -> _Refusal:
    details = cause.response.get("Error", {})
    answer = cause.response.get("ResponseMetadata", {})
    status = int(answer.get("HTTPStatusCode", 0))
    words = " ".join(str(details.get("Message") or "").split())
    return _Refusal(str(details.get("Code", "")), status, words, details, answer.get("HTTPHeaders", {}))


def _refused(refusal: _Refusal, operation: str, place: Place, doing: str, clock: Clock) -> VaultError:
    """What an answer of the server means."""
    return (
        _absent(refusal, operation, place, doing)
        or _special(refusal, place, doing, clock)
        or _by_code(refusal, doing)
        or _by_status(refusal, operation, place, doing)
    )


def _absent(refusal: _Refusal, operation: str, place: Place, doing: str) -> VaultError | None:
    """Answers that say that something is not there. A bare 404 may come from what is no S3 server at all: whoever asked
    for an object then looks for the bucket."""
    unnamed = refusal.bare and refusal.status == 404 and operation in ("HeadObject", "GetObject")
    if unnamed or refusal.code in ("NoSuchKey", "NoSuchVersion"):
        return NotFound(f"{doing}: it is not there", "see what there is: drunner-vault archives STORE")
    if refusal.code == "NoSuchBucket":
        hint = "check bucket and endpoint, or create the bucket"
        return StorageError(f"there is no bucket {place.bucket} at {place.endpoint}", hint)
    if refusal.code == "NoSuchUpload":
        return NoSuchUpload(f"{doing}: somebody has removed what it had stored", "run it again")
    if refusal.code == "InvalidRange" or refusal.status == 416:
        return OutOfRange(f"{doing}: it is shorter than that")
    return None


def _special(refusal: _Refusal, place: Place, doing: str, clock: Clock) -> VaultError | None:
    """Answers that say something about this host, the region or the bucket's kind."""
    if refusal.code in ("RequestTimeTooSkewed", "RequestExpired"):
        return StorageError(f"{doing}: {_skew(refusal, clock)}", "set the clock of this host, and run it again")
    if refusal.code in _ELSEWHERE or (refusal.status in (301, 307) and _REGION in refusal.headers):
        return _elsewhere(refusal, place, doing)
    if refusal.code in _NO_LOCKS and "lock" in f"{refusal.code} {refusal.words}".lower():
        return Unsupported(
            f"{doing}: {refusal.words or 'it has no Object Lock'}",
            "make the bucket with Object Lock, or leave out the lock",
        )
    return None


def _by_code(refusal: _Refusal, doing: str) -> VaultError | None:
    if refusal.code in _CODES:
        error, reason, hint = _CODES[refusal.code]
        return error(f"{doing}: {reason}", hint)
    if refusal.code in _PASSING_CODES:
        return Unavailable(f"{doing}: {_PASSING_CODES[refusal.code]}", _TRY_AGAIN)
    return None


def _by_status(refusal: _Refusal, operation: str, place: Place, doing: str) -> VaultError:
    """What an answer means whose code says nothing to us."""
    if refusal.status == 507:
        return NoSpace(f"{doing}: {_FULL[1]}", _FULL[2])
    if refusal.bare and refusal.status == 500 and "html" in refusal.headers.get("content-type", ""):
        return place.garbled()  # botocore's 500 for a success whose text it cannot read, such as a page
    if refusal.status == 413:  # of a proxy before it, most likely
        error, reason, hint = _CODES["EntityTooLarge"]
        return error(f"{doing}: {reason}", hint)
    if refusal.status in _PASSING_STATUSES:
        return Unavailable(f"{doing}: the server answers with {refusal.status}", _TRY_AGAIN)
    if refusal.status in (401, 403):
        return _denied(refusal, operation, doing)
    if refusal.bare or refusal.status == 405:
        return place.not_s3()
    told = ", ".join(filter(None, (refusal.code, refusal.words)))
    if refusal.status == 501 or _is_about_conditions(refusal):
        return Unsupported(f"{doing}: the server cannot do this ({told})", "use another server")
    return StorageError(f"{doing}: {told}", "see what the server's log says")


def _skew(refusal: _Refusal, clock: Clock) -> str:
    try:
        there = email.utils.parsedate_to_datetime(refusal.headers.get("date", ""))
        seconds = round(abs((clock.now() - there).total_seconds()))
    except (ValueError, TypeError):
        return "this host's clock and the server's are too far apart"
    return f"this host's clock and the server's are {seconds} seconds apart"


def _elsewhere(refusal: _Refusal, place: Place, doing: str) -> BadUsage:
    region = refusal.details.get("Region") or refusal.headers.get(_REGION)
    if region:
        return BadUsage(f"{doing}: the bucket is in region {region}, not in {place.region}", f"set region={region}")
    return BadUsage(f"{doing}: the bucket is not in region {place.region}", "set the bucket's own region")


def _denied(refusal: _Refusal, operation: str, doing: str) -> NotPermitted:
    permission = _OPERATIONS[operation][1]
    told = refusal.words.rstrip(". ")
    more = "" if refusal.bare or told.lower() in ("", "access denied", "forbidden", "accessdenied") else f" ({told})"
    return NotPermitted(f"{doing}: access denied{more}", f"the credentials need the permission {permission} there")


def _is_about_conditions(refusal: _Refusal) -> bool:
    """Whether a server complains of If-None-Match, which not all know."""
    told = json.dumps([refusal.words, *map(str, refusal.details.values())]).lower()
    return refusal.status == 400 and ("none-match" in told or "conditional" in told)


def _failed(cause: Exception, place: Place, doing: str) -> VaultError:
    """What it means that there was no answer, or no request."""
    if isinstance(cause, ResponseParserError):
        return place.garbled()
    if isinstance(cause, boto.SSLError) and "EOF" not in str(cause):
        hint = "check the endpoint; AWS_CA_BUNDLE names the certificate of an authority of your own"
        return StorageError(f"{doing}: no secure connection to {place.endpoint}, {_last_words(cause)}", hint)
    if isinstance(cause, _NO_CREDENTIALS):
        hint = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name a profile"
        return AccessDenied(f"{doing}: there are no credentials", hint)
    if isinstance(cause, _BAD_CREDENTIALS):
        return AccessDenied(f"{doing}: the credentials cannot be used, {cause}", _CHECK_KEYS)
    if isinstance(cause, _NO_ANSWER):
        return Unavailable(f"{doing}: {place.endpoint} does not answer, {_last_words(cause)}", _REACH)
    if isinstance(cause, boto.ParamValidationError) and "IfNoneMatch" in str(cause):
        return Unsupported(f"{doing}: this version of boto3 knows no conditional writes", "update boto3")
    reason = " ".join(str(cause).split())
    return BadUsage(f"{doing}: {reason}", "check the settings of this store")


def _last_words(cause: BaseException) -> str:
    """What the innermost error says: botocore wraps it in sentences that repeat the address."""
    while cause.__cause__ is not None or cause.__context__ is not None:
        cause = cause.__cause__ or cause.__context__  # type: ignore[assignment]
    reason = cause.strerror if isinstance(cause, OSError) and cause.strerror else str(cause)
    return " ".join(reason.split()) or type(cause).__name__
