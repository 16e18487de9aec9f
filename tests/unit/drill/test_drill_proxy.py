"""The engine as a drilled service sees it: what passes, what is changed on the way, what is answered at once."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest

from drunner_vault.engine.isolation.engineapi import EngineApi
from drunner_vault.engine.isolation.hostconfig import HostConfigRules
from drunner_vault.engine.isolation.images import ImageLedger
from drunner_vault.engine.isolation.proxy import Proxy
from drunner_vault.engine.isolation.rules import Report, Rules
from drunner_vault.errors import StorageError

LABEL = ("drunner-vault.drill", "d1")
OURS = {"Id": "1", "Name": "/ours", "Config": {"Labels": dict([LABEL])}}
THEIRS = {"Id": "2", "Name": "/theirs", "Config": {"Labels": {LABEL[0]: "d2"}}}
KNOWN: dict[str, Any] = {
    "/containers/ours/json": OURS,
    "/containers/theirs/json": THEIRS,
    "/exec/e1/json": {"ContainerID": "ours"},
    "/exec/e2/json": {"ContainerID": "theirs"},
    "/networks/ours": {"Name": "ours", "Labels": dict([LABEL])},
    "/networks/theirs": {"Name": "theirs", "Labels": None},
    "/networks/net": {"Id": "n1", "Name": "net", "Labels": dict([LABEL])},
    "/volumes/ours": {"Name": "ours", "Labels": dict([LABEL])},
    "/volumes/theirs": {"Name": "theirs"},
    "/images/old/json": {"Id": "sha256:1"},
    "/images/json?all=1": [
        {"Id": "sha256:1", "RepoTags": ["old:1", "old:2"]},
        {"Id": "sha256:2", "RepoTags": ["<none>:<none>"]},
        {"Id": "sha256:3", "RepoTags": None},
    ],
}


class Engine:
    """What answers at the engine's socket: it knows some things, remembers what it was asked, and echoes upgrades."""

    def __init__(self, path: Path) -> None:
        self.asked: list[tuple[str, dict[str, str], bytes]] = []
        self.ended = threading.Event()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()

    def _accept(self) -> None:
        serving = []
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                break
            serving.append(threading.Thread(target=self._serve, args=(client,)))
            serving[-1].start()
        for thread in serving:
            thread.join(10)

    def _serve(self, client: socket.socket) -> None:
        with client, client.makefile("rb") as stream:
            first = stream.readline().decode().strip()
            pairs = (line.decode().strip().partition(":") for line in iter(stream.readline, b"\r\n"))
            headers = {key.lower(): value.strip() for key, _, value in pairs}
            path = first.split()[1]
            if "upgrade" in headers.get("connection", "").lower():
                client.sendall(b"HTTP/1.1 101 UPGRADED\r\n\r\n")
                while data := stream.read1(65536):
                    client.sendall(data)
                client.sendall(b"that was all")
            elif path.startswith("/v1.43") and first.startswith("GET /v1.43/events"):
                client.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{}\n")
                assert stream.read() == b""
                self.ended.set()
            else:
                body = stream.read(int(headers.get("content-length", "0")))
                if path.startswith("/v1"):
                    self.asked.append((first, headers, body))
                found = KNOWN.get(path)
                answer = json.dumps(found or {"message": "no such thing"}).encode()
                status = "200 OK" if found or path.startswith("/v1") else "404 Not Found"
                client.sendall(
                    f"HTTP/1.1 {status}\r\nContent-Length: {len(answer)}\r\nConnection: close\r\n\r\n".encode() + answer
                )


