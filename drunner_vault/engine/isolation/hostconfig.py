"""How a container of a drill is made: with what it asks for, as far as that stays inside the drill."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

PORTS_LABEL = "drunner-vault.drill.ports"
_TRIES = 10  # starts of a container that fails, where the service wanted it to be tried for ever
_FELT_OUTSIDE = re.compile(  # capabilities whose use is felt outside of the container
    "ALL|SYS_(ADMIN|MODULE|RAWIO|PTRACE|TIME|BOOT)|SYSLOG|DAC_READ_SEARCH|BPF|PERFMON|MAC_(ADMIN|OVERRIDE)|WAKE_ALARM"
    "|BLOCK_SUSPEND|AUDIT_CONTROL"
)
_LOGGED_HERE = ("json-file", "local", "none")  # drivers that keep a container's output with it
_NO_SERVER = "127.0.0.1"  # of the container itself: where names go that the drill's network does not know
_SHARED = {"PidMode": "processes", "IpcMode": "memory", "UTSMode": "name", "CgroupnsMode": "cgroups", "UsernsMode": ""}

Document = dict[str, Any]


class Things(Protocol):
    """What is known of containers, volumes and networks."""

    def own_network(self, name: str) -> str | None:
        """The name of the network, if it is one of the drill's."""

    def foreign_container(self, name: str) -> bool:
        """Whether that container is not the drill's."""

    def link_environment(self, name: str, alias: str) -> list[str]:
        """What the engine tells a container of the default network in its environment about one that it is linked
        to."""

    def have_volume(self, name: str) -> str:
        """Have a volume of the drill of this name; returns why that cannot be, or nothing."""


class Changes(Protocol):
    """Is told what is done otherwise than asked for."""

    def change(self, text: str) -> None:
        """Note it."""


