"""The promises of a store, each as something to try: in the tests on every kind of store, and on a person's own bucket.

A check works below a directory of its own and leaves nothing behind, except what a lock keeps for some seconds.
"""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

from drunner_vault.clock import SYSTEM_CLOCK, Clock
from drunner_vault.errors import AlreadyExists, BadUsage, Locked, NotFound, Unsupported
from drunner_vault.stores.store import Store, put, storing

_MIB = 1 << 20
_LARGE = 21 * _MIB + 12345  # several parts of any multipart upload, the last one odd
_SKEW = dt.timedelta(minutes=5)
LOCK = dt.timedelta(seconds=4)
_AWKWARD_NAMES = (
    "with space",
    "a+b",
    "100%",
    "a&b=c",
    "~tilde",
    "Grüße",
    "日本",
    "it's",
    "#1?",
    "a:b",
    "(x)[y]{z}",
    "@,;!$",
)
_CLIMBING = ("", "/x", "x/", "a//b", "../x", "a/../x", "./x", ".hidden", "a/.hidden/x", "a\nb", "x" * 256)


class Broken(Exception):
    """A promise is not kept. The text says which, as it was met."""


@dataclass(frozen=True)
class Promise:
    """name: short, for reports. text: what is promised. attempt: tries it below a directory, raising Broken."""

    name: str
    text: str
    attempt: Callable[[Store, str], None]


def require(kept: bool, otherwise: str) -> None:
    """Raises Broken unless it is kept."""
    if not kept:
        raise Broken(otherwise)


def expect(error: type[Exception], action: Callable[[], Any], otherwise: str) -> None:
    """Raises Broken unless the action raises this error."""
    try:
        action()
    except error:
        return
    raise Broken(otherwise)


def content(size: int, seed: int = 0) -> bytes:
    """Bytes that do not compress and do not repeat, the same every time."""
    return random.Random(seed).randbytes(size)  # noqa: S311 (no secret)


def _whole(store: Store, base: str) -> None:
    for size in (0, 1, 4096, _MIB, _MIB + 1):
        key, data = f"{base}/size-{size}", content(size, size)
        put(store, key, data)
        require(store.read(key, 0, size + 10) == data, f"an object of {size} bytes was not read back as it was written")
        require(store.stat(key).size == size, f"an object of {size} bytes is said to have {store.stat(key).size}")


def _large(store: Store, base: str) -> None:
    key, data = f"{base}/large", content(_LARGE)
    with storing(store, key) as upload:
        for start in range(0, _LARGE, 99_991):
            upload.write(data[start : start + 99_991])
    require(store.stat(key).size == _LARGE, f"{_LARGE} bytes were written, and {store.stat(key).size} are there")
    found = b"".join(store.read(key, start, 8 * _MIB) for start in range(0, _LARGE, 8 * _MIB))
    require(found == data, "a large object was not read back as it was written")


def _atomic(store: Store, base: str) -> None:
    key = f"{base}/atomic"
    upload = store.begin(key)
    upload.write(content(6 * _MIB))
    _require_absent(store, base, key, "before it was committed")
    upload.commit()
    require(store.stat(key).size == 6 * _MIB, "an object is not whole when it appears")
    upload.commit()
    upload.abort()
    require(store.stat(key).size == 6 * _MIB, "an object that was committed is touched by what its upload does later")


def _aborted(store: Store, base: str) -> None:
    key = f"{base}/aborted"
    for size in (0, 10, 6 * _MIB):
        upload = store.begin(key)
        upload.write(content(size))
        upload.abort()
        upload.abort()
        _require_absent(store, base, key, "after its upload was aborted")
    require(not list(store.leftovers(base)), "an aborted upload has left something behind")


def _require_absent(store: Store, base: str, key: str, when: str) -> None:
    expect(NotFound, lambda: store.stat(key), f"an object can be seen {when}")
    expect(NotFound, lambda: store.read(key, 0, 1), f"an object can be read {when}")
    require(all(item.key != key for item in store.list(base)), f"an object is listed {when}")


