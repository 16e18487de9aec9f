"""What a bucket does beyond the promises of every store: permissions, versions, locks, other programs' things."""

from __future__ import annotations

import datetime as dt
import json
import os
import secrets
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from support import s3servers
from support.s3servers import Bucket, Server, credentials
from support.wirefaults import Reply, faulty_wire

from drunner_vault.clock import Clock
from drunner_vault.errors import AccessDenied, AlreadyExists, Locked, NotFound, StorageError, Unsupported
from drunner_vault.stores.contract import content
from drunner_vault.stores.s3.options import S3Options
from drunner_vault.stores.s3.parts import MIB
from drunner_vault.stores.s3.store import S3Store
from drunner_vault.stores.store import put, read_small, storing

LARGE = content(11 * MIB + 7)
PARTS: dict[str, Any] = {"part_size": 5 * MIB}


@pytest.fixture(scope="module")
def moto() -> Iterator[Server]:
    with s3servers.moto_server() as server:
        yield server


@pytest.fixture
def bucket(moto: Server) -> Bucket:
    return moto.bucket(f"b{secrets.token_hex(6)}")


@pytest.fixture
def versioned(bucket: Bucket) -> Bucket:
    bucket.server.client().put_bucket_versioning(Bucket=bucket.name, VersioningConfiguration={"Status": "Enabled"})
    return bucket


@pytest.fixture
def locking(moto: Server) -> Bucket:
    return moto.bucket(f"l{secrets.token_hex(6)}", lockable=True)


@pytest.fixture
def rclone(tmp_path: Path) -> Iterator[Bucket]:
    if s3servers.missing_parts() and os.environ.get("ALLOW_SKIP") == "1":
        pytest.skip(s3servers.missing_parts())
    with s3servers.rclone_server(tmp_path) as server:
        yield server.bucket("bucket")


def put_large(store: S3Store, key: str = "large", lock: dt.datetime | None = None) -> None:
    with storing(store, key, lock) as upload:
        upload.write(LARGE)


def in_(seconds: float) -> dt.datetime:
    return dt.datetime.now(dt.UTC).replace(microsecond=0) + dt.timedelta(seconds=seconds)


def test_the_name_is_as_a_person_writes_it_and_keys_are_below_the_prefix(bucket: Bucket) -> None:
    store = bucket.store(prefix="some/where")
    put(store, "a/b", b"x")
    assert store.name == f"s3://{bucket.name}/some/where"
    assert list(bucket.objects()) == ["some/where/a/b"]
    assert [item.key for item in store.list()] == ["a/b"]
    assert [item.key for item in bucket.store(prefix="some/whe").list()] == []


def test_a_listing_has_more_than_one_page(bucket: Bucket) -> None:
    client = bucket.server.client()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: client.put_object(Bucket=bucket.name, Key=f"d/{n:05}", Body=b"x"), range(1234)))
    found = [item.key for item in bucket.store().list("d")]
    assert found == [f"d/{number:05}" for number in range(1234)]


def test_what_others_put_there_is_left_out(bucket: Bucket) -> None:
    client = bucket.server.client()
    for key in ("a/", "a//b", ".hidden", "a/.b/c", "a/good", "back\\slash"):
        client.put_object(Bucket=bucket.name, Key=key, Body=b"x")
    assert [item.key for item in bucket.store().list()] == ["a/good"]


def test_leftovers_tell_their_key_size_and_age(bucket: Bucket) -> None:
    store = bucket.store(prefix="p")
    client = bucket.server.client()
    started = client.create_multipart_upload(Bucket=bucket.name, Key="p/d/key")["UploadId"]
    for number in (1, 2):
        client.upload_part(
            Bucket=bucket.name, Key="p/d/key", UploadId=started, PartNumber=number, Body=bytes(1000 * number)
        )
    client.create_multipart_upload(Bucket=bucket.name, Key="p/dd/other")
    client.create_multipart_upload(Bucket=bucket.name, Key="outside")
    (found,) = store.leftovers("d")
    assert (found.key, found.size, found.handle) == ("d/key", 3000, started)
    assert abs(found.active - dt.datetime.now(dt.UTC)) < dt.timedelta(minutes=1)
    assert {leftover.key for leftover in store.leftovers()} == {"d/key", "dd/other"}
    for leftover in list(store.leftovers()):
        store.discard(leftover)
        store.discard(leftover)
    assert bucket.uploads() == ["outside"]


