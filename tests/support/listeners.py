"""Somebody who listens: an HTTP server on the loopback that remembers what it is told."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Listener:
    """What was said: the paths and bodies of POST requests. refused: what it answers 500 to: beginnings of paths."""

    port: int
    said: list[tuple[str, str]] = field(default_factory=list)
    refused: tuple[str, ...] = ()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def apprise(self, path: str = "/alarms") -> str:
        """An Apprise URL that reaches it."""
        return f"json://127.0.0.1:{self.port}{path}"

    def pings(self, path: str = "/check") -> list[str]:
        """What followed a check's path, in order."""
        return [said.removeprefix(path) for said, _ in self.said if said.startswith(path)]

    def messages(self, path: str = "/alarms") -> list[dict[str, Any]]:
        """What came through Apprise."""
        return [json.loads(body) for said, body in self.said if said == path]

    def titles(self, path: str = "/alarms") -> list[str]:
        """The titles of those, without the host's name."""
        return [message["title"].partition(": ")[2] for message in self.messages(path)]


@contextmanager
def listening() -> Iterator[Listener]:
    """A listener while the block runs."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
            listener.said.append((self.path, body))
            self.send_response(500 if self.path.startswith(listener.refused or ("//",)) else 200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listener = Listener(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield listener
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