def _once(store: Store, base: str) -> None:
    key = f"{base}/once"
    put(store, key, b"first")
    expect(AlreadyExists, lambda: put(store, key, b"second"), "an object was overwritten without a word")
    require(store.read(key, 0, 99) == b"first", "an object was overwritten")


def _race(store: Store, base: str) -> None:
    key = f"{base}/race"
    one, other = store.begin(key), store.begin(key)
    one.write(b"one")
    other.write(b"other")
    one.commit()
    try:
        expect(AlreadyExists, other.commit, "of two uploads to one key both were taken: the server cannot create only")
    finally:
        other.abort()
    require(store.read(key, 0, 99) == b"one", "of two uploads to one key, the second overwrote the first")


def _ranges(store: Store, base: str) -> None:
    key, data = f"{base}/ranges", content(100_000)
    put(store, key, data)
    ranges = (
        (0, 1),
        (1, 10),
        (65_535, 3),
        (99_999, 1),
        (99_990, 100),
        (100_000, 1),
        (200_000, 5),
        (50, 0),
        (0, 100_000),
    )
    for offset, length in ranges:
        expected = data[offset : offset + length]
        require(store.read(key, offset, length) == expected, f"{length} bytes from {offset} were not what is there")
    put(store, f"{base}/empty", b"")
    require(store.read(f"{base}/empty", 0, 10) == b"", "an empty object is not empty")


def _absent(store: Store, base: str) -> None:
    put(store, f"{base}/a/there", b"x")
    for key in (f"{base}/a/not-there", f"{base}/nowhere/at/all", f"{base}/a", f"{base}/a/there/below"):
        expect(NotFound, partial(store.stat, key), f"{key} is not there, and stat does not say so")
        expect(NotFound, partial(store.read, key, 0, 1), f"{key} is not there, and read does not say so")
    require(not list(store.list(f"{base}/nowhere")), "a directory that is not there is not empty")


def _listing(store: Store, base: str) -> None:
    keys = {f"{base}/h/{name}" for name in ("a", "ab", "a-b", "b/one", "b/two", "b.c/one")}
    for number, key in enumerate(sorted(keys)):
        put(store, key, bytes(number))
    found = {item.key: item.size for item in store.list(f"{base}/h")}
    require(found == {key: number for number, key in enumerate(sorted(keys))}, "a listing is not what was stored")
    below = {item.key for item in store.list(f"{base}/h/b")}
    require(below == {f"{base}/h/b/one", f"{base}/h/b/two"}, "a listing does not keep to its directory")


def _deleting(store: Store, base: str) -> None:
    for name in ("gone", "gone-not", "gone.json"):
        put(store, f"{base}/{name}", b"x")
    store.delete(f"{base}/gone")
    store.delete(f"{base}/gone")
    _require_absent(store, base, f"{base}/gone", "after it was deleted")
    left = {item.key for item in store.list(base)}
    require(left == {f"{base}/gone-not", f"{base}/gone.json"}, "deleting one object touched another")
    put(store, f"{base}/gone", b"again")
    require(store.read(f"{base}/gone", 0, 99) == b"again", "a key that was deleted cannot be used again")


def _awkward(store: Store, base: str) -> None:
    for name in _AWKWARD_NAMES:
        put(store, f"{base}/{name}/{name}", name.encode())
    for name in _AWKWARD_NAMES:
        require(store.read(f"{base}/{name}/{name}", 0, 99) == name.encode(), f"{name!r} does not do as a name")
        require(
            [item.key for item in store.list(f"{base}/{name}")] == [f"{base}/{name}/{name}"], f"{name!r} is not listed"
        )


def _climbing(store: Store, _base: str) -> None:
    for key in _CLIMBING:
        for action in (store.begin, store.stat, store.delete):
            expect(BadUsage, partial(action, key), f"{key!r} was taken for the name of an object")