class Drilled:
    """A proxy before such an engine."""

    def __init__(self, directory: Path) -> None:
        self.path, self.report = directory / "p", Report()
        self.engine = Engine(directory / "e")
        api = EngineApi(directory / "e")
        host = HostConfigRules("net", directory, directory / "e", self.path, self.report, lambda port: None)
        rules = Rules(api, dict([LABEL]), "net", ImageLedger(directory / "images.json", api), host, self.report)
        self.proxy = Proxy(self.path, directory / "e", rules)

    def ask(self, data: bytes) -> tuple[int, bytes]:
        """Send this; returns status and body."""
        with self.connect() as client:
            client.sendall(data)
            with client.makefile("rb") as stream:
                answer = stream.read()
        head, _, body = answer.partition(b"\r\n\r\n")
        return int(head.split()[1]), body

    def request(self, method: str, path: str, document: object = None) -> int:
        """Send this request of version 1.43; returns the status."""
        body = b"" if document is None else json.dumps(document).encode()
        return self.ask(f"{method} /v1.43{path} HTTP/1.1\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)[0]

    def connect(self) -> socket.socket:
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(10)
        client.connect(str(self.path))
        return client


@pytest.fixture
def drilled(tmp_path: Path) -> Iterator[Drilled]:
    made = Drilled(tmp_path)
    with made.proxy:
        yield made
    made.engine.close()
    assert not made.path.exists()


def test_what_only_looks_passes_as_it_is_on_a_connection_that_ends(drilled: Drilled) -> None:
    status, _ = drilled.ask(b"GET /v1.43/images/json?all=1 HTTP/1.1\r\nHost: x\r\nConnection: keep-alive\r\n\r\n")
    assert status == 200
    ((first, headers, _),) = drilled.engine.asked
    assert (first, headers["connection"], headers["host"]) == ("GET /v1.43/images/json?all=1 HTTP/1.1", "close", "x")


@pytest.mark.parametrize("filters", [{"label": {"a=b": True}, "name": {"x": True}}, {"label": ["a=b"], "name": ["x"]}])
def test_lists_show_the_drills_containers_only_whichever_way_a_client_writes_filters(
    drilled: Drilled, filters: dict[str, object]
) -> None:
    drilled.request("GET", f"/containers/json?{urlencode({'all': 1, 'filters': json.dumps(filters)})}")
    ((first, _, _),) = drilled.engine.asked
    asked = dict(parse_qsl(urlsplit(first.split()[1]).query))
    wanted = {"label": {"a=b": True, "drunner-vault.drill=d1": True}, "name": {"x": True}}
    assert (asked["all"], json.loads(asked["filters"])) == ("1", wanted)


def test_a_network_that_others_have_already_is_made_in_name_only(drilled: Drilled) -> None:
    body = b'{"Name": "theirs"}'
    head = b"POST /v1.43/networks/create HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body)
    status, answer = drilled.ask(head + body)
    assert (status, json.loads(answer)["Id"]) == (201, "n1")
    assert drilled.engine.asked == []
    assert drilled.report.changed == ["the drill's own network took the place of theirs"]


@pytest.mark.parametrize("asked", ["", "host", "default"])
def test_images_are_built_without_a_network(drilled: Drilled, asked: str) -> None:
    assert drilled.request("POST", f"/build?t=x&networkmode={asked}") == 200
    ((first, _, _),) = drilled.engine.asked
    assert first == "POST /v1.43/build?t=x&networkmode=none HTTP/1.1"
    assert "without a network" in " ".join(drilled.report.changed)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/containers/ours/stop", 200),
        ("POST", "/containers/theirs/stop", 404),
        ("POST", "/containers/nobody/stop", 200),
        ("DELETE", "/containers/theirs?force=1", 404),
        ("GET", "/containers/theirs/json", 404),
        ("PUT", "/containers/theirs/archive?path=/", 404),
        ("POST", "/exec/e1/start", 200),
        ("POST", "/exec/e2/start", 404),
        ("DELETE", "/networks/ours", 200),
        ("DELETE", "/networks/theirs", 403),
        ("DELETE", "/volumes/ours", 200),
        ("DELETE", "/volumes/theirs", 403),
        ("DELETE", "/images/old", 403),
        ("POST", "/images/old/push", 403),
        ("POST", "/containers/prune", 403),
        ("POST", "/volumes/prune", 403),
        ("POST", "/swarm/init", 403),
        ("POST", "/grpc", 403),
        ("POST", "/services/create", 403),
        ("POST", "/commit?container=theirs", 404),
        ("POST", "/auth", 200),
    ],
)
def test_only_what_is_the_drills_can_be_changed(drilled: Drilled, method: str, path: str, status: int) -> None:
    assert drilled.request(method, path) == status
    assert len(drilled.engine.asked) == (status == 200)
    assert bool(drilled.report.refused) == (status in (403, 404) and method != "GET")


def test_a_container_is_made_with_our_mark_even_if_its_description_comes_in_chunks(drilled: Drilled) -> None:
    body = b'{"Image":"x","Labels":{"a":"b"},"HostConfig":{"Privileged":true}}'
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:7], body[7:], b""))
    head = b"POST /v1.43/containers/create?name=new HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert drilled.ask(head + chunks)[0] == 200
    ((first, headers, sent),) = drilled.engine.asked
    document = json.loads(sent)
    assert first == "POST /v1.43/containers/create?name=new HTTP/1.1"
    assert "transfer-encoding" not in headers
    assert document["Labels"] == {"a": "b", "drunner-vault.drill": "d1"}
    assert document["HostConfig"]["Privileged"] is False


def test_a_command_inside_gets_no_rights_outside(drilled: Drilled) -> None:
    assert drilled.request("POST", "/containers/theirs/exec", {"Cmd": ["true"]}) == 404
    assert drilled.request("POST", "/containers/ours/exec", {"Cmd": ["true"], "Privileged": True}) == 200
    assert json.loads(drilled.engine.asked[0][2]) == {"Cmd": ["true"], "Privileged": False}


