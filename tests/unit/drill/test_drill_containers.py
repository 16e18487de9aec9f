"""How a container of a drill is made: what it asked for, as far as that stays inside."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from drunner_vault.engine.isolation.hostconfig import PORTS_LABEL, HostConfigRules
from drunner_vault.engine.isolation.rules import Report


class Known:
    """Things on the engine: networks, containers and volumes whose names begin with `own` are the drill's."""

    def own_network(self, name: str) -> str | None:
        return name if name.startswith("own") else None

    def foreign_container(self, name: str) -> bool:
        return not name.startswith("own")

    def link_environment(self, name: str, alias: str) -> list[str]:
        return [f"{alias}={name}"]

    def have_volume(self, name: str) -> str:
        return "" if name.startswith("own") else f"volume {name} is foreign"


class Made:
    """The rules of one drill, and what they said."""

    def __init__(self, directory: Path) -> None:
        self.report = Report()
        self.published: list[int] = []
        self.engine, self.drill = directory / "engine" / "sock", directory / "drill"
        self.drill.mkdir()
        self.engine.parent.mkdir()
        self.engine.touch()
        self.rules = HostConfigRules(
            "net", self.drill, self.engine, self.drill / "sock", self.report, self.published.append
        )

    def make(self, host: dict[str, Any], **more: Any) -> dict[str, Any]:
        document = {"HostConfig": host, **more}
        self.refusal = self.rules.apply(document, Known())
        return document


@pytest.fixture
def drill(tmp_path: Path) -> Made:
    return Made(tmp_path)


def test_a_plain_container_joins_the_drills_network_and_nothing_is_said(drill: Made) -> None:
    made = drill.make({"Memory": 5, "Binds": ["own-data:/data:ro"], "LogConfig": {"Type": ""}})
    assert drill.refusal == ""
    assert made["HostConfig"]["NetworkMode"] == "net"
    assert made["HostConfig"]["Binds"] == ["own-data:/data:ro"]
    assert made["HostConfig"]["Memory"] == 5
    assert made["HostConfig"]["LogConfig"] == {"Type": "json-file", "Config": {}}
    assert made["HostConfig"]["Dns"] == ["127.0.0.1"]
    assert drill.report == Report()


@pytest.mark.parametrize(
    ("asked", "got", "word"),
    [
        ({"Privileged": True}, {"Privileged": False}, "--privileged"),
        ({"CapAdd": ["NET_ADMIN", "CAP_SYS_ADMIN", "all"]}, {"CapAdd": ["NET_ADMIN"]}, "CAP_SYS_ADMIN, all"),
        ({"Devices": [{"PathOnHost": "/dev/ttyUSB0"}]}, {"Devices": []}, "/dev/ttyUSB0"),
        ({"PidMode": "host"}, {"PidMode": ""}, "processes"),
        ({"IpcMode": "host"}, {"IpcMode": "private"}, "memory"),
        ({"UTSMode": "host"}, {"UTSMode": ""}, "name"),
        ({"CgroupnsMode": "host"}, {"CgroupnsMode": "private"}, "cgroups"),
        ({"UsernsMode": "host"}, {"UsernsMode": ""}, "users"),
        ({"NetworkMode": "host"}, {"NetworkMode": "net"}, "took the place of host"),
        ({"NetworkMode": "proxy"}, {"NetworkMode": "net"}, "took the place of proxy"),
        ({"LogConfig": {"Type": "gelf"}}, {"LogConfig": {"Type": "json-file", "Config": {}}}, "log driver gelf"),
        ({"PublishAllPorts": True}, {"PublishAllPorts": False}, "all of an image"),
        ({"Binds": ["/etc/hosts:/hosts"]}, {"Binds": ["/etc/hosts:/hosts:ro"]}, "/etc/hosts of this host"),
        ({"Binds": ["/etc/hosts:/hosts:z,rw"]}, {"Binds": ["/etc/hosts:/hosts:ro,z"]}, "/etc/hosts of this host"),
        ({"Binds": ["/not/here:/here"]}, {"Binds": []}, "/not/here"),
    ],
)
def test_what_reaches_out_is_left_out_and_said(
    drill: Made, asked: dict[str, Any], got: dict[str, Any], word: str
) -> None:
    made = drill.make(asked)
    assert drill.refusal == ""
    assert {key: made["HostConfig"][key] for key in got} == got
    assert word in " ".join(drill.report.changed)


