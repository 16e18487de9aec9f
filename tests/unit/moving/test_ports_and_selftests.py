"""What is looked at before and after a service has moved: the ports it wants, and whether it says that it is well."""

from __future__ import annotations

import socket

import pytest

from drunner_vault.archive import ImageRecord
from drunner_vault.engine.containers import HostPort
from drunner_vault.services.selftest import has_selftest
from drunner_vault.workflows.moving.preflight import Needs, own_port_problem, parse_needs


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_a_port_that_something_else_has_is_taken(kind: socket.SocketKind) -> None:
    protocol = "tcp" if kind is socket.SOCK_STREAM else "udp"
    with socket.socket(socket.AF_INET, kind) as other:
        other.bind(("127.0.0.1", 0))
        if protocol == "tcp":
            other.listen()
        number = other.getsockname()[1]
        assert own_port_problem(f"127.0.0.1:{number}/{protocol}") == f"port 127.0.0.1:{number}/{protocol} is taken"
        assert own_port_problem(f"{number}/{protocol}") == f"port {number}/{protocol} is taken"
    assert own_port_problem(f"127.0.0.1:{number}/{protocol}") == ""


def test_a_port_of_an_address_that_is_not_here_cannot_be_had() -> None:
    assert "this host has no address 192.0.2.1" in own_port_problem("192.0.2.1:8080/tcp")


@pytest.mark.parametrize("text", ["", "8080", "http/tcp", "8080/tcp/x", "[::1:80/tcp", "70000/tcp", "host:80/tcp"])
def test_what_is_no_port_is_said_to_be_none(text: str) -> None:
    assert "is no port" in own_port_problem(text)


@pytest.mark.parametrize(
    ("port", "text"),
    [
        (HostPort(80, "tcp", "", "a"), "80/tcp"),
        (HostPort(53, "udp", "127.0.0.1", "a"), "127.0.0.1:53/udp"),
        (HostPort(443, "tcp", "::1", "a"), "[::1]:443/tcp"),
    ],
)
def test_ports_are_written_as_they_are_read(port: HostPort, text: str) -> None:
    assert str(port) == text
    assert "is no port" not in own_port_problem(text)


def test_needs_are_what_they_were_when_they_have_been_sent() -> None:
    image = ImageRecord("test/keeper:1", "sha256:" + "0" * 64, ("a@sha256:" + "1" * 64,), "amd64", "linux", 7, True)
    for needs in (Needs("a", ("/data",), 5, (image,), ("80/tcp",), replace=True), Needs("a", (), None, ())):
        assert parse_needs(needs.document()) == needs
    for broken in ({}, {**needs.document(), "images": [{"name": 1}]}, {**needs.document(), "content": "much"}):
        with pytest.raises((KeyError, TypeError, ValueError)):
            parse_needs(broken)


@pytest.mark.parametrize(
    ("script", "has"),
    [
        ("case $1 in\n  selftest) true ;;\nesac", True),
        ("case $1 in\n  start | stop | selftest) true ;;\nesac", True),
        ('case $1 in\n"selftest" | check)\n', True),
        ("case $1 in\n(selftest)\n", True),
        ("case $1 in\n  test) true ;;\n", False),
        ("# selftest)\n", False),
        ("echo 'run the selftest (or not)'\n", False),
        ("function selftest { true; }\n", False),
        ("", False),
    ],
)
def test_a_service_can_say_that_it_is_well_if_its_script_has_that_command(script: str, has: bool) -> None:
    assert has_selftest(script.encode()) is has
