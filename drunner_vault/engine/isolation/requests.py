"""Requests to the engine as the rules see them: taken apart, and put together again."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from drunner_vault.errors import BadUsage

_VERSION = re.compile(r"/v[0-9][0-9.]*(?=/)")
_UNKEPT = {"connection", "keep-alive", "proxy-connection"}


@dataclass(frozen=True)
class Request:
    """A request. version: as in `/v1.43`, or empty. path: without it, decoded. headers: names in lower case. body: None
    if it is to be passed on as it comes."""

    method: str
    version: str
    path: str
    query: tuple[tuple[str, str], ...]
    headers: tuple[tuple[str, str], ...]
    raw_path: str
    body: bytes | None = None

    @property
    def changes(self) -> bool:
        """Whether it may change something."""
        return self.method not in ("GET", "HEAD", "OPTIONS")

    def header(self, name: str) -> str:
        """The value of a header, empty if there is none."""
        return next((value for key, value in self.headers if key == name), "")

    def parameter(self, name: str) -> str:
        """A parameter of the query, empty if there is none."""
        return next((value for key, value in self.query if key == name), "")

    def with_parameter(self, name: str, value: str) -> Request:
        """The request with another value of a parameter."""
        return replace(self, query=(*((k, v) for k, v in self.query if k != name), (name, value)))

    def document(self) -> dict[str, Any]:
        """What the body says, as JSON. Raises BadUsage."""
        try:
            document = json.loads(self.body or b"{}")
        except ValueError as cause:
            raise BadUsage(f"the body of {self.path} is no JSON") from cause
        if not isinstance(document, dict):
            raise BadUsage(f"the body of {self.path} is no JSON object")
        return document

    def with_document(self, document: dict[str, Any]) -> Request:
        """The request with another body."""
        return replace(self, body=json.dumps(document).encode())

    @property
    def upgrades(self) -> bool:
        """Whether the connection is to become a plain stream of bytes."""
        return "upgrade" in self.header("connection").lower()

    def head(self) -> bytes:
        """The head for the engine. Unless it is upgraded, the connection ends with the answer: so whatever comes back
        can be passed on without being understood."""
        target = self.version + self.raw_path + (f"?{urlencode(self.query)}" if self.query else "")
        headers = [(k, v) for k, v in self.headers if self.upgrades or k not in _UNKEPT]
        if self.body is not None:
            headers = [(k, v) for k, v in headers if k not in ("content-length", "transfer-encoding", "expect")]
            headers.append(("content-length", str(len(self.body))))
        if not self.upgrades:
            headers.append(("connection", "close"))
        lines = [f"{self.method} {target} HTTP/1.1", *(f"{key}: {value}" for key, value in headers), "", ""]
        return "\r\n".join(lines).encode("latin-1")


@dataclass(frozen=True)
class Answer:
    """What a client is told instead of asking the engine. document: None for an empty answer."""

    status: int
    document: Any = None

    def encode(self) -> bytes:
        """As bytes of HTTP, after which the connection ends."""
        body = b"" if self.document is None else json.dumps(self.document).encode() + b"\n"
        lines = [
            f"HTTP/1.1 {self.status} {'OK' if self.status == 200 else 'Refused'}",
            "Content-Type: application/json",
            f"Content-Length: {len(body)}",
            "Connection: close",
        ]
        return "\r\n".join([*lines, "", ""]).encode() + body


def parse_head(head: bytes) -> Request:
    """The request whose head this is. Raises BadUsage."""
    first, *lines = head.decode("latin-1").split("\r\n")
    words = first.split(" ")
    if len(words) != 3:
        raise BadUsage(f"this is no request: {first[:80]!r}")
    parts = urlsplit(words[1])
    version = _VERSION.match(parts.path)
    prefix = version[0] if version else ""
    raw = parts.path[len(prefix) :]
    pairs = [line.partition(":") for line in lines if line]
    return Request(
        method=words[0].upper(),
        version=prefix,
        path=unquote(raw),
        query=tuple(parse_qsl(parts.query, keep_blank_values=True)),
        headers=tuple((key.strip().lower(), value.strip()) for key, _, value in pairs),
        raw_path=raw,
    )
