"""What servers and boto3 say, and what a person is told: one line of what failed and why, one of what to do."""

from __future__ import annotations

import datetime as dt
import http.server
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore import exceptions as boto
from botocore.parsers import ResponseParserError
from support import s3servers
from support.s3servers import Bucket, Server, credentials
from support.wirefaults import Fault, Reply, Wire, faulty_wire

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
from drunner_vault.stores.s3.errors import Garbled, NoSuchUpload, NotPermitted, OutOfRange, Place, mapped
from drunner_vault.stores.s3.options import S3Options
from drunner_vault.stores.s3.store import S3Store
from drunner_vault.stores.store import put

NOW = dt.datetime(2026, 1, 31, 12, 0, 0, tzinfo=dt.UTC)
CLOCK = Clock(now=lambda: NOW)
PLACE = Place("s3://bucket/prefix", "bucket", "https://s3.example.org", "us-east-1")
CONDITION = "A header you provided implies functionality that is not implemented: If-None-Match"

# operation, status, code, message, what becomes of it, what must stand in it
ANSWERS: list[tuple[str, int, str, str, type[VaultError], str]] = [
    ("GetObject", 404, "NoSuchKey", "", NotFound, "read s3://bucket/prefix/key: it is not there"),
    ("HeadObject", 404, "404", "Not Found", NotFound, "it is not there"),
    ("GetObject", 404, "NoSuchBucket", "", StorageError, "there is no bucket bucket at https://s3.example.org"),
    ("PutObject", 404, "NoSuchBucket", "", StorageError, "there is no bucket bucket"),
    ("ListObjectsV2", 404, "404", "Not Found", StorageError, "does not answer like S3"),
    ("PutObject", 405, "MethodNotAllowed", "", StorageError, "does not answer like S3"),
    ("PutObject", 501, "501", "Unsupported method", StorageError, "does not answer like S3"),
    ("PutObject", 400, "400", "Bad Request", StorageError, "does not answer like S3"),
    ("PutObject", 301, "301", "Moved", StorageError, "does not answer like S3"),
    ("UploadPart", 404, "NoSuchUpload", "", NoSuchUpload, "somebody has removed"),
    ("GetObject", 416, "InvalidRange", "", OutOfRange, "shorter"),
    ("PutObject", 403, "AccessDenied", "Access Denied", NotPermitted, "access denied"),
    ("PutObject", 403, "403", "Forbidden", NotPermitted, "access denied"),
    ("PutObject", 403, "AccessDenied", "no kms:GenerateDataKey.", NotPermitted, "denied (no kms:GenerateDataKey)"),
    ("PutObject", 403, "SignatureDoesNotMatch", "", AccessDenied, "does not belong to the access key"),
    ("PutObject", 403, "InvalidAccessKeyId", "", AccessDenied, "does not know this access key"),
    ("PutObject", 400, "ExpiredToken", "", AccessDenied, "the credentials have expired"),
    ("PutObject", 400, "ExpiredTokenException", "", AccessDenied, "the credentials have expired"),
    ("PutObject", 400, "InvalidToken", "", AccessDenied, "session token"),
    ("PutObject", 403, "RequestTimeTooSkewed", "", StorageError, "apart"),
    ("PutObject", 301, "PermanentRedirect", "", BadUsage, "not in region us-east-1"),
    ("PutObject", 400, "AuthorizationHeaderMalformed", "", BadUsage, "not in region us-east-1"),
    ("PutObject", 400, "IllegalLocationConstraintException", "", BadUsage, "not in region us-east-1"),
    ("PutObject", 412, "PreconditionFailed", "", AlreadyExists, "it exists already"),
    ("PutObject", 409, "ConditionalRequestConflict", "", Unavailable, "something else is being done"),
    ("PutObject", 503, "SlowDown", "", Unavailable, "fewer requests"),
    ("PutObject", 400, "Throttling", "", Unavailable, "fewer requests"),
    ("PutObject", 429, "TooManyRequests", "", Unavailable, "429"),
    ("PutObject", 500, "InternalError", "", Unavailable, "error of its own"),
    ("HeadObject", 503, "503", "", Unavailable, "503"),
    ("PutObject", 502, "502", "Bad Gateway", Unavailable, "502"),
    ("PutObject", 504, "504", "", Unavailable, "504"),
    ("PutObject", 400, "RequestTimeout", "", Unavailable, "waited in vain"),
    ("UploadPart", 400, "BadDigest", "", Unavailable, "not what was sent"),
    ("UploadPart", 400, "IncompleteBody", "", Unavailable, "only a part"),
    ("PutObject", 507, "XMinioStorageFull", "", NoSpace, "full"),
    ("PutObject", 507, "507", "", NoSpace, "full"),
    ("PutObject", 403, "QuotaExceeded", "", NoSpace, "full"),
    ("PutObject", 400, "XMinioAdminBucketQuotaExceeded", "", NoSpace, "full"),
    ("PutObject", 400, "EntityTooLarge", "", StorageError, "nothing that large"),
    ("UploadPart", 413, "413", "Request Entity Too Large", StorageError, "nothing that large"),
    ("PutObject", 400, "KeyTooLongError", "", BadUsage, "too long"),
    ("PutObject", 400, "InvalidStorageClass", "", BadUsage, "storage class"),
    ("ListObjectsV2", 400, "InvalidBucketName", "", BadUsage, "name of a bucket"),
    ("GetObject", 403, "InvalidObjectState", "", StorageError, "storage class"),
    ("PutObject", 501, "NotImplemented", "A header is not implemented", Unsupported, "cannot do this"),
    ("PutObject", 400, "InvalidArgument", CONDITION, Unsupported, "cannot do this"),
    ("PutObject", 400, "InvalidRequest", "Bucket is missing Object Lock Configuration", Unsupported, "Object Lock"),
    ("GetObjectLockConfiguration", 404, "ObjectLockConfigurationNotFoundError", "no lock", Unsupported, "no lock"),
    ("GetObjectLockConfiguration", 404, "ObjectLockConfigurationNotFoundError", "", Unsupported, "no Object Lock"),
    ("PutObject", 400, "MalformedXML", "Not\n well-formed", StorageError, "MalformedXML, Not well-formed"),
]


