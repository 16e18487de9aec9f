"""What a service may ask of the engine during a drill.

It sees its own containers, and no others: to it they are not there. What it makes is marked as the drill's, and joins
the drill's own network. Of what was there before the drill, nothing is changed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from drunner_vault.engine.isolation.engineapi import EngineApi
from drunner_vault.engine.isolation.hostconfig import HostConfigRules
from drunner_vault.engine.isolation.images import ImageLedger
from drunner_vault.engine.isolation.requests import Answer, Request

# Not even the host is on such a network: else its containers would reach what others publish on the host's addresses.
ISOLATED = {"Driver": "bridge", "Internal": True, "Options": {"com.docker.network.bridge.inhibit_ipv4": "true"}}

Decision = Request | Answer
_Rule = Callable[["Rules", Request, "re.Match[str]"], Decision]


@dataclass
class Report:
    """What was done otherwise than a service asked for. changed: it got something like it. refused: it got an error."""

    changed: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    def change(self, text: str) -> None:
        """Note it, once."""
        if text not in self.changed:
            self.changed.append(text)

    def refuse(self, status: int, text: str) -> Answer:
        """Note it, once; returns the answer that says so."""
        if text not in self.refused:
            self.refused.append(text)
        return Answer(status, {"message": f"{text} (this is a drill)"})


class Rules:
    """The rules of one drill. labels: each of them marks what is the drill's. network: the name of its own network."""

    def __init__(
        self,
        api: EngineApi,
        labels: Mapping[str, str],
        network: str,
        ledger: ImageLedger,
        host_config: HostConfigRules,
        report: Report,
    ) -> None:
        self._api = api
        self._labels = dict(labels)
        self._network = network
        self._ledger = ledger
        self._host_config = host_config
        self._report = report

    def judge(self, request: Request) -> Decision:
        """The request to send instead, or the answer to give. Raises BadUsage, EngineError."""
        for method, pattern, rule in _RULES:
            match = pattern.fullmatch(request.path)
            if match and re.fullmatch(method, request.method):
                return rule(self, request, match)
        if not request.changes:
            return request
        return self._report.refuse(403, f"{request.method} {request.path} would reach beyond the drill")

    def ours(self, thing: Mapping[str, Any] | None) -> bool:
        """Whether a container, volume or network is the drill's."""
        labels = {} if thing is None else thing.get("Labels") or (thing.get("Config") or {}).get("Labels") or {}
        return any(labels.get(key) == value for key, value in self._labels.items())

    def _pass(self, request: Request, _match: re.Match[str]) -> Decision:
        return request

    def _list_containers(self, request: Request, _match: re.Match[str]) -> Decision:
        """Only ours: the rest is as if it were on another host."""
        filters = json.loads(request.parameter("filters") or "{}")
        # clients name values as a list or as a map; the engine takes either, and refuses a mixture
        asked = {key: dict.fromkeys(values, True) for key, values in filters.items()}
        own = next(f"{key}={value}" for key, value in self._labels.items())
        asked["label"] = {**asked.get("label", {}), own: True}
        return request.with_parameter("filters", json.dumps(asked))

    def _container(self, request: Request, match: re.Match[str]) -> Decision:
        return self._foreign_container(match["name"], request) or request

    def _foreign_container(self, name: str, request: Request) -> Answer | None:
        """The answer for a container that is not the drill's: there is none of that name."""
        found = self._api.container(name)
        if found is None or self.ours(found):
            return None
        if not request.changes:
            return Answer(404, {"message": f"No such container: {name} (there is one outside of this drill)"})
        return self._report.refuse(404, f"No such container: {name}: the one of this name is none of the drill's")

    def _exec(self, request: Request, match: re.Match[str]) -> Decision:
        container = self._api.exec_container(match["name"])
        return (container and self._foreign_container(container, request)) or request

    def _create_container(self, request: Request, _match: re.Match[str]) -> Decision:
        name = request.parameter("name").lstrip("/")
        found = self._api.container(name)
        if found is not None and found.get("Name") == f"/{name}" and not self.ours(found):
            return self._report.refuse(
                409,
                f"the service calls a container {name}, whatever its own name is, and one of that name is here already",
            )
        document = request.document()
        document["Labels"] = {**(document.get("Labels") or {}), **self._own_label()}
        refusal = self._host_config.apply(document, self)
        if refusal:
            return self._report.refuse(403, refusal)
        return request.with_document(document)

    def _prepare_exec(self, request: Request, match: re.Match[str]) -> Decision:
        document = request.document()
        if document.get("Privileged"):
            document["Privileged"] = False
            self._report.change("a command in a container was not given --privileged")
        return self._foreign_container(match["name"], request) or request.with_document(document)

    def _update_container(self, request: Request, match: re.Match[str]) -> Decision:
        document = request.document()
        document.pop("RestartPolicy", None)
        return self._foreign_container(match["name"], request) or request.with_document(document)

    def _create_network(self, request: Request, _match: re.Match[str]) -> Decision:
        """An internal bridge, from whatever addresses are free: those it asks for may be those of the live one.

        One that others have already, whatever the service's name is, is made in name only: whoever is to join it joins
        the drill's own.
        """
        document = request.document()
        found = self._api.network(str(document.get("Name") or ""))
        if found is not None and found["Name"] == document["Name"] and not self.ours(found):  # ids are found too
            self._report.change(f"the drill's own network took the place of {found['Name']}")
            own = self._api.network(self._network) or found
            return Answer(201, {"Id": own.get("Id", ""), "Warning": ""})
        self._report.change(f"network {document.get('Name')} leads nowhere but to the drill's own containers")
        kept = {key: value for key, value in document.items() if key in ("Name", "Attachable", "CheckDuplicate")}
        labels = {**(document.get("Labels") or {}), **self._own_label()}
        return request.with_document({**kept, **ISOLATED, "Labels": labels})

    def _join_network(self, request: Request, match: re.Match[str]) -> Decision:
        document = request.document()
        refusal = self._foreign_container(str(document.get("Container", "")), request)
        if refusal:
            return refusal
        if self.own_network(match["name"]) is None:
            self._report.change(f"containers did not join network {match['name']}, which is none of the drill's")
            return Answer(200)
        endpoint = document.get("EndpointConfig") or {}
        document["EndpointConfig"] = {key: endpoint[key] for key in ("Aliases", "Links") if endpoint.get(key)}
        return request.with_document(document)

    def own_network(self, name: str) -> str | None:
        """The name of the network, if it is one of the drill's."""
        found = self._api.network(name)
        return str(found["Name"]) if found and self.ours(found) else None

    def foreign_container(self, name: str) -> bool:
        """Whether that container is not the drill's."""
        found = self._api.container(name)
        return found is not None and not self.ours(found)

    def link_environment(self, name: str, alias: str) -> list[str]:
        """As Docker's legacy container links document it: ALIAS_PORT, ALIAS_PORT_80_TCP, …_ADDR, …_PORT, …_PROTO."""
        found = self._api.container(name) or {}
        networks = ((found.get("NetworkSettings") or {}).get("Networks") or {}).values()
        address = next((network["IPAddress"] for network in networks if network.get("IPAddress")), "")
        ports = sorted((found.get("Config") or {}).get("ExposedPorts") or {}, key=_port_order)
        if not address:
            return []
        prefix = alias.upper().replace("-", "_")
        told = [f"{prefix}_PORT={port.partition('/')[2]}://{address}:{port.partition('/')[0]}" for port in ports[:1]]
        for port in ports:
            number, _, protocol = port.partition("/")
            base = f"{prefix}_PORT_{number}_{protocol.upper()}"
            told += [f"{base}={protocol}://{address}:{number}", f"{base}_ADDR={address}"]
            told += [f"{base}_PORT={number}", f"{base}_PROTO={protocol}"]
        return told

    def have_volume(self, name: str) -> str:
        """Have a volume of the drill of this name; returns why that cannot be, or nothing."""
        found = self._api.volume(name)
        if found is None:
            self._api.make_volume(name, self._own_label())
        return "" if found is None or self.ours(found) else _foreign_volume(name)

    def _remove_network(self, request: Request, match: re.Match[str]) -> Decision:
        if self._api.network(match["name"]) is None or self.own_network(match["name"]):
            return request
        return self._report.refuse(403, f"network {match['name']} is none of the drill's")

    def _create_volume(self, request: Request, _match: re.Match[str]) -> Decision:
        document = request.document()
        options = document.get("DriverOpts") or {}
        elsewhere = document.get("Driver") not in (None, "", "local") or options.get("type") not in (None, "tmpfs")
        if elsewhere or (options and options.get("type") is None):
            return self._report.refuse(403, f"volume {document.get('Name')} would reach storage outside of the drill")
        found = self._api.volume(str(document.get("Name") or ""))
        if found is not None and not self.ours(found):
            return self._report.refuse(409, _foreign_volume(found["Name"]))
        document["Labels"] = {**(document.get("Labels") or {}), **self._own_label()}
        return request.with_document(document)

    def _remove_volume(self, request: Request, match: re.Match[str]) -> Decision:
        found = self._api.volume(match["name"])
        if found is None or self.ours(found):
            return request
        return self._report.refuse(403, f"volume {match['name']} is none of the drill's")

    def _pull_image(self, request: Request, _match: re.Match[str]) -> Decision:
        name, tag = request.parameter("fromImage"), request.parameter("tag")
        if not name:
            self._ledger.watch_all()
            return request
        separator = "@" if tag.startswith("sha256:") else ":"
        self._ledger.watch(f"{name}{separator}{tag}" if tag else name)
        return request

    def _tag_image(self, request: Request, _match: re.Match[str]) -> Decision:
        self._ledger.watch(f"{request.parameter('repo')}:{request.parameter('tag') or 'latest'}")
        return request

    def _make_images(self, request: Request, _match: re.Match[str]) -> Decision:
        self._ledger.watch_all()
        return request

    def _build(self, request: Request, _match: re.Match[str]) -> Decision:
        """What runs while an image is built is no container of ours that a network could be given to."""
        self._ledger.watch_all()
        if request.parameter("networkmode") != "none":
            self._report.change("an image was built without a network")
        return request.with_parameter("networkmode", "none")

    def _build_apart(self, _request: Request, _match: re.Match[str]) -> Decision:
        return self._report.refuse(403, "what buildx is told cannot be seen, so it builds no images")

    def _commit(self, request: Request, _match: re.Match[str]) -> Decision:
        refusal = self._foreign_container(request.parameter("container"), request)
        if refusal is None:
            self._ledger.watch_all()
        return refusal or request

    def _remove_image(self, request: Request, match: re.Match[str]) -> Decision:
        if self._api.image(match["name"]) is None or self._ledger.made(match["name"]):
            return request
        return self._report.refuse(403, f"image {match['name']} was here before the drill")

    def _own_label(self) -> dict[str, str]:
        key = next(iter(self._labels))
        return {key: self._labels[key]}


