"""Digests that are made while the next bytes come."""

from __future__ import annotations

import hashlib
import random
import threading

import pytest

from drunner_vault.alongside import Alongside


@pytest.mark.parametrize("size", [0, 1, 100_000, 256 << 10, 3_000_001, 20 << 20])
def test_every_piece_is_taken_once_and_in_order(size: int) -> None:
    data = random.Random(size).randbytes(size)
    digest = hashlib.sha256()
    alongside = Alongside(digest.update)
    for at in range(0, size, 65_552):
        alongside.give(data[at : at + 65_552])
        if at == 10 * 65_552:
            alongside.settle()
    alongside.settle()
    assert digest.digest() == hashlib.sha256(data).digest()


def test_what_comes_faster_than_it_is_taken_has_to_wait() -> None:
    taken: list[int] = []
    go = threading.Event()

    def take(data: bytes | memoryview) -> None:
        go.wait()
        taken.append(len(data))

    alongside = Alongside(take)
    given = threading.Thread(target=lambda: [alongside.give(bytes(1 << 20)) for _ in range(40)])
    given.start()
    given.join(0.3)
    assert given.is_alive()
    go.set()
    given.join()
    alongside.settle()
    assert taken == [1 << 20] * 40


def test_a_failure_is_raised_at_the_latest_in_the_end() -> None:
    def take(_data: bytes | memoryview) -> None:
        raise RuntimeError("broken")

    def give(alongside: Alongside) -> None:
        alongside.give(bytes(1 << 20))
        alongside.settle()

    with pytest.raises(RuntimeError, match="broken"):
        give(Alongside(take))


def test_little_needs_no_thread() -> None:
    before = threading.active_count()
    seen: list[int] = []
    alongside = Alongside(lambda _data: seen.append(threading.active_count()))
    alongside.give(b"little")
    alongside.settle()
    assert seen == [before]
