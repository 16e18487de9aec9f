"""Uploads and reads over a line on which every request, one after the other, meets every fault."""

from __future__ import annotations

import datetime as dt
import os
import secrets
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from support import s3servers
from support.s3servers import Bucket, Server, credentials
from support.wirefaults import Fault, Reply, Wire, faulty_wire

from drunner_vault.errors import (
    AlreadyExists,
    Interrupted,
    NotFound,
    StorageError,
    Unavailable,
)
from drunner_vault.stores.contract import content
from drunner_vault.stores.s3.client import backoff
from drunner_vault.stores.s3.options import S3Options
from drunner_vault.stores.s3.store import S3Store
from drunner_vault.stores.store import Upload, put, storing

MIB = 1 << 20
LARGE = content(11 * MIB + 7)
SMALL = content(50_000)
PIECE = 300_007
LANES = 4  # that many uploads at the same time: many wait for an answer that will not come
QUICK: dict[str, Any] = {"timeout": 1.5, "attempts": 2, "part_size": 5 * MIB}
SLOW_DOWN = Reply(503, b"<Error><Code>SlowDown</Code></Error>")


@pytest.fixture(scope="module")
def moto() -> Iterator[Server]:
    with s3servers.moto_server() as server:
        yield server


@pytest.fixture
def bucket(moto: Server) -> Bucket:
    return moto.bucket(f"wire-{secrets.token_hex(6)}")


@pytest.fixture
def wire(moto: Server) -> Iterator[Wire]:
    with faulty_wire(moto.address) as wire:
        yield wire


@pytest.fixture
def key(request: pytest.FixtureRequest) -> str:
    return request.node.name.translate(str.maketrans("[]", "--"))


def store_through(wire: Wire, bucket: Bucket, **options: Any) -> S3Store:
    return bucket.store(endpoint=wire.endpoint, **{**QUICK, **options})


def write_all(store: S3Store, key: str, data: bytes) -> None:
    with storing(store, key) as upload:
        for start in range(0, len(data), PIECE):
            upload.write(data[start : start + PIECE])


def requests_of(wire: Wire, store: S3Store, key: str, data: bytes) -> int:
    """How many requests an upload takes where nothing fails."""
    wire.forget()
    write_all(store, key, data)
    return len(wire.requests)


def ends_well_or_not_at_all(store: S3Store, bucket: Bucket, key: str, data: bytes) -> bool:
    """Upload, and hold that it is there whole, or failed with one of our errors and left nothing. Returns which."""
    failure = None
    try:
        write_all(store, key, data)
    except StorageError as error:
        failure = error
    behind = bucket.server.client()
    listed = behind.list_objects_v2(Bucket=bucket.name, Prefix=key).get("Contents", [])
    assert key not in bucket.uploads()
    if failure is not None:
        assert failure.message
        assert failure.hint
        assert key not in {item["Key"] for item in listed}, failure
        return False
    assert behind.get_object(Bucket=bucket.name, Key=key)["Body"].read() == data
    behind.delete_object(Bucket=bucket.name, Key=key)
    return True


def try_all(
    bucket: Bucket, data: bytes, key: str, attempt: Callable[[Wire, S3Store, str], bool], **options: Any
) -> str:
    """Try an upload with each fault at each of its requests. Returns how many did and did not get through."""
    with faulty_wire(bucket.server.address) as wire:
        count = requests_of(wire, store_through(wire, bucket), f"{key}/none", data)
    cases = [(number, fault) for number in range(1, count + 1) for fault in Fault]

    def some(lane: int) -> list[bool]:
        with faulty_wire(bucket.server.address) as wire:
            store = store_through(wire, bucket, **options)
            return [attempt_at(wire, store, *case) for case in cases[lane::LANES]]

    def attempt_at(wire: Wire, store: S3Store, number: int, fault: Fault) -> bool:
        wire.forget()
        wire.plan(number, fault)
        return attempt(wire, store, f"{key}/{number}-{fault.name}")

    with ThreadPoolExecutor(LANES) as pool:
        results = [result for lane in pool.map(some, range(LANES)) for result in lane]
    assert len(results) == len(cases)
    said = f"{count} requests, each with {len(Fault)} faults: {results.count(True)} uploads got through,"
    return f"{said} {results.count(False)} failed and left nothing."