def _unfinished(store: Store, base: str) -> None:
    upload = store.begin(f"{base}/unfinished")
    upload.write(content(9 * _MIB))
    for leftover in list(store.leftovers(base)):
        store.discard(leftover)
        store.discard(leftover)
    require(not list(store.leftovers(base)), "what a dead upload left cannot be removed")
    upload.abort()
    require(not list(store.leftovers(base)), "an upload whose leftovers were removed leaves something when it ends")


def _at_once(store: Store, base: str) -> None:
    data = content(2 * _MIB)
    put(store, f"{base}/shared", data)

    def work(number: int) -> bool:
        put(store, f"{base}/own-{number}", data[:number])
        return store.read(f"{base}/shared", number * 1000, 70_000) == data[number * 1000 : number * 1000 + 70_000]

    with ThreadPoolExecutor(8) as pool:
        require(all(pool.map(work, range(24))), "reads from several threads got in each other's way")
    require(len(list(store.list(base))) == 25, "writes from several threads got in each other's way")


def _time(store: Store, base: str, clock: Clock = SYSTEM_CLOCK) -> None:
    before = clock.now()
    put(store, f"{base}/now", b"x")
    for item in (store.stat(f"{base}/now"), *store.list(base)):
        skew = abs(item.modified - before)
        require(skew < _SKEW, f"the store's clock and this host's are {skew} apart")


def _etags(store: Store, base: str) -> None:
    for size in (0, 4096, 9 * _MIB):
        key = f"{base}/etag-{size}"
        upload = store.begin(key)
        upload.write(content(size, size))
        upload.commit()
        etag = upload.etag
        shown = {item.etag for item in (store.stat(key), *store.list(base)) if item.key == key}
        require(not etag or shown == {etag}, f"an upload returned ETag {etag}, but the store shows {sorted(shown)}")
        upload.commit()
        require(upload.etag == etag, "a second commit changed the ETag of an upload")


def _locks(store: Store, base: str, clock: Clock = SYSTEM_CLOCK) -> None:
    key, until = f"{base}/locked", (clock.now() + LOCK).replace(microsecond=0)
    if not store.can_lock:
        expect(Unsupported, lambda: store.begin(key, until), "a lock was taken where there are none")
        return
    put(store, key, b"x", until)
    require(store.stat(key).locked_until == until, f"an object locked until {until} is not said to be")
    expect(Locked, lambda: store.delete(key), "a locked object was deleted")
    require(store.read(key, 0, 9) == b"x", "a locked object is gone")
    store.lock(key, until + LOCK)
    require(store.stat(key).locked_until == until + LOCK, "a lock cannot be made longer")


PROMISES = (
    Promise("whole", "an object is read back as it was written", _whole),
    Promise("large", "a large object, written in many pieces, is read back as it was written", _large),
    Promise("atomic", "an object is not seen before it is whole", _atomic),
    Promise("aborted", "an upload that was broken off leaves nothing", _aborted),
    Promise("once", "an object is never overwritten", _once),
    Promise("race", "of two uploads to one name, one is refused", _race),
    Promise("ranges", "any part of an object can be read", _ranges),
    Promise("absent", "what is not there is said not to be there", _absent),
    Promise("listing", "a listing is complete, and keeps to its directory", _listing),
    Promise("deleting", "what is deleted is gone, and nothing else", _deleting),
    Promise("names", "unusual names do", _awkward),
    Promise("inside", "no name leads out of the store", _climbing),
    Promise("leftovers", "what a dead upload left can be removed", _unfinished),
    Promise("at once", "several things can be done at once", _at_once),
    Promise("time", "the store's clock agrees with this host's", _time),
    Promise("etags", "the ETag that an upload returns is the one that the store shows", _etags),
    Promise("locks", "what is locked cannot be deleted", _locks),
)