def met(cause: Exception, operation: str = "PutObject") -> VaultError:
    """What a person is told of this."""
    with pytest.raises(VaultError) as told, mapped(operation, PLACE, "key", CLOCK):
        raise cause
    assert "\n" not in told.value.message + told.value.hint
    return told.value


def answer(
    status: int, code: str, message: str = "", headers: dict[str, str] | None = None, **details: str
) -> dict[str, Any]:
    return {
        "Error": {"Code": code, "Message": message, **details},
        "ResponseMetadata": {"HTTPStatusCode": status, "HTTPHeaders": headers or {}},
    }


@pytest.mark.parametrize(("operation", "status", "code", "message", "kind", "words"), ANSWERS)
def test_answers(operation: str, status: int, code: str, message: str, kind: type[VaultError], words: str) -> None:
    error = met(boto.ClientError(answer(status, code, message), operation), operation)
    assert type(error) is kind
    assert words in error.message
    assert error.hint or kind is OutOfRange


@pytest.mark.parametrize(
    ("operation", "permission"),
    [
        ("HeadObject", "s3:GetObject"),
        ("UploadPart", "s3:PutObject"),
        ("AbortMultipartUpload", "s3:AbortMultipartUpload"),
        ("ListObjectsV2", "s3:ListBucket"),
        ("ListMultipartUploads", "s3:ListBucketMultipartUploads"),
        ("ListParts", "s3:ListMultipartUploadParts"),
        ("DeleteObject", "s3:DeleteObject and s3:DeleteObjectVersion"),
        ("PutObjectRetention", "s3:PutObjectRetention"),
    ],
)
def test_a_missing_permission_is_named(operation: str, permission: str) -> None:
    error = met(boto.ClientError(answer(403, "AccessDenied", "Access Denied"), operation), operation)
    assert error.hint == f"the credentials need the permission {permission} there"


def test_the_region_that_is_told_is_named() -> None:
    by_header = met(boto.ClientError(answer(301, "301", "", {"x-amz-bucket-region": "eu-north-1"}), "HeadObject"))
    by_text = met(boto.ClientError(answer(400, "AuthorizationHeaderMalformed", "", Region="eu-north-1"), "PutObject"))
    for error in (by_header, by_text):
        assert isinstance(error, BadUsage)
        assert "the bucket is in region eu-north-1, not in us-east-1" in error.message
        assert error.hint == "set region=eu-north-1"


def test_a_skewed_clock_is_told_by_how_much() -> None:
    headers = {"date": "Sat, 31 Jan 2026 12:20:07 GMT"}
    error = met(boto.ClientError(answer(403, "RequestTimeTooSkewed", "", headers), "PutObject"))
    assert "this host's clock and the server's are 1207 seconds apart" in error.message
    assert "set the clock" in error.hint