@pytest.mark.parametrize("data", [SMALL, LARGE], ids=["small", "large"])
def test_whatever_one_request_meets_the_upload_is_complete(
    data: bytes, bucket: Bucket, key: str, tally: Callable[[str], None]
) -> None:
    said = try_all(bucket, data, key, lambda _wire, store, name: ends_well_or_not_at_all(store, bucket, name, data))
    assert " 0 failed" in said
    tally(said)


@pytest.mark.parametrize("data", [SMALL, LARGE], ids=["small", "large"])
def test_an_upload_that_is_given_up_at_any_request_leaves_nothing_and_the_next_one_works(
    data: bytes, bucket: Bucket, key: str, tally: Callable[[str], None]
) -> None:
    """With one attempt only, so that a fault ends the upload."""

    def twice(wire: Wire, store: S3Store, name: str) -> bool:
        worked = ends_well_or_not_at_all(store, bucket, name, data)
        wire.forget()
        assert worked or ends_well_or_not_at_all(store, bucket, name, data)
        return worked

    said = try_all(bucket, data, key, twice, attempts=1, timeout=5.0)  # for an abort, which too is sent once
    assert " 0 failed" not in said
    tally(said)


def test_a_read_goes_on_where_it_was_cut(wire: Wire, bucket: Bucket, key: str) -> None:
    put(bucket.store(), key, LARGE)
    store = store_through(wire, bucket)
    for fault in Fault:
        wire.forget()
        wire.plan(1, fault)
        assert store.read(key, 1000, 6 * MIB) == LARGE[1000 : 1000 + 6 * MIB], fault
        assert len(wire.requests) == 2, fault
    ranges = [line for seen in wire.requests for line in seen.headers.split(b"\r\n") if line.startswith(b"Range")]
    assert ranges[0] == b"Range: bytes=1000-6292455"


def test_a_read_asks_only_for_the_rest(wire: Wire, bucket: Bucket, key: str) -> None:
    put(bucket.store(), key, LARGE)
    wire.plan(1, Fault.CUT_ANSWER)
    assert store_through(wire, bucket).read(key, 0, 8 * MIB) == LARGE[: 8 * MIB]
    first = int(wire.requests[1].headers.partition(b"Range: bytes=")[2].partition(b"-")[0])
    assert 2 * MIB < first <= 4 * MIB


def test_a_listing_and_a_deletion_are_repeated(wire: Wire, bucket: Bucket, key: str) -> None:
    store = store_through(wire, bucket)
    for fault in Fault:
        put(bucket.store(), f"{key}/{fault.name}", b"x")
        wire.forget()
        wire.plan(1, fault)
        assert [item.key for item in store.list(key)] == [f"{key}/{fault.name}"], fault
        assert len(wire.requests) == 2, fault
        for number in (1, 2):
            wire.forget()
            wire.plan(number, fault)
            store.delete(f"{key}/{fault.name}")
        assert [item.key for item in bucket.store().list(key)] == []


@pytest.mark.parametrize("attempts", [1, 2, 5])
def test_what_may_pass_is_tried_again_so_often(attempts: int, wire: Wire, bucket: Bucket, key: str) -> None:
    wire.choose(lambda _method, _path: SLOW_DOWN)
    with pytest.raises(Unavailable, match="fewer requests"):
        list(store_through(wire, bucket, attempts=attempts).list(key))
    assert len(wire.requests) == attempts


