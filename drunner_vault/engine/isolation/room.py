"""Where one drill happens: its network, its socket, its containers; and how every trace of it is removed."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from drunner_vault.engine.isolation.engineapi import EngineApi, engine_socket
from drunner_vault.engine.isolation.hostconfig import PORTS_LABEL, HostConfigRules
from drunner_vault.engine.isolation.images import ImageLedger
from drunner_vault.engine.isolation.namespace import Namespace, Target
from drunner_vault.engine.isolation.proxy import Proxy
from drunner_vault.engine.isolation.rules import ISOLATED, Report, Rules
from drunner_vault.errors import EngineError

DRILL_LABEL = "drunner-vault.drill"
_OTHER_WAYS = ("DOCKER_CONTEXT", "DOCKER_TLS", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH")  # to name an engine
_STOPPED = (137, 143)  # killed by SIGKILL or SIGTERM, as `docker stop` does
_UNTIL_GONE = 2  # times that things are looked for which were just being made


@dataclass(frozen=True)
class ContainerState:
    """A container of the drill. state: as Docker says it, `running` or `exited`. health: `healthy`, `starting`,
    `unhealthy`, or empty if it has no check. since: when it was started. code: its exit code; 0 if it was
    told to stop."""

    id: str
    name: str
    image: str
    state: str
    health: str
    since: dt.datetime | None
    code: int


class Room:
    """One drill's place on the engine. name: unique. directory: its own. labels: what else marks things as its
    own. addresses: of this host, as the service knows it."""

    def __init__(
        self,
        environment: Mapping[str, str],
        name: str,
        directory: Path,
        labels: Mapping[str, str],
        addresses: Sequence[str] = (),
    ) -> None:
        """Raises Unsupported for an engine on another machine."""
        self.report = Report()
        self._environment = environment
        self._socket = engine_socket(environment)
        self._api = EngineApi(self._socket)
        self._labels = {DRILL_LABEL: name, **labels}
        self._network = f"drunner-{name}"
        self._directory = directory
        self._addresses = addresses
        self._prefix: tuple[str, ...] = ()
        self.images = ImageLedger(directory / "images.json", self._api)

    @property
    def docker_host(self) -> str:
        """What DOCKER_HOST is for the service."""
        return f"unix://{self._directory / 'sock'}"

    def environment(self, environment: Mapping[str, str]) -> dict[str, str]:
        """An environment in which Docker is that of the drill."""
        kept = {name: value for name, value in environment.items() if name not in _OTHER_WAYS}
        return {**kept, "DOCKER_HOST": self.docker_host}

    @contextlib.contextmanager
    def open(self) -> Iterator[None]:
        """The room, with its network, for those who reach it by its socket. Raises EngineError, StorageError."""
        proxy = self._directory.resolve() / "sock"
        if self._api.network(self._network) is None:
            self._api.post("/networks/create", {"Name": self._network, **ISOLATED, "Labels": self._labels})
        with contextlib.ExitStack() as stack:
            namespace = self._namespace(stack)
            publish = namespace.publish if namespace else _nowhere
            directory = self._directory.resolve()
            host_config = HostConfigRules(self._network, directory, self._socket, proxy, self.report, publish)
            rules = Rules(self._api, self._labels, self._network, self.images, host_config, self.report)
            stack.enter_context(Proxy(proxy, self._socket, rules))
            self._prefix = namespace.prefix(proxy, self._socket) if namespace else ()
            if not self._prefix:
                self.report.change("the service's scripts shared the network of this host, which allows no other")
            yield

    @property
    def prefix(self) -> tuple[str, ...]:
        """What starts the service's scripts, as the start of a command line."""
        return self._prefix

    def _namespace(self, stack: contextlib.ExitStack) -> Namespace | None:
        try:
            return stack.enter_context(Namespace(self._addresses, self._behind))
        except OSError:
            return None

    def _behind(self, port: int) -> Target | None:
        """The running container that publishes a port."""
        for identifier in self._containers():
            found = self._api.container(identifier) or {}
            words = ((found.get("Config") or {}).get("Labels") or {}).get(PORTS_LABEL, "").split()
            inside = [word.partition(":")[0] for word in words if str(port) in word.partition(":")[2].split(",")]
            networks = ((found.get("NetworkSettings") or {}).get("Networks") or {}).values()
            addresses = [network.get("IPAddress") for network in networks if network.get("IPAddress")]
            process = int((found.get("State") or {}).get("Pid") or 0)
            if inside and addresses and process:
                return Target(process, addresses[0], int(inside[0].partition("/")[0]))
        return None

    def containers(self) -> list[ContainerState]:
        """The containers of the drill, but for those that were removed meanwhile."""
        found = [self._api.container(identifier) for identifier in self._containers()]
        return [_state(item) for item in found if item is not None]

    def last_words(self, container: str) -> str:
        """The last line that a container has printed."""
        data = self._api.logs(container)
        lines = [line for line in data.decode("utf-8", "replace").splitlines() if line.strip()]
        return lines[-1].strip()[:200] if lines else ""

    def clear(self) -> list[str]:
        """Remove containers, networks and volumes of the drill; returns what could not be, a line each."""
        left: list[str] = []
        for _ in range(_UNTIL_GONE):
            left = [*self._remove_containers()]
            left += self._remove("network", "/networks", self._networks())
            left += self._remove("volume", "/volumes", self._volumes())
        return left

    def take_back_images(self) -> list[str]:
        """Remove the images that the drill brought; returns what could not be."""
        return self.images.take_back()

    def _remove_containers(self) -> Iterator[str]:
        volumes = [("volume", name) for name in self._volumes()]
        labels = [("label", f"{key}={value}") for key, value in self._labels.items()]
        for kind, value in [*labels, *volumes]:
            for identifier in self._listed_containers(kind, value):
                with contextlib.suppress(EngineError):  # a frozen process cannot die; most are not frozen
                    self._api.post(f"/containers/{identifier}/unpause")
                try:
                    self._api.delete(f"/containers/{identifier}", {"force": "1", "v": "1"})
                except EngineError as problem:
                    if self._api.container(identifier) is not None:
                        yield f"container {identifier[:12]}: {problem.message}"

    def _remove(self, kind: str, path: str, names: Iterable[str]) -> Iterator[str]:
        for name in names:
            try:
                self._api.delete(f"{path}/{name}")
            except EngineError as problem:
                yield f"{kind} {name}: {problem.message}"

    def _containers(self) -> list[str]:
        return self._listed_containers("label", f"{DRILL_LABEL}={self._labels[DRILL_LABEL]}")

    def _listed_containers(self, kind: str, value: str) -> list[str]:
        found = self._api.get("/containers/json", {"all": "1", "filters": json.dumps({kind: [value]})}) or ()
        mounted = value if kind == "volume" else None
        return [item["Id"] for item in found if mounted is None or _mounts(item, mounted)]

    def _networks(self) -> list[str]:
        return [item["Id"] for item in self._labelled("/networks", lambda found: found)]

    def _volumes(self) -> list[str]:
        return [item["Name"] for item in self._labelled("/volumes", lambda found: (found or {}).get("Volumes"))]

    def _labelled(self, path: str, of: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for key, value in self._labels.items():
            answer = of(self._api.get(path, {"filters": json.dumps({"label": [f"{key}={value}"]})}))
            found += [item for item in answer or () if item not in found]
        return found


def _nowhere(_port: int) -> None:
    """Where scripts share the network of this host, its ports are the live service's."""


def _mounts(item: Mapping[str, Any], volume: str) -> bool:
    """The engine's filter also matches paths; only the volume of this very name counts."""
    return any(mount.get("Name") == volume for mount in item.get("Mounts") or ())


def _state(item: Mapping[str, Any]) -> ContainerState:
    state = item["State"]
    started = str(state.get("StartedAt") or "")
    code = int(state.get("ExitCode") or 0)
    return ContainerState(
        id=item["Id"],
        name=str(item["Name"]).lstrip("/"),
        image=str(item["Config"]["Image"]),
        state=str(state["Status"]),
        health=str((state.get("Health") or {}).get("Status") or "").replace("none", ""),
        since=dt.datetime.fromisoformat(f"{started[:19]}+00:00") if started[:4] > "0001" else None,
        code=0 if code in _STOPPED and not state.get("OOMKilled") else code,
    )
