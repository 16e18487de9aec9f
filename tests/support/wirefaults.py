"""A proxy in front of an HTTP server that makes of chosen requests what networks and servers make of them at times.

with faulty_wire(server.address) as wire:
    wire.plan(3, Fault.RESET_AFTER)     # the third request arrives, and its answer does not
    ...                                 # talk to wire.endpoint
    assert wire.requests[2].method == "PUT"
"""

from __future__ import annotations

import contextlib
import socket
import socketserver
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import BinaryIO

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_SLOW_DOWN = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"


class Fault(Enum):
    """What becomes of a request."""

    RESET = "the connection breaks before the request arrives"
    RESET_AFTER = "the request arrives, and the connection breaks before its answer"
    STALL = "the request arrives, and nothing is ever answered"
    CUT_REQUEST = "half of the request arrives"
    CUT_ANSWER = "half of the answer arrives"
    UNAVAILABLE = "the server answers 503"
    GARBAGE = "the answer is no HTTP"


@dataclass(frozen=True)
class Reply:
    """An answer in place of the server's. headers: lines with their ends."""

    status: int
    body: bytes = b""
    headers: str = ""

    def encode(self, method: str) -> bytes:
        """The answer as it is sent. One to HEAD has no body."""
        head = f"HTTP/1.1 {self.status} Planned\r\nContent-Length: {len(self.body)}\r\n{self.headers}\r\n"
        return head.encode() + (b"" if method == "HEAD" else self.body)


@dataclass
class Seen:
    """A request that came by. status: of the answer that is passed on, 0 for none so far."""

    method: str
    path: str
    headers: bytes
    status: int = 0


class _Lost(Exception):
    """One side has gone."""