def test_a_plain_no_is_never_tried_again(wire: Wire, bucket: Bucket, key: str) -> None:
    denied = Reply(403, b"<Error><Code>InvalidAccessKeyId</Code><Message>no such key</Message></Error>")
    wire.choose(lambda _method, _path: denied)
    store = store_through(wire, bucket, attempts=5)
    with pytest.raises(StorageError, match="does not know this access key"):
        list(store.list())
    assert len(wire.requests) == 1
    with pytest.raises(StorageError, match="does not know this access key"):
        store.begin(key)
    assert [seen.method for seen in wire.requests[1:]] == ["HEAD", "GET"]


def test_delays_grow_and_differ() -> None:
    for failures, longest in ((1, 1), (2, 2), (3, 4), (6, 20), (50, 20)):
        delays = [backoff(failures) for _ in range(200)]
        assert 0 <= min(delays) < max(delays) <= longest
        assert max(delays) > longest / 2


@pytest.mark.parametrize("data", [SMALL, LARGE], ids=["small", "large"])
def test_a_commit_may_be_repeated_after_an_outage(data: bytes, wire: Wire, bucket: Bucket, key: str) -> None:
    store = store_through(wire, bucket)
    upload = store.begin(key)
    upload.write(data)
    wire.choose(lambda _method, _path: Fault.RESET)
    for _ in range(3):
        with pytest.raises(Unavailable):
            upload.commit()
    wire.forget()
    upload.commit()
    assert bucket.objects()[key] == data
    assert bucket.uploads() == []


@pytest.mark.parametrize("data", [SMALL, LARGE], ids=["small", "large"])
def test_a_commit_whose_answers_all_got_lost_is_found_to_have_worked(
    data: bytes, wire: Wire, bucket: Bucket, key: str
) -> None:
    store = store_through(wire, bucket)
    upload = store.begin(key)
    upload.write(data)
    appears = "POST" if data is LARGE else "PUT"
    lost: list[str] = []

    def choose(method: str, path: str) -> Fault | None:
        if lost or (method == appears and ("uploadId=" in path) == (data is LARGE)):
            lost.append(path)
            return Fault.RESET_AFTER
        return None

    wire.choose(choose)
    with pytest.raises(Unavailable):
        upload.commit()
    wire.forget()
    upload.commit()
    upload.abort()
    assert bucket.objects()[key] == data
    assert [seen.method for seen in wire.requests] == ["HEAD", "HEAD"]


def test_what_appeared_though_nobody_heard_of_it_is_taken_back(wire: Wire, bucket: Bucket, key: str) -> None:
    store = store_through(wire, bucket)
    upload = store.begin(key)
    upload.write(SMALL)
    wire.choose(lambda method, _path: Fault.RESET_AFTER if method == "PUT" else Fault.RESET if lost() else None)

    def lost() -> bool:
        return any(seen.method == "PUT" for seen in wire.requests)

    with pytest.raises(Unavailable):
        upload.commit()
    assert key in bucket.objects()
    wire.forget()
    upload.abort()
    assert key not in bucket.objects()


def test_another_upload_that_came_first_is_never_taken_for_ours(wire: Wire, bucket: Bucket, key: str) -> None:
    """The same content even; and one of our answers got lost."""
    upload = store_through(wire, bucket).begin(key)
    upload.write(SMALL)
    puts: list[str] = []

    def choose(method: str, path: str) -> Fault | None:
        if method == "PUT":
            puts.append(path)
            if len(puts) == 1:
                bucket.store().begin(key)
                put(bucket.store(), key, SMALL)
                return Fault.RESET
        return None

    wire.choose(choose)
    with pytest.raises(AlreadyExists):
        upload.commit()
    upload.abort()
    assert bucket.objects()[key] == SMALL


def test_a_failed_part_is_told_by_the_next_write(wire: Wire, bucket: Bucket, key: str) -> None:
    refused = Reply(400, b"<Error><Code>EntityTooLarge</Code><Message>too large</Message></Error>")
    wire.choose(lambda method, path: refused if method == "PUT" and "partNumber=" in path else None)
    upload = store_through(wire, bucket).begin(key)
    with pytest.raises(StorageError, match="nothing that large"):
        write_until_it_fails(upload)
    with pytest.raises(StorageError, match="nothing that large"):
        upload.commit()
    upload.abort()
    assert bucket.uploads() == []