def test_storage_class_and_encryption_reach_the_server(bucket: Bucket) -> None:
    store = bucket.store(storage_class="STANDARD_IA", encryption="aws:kms", kms_key="some-key", **PARTS)
    put(store, "small", b"x")
    put_large(store)
    for key in ("small", "large"):
        head = bucket.server.client().head_object(Bucket=bucket.name, Key=key)
        assert head["StorageClass"] == "STANDARD_IA"
        assert (head["ServerSideEncryption"], head["SSEKMSKeyId"]) == ("aws:kms", "some-key")


def test_deleting_leaves_no_version_behind(versioned: Bucket) -> None:
    store, client = versioned.store(), versioned.server.client()
    put(store, "key", b"one")
    put(store, "key-other", b"x")
    client.put_object(Bucket=versioned.name, Key="key", Body=b"another program's")
    store.delete("key")
    assert versioned.versions() == ["key-other"]
    with pytest.raises(NotFound):
        store.stat("key")


def test_a_key_below_a_mark_of_deletion_can_be_used_again(versioned: Bucket) -> None:
    store = versioned.store()
    put(store, "key", b"one")
    versioned.server.client().delete_object(Bucket=versioned.name, Key="key")
    put(store, "key", b"two")
    assert read_small(store, "key") == b"two"


@pytest.mark.parametrize("mode", ["governance", "compliance"])
def test_locks_of_small_and_large_objects(mode: str, locking: Bucket) -> None:
    """moto drops the lock of a multipart upload: the object gets it afterwards."""
    store, until = locking.store(lock=mode, **PARTS), in_(60)
    put(store, "small", b"x", until)
    put_large(store, lock=until)
    for key in ("small", "large"):
        assert store.stat(key).locked_until == until
        head = locking.server.client().head_object(Bucket=locking.name, Key=key)
        assert head["ObjectLockMode"] == mode.upper()
        with pytest.raises(Locked, match=f"until {until:%Y-%m-%d %H:%M:%S} UTC"):
            store.delete(key)
        assert store.stat(key).size
    assert locking.versions() == ["large", "small"]


def test_a_lock_can_be_made_longer_and_never_shorter(locking: Bucket) -> None:
    store = locking.store(lock="governance")
    put(store, "key", b"x")
    assert store.stat("key").locked_until is None
    store.lock("key", in_(100))
    longer = in_(200) + dt.timedelta(microseconds=5)
    store.lock("key", longer)
    store.lock("key", in_(10))
    found = store.stat("key").locked_until
    assert found is not None
    assert dt.timedelta() < found - longer < dt.timedelta(seconds=1)
    with pytest.raises(NotFound):
        store.lock("missing", in_(10))


