"""The few calls that the proxy itself makes to the engine, on the engine's own socket."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from drunner_vault.errors import EngineDown, EngineError, Unsupported

_PATIENCE = 600  # seconds without an answer
_NOT_FOUND = 404
_NAMELESS = "<none>:<none>"  # what older versions of the API call an image without a name
_DEFAULT = "unix:///var/run/docker.sock"


def engine_socket(environment: Mapping[str, str]) -> Path:
    """The socket of the engine that DOCKER_HOST names. Raises Unsupported if it is none of this machine."""
    where = environment.get("DOCKER_HOST") or _DEFAULT
    if not where.startswith("unix://"):
        raise Unsupported(
            f"a drill needs an engine on this machine, and DOCKER_HOST is {where}", "run the drill on that machine"
        )
    return Path(where.removeprefix("unix://"))


class EngineApi:
    """Docker's API, a connection a call: any thread may use it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def get(self, path: str, query: Mapping[str, Any] | None = None) -> Any:
        """The document at a path; None if there is no such thing. Raises EngineError."""
        return self._call("GET", path, query)

    def post(self, path: str, document: Mapping[str, Any] | None = None) -> Any:
        """What the engine answers; None if it is an empty answer, or there is no such thing. Raises EngineError."""
        return self._call("POST", path, None, document or {})

    def delete(self, path: str, query: Mapping[str, Any] | None = None) -> None:
        """Remove it; none is fine. Raises EngineError."""
        self._call("DELETE", path, query)

    def container(self, name: str) -> dict[str, Any] | None:
        """The container of this name or id."""
        return self._thing("containers", name, "/json")

    def network(self, name: str) -> dict[str, Any] | None:
        """The network of this name or id."""
        return self._thing("networks", name)

    def volume(self, name: str) -> dict[str, Any] | None:
        """The volume of this name."""
        return self._thing("volumes", name)

    def image(self, name: str) -> dict[str, Any] | None:
        """The image of this name or id."""
        return self._thing("images", name, "/json")

    def exec_container(self, identifier: str) -> str | None:
        """The id of the container that a command was prepared for."""
        found = self._thing("exec", identifier, "/json")
        return str(found["ContainerID"]) if found else None

    def logs(self, container: str) -> bytes:
        """The last lines that a container has printed, the engine's framing of streams taken off."""
        with self._connection() as connection:
            connection.request("GET", f"/containers/{quote(container)}/logs?stdout=1&stderr=1&tail=5")
            response = connection.getresponse()
            data = response.read()
        return re.sub(rb"(?m)^[\x00\x01\x02]\x00\x00\x00.{4}", b"", data) if response.status == http.client.OK else b""

    def make_volume(self, name: str, labels: Mapping[str, str]) -> None:
        """Make an empty volume."""
        self.post("/volumes/create", {"Name": name, "Labels": dict(labels)})

    def images(self) -> dict[str, str]:
        """Every name of an image, and every id, with the id it stands for."""
        found: dict[str, str] = {}
        for image in self.get("/images/json", {"all": "1"}):
            names = [name for name in image.get("RepoTags") or () if name != _NAMELESS]
            found.update(dict.fromkeys([image["Id"], *names], image["Id"]))
        return found

    def _thing(self, kind: str, name: str, what: str = "") -> dict[str, Any] | None:
        found = self._call("GET", f"/{kind}/{quote(name, safe='/:@')}{what}") if name else None
        return found if isinstance(found, dict) else None

    def _call(
        self, method: str, path: str, query: Mapping[str, Any] | None = None, document: Mapping[str, Any] | None = None
    ) -> Any:
        body = None if document is None else json.dumps(document).encode()
        target = path + (f"?{urlencode(query)}" if query else "")
        with self._connection() as connection:
            connection.request(method, target, body, {"Content-Type": "application/json"} if body else {})
            response = connection.getresponse()
            data = response.read()
        if response.status == _NOT_FOUND:
            return None
        if response.status >= http.client.BAD_REQUEST:
            raise EngineError(f"the Docker engine refused {method} {path}: {_said(data)}", "see the engine's log")
        return json.loads(data) if data else None

    @contextlib.contextmanager
    def _connection(self) -> Iterator[http.client.HTTPConnection]:
        connection = _Connection(self.path)
        try:
            yield connection
        except (OSError, http.client.HTTPException) as cause:
            raise EngineDown(f"no Docker engine answers at {self.path}: {cause}", "start Docker") from cause
        finally:
            connection.close()


class _Connection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=_PATIENCE)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def _said(data: bytes) -> str:
    try:
        return " ".join(str(json.loads(data)["message"]).split())
    except (ValueError, KeyError, TypeError):
        return " ".join(data.decode("utf-8", "replace").split())[:200]