def test_a_name_that_others_have_is_told_to_be_fixed(drilled: Drilled) -> None:
    assert drilled.request("POST", "/containers/create?name=theirs", {}) == 409
    assert "whatever its own name is" in drilled.report.refused[0]


def test_a_network_gets_no_address_on_the_host_and_none_that_is_asked_for(drilled: Drilled) -> None:
    asked = {"Name": "n", "Driver": "macvlan", "IPAM": {"Config": [{"Subnet": "10.0.0.0/8"}]}, "Labels": {"a": "b"}}
    assert drilled.request("POST", "/networks/create", asked) == 200
    assert json.loads(drilled.engine.asked[0][2]) == {
        "Name": "n",
        "Driver": "bridge",
        "Internal": True,
        "Options": {"com.docker.network.bridge.inhibit_ipv4": "true"},
        "Labels": {"a": "b", "drunner-vault.drill": "d1"},
    }


def test_joining_somebody_elses_network_is_passed_over(drilled: Drilled) -> None:
    assert drilled.request("POST", "/networks/theirs/connect", {"Container": "ours"}) == 200
    assert drilled.engine.asked == []
    assert drilled.request("POST", "/networks/ours/connect", {"Container": "theirs"}) == 404
    assert drilled.request("POST", "/networks/ours/connect", {"Container": "ours"}) == 200


@pytest.mark.parametrize(
    ("document", "status"),
    [
        ({"Name": "new"}, 200),
        ({"Name": "ours"}, 200),
        ({"Name": "theirs"}, 409),
        ({"Name": "new", "Driver": "nfs"}, 403),
        ({"Name": "new", "DriverOpts": {"type": "nfs", "o": "addr=10.0.0.1"}}, 403),
        ({"Name": "new", "DriverOpts": {"type": "tmpfs", "device": "tmpfs"}}, 200),
        ({"Name": "new", "DriverOpts": {"device": "/srv", "o": "bind"}}, 403),
    ],
)
def test_volumes_are_the_drills_and_hold_nothing_of_elsewhere(
    drilled: Drilled, document: dict[str, Any], status: int
) -> None:
    assert drilled.request("POST", "/volumes/create", document) == status


def test_what_images_are_called_leaves_out_that_they_have_no_name(drilled: Drilled) -> None:
    api = EngineApi(drilled.path.with_name("e"))
    known = {"sha256:1": "sha256:1", "old:1": "sha256:1", "old:2": "sha256:1"}
    assert api.images() == {**known, "sha256:2": "sha256:2", "sha256:3": "sha256:3"}


def test_an_upgraded_connection_carries_both_directions_and_the_end_of_one(drilled: Drilled) -> None:
    data = bytes(range(256)) * 8192
    with drilled.connect() as client, client.makefile("rb") as stream:
        client.sendall(b"POST /v1.43/containers/ours/attach?stream=1 HTTP/1.1\r\nConnection: Upgrade\r\n\r\n")
        assert stream.readline() == b"HTTP/1.1 101 UPGRADED\r\n"
        assert stream.readline() == b"\r\n"
        sending = threading.Thread(target=lambda: (client.sendall(data), client.shutdown(socket.SHUT_WR)))
        sending.start()
        assert stream.read() == data + b"that was all"
        sending.join()


def test_an_endless_answer_ends_when_its_client_goes(drilled: Drilled) -> None:
    with drilled.connect() as client:
        client.sendall(b"GET /v1.43/events HTTP/1.1\r\n\r\n")
        assert client.recv(1000).startswith(b"HTTP/1.1 200")
    assert drilled.engine.ended.wait(10)


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"POST /v1.43/containers/create HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n", 400),
        (b"POST /v1.43/containers/create HTTP/1.1\r\nContent-Length: 2\r\n\r\n[]", 400),
        (b"POST /v1.43/containers/create HTTP/1.1\r\nContent-Length: 2\r\n\r\n{{", 400),
        (b"POST /v1.43/containers/create HTTP/1.1\r\nContent-Length: x\r\n\r\n{}", 400),
        (b"GET /v1.43/containers/json?filters=x HTTP/1.1\r\n\r\n", 400),
    ],
)
def test_what_is_no_request_gets_an_answer(drilled: Drilled, data: bytes, status: int) -> None:
    code, body = drilled.ask(data)
    assert code == status
    assert json.loads(body)["message"]
    assert drilled.engine.asked == []


def test_a_path_that_no_socket_can_have_is_refused(tmp_path: Path) -> None:
    made = Drilled(tmp_path)
    made.proxy._listener.close()
    deep = tmp_path / ("x" * 100)
    deep.mkdir()
    with pytest.raises(StorageError, match="too long"), Proxy(deep / "sock", tmp_path / "e", made.proxy._rules):
        pass
    made.engine.close()