def test_a_lock_that_the_bucket_sets_by_itself_is_told(locking: Bucket) -> None:
    rule = {"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 3}}}
    locking.server.client().put_object_lock_configuration(Bucket=locking.name, ObjectLockConfiguration=rule)
    store = locking.store()
    put(store, "key", b"x")
    found = store.stat("key").locked_until
    assert found is not None
    assert dt.timedelta(days=2) < found - dt.datetime.now(dt.UTC) < dt.timedelta(days=4)
    with pytest.raises(Locked):
        store.delete("key")


def test_a_lock_that_has_ended_no_longer_holds(locking: Bucket) -> None:
    store = locking.store(lock="compliance")
    until = in_(2)
    put(store, "key", b"x", until)
    with pytest.raises(Locked):
        store.delete("key")
    while dt.datetime.now(dt.UTC) <= until:
        pass
    store.delete("key")
    assert locking.versions() == []


def test_a_refusal_that_is_no_lock_is_no_lock(locking: Bucket) -> None:
    """By a clock for which the lock has ended."""
    put(locking.store(lock="governance"), "key", b"x", in_(60))
    options = S3Options(locking.name, endpoint=locking.server.endpoint, attempts=1)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in credentials().items():
            patch.setenv(name, value)
        store = S3Store(options, Clock(now=lambda: in_(999)), notice=locking.notices.append)
    with pytest.raises(AccessDenied) as told:
        store.delete("key")
    assert "s3:DeleteObjectVersion" in told.value.hint


@pytest.mark.parametrize("where", ["bucket", "rclone"])
def test_no_lock_is_promised_that_nobody_would_keep(where: str, request: pytest.FixtureRequest) -> None:
    """rclone takes locks, and deletes what is locked."""
    bucket: Bucket = request.getfixturevalue(where)
    for options in ({}, {"lock": "governance"}):
        with pytest.raises(Unsupported) as told:
            bucket.store(**options).begin("key", in_(60))
        assert "lock" in told.value.message.lower()
        assert told.value.hint
    assert not bucket.store().can_lock
    assert bucket.objects() == {}


WRITER = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": ["s3:PutObject", "s3:AbortMultipartUpload"], "Resource": "*"}],
}
ALL = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}


@pytest.fixture(scope="module")
def strict() -> Iterator[tuple[Bucket, dict[str, str], dict[str, str]]]:
    """A bucket whose server asks who may do what; the keys of one who may write only, and of one who may do all."""
    with s3servers.moto_server(INITIAL_NO_AUTH_ACTION_COUNT="7") as server:
        bucket = server.bucket("strict")
        yield bucket, _user(server, "writer", WRITER), _user(server, "owner", ALL)


def _user(server: Server, name: str, policy: dict[str, Any]) -> dict[str, str]:
    iam = server.client("iam")
    iam.create_user(UserName=name)
    iam.put_user_policy(UserName=name, PolicyName=name, PolicyDocument=json.dumps(policy))
    made = iam.create_access_key(UserName=name)["AccessKey"]
    return credentials(made["AccessKeyId"], made["SecretAccessKey"])


def test_who_may_write_only_can_store_and_is_told_what_else_it_takes(
    strict: tuple[Bucket, dict[str, str], dict[str, str]],
) -> None:
    bucket, writer, owner = strict
    bucket.notices.clear()
    store, all_may = bucket.store(keys=writer, **PARTS), bucket.store(keys=owner)
    put(store, "small", b"x")
    put_large(store)
    assert read_small(all_may, "small") == b"x"
    assert all_may.read("large", 0, len(LARGE)) == LARGE
    assert len(bucket.notices) == 1
    assert "may not look at what was stored in s3://strict" in bucket.notices[0]
    actions: list[tuple[Callable[[], object], str]] = [
        (lambda: store.stat("small"), "s3:GetObject"),
        (lambda: store.read("small", 0, 1), "s3:GetObject"),
        (lambda: list(store.list()), "s3:ListBucket"),
        (lambda: list(store.leftovers()), "s3:ListBucketMultipartUploads"),
        (lambda: store.delete("small"), "s3:GetObject"),
    ]
    for action, permission in actions:
        with pytest.raises(AccessDenied) as told:
            action()
        assert permission in told.value.hint
    upload = store.begin("aborted")
    upload.write(LARGE)
    upload.abort()
    assert list(all_may.leftovers()) == []


def test_who_may_write_only_cannot_overwrite(strict: tuple[Bucket, dict[str, str], dict[str, str]]) -> None:
    bucket, writer, owner = strict
    put(bucket.store(keys=owner), "taken", b"first")
    store = bucket.store(keys=writer, **PARTS)
    for data in (b"second", LARGE):
        upload = store.begin("taken")
        upload.write(data)
        with pytest.raises(AlreadyExists):
            upload.commit()
        upload.abort()
    assert read_small(bucket.store(keys=owner), "taken") == b"first"


def test_of_many_who_store_the_same_key_on_a_server_without_conditions_one_wins(rclone: Bucket) -> None:
    """As long as they do not commit at the very same moment."""
    store = rclone.store()
    uploads = [store.begin("key") for _ in range(5)]
    for number, upload in enumerate(uploads):
        upload.write(b"%d" % number)
    uploads[2].commit()
    for number in (0, 1, 3, 4):
        with pytest.raises(AlreadyExists):
            uploads[number].commit()
        uploads[number].abort()
    assert rclone.objects() == {"key": b"2"}