def _port_order(port: str) -> tuple[str, int]:
    """TCP first, and the lowest number, which is what a link alone stands for."""
    number, _, protocol = port.partition("/")
    return protocol, int(number)


def _foreign_volume(name: str) -> str:
    return f"the service uses volume {name}, whatever its own name is, and that is none of the drill's"


def _rule(method: str, path: str, rule: _Rule) -> tuple[str, re.Pattern[str], _Rule]:
    return method, re.compile(path), rule


_NAME = "(?P<name>[^/]+)"
_RULES = (
    _rule("GET", "/containers/json", Rules._list_containers),
    _rule("POST", "/containers/create", Rules._create_container),
    _rule("POST", f"/containers/{_NAME}/update", Rules._update_container),
    _rule("POST", f"/containers/{_NAME}/exec", Rules._prepare_exec),
    _rule(".*", f"/containers/(?!prune$){_NAME}(/.*)?", Rules._container),
    _rule("POST", f"/exec/{_NAME}/.*", Rules._exec),
    _rule("POST", "/networks/create", Rules._create_network),
    _rule("POST", f"/networks/{_NAME}/(connect|disconnect)", Rules._join_network),
    _rule("DELETE", f"/networks/{_NAME}", Rules._remove_network),
    _rule("POST", "/volumes/create", Rules._create_volume),
    _rule("DELETE", f"/volumes/{_NAME}", Rules._remove_volume),
    _rule("POST", "/images/create", Rules._pull_image),
    _rule("POST", "/images/load", Rules._make_images),
    _rule("POST", "/images/(?P<name>.+)/tag", Rules._tag_image),
    _rule("DELETE", "/images/(?P<name>.+)", Rules._remove_image),
    _rule("POST", "/build", Rules._build),
    _rule("POST", "/grpc", Rules._build_apart),
    _rule("POST", "/commit", Rules._commit),
    _rule("POST", "/auth|/session|/build/cancel", Rules._pass),
)

READ_WHOLE = re.compile(r"/(containers|networks|volumes)/(create|[^/]+/(update|exec|connect|disconnect))")