def test_an_abort_that_fails_gives_notice_and_hides_nothing(wire: Wire, bucket: Bucket, key: str) -> None:
    store = store_through(wire, bucket)
    bucket.notices.clear()
    with pytest.raises(ZeroDivisionError):
        write_then_fail(store, key, wire)
    assert len(bucket.notices) == 1
    assert key in bucket.notices[0]
    wire.forget()
    leftovers = [leftover for leftover in store.leftovers() if leftover.key == key]
    assert len(leftovers) == 1
    assert leftovers[0].size in (0, 5 * MIB, 10 * MIB)
    store.discard(leftovers[0])
    assert bucket.uploads() == []


def write_until_it_fails(upload: Upload) -> None:
    for _ in range(200):
        upload.write(LARGE[:MIB])
        time.sleep(0.02)


def write_then_fail(store: S3Store, key: str, wire: Wire) -> None:
    with storing(store, key) as upload:
        upload.write(LARGE)
        wire.choose(lambda _method, _path: SLOW_DOWN)
        raise ZeroDivisionError


def test_an_abort_does_not_wait_for_parts_on_their_way(wire: Wire, bucket: Bucket, key: str) -> None:
    """Nor does it for the pause before they would be sent again."""
    wire.choose(lambda method, path: SLOW_DOWN if method == "PUT" else None)
    options = S3Options(bucket.name, endpoint=wire.endpoint, part_size=5 * MIB)
    store = bucket.store_with(options, delay=lambda _failures: 30.0)
    upload = store.begin(key)
    upload.write(LARGE)
    wait_for(lambda: any(seen.status == 503 for seen in wire.requests))
    started = time.monotonic()
    upload.abort()
    assert time.monotonic() - started < 5
    assert bucket.uploads() == []


def wait_for(what: Any, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("operation", ["HEAD", "PUT"])
def test_a_signal_is_not_taken_for_a_broken_connection(operation: str, wire: Wire, bucket: Bucket, key: str) -> None:
    """botocore wraps every exception that comes up while it waits for an answer."""

    def stop(_number: int, _frame: object) -> None:
        raise Interrupted("stopped by a signal")

    before = signal.signal(signal.SIGUSR1, stop)
    try:
        timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGUSR1))
        stalled: list[str] = []

        def choose(method: str, path: str) -> Fault | None:
            if method != operation or stalled:
                return None
            stalled.append(path)
            timer.start()  # from now on an answer is waited for
            return Fault.STALL

        wire.choose(choose)
        with pytest.raises(Interrupted):
            put(store_through(wire, bucket, timeout=20.0), key, SMALL)
        timer.join()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert key not in bucket.objects()


def test_sigterm_in_the_middle_leaves_no_upload(bucket: Bucket, key: str, tmp_path: Path) -> None:
    program = tmp_path / "upload.py"
    program.write_text(
        textwrap.dedent(f"""
        import os
        from drunner_vault.cli.common import stop_on_signals
        from drunner_vault.errors import Interrupted
        from drunner_vault.stores.s3.options import S3Options
        from drunner_vault.stores.s3.store import S3Store
        from drunner_vault.stores.store import storing

        stop_on_signals()
        store = S3Store(S3Options({bucket.name!r}, endpoint={bucket.server.endpoint!r}), notice=print)
        try:
            with storing(store, {key!r}) as upload:
                while True:
                    upload.write(os.urandom(1 << 20))
                    os.write(1, b"wrote\\n")  # in one piece, whenever the signal comes
        except Interrupted:
            os.write(1, b"interrupted\\n")
        """)
    )
    process = subprocess.Popen(
        [sys.executable, str(program)], stdout=subprocess.PIPE, text=True, env={**os.environ, **credentials()}
    )
    assert process.stdout is not None
    for _ in range(20):
        assert process.stdout.readline() == "wrote\n"
    assert bucket.uploads() == [key]
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=30)
    assert said.splitlines()[-1] == "interrupted"
    assert set(said.splitlines()) <= {"wrote", "interrupted"}
    assert bucket.uploads() == []
    assert key not in bucket.objects()


