"""One running ssh, and the requests that are under way through it.

Two threads belong to it. One writes what is queued, so that a signal in the caller's thread never leaves half a packet
on the wire; the other reads, and hands every answer to whoever waits for its number. So requests of several threads,
and many of one, can be under way at once. The threads know the connection and nothing above it: it ends when whoever
made it lets go of it.

ssh gets a session of its own, so that Ctrl-C is ours to deal with. It ends with us in any case: if we are killed, its
input ends.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future, InvalidStateError
from typing import IO, TypeVar

from drunner_vault.errors import BadUsage, StorageError, Unavailable
from drunner_vault.stores.ssh import protocol
from drunner_vault.stores.ssh.failures import not_sftp, shown, silent, why_ended, why_lost
from drunner_vault.stores.ssh.options import SshOptions
from drunner_vault.stores.ssh.process import last_said, start_ssh
from drunner_vault.stores.ssh.protocol import Malformed, Reply, Request

Answer = Future[Reply]
Result = TypeVar("Result")

_LONGEST_WAIT = 20  # times the time limit: for one answer, while others keep coming
_ENDING_SECONDS = 5
_TEXT = 200  # bytes of what is no packet, to be shown


class Connection:
    """See the top of this module. extensions: what the server offers, each with its version.

    Raises AccessDenied, Unavailable or StorageError if it cannot be made, BadUsage if there is no ssh.
    """

    def __init__(self, options: SshOptions) -> None:
        self._options = options
        self._guard = threading.RLock()  # again: what is collected as garbage meanwhile may be what ends us
        self._numbers = 0
        self._waiting: dict[int, Answer] = {}
        self._outgoing: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._greeting: Future[Mapping[str, bytes]] = Future()
        self._lost: StorageError | None = None
        self._alive = time.monotonic()  # when a byte last went either way
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (the reader closes it)
        self._ssh = self._spawn()
        try:
            threading.Thread(target=self._write_all, name="ssh writer", daemon=True).start()
            threading.Thread(target=self._read_all, name="ssh reader", daemon=True).start()
            self._outgoing.put(protocol.init())
            self.extensions = self._await(self._greeting)
        except BaseException:
            self.close()
            raise

    @property
    def usable(self) -> bool:
        """Whether requests can still be sent."""
        return self._lost is None

    @property
    def pid(self) -> int:
        """The process of ssh."""
        return self._ssh.pid

    def send(self, request: Request) -> Answer:
        """Queue a request. Raises the reason if the connection is lost."""
        answer: Answer = Future()
        with self._guard:
            if self._lost is not None:
                raise _again(self._lost)
            self._numbers = (self._numbers + 1) & 0xFFFFFFFF
            self._waiting[self._numbers] = answer
            # under the guard, so that requests go out in the order of their numbers
            self._outgoing.put(protocol.packet(self._numbers, request))
        return answer

    def wait(self, answer: Answer) -> Reply:
        """The answer. Raises Unavailable, and ends the connection, if nothing comes for too long."""
        return self._await(answer)

    def close(self) -> None:
        """End ssh and whatever it has started. What is under way fails."""
        self._end(Unavailable(f"the connection to {self._options.host} was closed", "begin anew"))

    def _spawn(self) -> subprocess.Popen[bytes]:
        try:
            return start_ssh(self._options.arguments(), self._errors)
        except BadUsage:
            self._errors.close()
            raise

    def _await(self, future: Future[Result]) -> Result:
        asked = time.monotonic()
        while True:
            try:
                return future.result(max(0.0, self._limit(asked) - time.monotonic()))
            except TimeoutError:
                if time.monotonic() >= self._limit(asked):
                    self._end(silent(self._options))

    def _limit(self, asked: float) -> float:
        """Until when is waited for an answer: bytes of other requests too are a sign of life, but not for ever."""
        timeout = self._options.timeout
        return min(max(asked, self._alive) + timeout, asked + _LONGEST_WAIT * timeout)

    def _write_all(self) -> None:
        assert self._ssh.stdin is not None  # noqa: S101 (a pipe was asked for)
        with contextlib.suppress(OSError), self._ssh.stdin as stream:  # the reader learns why ssh has gone
            while (packet := self._outgoing.get()) is not None:
                rest = memoryview(packet)
                while rest:
                    rest = rest[stream.write(rest) :]
                    self._alive = time.monotonic()

    def _read_all(self) -> None:
        assert self._ssh.stdout is not None  # noqa: S101 (a pipe was asked for)
        with self._errors, self._ssh.stdout as stream:
            try:
                with contextlib.suppress(InvalidStateError):
                    self._greeting.set_result(protocol.parse_version(self._packet(stream)))
                while True:
                    self._answer(*protocol.parse_reply(self._packet(stream)))
            except Malformed as problem:
                self._end(not_sftp(self._options, str(problem)))
            except (EOFError, OSError):
                self._end(self._why_it_ended())

    def _packet(self, stream: IO[bytes]) -> bytes:
        head = self._exactly(stream, 4)
        length = int.from_bytes(head)
        if not 5 <= length <= protocol.LONGEST:
            raise Malformed(f"it begins with {shown((head + stream.read(_TEXT)).decode(errors='replace'))!r}")
        return bytes(self._exactly(stream, length))

    def _exactly(self, stream: IO[bytes], length: int) -> bytearray:
        data = bytearray(length)
        rest = memoryview(data)
        while rest:
            count = stream.readinto(rest)  # type: ignore[attr-defined]
            if not count:
                raise EOFError
            self._alive = time.monotonic()
            rest = rest[count:]
        return data

    def _answer(self, number: int, reply: Reply) -> None:
        with self._guard:
            answer = self._waiting.pop(number, None)
        if answer is None:
            raise Malformed("it answers what was not asked")
        answer.set_result(reply)

    def _why_it_ended(self) -> StorageError:
        """ssh has closed its output, and so is about to end."""
        try:
            code = self._ssh.wait(_ENDING_SECONDS)
        except subprocess.TimeoutExpired:
            code = -signal.SIGKILL  # by us, in a moment
        said = last_said(self._errors)
        connected = self._greeting.done() and not self._greeting.exception()
        return why_lost(self._options, said) if connected or code < 0 else why_ended(self._options, code, said)

    def _end(self, reason: StorageError) -> None:
        """The first reason counts."""
        with self._guard:
            if self._lost is not None:
                return
            self._lost = reason
            waiting, self._waiting = self._waiting, {}
        self._outgoing.put(None)
        self._kill()
        with contextlib.suppress(InvalidStateError):
            self._greeting.set_exception(_again(reason))
        for answer in waiting.values():
            answer.set_exception(_again(reason))

    def _kill(self) -> None:
        if self._ssh.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._ssh.pid, signal.SIGKILL)  # its session: also the ssh of a ProxyJump
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._ssh.wait(_ENDING_SECONDS)


def _again(reason: StorageError) -> StorageError:
    """The same error, to be raised in another place."""
    return type(reason)(reason.message, reason.hint)