@dataclass(frozen=True)
class HostConfigRules:
    """network: the drill's own. directory: the drill's own, which containers may write to. engine, proxy: sockets.
    publish: opens a TCP port where the service's scripts are."""

    network: str
    directory: Path
    engine: Path
    proxy: Path
    changes: Changes
    publish: Callable[[int], None]

    def apply(self, document: Document, things: Things) -> str:
        """Change a container's description; returns why it cannot be made at all, or nothing."""
        host: Document = document.setdefault("HostConfig", {}) or {}
        document["HostConfig"] = host
        self._rights(host)
        self._ports(document, host)
        self._restarts(host)
        self._logs(host)
        refusal = self._shared(host, things) or self._volumes(document, host, things)
        return refusal or self._networks(document, host, things)

    def _rights(self, host: Document) -> None:
        if host.get("Privileged"):
            host["Privileged"] = False
            self.changes.change("a container was not given --privileged")
        asked = host.get("CapAdd") or []
        dropped = [name for name in asked if _FELT_OUTSIDE.fullmatch(str(name).upper().removeprefix("CAP_"))]
        if dropped:
            host["CapAdd"] = [name for name in asked if name not in dropped]
            self.changes.change(f"a container was not given the capabilities {', '.join(dropped)}")
        for key in ("MaskedPaths", "ReadonlyPaths"):
            if host.pop(key, None) is not None:
                self.changes.change("a container was not given the kernel's files that are usually hidden")
        for key in ("Devices", "DeviceCgroupRules"):
            if host.get(key):
                names = ", ".join(str(item.get("PathOnHost")) for item in host[key] if isinstance(item, dict))
                self.changes.change(f"a container was not given devices of this host{names and ': ' + names}")
                host[key] = []

    def _ports(self, document: Document, host: Document) -> None:
        """Published ports are the live service's. They are written down, for who opens them elsewhere."""
        ports = {
            inside: [str(item.get("HostPort") or "") for item in outside or ()]
            for inside, outside in (host.get("PortBindings") or {}).items()
        }
        if ports or host.get("PublishAllPorts"):
            words = [f"{inside}:{','.join(filter(None, outside))}" for inside, outside in ports.items()]
            document["Labels"] = {**(document.get("Labels") or {}), PORTS_LABEL: " ".join(words)}
            self.changes.change(f"ports were not published on this host: {', '.join(ports) or 'all of an image'}")
            for inside, outside in ports.items():
                for number in outside if not inside.endswith(("/udp", "/sctp")) else ():
                    if number.isdecimal() and number != "0":
                        self.publish(int(number))
        host["PortBindings"], host["PublishAllPorts"] = {}, False

    def _restarts(self, host: Document) -> None:
        """It may be tried again, but does not come back with the engine, should the drill be killed."""
        policy = host.get("RestartPolicy") or {}
        if policy.get("Name") in ("always", "unless-stopped"):
            host["RestartPolicy"] = {"Name": "on-failure", "MaximumRetryCount": _TRIES}

    def _logs(self, host: Document) -> None:
        """What it prints goes nowhere else, be that asked for, or the engine's own habit."""
        driver = str((host.get("LogConfig") or {}).get("Type") or "")
        if driver in _LOGGED_HERE:
            return
        host["LogConfig"] = {"Type": "json-file", "Config": {}}
        if driver:
            self.changes.change(f"what a container printed did not go to log driver {driver}")

    def _shared(self, host: Document, things: Things) -> str:
        for key, what in _SHARED.items():
            mode = str(host.get(key) or "")
            if mode == "host":
                host[key] = "private" if key in ("IpcMode", "CgroupnsMode") else ""
                self.changes.change(f"a container does not share the {what or 'users'} of this host")
            elif mode.startswith("container:") and things.foreign_container(mode.partition(":")[2]):
                return f"a container would share the {what} of {mode.partition(':')[2]}, which is none of the drill's"
        for name in host.get("VolumesFrom") or ():
            if things.foreign_container(str(name).partition(":")[0]):
                return f"a container would use the volumes of {name}, which is none of the drill's"
        return ""

    def _volumes(self, document: Document, host: Document, things: Things) -> str:
        if host.get("VolumeDriver") not in (None, "", "local"):
            return f"a container would use volumes of driver {host['VolumeDriver']}, outside of the drill"
        binds = []
        for bind in host.get("Binds") or ():
            source, _, rest = str(bind).partition(":")
            if not source.startswith("/"):
                refusal = things.have_volume(source) if rest else ""
                if refusal:
                    return refusal
                binds.append(bind)
                continue
            target, _, options = rest.partition(":")
            place = self._place(source)
            if isinstance(place, str):
                return place
            if place is None:
                document["Volumes"] = {**(document.get("Volumes") or {}), target: {}}
            else:
                words = [word for word in options.split(",") if word and word not in ("rw", "ro")]
                mode = "rw" if place.writable and "ro" not in options.split(",") else "ro"
                binds.append(":".join([place.path, target, ",".join([mode, *words])]))
        host["Binds"] = binds
        return self._mounts(host, things)

    def _mounts(self, host: Document, things: Things) -> str:
        mounts = []
        for mount in host.get("Mounts") or ():
            kind, source = mount.get("Type"), str(mount.get("Source") or "")
            if kind == "volume":
                if ((mount.get("VolumeOptions") or {}).get("DriverConfig") or {}).get("Options"):
                    return f"volume {source} would reach storage outside of the drill"
                refusal = things.have_volume(source) if source else ""
                if refusal:
                    return refusal
            elif kind == "bind":
                place = self._place(source)
                if isinstance(place, str):
                    return place
                mount = (  # noqa: PLW2901 - the same mount, as it may be
                    {"Type": "volume", "Target": mount.get("Target")}
                    if place is None
                    else {
                        **mount,
                        "Source": place.path,
                        "ReadOnly": bool(mount.get("ReadOnly")) or not place.writable,
                    }
                )
            elif kind not in ("tmpfs", "image"):
                return f"a drill knows no mount of type {kind}"
            mounts.append(mount)
        if mounts:
            host["Mounts"] = mounts
        return ""

    def _place(self, source: str) -> _Place | str | None:
        """Where a directory of the host is mounted from instead; why not, as text; None for an empty volume."""
        path = Path(source).resolve()
        engine = self.engine.resolve()
        if path in (engine, self.proxy):
            self.changes.change("a container that wanted the engine's socket got the drill's")
            return _Place(str(self.proxy), writable=True)
        if path in engine.parents:
            return f"a container would get {source}, and with it the engine's socket"
        if path.is_relative_to(self.directory):
            return _Place(str(path), writable=True)
        if not path.exists():
            self.changes.change(f"there is no {source} on this host: an empty volume takes its place")
            return None
        self.changes.change(f"{source} of this host could only be read")
        return _Place(str(path), writable=False)

    def _networks(self, document: Document, host: Document, things: Things) -> str:
        mode = str(host.get("NetworkMode") or "default")
        if mode.startswith("container:"):
            other = mode.partition(":")[2]
            return f"a container would join the network of {other}" if things.foreign_container(other) else ""
        endpoints: Mapping[str, Any] = (document.get("NetworkingConfig") or {}).get("EndpointsConfig") or {}
        if mode == "none":
            return ""
        joined: Document = {}
        names = dict.fromkeys([mode, *endpoints])
        for name in names:
            endpoint = endpoints.get(name) or {}
            own = None if name in ("default", "bridge", "host") else things.own_network(name)
            if own is None and name not in ("default", "bridge"):
                self.changes.change(f"the drill's own network took the place of {name}")
            kept = joined.setdefault(own or self.network, {})
            for key in ("Aliases", "Links"):
                if endpoint.get(key):
                    kept[key] = [*kept.get(key, ()), *endpoint[key]]
        if host.get("Links"):
            self._links(document, host["Links"], things)
            joined[next(iter(joined))]["Links"] = host.pop("Links")
        host["NetworkMode"] = next(iter(joined))
        host["Dns"] = [_NO_SERVER]  # some engines ask the host's own resolver, even from a network that leads nowhere
        document["NetworkingConfig"] = {"EndpointsConfig": joined}
        with contextlib.suppress(KeyError):
            del document["MacAddress"]
        return ""

    def _links(self, document: Document, links: list[str], things: Things) -> None:
        """A network of one's own knows linked containers by name only. Services of their time ask the environment."""
        told: list[str] = []
        for link in links:
            name, _, alias = str(link).partition(":")
            told += things.link_environment(name, alias.rpartition("/")[2] or name)
        if told:
            document["Env"] = [*told, *(document.get("Env") or ())]  # what it was given itself counts


@dataclass(frozen=True)
class _Place:
    """A place on the host that a container gets."""

    path: str
    writable: bool
