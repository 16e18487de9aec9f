"""What two of our programs say to each other through a pipe, and what can come out of one instead."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator

import pytest
from support.processes import open_files

from drunner_vault.stores.ssh.channel import Channel, Gone, Malformed


class Ends:
    """Two channels that are joined, and what is behind them."""

    def __init__(self, patience: float | None = None) -> None:
        self.fds = [*os.pipe(), *os.pipe()]
        self.near = Channel(self.fds[0], self.fds[3])
        self.far = Channel(self.fds[2], self.fds[1], patience)

    def hang_up(self) -> None:
        """The near end is gone."""
        for fd in (self.fds[0], self.fds[3]):
            os.close(fd)
            self.fds.remove(fd)


@pytest.fixture
def ends() -> Iterator[Ends]:
    made = Ends()
    yield made
    for fd in made.fds:
        os.close(fd)


def test_messages_and_an_archive_arrive_as_they_were_sent(ends: Ends) -> None:
    data = os.urandom(700_001)

    def send() -> None:
        ends.near.send(ask="receive", name="Ünïcödé")
        ends.near.write(data)
        ends.near.write(b"")
        ends.near.write(b"the end")
        ends.near.end()
        ends.near.send(ask="keep")

    sender = threading.Thread(target=send)
    sender.start()
    assert ends.far.receive() == {"ask": "receive", "name": "Ünïcödé"}
    ends.far.begin_reading()
    received = b"".join(iter(lambda: ends.far.read(65_537), b""))
    assert received == data + b"the end"
    assert ends.far.read(1) == b""
    assert ends.far.receive() == {"ask": "keep"}
    sender.join()


@pytest.mark.parametrize("cut", ["", "a piece", "the end of a frame"])
def test_an_archive_that_breaks_off_is_never_taken_for_a_whole_one(ends: Ends, cut: str) -> None:
    if cut:
        ends.near.write(b"piece")
    if cut == "the end of a frame":
        os.write(ends.fds[3], b"D\0\0\1\0half")
    ends.hang_up()
    ends.far.begin_reading()
    with pytest.raises(Gone):
        b"".join(iter(lambda: ends.far.read(100), b""))


def test_nobody_at_the_other_end(ends: Ends) -> None:
    ends.hang_up()
    with pytest.raises(Gone):
        ends.far.receive()
    with pytest.raises(Gone):
        ends.far.write(b"data")


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (b"Welcome to this host\n", "it begins with 'Welcome"),
        (b"M", "no more than 'M'"),
        (b"M\xff\xff\xff\xff{}", "it begins with 'M"),
        (b"M\0\0\0\2[]", "no object"),
        (b"M\0\0\0\2{]", "no JSON"),
        (b"E\0\0\0\0", "data where a message should be"),
    ],
)
def test_what_is_not_ours_is_told_apart(ends: Ends, said: bytes, words: str) -> None:
    os.write(ends.fds[3], said)
    ends.hang_up()
    with pytest.raises(Malformed, match=words):
        ends.far.receive()


def test_a_message_within_an_archive_is_none_of_it(ends: Ends) -> None:
    ends.near.send(ask="keep")
    ends.far.begin_reading()
    with pytest.raises(Malformed, match="in the middle of an archive"):
        ends.far.read(10)


def test_silence_ends_after_a_while_unless_there_are_signs_of_life() -> None:
    ends = Ends(patience=0.3)
    with pytest.raises(Gone):
        ends.far.receive()
    later = threading.Timer(0.5, lambda: ends.near.send(ask="keep"))
    with ends.near.alive(every=0.05):
        later.start()
        assert ends.far.receive() == {"ask": "keep"}
    later.join()
    for fd in ends.fds:
        os.close(fd)


def test_signs_of_life_do_not_wait_for_a_reader_that_has_fallen_asleep(ends: Ends) -> None:
    os.set_blocking(ends.fds[3], False)
    while True:
        try:
            os.write(ends.fds[3], bytes(4096))
        except BlockingIOError:
            break
    os.set_blocking(ends.fds[3], True)
    began = time.monotonic()
    with ends.near.alive(every=0.01):
        time.sleep(0.1)
    assert time.monotonic() - began < 2


def test_nothing_is_left_open(ends: Ends) -> None:
    before = open_files()
    with ends.near.alive():
        ends.near.send(ask="check")
    assert open_files() == before
