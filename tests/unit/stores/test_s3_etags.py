"""ETags of uploads to a bucket: only such as are bound to the bytes of the upload, whatever the server shows later."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support import s3servers
from support.s3servers import Bucket, Server
from support.wirefaults import Fault, Reply, Wire, faulty_wire

from drunner_vault.errors import Unavailable
from drunner_vault.stores.contract import content
from drunner_vault.stores.s3.store import S3Store
from drunner_vault.stores.store import Upload, put

PART = 5 << 20
LARGE = content(2 * PART + 7)
SMALL = content(50_000)
OPAQUE, FOREIGN = "not-an-md5", "of-another-object"  # as with KMS: ETags that do not follow from the content
DENIED = Reply(403, b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>")
both_sizes = pytest.mark.parametrize("data", [SMALL, LARGE], ids=["small", "large"])


@pytest.fixture(scope="module")
def moto() -> Iterator[Server]:
    with s3servers.moto_server() as server:
        yield server


@pytest.fixture
def bucket(moto: Server) -> Bucket:
    return moto.bucket(f"etags-{secrets.token_hex(6)}")


@pytest.fixture
def wire(moto: Server) -> Iterator[Wire]:
    with faulty_wire(moto.address) as wire:
        yield wire


@pytest.fixture
def rclone(tmp_path: Path) -> Iterator[Bucket]:
    if s3servers.missing_parts() and os.environ.get("ALLOW_SKIP") == "1":
        pytest.skip(s3servers.missing_parts())
    with s3servers.rclone_server(tmp_path) as server:
        yield server.bucket("bucket")


def store_in(bucket: Bucket, wire: Wire | None = None) -> S3Store:
    return bucket.store(endpoint=wire.endpoint if wire else "", part_size=PART, timeout=5.0)


def md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def computed(data: bytes) -> str:
    """The ETag that Amazon S3 gives these bytes."""
    if data is SMALL:
        return md5(data)
    parts = [data[start : start + PART] for start in range(0, len(data), PART)]
    digests = b"".join(hashlib.md5(part, usedforsecurity=False).digest() for part in parts)
    return f"{md5(digests)}-{len(parts)}"


def shown(store: S3Store, key: str) -> set[str]:
    """The ETags that `stat` and `list` show for an object."""
    return {item.etag for item in (store.stat(key), *store.list()) if item.key == key}


def written(store: S3Store, data: bytes) -> Upload:
    """An upload that has all its bytes."""
    upload = store.begin("key")
    upload.write(data)
    return upload


def creates(method: str, path: str, data: bytes) -> bool:
    """Return True for the request that makes the object appear."""
    return method == "PUT" if data is SMALL else method == "POST" and "uploadId=" in path


class Opaque:
    """Plans answers for a server whose ETags do not follow from the content.

    answered: the ETag element or header value in its answer to the creating request, with quotes; None to leave it out.
    heads: its answers to HEAD after that, in this order, the last one again and again.
    """

    def __init__(self, data: bytes, answered: str | None, *heads: Reply | Fault) -> None:
        self._data = data
        self._answered = answered
        self._heads = list(heads)
        self._created = False

    def __call__(self, method: str, path: str) -> Reply | Fault | None:
        """For `Wire.choose`."""
        if creates(method, path, self._data):
            self._created = True
            return self._answer()
        if method == "HEAD" and self._created:
            return self._heads.pop(0) if len(self._heads) > 1 else self._heads[0]
        return None

    def _answer(self) -> Reply:
        if self._data is SMALL:
            return Reply(200, b"", f"ETag: {self._answered}\r\n")
        element = "" if self._answered is None else f"<ETag>{self._answered}</ETag>"
        body = f"<CompleteMultipartUploadResult>{element}</CompleteMultipartUploadResult>"
        return Reply(200, body.encode(), "Content-Type: application/xml\r\n")


def head(data: bytes, etag: str) -> Reply:
    """An answer to HEAD for an object encrypted with KMS: only its size can be checked."""
    lines = (f'ETag: "{etag}"', "Last-Modified: Sat, 31 Jan 2026 12:00:00 GMT", "x-amz-server-side-encryption: aws:kms")
    return Reply(200, bytes(len(data)), "".join(f"{line}\r\n" for line in lines))


@both_sizes
def test_the_etag_of_an_upload_follows_from_its_bytes_and_is_shown(data: bytes, bucket: Bucket) -> None:
    upload = written(store_in(bucket), data)
    assert upload.etag == ""
    upload.commit()
    assert upload.etag == computed(data)
    assert shown(store_in(bucket), "key") == {upload.etag}


def test_a_second_commit_keeps_the_etag_though_the_object_was_overwritten(bucket: Bucket) -> None:
    upload = written(store_in(bucket), SMALL)
    upload.commit()
    bucket.server.client().put_object(Bucket=bucket.name, Key="key", Body=b"another")
    upload.commit()
    assert upload.etag == computed(SMALL)
    assert shown(store_in(bucket), "key") == {md5(b"another")}


@both_sizes
def test_an_etag_whose_answer_was_lost_is_known_if_it_follows_from_the_bytes(
    data: bytes, wire: Wire, bucket: Bucket
) -> None:
    upload = written(store_in(bucket, wire), data)
    lost: list[str] = []

    def lose_the_first_answer(method: str, path: str) -> Fault | None:
        return Fault.RESET_AFTER if creates(method, path, data) and not lost and not lost.append(path) else None

    wire.choose(lose_the_first_answer)
    upload.commit()
    assert lost
    assert upload.etag == computed(data)
    assert shown(store_in(bucket), "key") == {upload.etag}


def test_an_etag_whose_answer_was_lost_is_not_read_from_the_server_if_it_could_be_of_any_object(
    wire: Wire, bucket: Bucket
) -> None:
    upload = written(store_in(bucket, wire), SMALL)
    sent: list[str] = []

    def lose_the_first_answer(method: str, path: str) -> Fault | Reply | None:
        if method == "PUT":
            sent.append(path)
            return Fault.RESET_AFTER if len(sent) == 1 else None
        return head(SMALL, OPAQUE) if method == "HEAD" and sent else None

    wire.choose(lose_the_first_answer)
    upload.commit()
    assert len(sent) == 2
    assert upload.etag == ""


@both_sizes
def test_an_etag_that_does_not_follow_from_the_bytes_is_that_of_the_answer(
    data: bytes, wire: Wire, bucket: Bucket
) -> None:
    upload = written(store_in(bucket, wire), data)
    wire.choose(Opaque(data, f'"{OPAQUE}"', head(data, OPAQUE)))
    upload.commit()
    assert upload.etag == OPAQUE


@both_sizes
def test_an_object_that_overwrites_ours_before_it_is_verified_does_not_provide_the_etag(
    data: bytes, wire: Wire, bucket: Bucket
) -> None:
    upload = written(store_in(bucket, wire), data)
    wire.choose(Opaque(data, f'"{OPAQUE}"', head(data, FOREIGN)))
    upload.commit()
    assert upload.etag == OPAQUE


def test_a_commit_that_is_repeated_after_a_failed_look_remembers_the_etag_of_the_answer(
    wire: Wire, bucket: Bucket
) -> None:
    upload = written(store_in(bucket, wire), SMALL)
    wire.choose(Opaque(SMALL, f'"{OPAQUE}"', *[Fault.RESET] * 3, head(SMALL, FOREIGN)))
    with pytest.raises(Unavailable):
        upload.commit()
    assert upload.etag == ""
    upload.commit()
    assert upload.etag == OPAQUE


@pytest.mark.parametrize("answered", [f'W/"{OPAQUE}"', None, ""], ids=["weak", "missing", "empty"])
def test_an_answer_with_a_weak_etag_or_none_tells_no_etag(answered: str | None, wire: Wire, bucket: Bucket) -> None:
    upload = written(store_in(bucket, wire), LARGE)
    wire.choose(Opaque(LARGE, answered, head(LARGE, OPAQUE)))
    upload.commit()
    assert upload.etag == ""


@both_sizes
def test_without_permission_to_look_the_etag_is_that_of_the_answer(data: bytes, wire: Wire, bucket: Bucket) -> None:
    wire.choose(lambda method, _path: DENIED if method in ("HEAD", "GET") else None)
    upload = written(store_in(bucket, wire), data)
    upload.commit()
    assert upload.etag == computed(data)
    assert shown(store_in(bucket), "key") == {upload.etag}


def test_an_etag_that_a_server_shows_of_our_bytes_is_preferred_to_that_of_its_answer(
    wire: Wire, bucket: Bucket
) -> None:
    """As with rclone: the MD5 of the whole."""
    upload = written(store_in(bucket, wire), LARGE)
    wire.choose(Opaque(LARGE, f'"{computed(LARGE)}"', head(LARGE, md5(LARGE))))
    upload.commit()
    assert upload.etag == md5(LARGE)


@both_sizes
def test_the_etag_of_an_upload_to_rclone_is_the_one_that_it_lists(data: bytes, rclone: Bucket) -> None:
    """It answers CompleteMultipartUpload with the ETag of Amazon S3, and lists the MD5 of the whole."""
    upload = written(store_in(rclone), data)
    upload.commit()
    assert shown(store_in(rclone), "key") == {upload.etag} == {md5(data)}


@pytest.mark.parametrize(
    ("element", "etag"),
    [
        ('<ETag>"abc-2"</ETag>', "abc-2"),
        ("<ETag>&quot;abc&quot;</ETag>", "abc"),
        ("<ETag>abc</ETag>", "abc"),
        ('<ETag>W/"abc"</ETag>', ""),
        ("", ""),
    ],
    ids=["quoted", "escaped", "bare", "weak", "missing"],
)
def test_a_listing_may_have_etags_of_every_form_or_none(element: str, etag: str, wire: Wire, bucket: Bucket) -> None:
    item = f"<Key>key</Key><Size>1</Size><LastModified>2026-01-31T12:00:00.000Z</LastModified>{element}"
    page = f"<ListBucketResult><Name>{bucket.name}</Name><Contents>{item}</Contents></ListBucketResult>"
    wire.choose(lambda _method, _path: Reply(200, page.encode(), "Content-Type: application/xml\r\n"))
    assert [(found.key, found.size, found.etag) for found in store_in(bucket, wire).list()] == [("key", 1, etag)]


def test_an_object_that_another_program_wrote_shows_its_etag(bucket: Bucket) -> None:
    put(store_in(bucket), "key", b"ours")
    answer: dict[str, Any] = bucket.server.client().put_object(Bucket=bucket.name, Key="key", Body=b"another's")
    assert shown(store_in(bucket), "key") == {answer["ETag"].strip('"')}
