"""What a person may write to name a store or something in it, and what slips of theirs are answered with."""

from __future__ import annotations

from pathlib import Path

import pytest

from drunner_vault.errors import BadUsage
from drunner_vault.stores.address import Address, is_address, parse_address, parse_url

NAMED = {
    "offsite": Address("s3", "bucket", "prefix", {"region": "x"}),
    "whole": Address("s3", "bucket", ""),
    "disk": Address("file", "", "/mnt/disk"),
    "far": Address("ssh", "me@host", "/~/backups"),
}


@pytest.mark.parametrize(
    ("text", "scheme", "authority", "path"),
    [
        ("file:///backups", "file", "", "/backups"),
        ("file://localhost/backups/", "file", "localhost", "/backups"),
        ("file:///", "file", "", "/"),
        ("file:///with%20space/100%25", "file", "", "/with space/100%"),
        ("s3://bucket", "s3", "bucket", ""),
        ("s3://bucket/", "s3", "bucket", ""),
        ("s3://bucket/a/b%20c/", "s3", "bucket", "a/b c"),
        ("s3://bucket/a/latest", "s3", "bucket", "a/latest"),
        ("ssh://host/path", "ssh", "host", "/path"),
        ("ssh://user@host:2222/path/", "ssh", "user@host:2222", "/path"),
        ("ssh://user@[2001:db8::1]:22/path", "ssh", "user@[2001:db8::1]:22", "/path"),
        ("ssh://[::1]/path", "ssh", "[::1]", "/path"),
        ("ssh://host/~/backups", "ssh", "host", "/~/backups"),
        ("ssh://host/~", "ssh", "host", "/~"),
        ("offsite", "s3", "bucket", "prefix"),
        ("offsite/", "s3", "bucket", "prefix"),
        ("offsite/host/service", "s3", "bucket", "prefix/host/service"),
        ("offsite//host/", "s3", "bucket", "prefix/host"),
        ("offsite/latest", "s3", "bucket", "prefix/latest"),
        ("whole/host", "s3", "bucket", "host"),
        ("disk/host/service/latest", "file", "", "/mnt/disk/host/service/latest"),
        ("far/host", "ssh", "me@host", "/~/backups/host"),
        ("/backups", "file", "", "/backups"),
    ],
)
def test_every_way_to_name_a_place_is_understood(text: str, scheme: str, authority: str, path: str) -> None:
    found = parse_address(text, NAMED)
    assert (found.scheme, found.authority, found.path) == (scheme, authority, path)


def test_options_of_a_url_are_decoded() -> None:
    found = parse_url("s3://bucket/a?endpoint=http%3A%2F%2Flocalhost:9000&region=&path_style=true")
    assert found.options == {"endpoint": "http://localhost:9000", "region": "", "path_style": "true"}


def test_a_named_store_is_remembered_by_its_name_and_keeps_its_options() -> None:
    found = parse_address("offsite/host", NAMED)
    assert (found.store, found.options) == ("offsite", {"region": "x"})
    assert parse_address("s3://bucket/prefix", NAMED).store == ""


@pytest.mark.parametrize(
    "text", ["./offsite", "notes:1", "notes", "a/offsite", "backups//old", "user@host:x", "s3", "-x"]
)
def test_what_looks_like_a_file_is_one(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert not is_address(text, NAMED)
    assert parse_address(text, NAMED) == Address("file", "", str(tmp_path / text))


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("s3:/b", "s3://bucket"),
        ("s3//b", "s3://bucket"),
        ("S3://b", "s3://bucket"),
        ("S3:bucket", "s3://bucket"),
        ("s4://b", "s3://bucket"),
        ("sftp://h/d", "did you mean ssh://host/path?"),
        ("s3:b", "s3://bucket"),
        ("ssh:host", "ssh://host/path"),
        ("sssh://host/path", "ssh://host/path"),
        ("files:///x", "file:///directory"),
        ("gopher://x/y", "known are"),
        ("https://bucket.example.com/x", "known are"),
        ("x:/y", "./x:/y"),
        ("s3://", "s3://bucket/prefix"),
        ("s3:///prefix", "s3://bucket/prefix"),
        ("s3://user:secret@bucket/x", "s3://bucket/prefix"),
        ("ssh://", "ssh://user@host/path"),
        ("ssh:///path", "ssh://user@host/path"),
        ("ssh://@host/path", "ssh://user@host/path"),
        ("ssh://-oProxyCommand=x/path", "ssh://user@host/path"),
        ("ssh://host", "with its path"),
        ("ssh://[::1/path", "ssh://host/path"),
        ("file://", "with its path"),
        ("file://backups/x", "file:///backups/x"),
        ("s3://bucket/a#b", "%23"),
        ("s3://bucket/a#", "%23"),
        ("s3://bucket/a%00b", "leave them out"),
        ("file:///a%0ab", "leave them out"),
        ("file:///a%ffb\x1b", "leave them out"),
        ("s3://bucket/?endpont=x", "did you mean endpoint?"),
        ("s3://bucket/?nonsense=x", "s3 stores know: endpoint"),
        ("s3://bucket/?region=a&region=b", "leave one"),
        ("file:///a?region=x", "file stores know: none"),
        ("ssh://host/a?timout=x", "did you mean timeout?"),
    ],
)
def test_a_slip_is_answered_by_one_error_with_advice(text: str, advice: str) -> None:
    assert is_address(text, NAMED)
    with pytest.raises(BadUsage) as told:
        parse_address(text, NAMED)
    assert advice in told.value.hint
    assert "\n" not in told.value.message + told.value.hint


def test_a_password_in_a_url_is_refused_and_not_repeated() -> None:
    with pytest.raises(BadUsage) as told:
        parse_url("ssh://me:secret@host/path")
    assert "secret" not in told.value.message + told.value.hint


@pytest.mark.parametrize(
    ("text", "last", "parent"),
    [
        ("s3://bb/a/x", "x", "a"),
        ("s3://bb/x", "x", ""),
        ("s3://bb", "", ""),
        ("file:///a/x", "x", "/a"),
        ("file:///x", "x", "/"),
        ("ssh://h/~/x", "x", "/~"),
    ],
)
def test_a_place_has_a_last_part_and_what_that_is_in(text: str, last: str, parent: str) -> None:
    address = parse_url(text)
    assert (address.last, address.parent().path) == (last, parent)


@pytest.mark.parametrize("text", ["s3://bucket/a/b", "s3://bucket", "ssh://u@h:1/a", "ssh://h/~/a"])
def test_a_place_is_shown_as_it_is_written(text: str) -> None:
    assert str(parse_url(text)) == text
    assert str(parse_url("file:///a/b")) == "/a/b"
    assert "secret" not in str(parse_url("s3://bb/a?profile=secret"))