@pytest.mark.parametrize(
    "asked",
    [
        {"Binds": ["live:/data"]},
        {"Mounts": [{"Type": "volume", "Source": "live", "Target": "/data"}]},
        {"Mounts": [{"Type": "volume", "VolumeOptions": {"DriverConfig": {"Options": {"type": "nfs"}}}}]},
        {"Mounts": [{"Type": "cluster", "Source": "own"}]},
        {"Binds": ["/:/host"]},
        {"Mounts": [{"Type": "bind", "Source": "/", "Target": "/host"}]},
        {"VolumesFrom": ["live:ro"]},
        {"VolumeDriver": "rexray"},
        {"NetworkMode": "container:live"},
        {"PidMode": "container:live"},
        {"IpcMode": "container:live"},
    ],
)
def test_what_belongs_to_others_is_refused(drill: Made, asked: dict[str, Any]) -> None:
    drill.make(asked)
    assert drill.refusal


@pytest.mark.parametrize("asked", [{"NetworkMode": "container:own-web"}, {"VolumesFrom": ["own-web"]}])
def test_containers_of_the_drill_share_among_themselves(drill: Made, asked: dict[str, Any]) -> None:
    made = drill.make(dict(asked))
    assert (drill.refusal, drill.report) == ("", Report())
    assert asked.items() <= made["HostConfig"].items()


def test_the_kernels_hidden_files_stay_hidden(drill: Made) -> None:
    made = drill.make({"MaskedPaths": [], "ReadonlyPaths": []})
    assert not {"MaskedPaths", "ReadonlyPaths"} & set(made["HostConfig"])
    assert "hidden" in drill.report.changed[0]


def test_the_engines_socket_becomes_the_drills(drill: Made) -> None:
    link = drill.engine.parent.parent / "link"
    link.symlink_to(drill.engine)
    made = drill.make({"Binds": [f"{drill.engine}:/a", f"{link}:/b"]})
    assert made["HostConfig"]["Binds"] == [f"{drill.drill}/sock:/a:rw", f"{drill.drill}/sock:/b:rw"]


def test_the_drills_own_directories_can_be_written_to(drill: Made) -> None:
    inside = drill.drill / "tmp"
    inside.mkdir()
    mount = {"Type": "bind", "Source": str(inside), "Target": "/b"}
    made = drill.make({"Binds": [f"{inside}:/a", f"{inside}:/c:ro"], "Mounts": [mount]})
    assert made["HostConfig"]["Binds"] == [f"{inside}:/a:rw", f"{inside}:/c:ro"]
    assert made["HostConfig"]["Mounts"] == [{**mount, "ReadOnly": False}]
    assert drill.report == Report()


def test_published_ports_open_where_the_scripts_are(drill: Made) -> None:
    ports = {"80/tcp": [{"HostPort": "8080"}], "53/udp": [{"HostPort": "53"}], "81/tcp": [{"HostPort": ""}]}
    made = drill.make({"PortBindings": ports}, Labels={"mine": "1"})
    assert made["HostConfig"]["PortBindings"] == {}
    assert made["Labels"] == {"mine": "1", PORTS_LABEL: "80/tcp:8080 53/udp:53 81/tcp:"}
    assert drill.published == [8080]


@pytest.mark.parametrize(
    ("asked", "got"),
    [
        ("always", {"Name": "on-failure", "MaximumRetryCount": 10}),
        ("unless-stopped", {"Name": "on-failure", "MaximumRetryCount": 10}),
        ("no", {"Name": "no"}),
    ],
)
def test_nothing_comes_back_with_the_engine(drill: Made, asked: str, got: dict[str, Any]) -> None:
    assert drill.make({"RestartPolicy": {"Name": asked}})["HostConfig"]["RestartPolicy"] == got


def test_names_and_links_are_kept_while_addresses_are_not(drill: Made) -> None:
    endpoints = {
        "proxy": {"Aliases": ["web"], "IPAMConfig": {"IPv4Address": "10.0.0.5"}, "MacAddress": "02:00:00:00:00:01"},
        "own-net": {"Aliases": ["db"], "Links": ["own-a:a"]},
    }
    made = drill.make({"NetworkMode": "proxy"}, NetworkingConfig={"EndpointsConfig": endpoints}, MacAddress="02::1")
    joined = made["NetworkingConfig"]["EndpointsConfig"]
    assert joined == {"net": {"Aliases": ["web"]}, "own-net": {"Aliases": ["db"], "Links": ["own-a:a"]}}
    assert "MacAddress" not in made


def test_links_of_the_old_kind_work_on_the_drills_network(drill: Made) -> None:
    made = drill.make({"Links": ["own-db:db"]}, Env=["A=1"])
    assert made["Env"] == ["db=own-db", "A=1"]
    assert made["NetworkingConfig"]["EndpointsConfig"] == {"net": {"Links": ["own-db:db"]}}
    assert "Links" not in made["HostConfig"]


def test_no_network_stays_none(drill: Made) -> None:
    assert drill.make({"NetworkMode": "none"})["HostConfig"]["NetworkMode"] == "none"
    assert not re.search("network", " ".join(drill.report.changed))