def test_an_etag_that_is_the_md5_of_the_whole_is_a_proof(rclone: Bucket) -> None:
    with faulty_wire(rclone.server.address) as wire:
        put_large(rclone.store(endpoint=wire.endpoint, **PARTS))
        assert "GET" not in {seen.method for seen in wire.requests if "list-type" not in seen.path}


def test_an_etag_that_proves_nothing_makes_the_object_be_read_back(bucket: Bucket) -> None:
    with faulty_wire(bucket.server.address) as wire:
        store = bucket.store(endpoint=wire.endpoint, **PARTS)
        upload = store.begin("large")
        upload.write(LARGE)
        odd = _head(len(LARGE), '"made-of-thin-air"')
        wire.choose(lambda method, _path: odd if method == "HEAD" and _is_committed(wire.requests) else None)
        upload.commit()
        assert [seen.method for seen in wire.requests[-2:]] == ["GET", "GET"]
    assert bucket.objects() == {"large": LARGE}


def _is_committed(requests: list[Any]) -> bool:
    return any(seen.method == "POST" and "uploadId" in seen.path for seen in requests)


def _head(size: int, etag: str) -> Reply:
    headers = f"ETag: {etag}\r\nLast-Modified: Sat, 31 Jan 2026 12:00:00 GMT\r\n"
    return Reply(200, bytes(size), headers)


@pytest.mark.parametrize("etag", ['"made-of-thin-air"', '"0112346789abcdef0112346789abcdef-3"'])
def test_something_else_under_the_key_is_an_error_and_is_left_alone(etag: str, bucket: Bucket) -> None:
    """Of the right size even: but what is read back is not what was written, and not marked as ours."""
    with faulty_wire(bucket.server.address) as wire:
        store = bucket.store(endpoint=wire.endpoint)
        upload = store.begin("key")
        upload.write(b"ours")

        def choose(method: str, _path: str) -> Reply | None:
            if not any(seen.method == "PUT" for seen in wire.requests):
                return None
            return _head(4, etag) if method == "HEAD" else Reply(206, b"what", "Content-Range: bytes 0-3/4\r\n")

        wire.choose(choose)
        # the upload itself gets through before the first answer is replaced
        wire.plan(4, Reply(200, b"", 'ETag: "whatever"\r\n'))
        with pytest.raises(StorageError, match="is not what was sent"):
            upload.commit()
        assert "DELETE" not in {seen.method for seen in wire.requests}


def test_a_cut_down_schedule_ends_with_a_word_about_part_size(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("drunner_vault.stores.s3.parts.MAX_PARTS", 2)
    with pytest.raises(StorageError) as told:
        put_large(bucket.store(**PARTS))
    assert "part_size" in told.value.hint
    assert bucket.uploads() == []


def test_r2_gets_parts_of_one_size() -> None:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in credentials().items():
            patch.setenv(name, value)
        account = S3Store(S3Options("b", endpoint="https://account.r2.cloudflarestorage.com"), notice=print)
        other = S3Store(S3Options("b", endpoint="https://example.org"), notice=print)
    assert {account._plan._schedule(number) for number in (1, 1901, 10_000)} == {64 * MIB}
    assert len({other._plan._schedule(number) for number in (1, 1901, 10_000)}) == 3


def test_the_endpoint_may_come_from_the_environment(bucket: Bucket) -> None:
    keys = credentials() | {"AWS_ENDPOINT_URL_S3": bucket.server.endpoint}
    store = bucket.store_with(S3Options(bucket.name), keys)
    put(store, "key", b"x")
    assert bucket.objects() == {"key": b"x"}


def test_a_bucket_that_has_never_had_an_upload_has_no_leftovers(rclone: Bucket) -> None:
    """rclone answers with an error there."""
    store = rclone.store()
    put(store, "a/b", b"x")
    assert list(store.leftovers()) == []
