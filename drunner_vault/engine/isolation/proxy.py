"""A socket that behaves like the engine's, for the scripts of a service that is drilled.

    client → head → rules → head, or an answer of ours
                            ⇅ bytes in both directions, until the engine ends the connection

A request is one connection: the engine is told to close it after the answer. So answers pass through without being
understood, be they documents, endless logs, or the plain stream that `docker run -it` turns its connection into.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import TracebackType

from drunner_vault.durable import storage_error
from drunner_vault.engine.isolation.requests import Answer, Request, parse_head
from drunner_vault.engine.isolation.rules import READ_WHOLE, Rules
from drunner_vault.engine.isolation.streams import both_ways, end
from drunner_vault.errors import BadUsage, StorageError, VaultError

_PIECE = 1 << 16
_HEAD_LIMIT = 1 << 18
_BODY_LIMIT = 16 << 20
_LONGEST_PATH = 107  # bytes, of a unix socket: unix(7)
_FAREWELL = 5.0  # seconds for connections to end when the proxy does
_END_OF_HEAD = b"\r\n\r\n"


class Proxy:
    """Serves inside a `with` block. path: of its socket, which gets owner and mode of the engine's."""

    def __init__(self, path: Path, engine: Path, rules: Rules) -> None:
        self._path = path
        self._engine = engine
        self._rules = rules
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._listener = socket.socket(socket.AF_UNIX)

    def __enter__(self) -> Proxy:
        """Raises StorageError if there can be no socket."""
        if len(os.fsencode(self._path)) > _LONGEST_PATH:
            self._listener.close()
            raise StorageError(f"{self._path} is too long for a socket", "use a shorter DRUNNER_ROOT")
        try:
            self._path.unlink(missing_ok=True)
            self._listener.bind(str(self._path))
            like = self._engine.stat()
            os.chown(self._path, like.st_uid, like.st_gid)
            self._path.chmod(like.st_mode & 0o777)
            self._listener.listen(64)
        except OSError as cause:
            self._listener.close()
            raise storage_error("make the socket", self._path, cause) from cause
        self._start(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            for connection in self._open:
                end(connection)
            threads = list(self._threads)
        for thread in threads:
            thread.join(_FAREWELL)
        self._path.unlink(missing_ok=True)

    def _start(self, target: Callable[..., None], *arguments: socket.socket) -> None:
        thread = threading.Thread(target=target, args=arguments, name="drill-proxy", daemon=True)
        with self._lock:
            self._threads = [item for item in self._threads if item.is_alive()]
            self._threads.append(thread)
            thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:  # closed: the drill is over
                return
            self._start(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        with self._listed(client), contextlib.suppress(OSError):
            head, rest = _read_head(client)
            if head:
                self._answer(client, head, rest)

    def _answer(self, client: socket.socket, head: bytes, rest: bytes) -> None:
        try:
            request = parse_head(head)
            if request.changes and READ_WHOLE.fullmatch(request.path):
                request, rest = replace(request, body=_read_body(client, request, rest)), b""
            decision = self._rules.judge(request)
        except BadUsage as problem:
            decision = Answer(400, {"message": problem.message})
        except (ValueError, TypeError, KeyError, AttributeError) as problem:  # as of a document of another shape
            decision = Answer(400, {"message": f"this request makes no sense: {problem}"})
        except VaultError as problem:
            decision = Answer(500, {"message": problem.message})
        if isinstance(decision, Answer):
            client.sendall(decision.encode())
        else:
            self._pass_on(client, decision, rest)

    def _pass_on(self, client: socket.socket, request: Request, rest: bytes) -> None:
        engine = socket.socket(socket.AF_UNIX)
        with self._listed(engine):
            engine.connect(str(self._engine))
            engine.sendall(request.head() + (rest if request.body is None else request.body))
            both_ways(client, engine)

    @contextlib.contextmanager
    def _listed(self, connection: socket.socket) -> Iterator[None]:
        """A connection that ends when the proxy does, and is closed at the end of the block."""
        with self._lock:
            self._open.add(connection)
        try:
            yield
        finally:
            with self._lock:
                self._open.discard(connection)
            end(connection)
            connection.close()


def _read_head(client: socket.socket) -> tuple[bytes, bytes]:
    """The head, and what came with it of the rest; nothing if the client has gone."""
    data = b""
    while _END_OF_HEAD not in data:
        piece = client.recv(_PIECE)
        if not piece or len(data) > _HEAD_LIMIT:
            return b"", b""
        data += piece
    head, _, rest = data.partition(_END_OF_HEAD)
    return head, rest


def _read_body(client: socket.socket, request: Request, rest: bytes) -> bytes:
    """The whole of a small body. Raises BadUsage if it is not small."""
    reader = _Reader(client, rest)
    if request.header("expect"):
        client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
    if "chunked" in request.header("transfer-encoding").lower():
        body = b""
        while size := int(reader.line().partition(b";")[0] or b"0", 16):
            body += reader.exactly(size)
            reader.line()
            if len(body) > _BODY_LIMIT:
                raise BadUsage(f"the body of {request.path} is too large for a drill")
        while reader.line():  # trailers
            pass
        return body
    length = int(request.header("content-length") or 0)
    if length > _BODY_LIMIT:
        raise BadUsage(f"the body of {request.path} is too large for a drill")
    return reader.exactly(length)


class _Reader:
    def __init__(self, client: socket.socket, data: bytes) -> None:
        self._client = client
        self._data = data

    def exactly(self, count: int) -> bytes:
        while len(self._data) < count:
            self._more()
        taken, self._data = self._data[:count], self._data[count:]
        return taken

    def line(self) -> bytes:
        while b"\r\n" not in self._data:
            self._more()
        taken, _, self._data = self._data.partition(b"\r\n")
        return taken

    def _more(self) -> None:
        piece = self._client.recv(_PIECE)
        if not piece:
            raise ConnectionError("the client has gone")
        self._data += piece