def test_a_server_that_knows_no_conditions_is_asked_without(wire: Wire, bucket: Bucket, key: str) -> None:
    """And that is remembered."""
    refusal = Reply(501, b"<Error><Code>NotImplemented</Code><Message>A header is not implemented</Message></Error>")
    conditions: list[bool] = []

    def choose(method: str, path: str) -> Reply | None:
        appears = (method == "PUT" and "partNumber" not in path) or (method == "POST" and "uploadId" in path)
        return refusal if appears and len(conditions) < 1 and not conditions.append(True) else None

    wire.choose(choose)
    store = store_through(wire, bucket)
    put(store, f"{key}/small", SMALL)
    write_all(store, f"{key}/large", LARGE)
    asked = [b"If-None-Match" in seen.headers for seen in wire.requests if seen.method in ("PUT", "POST")]
    assert asked == [True] + [False] * (len(asked) - 1)
    with pytest.raises(AlreadyExists):
        put(store, f"{key}/small", b"other")


def test_every_upload_is_checked_by_its_md5_and_by_no_checksum_that_others_refuse(
    wire: Wire, bucket: Bucket, key: str
) -> None:
    store = store_through(wire, bucket)
    put(store, f"{key}/small", SMALL)
    write_all(store, f"{key}/large", LARGE)
    sent = [seen for seen in wire.requests if seen.method == "PUT"]
    assert len(sent) == 4
    assert all(b"Content-MD5: " in seen.headers for seen in sent)
    assert not any(b"x-amz-checksum" in seen.headers.lower() for seen in wire.requests)
    assert not any(b"x-amz-trailer" in seen.headers.lower() for seen in wire.requests)
    assert all(b"drunner-vault/" in seen.headers for seen in wire.requests)


def test_what_is_stored_otherwise_than_it_was_sent_is_an_error_and_removed(
    wire: Wire, bucket: Bucket, key: str
) -> None:
    """moto believes whatever it gets: here the body of the request is changed on its way."""
    upload = store_through(wire, bucket).begin(key)
    upload.write(SMALL)
    wire.spoil = lambda body: body[:-1] + b"?" if body else body
    with pytest.raises(StorageError, match="is not what was sent"):
        upload.commit()
    upload.abort()
    assert key not in bucket.objects()
    with pytest.raises(NotFound):
        bucket.store().stat(key)


def test_an_answer_that_has_less_than_it_says_is_asked_for_again(wire: Wire, bucket: Bucket, key: str) -> None:
    put(bucket.store(), key, SMALL)
    wire.plan(1, Reply(206, SMALL[:5], f"Content-Range: bytes 0-99/{len(SMALL)}\r\n"))
    assert store_through(wire, bucket).read(key, 0, 100) == SMALL[:100]
    assert b"Range: bytes=5-99" in wire.requests[1].headers


def test_a_server_that_takes_no_notice_of_ranges_is_found_out(wire: Wire, bucket: Bucket, key: str) -> None:
    wire.choose(lambda _method, _path: Reply(200, SMALL))
    store = store_through(wire, bucket)
    assert store.read(key, 0, 100) == SMALL[:100]
    with pytest.raises(StorageError, match="does not answer like S3"):
        store.read(key, 10, 100)


def test_a_lock_is_sent_with_its_md5(wire: Wire, moto: Server, key: str) -> None:
    bucket = moto.bucket(f"lock-{secrets.token_hex(6)}", lockable=True)
    store = store_through(wire, bucket, lock="governance")
    put(store, key, SMALL)
    store.lock(key, dt.datetime.now(dt.UTC) + dt.timedelta(minutes=1))
    (sent,) = [seen for seen in wire.requests if "retention" in seen.path]
    assert b"Content-MD5: " in sent.headers
    assert b"checksum" not in sent.headers.lower()