class Wire:
    """The proxy. endpoint: its URL. requests: what came by, in this order. spoil: what becomes of the
    bodies of requests."""

    def __init__(self, server: tuple[str, int]) -> None:
        self.server = server
        self.requests: list[Seen] = []
        self._plan: dict[int, Fault | Reply] = {}
        self._choose: Callable[[str, str], Fault | Reply | None] = lambda _method, _path: None
        self._guard = threading.Lock()
        self._open: set[socket.socket] = set()
        self.stopped = threading.Event()
        self.endpoint = ""
        self.spoil: Callable[[bytes], bytes] = lambda body: body

    def plan(self, number: int, fault: Fault | Reply) -> None:
        """The request of this number, from 1, meets this."""
        self._plan[number] = fault

    def choose(self, chooser: Callable[[str, str], Fault | Reply | None]) -> None:
        """Requests meet what this makes of their method and path; what was planned goes first."""
        self._choose = chooser

    def forget(self) -> None:
        """Nothing is planned any more, and the next request is the first."""
        with self._guard:
            self._plan.clear()
            self.requests.clear()
            self._choose = lambda _method, _path: None

    def arrived(self, seen: Seen) -> Fault | Reply | None:
        """Takes note of a request. Returns what it meets."""
        with self._guard:
            self.requests.append(seen)
            return self._plan.get(len(self.requests)) or self._choose(seen.method, seen.path)

    def keep(self, connection: socket.socket) -> None:
        """A connection to be closed at the end."""
        with self._guard:
            self._open.add(connection)

    def close_all(self) -> None:
        """End what hangs."""
        self.stopped.set()
        with self._guard:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def faulty_wire(server: tuple[str, int]) -> Iterator[Wire]:
    """A proxy to this host and port. It passes everything on until something is planned."""
    wire = Wire(server)
    handler = type("Handler", (_Handler,), {"wire": wire})
    with _Listener(("127.0.0.1", 0), handler) as listener:
        wire.endpoint = f"http://127.0.0.1:{listener.server_address[1]}"
        thread = threading.Thread(target=listener.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield wire
        finally:
            listener.shutdown()
            thread.join()
            wire.close_all()


class _Listener(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 64


class _Handler(socketserver.BaseRequestHandler):
    """One connection of a client, and the one to the server that belongs to it."""

    wire: Wire

    def handle(self) -> None:
        """Pass requests on until one side has enough."""
        with contextlib.suppress(_Lost, OSError), socket.create_connection(self.wire.server) as server:
            self.wire.keep(self.request)
            client = self.request.makefile("rb")
            answers = server.makefile("rb")
            while True:
                self._one(client, server, answers)

    def _one(self, client: BinaryIO, server: socket.socket, answers: BinaryIO) -> None:
        head = _read_head(client)
        method, path, _ = head.split(b"\r\n", 1)[0].decode().split(" ", 2)
        seen = Seen(method, path, head)
        fault = self.wire.arrived(seen)
        if _header(head, b"expect"):
            self.request.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = self.wire.spoil(_read_body(client, head))
        if fault is Fault.UNAVAILABLE:
            fault = Reply(503, _SLOW_DOWN, "Content-Type: application/xml\r\n")
        if isinstance(fault, Reply):
            seen.status = fault.status
            self.request.sendall(fault.encode(method))
            return
        self._forward(fault, seen, _without(head, b"expect"), body, server, answers)

    def _forward(
        self, fault: Fault | None, seen: Seen, head: bytes, body: bytes, server: socket.socket, answers: BinaryIO
    ) -> None:
        """Pass on a request and its answer, as far as the fault has it. Raises _Lost when the connection is to end."""
        if fault is Fault.RESET:
            raise self._reset()
        if fault is Fault.GARBAGE:
            self.request.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
            raise _Lost
        if fault is Fault.CUT_REQUEST:
            server.sendall((head + body)[: len(head) + len(body) // 2 if body else len(head) // 2])
            raise self._reset()
        server.sendall(head + body)
        answer, rest = _read_answer(answers, seen.method)
        if fault is Fault.STALL:
            self.request.recv(1)
            raise _Lost
        if fault is Fault.RESET_AFTER:
            raise self._reset()
        if fault is Fault.CUT_ANSWER:
            self.request.sendall((answer + rest)[: len(answer) + len(rest) // 2 if rest else len(answer) // 2])
            raise _Lost
        seen.status = int(answer.split(b" ", 2)[1])
        self.request.sendall(answer + rest)

    def _reset(self) -> _Lost:
        self.request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self.request.close()
        return _Lost()


def _read_head(stream: BinaryIO) -> bytes:
    """A message as far as its empty line."""
    lines = []
    while True:
        line = stream.readline()
        if not line:
            raise _Lost
        lines.append(line)
        if line == b"\r\n" and len(lines) > 1:
            return b"".join(lines)


def _read_body(stream: BinaryIO, head: bytes) -> bytes:
    """What follows a request's head, as it came."""
    if _header(head, b"transfer-encoding").lower() == b"chunked":
        return _read_chunks(stream)
    return _exactly(stream, int(_header(head, b"content-length") or 0))


def _read_answer(stream: BinaryIO, method: str) -> tuple[bytes, bytes]:
    """An answer's head, and what follows it."""
    head = _read_head(stream)
    if head.split(b" ", 2)[1] == b"100":
        return _read_answer(stream, method)
    if method == "HEAD" or head.split(b" ", 2)[1] in (b"204", b"304"):
        return head, b""
    if _header(head, b"transfer-encoding").lower() == b"chunked":
        return head, _read_chunks(stream)
    length = _header(head, b"content-length")
    return head, _exactly(stream, int(length)) if length else stream.read()


def _read_chunks(stream: BinaryIO) -> bytes:
    pieces = []
    while True:
        line = stream.readline()
        size = int(line.split(b";")[0] or b"0", 16)
        pieces += [line, _exactly(stream, size + 2)]
        if size == 0:
            return b"".join(pieces)


def _exactly(stream: BinaryIO, size: int) -> bytes:
    data = stream.read(size)
    if len(data) < size:
        raise _Lost
    return data


def _header(head: bytes, name: bytes) -> bytes:
    """The value of a header, empty if it is not there."""
    for line in head.split(b"\r\n")[1:]:
        key, _, value = line.partition(b":")
        if key.lower() == name:
            return value.strip()
    return b""


def _without(head: bytes, name: bytes) -> bytes:
    lines = head.split(b"\r\n")
    return b"\r\n".join(line for line in lines if line.partition(b":")[0].lower() != name)