@pytest.mark.parametrize(
    ("cause", "kind", "words"),
    [
        (boto.NoCredentialsError(), AccessDenied, "there are no credentials"),
        (boto.PartialCredentialsError(provider="env", cred_var="x"), AccessDenied, "cannot be used"),
        (boto.CredentialRetrievalError(provider="process", error_msg="x"), AccessDenied, "cannot be used"),
        (boto.EndpointConnectionError(endpoint_url="u", error="e"), Unavailable, "does not answer"),
        (boto.ConnectTimeoutError(endpoint_url="u", error="e"), Unavailable, "does not answer"),
        (boto.ReadTimeoutError(endpoint_url="u", error="e"), Unavailable, "does not answer"),
        (boto.ConnectionClosedError(endpoint_url="u", error="e"), Unavailable, "does not answer"),
        (boto.ProxyConnectionError(proxy_url="u", error="e"), Unavailable, "does not answer"),
        (boto.ResponseStreamingError(error="e"), Unavailable, "does not answer"),
        (boto.IncompleteReadError(actual_bytes=1, expected_bytes=2), Unavailable, "does not answer"),
        (ConnectionResetError(104, "Connection reset by peer"), Unavailable, "Connection reset by peer"),
        (boto.SSLError(endpoint_url="u", error="certificate verify failed"), StorageError, "no secure connection"),
        (boto.SSLError(endpoint_url="u", error="EOF occurred in violation of protocol"), Unavailable, "EOF"),
        (ResponseParserError("no element found"), Garbled, "half an answer"),
        (boto.ParamValidationError(report='Unknown parameter: "IfNoneMatch"'), Unsupported, "conditional"),
        (boto.ParamValidationError(report="Invalid bucket name"), BadUsage, "Invalid bucket name"),
    ],
)
def test_where_there_was_no_answer(cause: Exception, kind: type[VaultError], words: str) -> None:
    error = met(cause)
    assert type(error) is kind
    assert words in error.message
    assert error.hint


def test_our_own_errors_pass_and_what_was_handled_before_is_no_part_of_them() -> None:
    own = AlreadyExists("ours")
    assert met(own) is own
    try:
        raise own
    except AlreadyExists:
        assert type(met(boto.ConnectionClosedError(endpoint_url="u", error="e"))) is Unavailable


@pytest.fixture(scope="module")
def moto() -> Iterator[Server]:
    with s3servers.moto_server() as server:
        yield server


@pytest.fixture
def wire(moto: Server) -> Iterator[Wire]:
    with faulty_wire(moto.address) as wire:
        yield wire


class Uploads:
    """One attempt to store something, which must end with one clear error."""

    def __init__(self, store: Callable[[], S3Store]) -> None:
        self._store = store

    def fail_with(self, kind: type[VaultError], words: str, size: int = 10) -> VaultError:
        """Raised by the first call that speaks with the server."""
        with pytest.raises(VaultError) as told:
            put(self._store(), "key", bytes(size))
        assert isinstance(told.value, kind), told.value
        assert words in told.value.message
        assert told.value.hint
        assert "\n" not in told.value.message + told.value.hint
        return told.value


def test_a_bucket_that_is_not_there(moto: Server) -> None:
    missing = Bucket(moto, "missing")
    for size in (10, 9 << 20):
        error = Uploads(missing.store).fail_with(StorageError, "there is no bucket missing at http://127.0.0.1", size)
        assert not isinstance(error, NotFound)
    store = missing.store()
    actions: list[Callable[[], object]] = [
        lambda: store.stat("key"),
        lambda: store.read("key", 0, 1),
        lambda: store.delete("key"),
        lambda: list(store.list()),
        lambda: list(store.leftovers()),
    ]
    for action in actions:
        with pytest.raises(StorageError, match="there is no bucket missing") as told:
            action()
        assert not isinstance(told.value, NotFound)


ERROR = "<Error><Code>{}</Code><Message>{}</Message>{}</Error>"


@pytest.mark.parametrize(
    ("reply", "kind", "words"),
    [
        (
            Reply(400, ERROR.format("ExpiredToken", "The provided token has expired.", "").encode()),
            AccessDenied,
            "expired",
        ),
        (
            Reply(
                403,
                ERROR.format("RequestTimeTooSkewed", "The difference is too large.", "").encode(),
                "Date: Sat, 31 Jan 2026 12:20:07 GMT\r\n",
            ),
            StorageError,
            "seconds apart",
        ),
        (
            Reply(400, ERROR.format("AuthorizationHeaderMalformed", "wrong", "<Region>eu-north-1</Region>").encode()),
            BadUsage,
            "the bucket is in region eu-north-1",
        ),
        (Reply(403, ERROR.format("SignatureDoesNotMatch", "wrong", "").encode()), AccessDenied, "secret key"),
        (Reply(507, ERROR.format("XMinioStorageFull", "full", "").encode()), NoSpace, "full"),
    ],
    ids=["expired", "skew", "region", "signature", "full"],
)
def test_one_clear_error_before_anything_is_written(
    reply: Reply, kind: type[VaultError], words: str, wire: Wire, moto: Server
) -> None:
    """Answers to HEAD have no body: the reason is asked for with another request."""
    wire.choose(lambda _method, _path: reply)
    Uploads(lambda: Bucket(moto, "any").store(endpoint=wire.endpoint)).fail_with(kind, words)
    assert {seen.method for seen in wire.requests} == {"HEAD", "GET"}
    assert len(wire.requests) <= 4  # botocore looks for the bucket's region


