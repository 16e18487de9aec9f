"""The packets of SFTP, and the names of stores over ssh: what is sent, what is understood, what is refused."""

from __future__ import annotations

import os
import stat
import struct

import pytest

from drunner_vault.errors import BadUsage
from drunner_vault.stores.ssh import protocol
from drunner_vault.stores.ssh.options import SshOptions, ssh_options
from drunner_vault.stores.ssh.protocol import Attributes, Entry, Extended, Fields, Handle, Kind, Malformed, Names, Open


def reply(kind: Kind, body: bytes, number: int = 7) -> bytes:
    return struct.pack(">BI", kind, number) + body


def test_a_request_is_its_length_its_type_its_number_and_its_fields() -> None:
    request = protocol.write(Handle(b"\0\1"), 1 << 33, b"data")
    fields = Fields(protocol.packet(5, request))
    assert fields.uint32() == fields.left
    assert (fields.byte(), fields.uint32()) == (Kind.WRITE, 5)
    assert (fields.string(), fields.uint64(), fields.string(), fields.left) == (b"\0\1", 1 << 33, b"data", 0)


def test_a_file_is_opened_with_flags_and_permissions() -> None:
    fields = Fields(protocol.open_file("Grüße", Open.WRITE | Open.CREATE | Open.EXCLUSIVE, 0o600).body)
    assert (fields.text(), fields.uint32()) == ("Grüße", 0x2A)
    assert fields.attributes() == Attributes(mode=0o600)
    assert fields.left == 0


def test_answers_are_understood() -> None:
    string = protocol.string
    assert protocol.parse_reply(reply(Kind.HANDLE, string(b"h"))) == (7, Handle(b"h"))
    assert protocol.parse_reply(reply(Kind.DATA, string(b"d"))) == (7, protocol.Data(b"d"))
    said = struct.pack(">I", 4) + string(b"Failure") + string(b"en")
    assert protocol.parse_reply(reply(Kind.STATUS, said)) == (7, protocol.Status(4, "Failure"))
    assert protocol.parse_reply(reply(Kind.STATUS, struct.pack(">I", 0))) == (7, protocol.Status(0, ""))
    assert protocol.parse_reply(reply(Kind.EXTENDED_REPLY, b"xyz")) == (7, Extended(b"xyz"))


def test_attributes_are_understood_whatever_else_comes_with_them() -> None:
    every = struct.pack(">IQIIIII", 0x8000000F, 1 << 40, 1, 2, stat.S_IFREG | 0o644, 10, 20)
    every += struct.pack(">I", 1) + protocol.string(b"name@host") + protocol.string(b"value")
    entry = protocol.string(b"a\xff") + protocol.string(b"-rw-r--r-- a") + every
    nothing = protocol.string(b"b") + protocol.string(b"") + struct.pack(">I", 0)
    _, names = protocol.parse_reply(reply(Kind.NAME, struct.pack(">I", 2) + entry + nothing))
    assert isinstance(names, Names)
    first, second = names.entries
    assert first == Entry("a\udcff", Attributes(1 << 40, stat.S_IFREG | 0o644, 20))
    assert first.attributes.is_file
    assert os.fsencode(first.name) == b"a\xff"
    assert protocol.path(first.name) == protocol.string(b"a\xff")
    assert second == Entry("b", Attributes())
    assert not any((second.attributes.is_file, second.attributes.is_directory, second.attributes.is_link))


def test_the_first_packet_tells_what_the_server_can() -> None:
    offered = protocol.string(b"fsync@openssh.com") + protocol.string(b"1")
    assert protocol.parse_version(struct.pack(">BI", Kind.VERSION, 3) + offered) == {protocol.FSYNC: b"1"}
    for wrong in (struct.pack(">BI", Kind.VERSION, 2), struct.pack(">BI", Kind.STATUS, 3)):
        with pytest.raises(Malformed):
            protocol.parse_version(wrong)


def test_space_is_what_is_left_for_us() -> None:
    def space(*numbers: int) -> protocol.Space:
        return protocol.parse_space(Extended(struct.pack(">11Q", *numbers)))

    assert space(4096, 1024, 100, 50, 5, 10, 4, 3, 0, 0, 255) == protocol.Space(5120, True, False)
    assert space(4096, 1024, 100, 50, 0, 10, 4, 0, 0, 1, 255) == protocol.Space(0, False, True)
    assert space(4096, 1024, 100, 50, 5, 0, 0, 0, 0, 0, 255).takes_files, "btrfs counts no files"


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        reply(Kind.READ, b"a server asks nothing"),
        reply(Kind.DATA, struct.pack(">I", 10) + b"short"),
        reply(Kind.HANDLE, b"\0"),
        reply(Kind.NAME, struct.pack(">I", 0xFFFFFFFF)),
        reply(Kind.ATTRS, struct.pack(">II", 0x80000000, 0xFFFFFFFF)),
    ],
)
def test_what_is_no_answer_is_refused(packet: bytes) -> None:
    with pytest.raises(Malformed):
        protocol.parse_reply(packet)


@pytest.mark.parametrize(
    ("authority", "path", "expected"),
    [
        ("nas", "/backups", SshOptions("nas", "/backups")),
        ("me@nas:2222", "/a/b", SshOptions("nas", "/a/b", "me", 2222)),
        ("u1-sub1@box.example.org", "/~/backups", SshOptions("box.example.org", "backups", "u1-sub1")),
        ("nas", "/~", SshOptions("nas", ".")),
        ("someone@example.org@nas", "/", SshOptions("nas", "/", "someone@example.org")),
        ("[fe80::1%eth0]:22", "/b", SshOptions("fe80::1%eth0", "/b", None, 22)),
    ],
)
def test_a_store_is_named_by_host_and_path(authority: str, path: str, expected: SshOptions) -> None:
    options = ssh_options(authority, path, {})
    assert options == expected
    assert options.name == f"ssh://{authority}{path}"


@pytest.mark.parametrize(
    ("authority", "path"),
    [
        ("-oProxyCommand=x", "/b"),
        ("-x@nas", "/b"),
        ("nas;x", "/b"),
        ("$(x)@nas", "/b"),
        ("", "/b"),
        ("me@", "/b"),
        ("nas:x", "/b"),
        ("n s", "/b"),
        ("nas", ""),
        ("nas", "/a\nb"),
    ],
)
def test_what_could_be_an_option_or_a_command_is_no_host(authority: str, path: str) -> None:
    with pytest.raises(BadUsage) as caught:
        ssh_options(authority, path, {})
    assert caught.value.hint


def test_a_password_in_a_name_is_refused_and_not_repeated() -> None:
    with pytest.raises(BadUsage) as caught:
        ssh_options("me:secret@nas", "/b", {})
    assert "secret" not in caught.value.message + caught.value.hint


def test_ssh_is_called_as_the_environment_says() -> None:
    options = ssh_options("me@nas:2222", "/b", {"DRUNNER_SSH": "ssh -F '/etc/a b'"})
    arguments = options.arguments()
    assert arguments[:3] == ["ssh", "-F", "/etc/a b"]
    assert arguments[-8:] == ["-p", "2222", "-l", "me", "-s", "--", "nas", "sftp"]
    assert options.by_hand == "ssh -F '/etc/a b' -p 2222 -l me nas"
    with pytest.raises(BadUsage, match="DRUNNER_SSH"):
        ssh_options("nas", "/b", {"DRUNNER_SSH": "ssh 'unfinished"})