def test_a_wrong_key_and_a_wrong_secret(tmp_path: Path) -> None:
    assert not s3servers.missing_parts() or os.environ.get("ALLOW_SKIP") == "1"
    with s3servers.rclone_server(tmp_path) as server:
        bucket = server.bucket("bucket")
        for keys in (credentials("SOMEBODY"), credentials(secret_key="wrong")):
            Uploads(lambda keys=keys: bucket.store(keys=keys)).fail_with(AccessDenied, "access key")  # type: ignore[misc]
        assert bucket.objects() == {}


def test_no_credentials_and_no_profile(moto: Server) -> None:
    nothing = credentials() | {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
    half = credentials() | {"AWS_SECRET_ACCESS_KEY": ""}
    bucket = Bucket(moto, "any")
    Uploads(lambda: bucket.store(keys=nothing)).fail_with(AccessDenied, "there are no credentials")
    Uploads(lambda: bucket.store(keys=half)).fail_with(VaultError, "redentials")
    Uploads(lambda: bucket.store(profile="nobody")).fail_with(BadUsage, "nobody")
    Uploads(lambda: bucket.store(endpoint="no url")).fail_with(BadUsage, "no url")


def test_an_endpoint_where_nobody_listens_is_known_at_once() -> None:
    endpoint = f"http://127.0.0.1:{s3servers.free_port()}"
    store = Bucket(Server(endpoint), "any").store()
    started = time.monotonic()
    Uploads(lambda: store).fail_with(Unavailable, f"{endpoint} does not answer, Connection refused")
    assert time.monotonic() - started < 2


def test_a_name_that_nobody_has() -> None:
    store = Bucket(Server("http://s3.invalid"), "any").store()
    Uploads(lambda: store).fail_with(Unavailable, "http://s3.invalid does not answer")


def test_a_server_that_hangs(wire: Wire, moto: Server) -> None:
    wire.choose(lambda _method, _path: Fault.STALL)
    store = Bucket(moto, "any").store(endpoint=wire.endpoint, timeout=0.3, attempts=2)
    started = time.monotonic()
    Uploads(lambda: store).fail_with(Unavailable, "does not answer")
    assert time.monotonic() - started < 5
    assert len(wire.requests) == 2


class _Pages(http.server.BaseHTTPRequestHandler):
    """A web server that has a page for everything, or for nothing. status: of all its answers."""

    status = 200
    page = b"<html><head><title>Welcome</title></head><body><p>It works!<br></body></html>"

    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(self.status)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(self.page)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(self.page)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _answer  # noqa: N815

    def log_message(self, *_arguments: object) -> None:
        pass


@pytest.fixture(params=[(200, _Pages.page), (200, b"<html/>"), (404, _Pages.page), (405, _Pages.page)], ids=str)
def web_server(request: pytest.FixtureRequest) -> Iterator[str]:
    status, page = request.param
    handler = type("Handler", (_Pages,), {"status": status, "page": page})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_a_web_server_that_is_no_s3(web_server: str) -> None:
    store = Bucket(Server(web_server), "any").store()
    Uploads(lambda: store).fail_with(StorageError, f"{web_server} does not answer like S3")
    actions: list[Callable[[], object]] = [
        lambda: store.stat("key"),
        lambda: list(store.list()),
        lambda: list(store.leftovers()),
    ]
    for action in actions:
        with pytest.raises(StorageError, match="does not answer like S3"):
            action()


def test_options_that_cannot_be_meant() -> None:
    wrong: list[dict[str, Any]] = [
        {"prefix": "../x"},
        {"prefix": "/x"},
        {"lock": "eternal"},
        {"encryption": "rot13"},
        {"part_size": 1},
        {"part_size": 6 << 30},
        {"in_flight": 0},
        {"attempts": 0},
        {"timeout": 0},
    ]
    for options in wrong:
        with pytest.raises(BadUsage) as told:
            S3Options("bucket", **options)
        assert told.value.hint
