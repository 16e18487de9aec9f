"""How a store, or an archive in one, is named: a URL, a name from the settings, or a path of this host.

file:///backups                     a directory
s3://bucket/prefix?endpoint=…       a bucket, or a part of one
ssh://user@host:22/path             a directory of another host; /~/path is below the user's home there
offsite, offsite/host/service       a store that the settings name, or a part of it
/backups, ./backups                 a directory of this host
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from drunner_vault.errors import BadUsage

S3_OPTIONS = (
    "endpoint", "region", "profile", "path_style", "storage_class", "encryption", "kms_key", "lock", "part_size",
    "in_flight", "timeout", "attempts",
)  # fmt: skip
OPTIONS: Mapping[str, tuple[str, ...]] = {"file": (), "s3": S3_OPTIONS, "ssh": ("timeout",)}
_ALSO_CALLED = {"sftp": "ssh", "scp": "ssh"}
_SCHEME = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)(?P<mark>:/{0,2}|//)")


@dataclass(frozen=True)
class Address:
    """A place. scheme: `file`, `s3` or `ssh`. authority: a bucket, or [user@]host[:port]. path: of a directory or an
    archive; for `s3` without slashes at its ends. store: the name from the settings, if it was given by that."""

    scheme: str
    authority: str
    path: str
    options: Mapping[str, str] = field(default_factory=dict)
    store: str = ""

    def parent(self) -> Address:
        """The directory that this is in."""
        directory = self.path.rpartition("/")[0]
        return replace(self, path=directory or ("/" if self.path.startswith("/") else ""))

    @property
    def last(self) -> str:
        """The last part of the path."""
        return self.path.rpartition("/")[2]

    def below(self, path: str) -> Address:
        """A place below this one."""
        return replace(self, path=f"{self.path.rstrip('/')}/{path}".lstrip("/" if self.scheme == "s3" else ""))

    def __str__(self) -> str:
        """As a person would write it, without options."""
        if self.scheme == "file":
            return self.path
        return f"{self.scheme}://{self.authority}/{self.path.lstrip('/')}".rstrip("/")


def is_address(text: str, stores: Mapping[str, Address]) -> bool:
    """Whether a text names a store or something in it, rather than a file of this host."""
    match = _SCHEME.match(text)
    # `notes:1` is a file's name, and `s3:bucket` and `s3//bucket` somebody's slips
    is_url = match is not None and (match["mark"] in ("://", ":/") or match["scheme"].lower() in OPTIONS)
    return is_url or text.partition("/")[0] in stores


def parse_address(text: str, stores: Mapping[str, Address]) -> Address:
    """The place that a text names. stores: those of the settings, by name. Raises BadUsage for a misspelled URL."""
    name, _, below = text.partition("/")
    if name in stores:
        rest = below.strip("/")
        found = stores[name].below(rest) if rest else stores[name]
        return replace(found, store=name)
    if is_address(text, stores):
        return parse_url(text)
    return Address("file", "", str(Path(text).absolute()))


def parse_url(text: str) -> Address:
    """The place that a URL names. Raises BadUsage, saying what is wrong with it."""
    match = _SCHEME.match(text)
    if match is None or match["mark"] != "://" or match["scheme"] not in OPTIONS:
        raise _no_url(text, match["scheme"].lower() if match else "")
    try:
        parts = urlsplit(text)
    except ValueError as cause:
        raise BadUsage(f"{text} is no URL: {cause}", "write it as s3://bucket/prefix or ssh://host/path") from cause
    if "#" in text:
        raise BadUsage(f"{text} has a # in it", "write it as %23")
    if not unquote(text).isprintable():
        raise BadUsage(f"{text!r} has control characters in it, or bytes that are no UTF-8", "leave them out")
    address = Address(parts.scheme, parts.netloc, _path(parts.scheme, unquote(parts.path)), _options(text, parts.query))
    _check_authority(text, address)
    if address.scheme != "s3" and not parts.path:
        raise BadUsage(f"{text} names no directory", "write it with its path: file:///directory or ssh://host/path")
    return address


def _path(scheme: str, path: str) -> str:
    if scheme == "s3":
        return path.strip("/")
    return path.rstrip("/") or "/"


def _options(text: str, query: str) -> dict[str, str]:
    scheme = text.partition(":")[0]
    found: dict[str, str] = {}
    for key, value in parse_qsl(query, keep_blank_values=True):
        check_option(scheme, key, text)
        if key in found:
            raise BadUsage(f"{text} gives {key} twice", "leave one of them out")
        found[key] = value
    return found


_NEAR = 0.85  # how alike a word of another kind must be: `region` where none may be is not `retention` misspelt


def check_option(scheme: str, key: str, where: str, beside: Sequence[str] = ()) -> None:
    """Raises BadUsage unless stores of this scheme have this option. where: what to call its place in the error.
    beside: what else may stand there, and may have been meant."""
    known = OPTIONS[scheme]
    if key not in known:
        near = difflib.get_close_matches(key, known, 1) or difflib.get_close_matches(key, beside, 1, _NEAR)
        hint = f"did you mean {near[0]}?" if near else f"{scheme} stores know: {', '.join(known) or 'none'}"
        raise BadUsage(f"{where}: unknown option {key}", hint)


def _check_authority(text: str, address: Address) -> None:
    if address.scheme == "file" and address.authority not in ("", "localhost"):
        raise BadUsage(f"{text} names another host, {address.authority}", f"file:///{address.authority}{address.path}?")
    if address.scheme == "s3" and not {"@", ":"}.isdisjoint(address.authority):
        # not repeated either
        raise BadUsage(
            "there is an @ or a : where an s3:// URL has the name of its bucket",
            "write it as s3://bucket/prefix; keys are in the environment, as AWS_SECRET_ACCESS_KEY",
        )
    if address.scheme == "s3" and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]+", address.authority):
        raise BadUsage(f"{text} names no bucket", "write it as s3://bucket/prefix")
    if address.scheme == "ssh" and re.match(r"[^@]*:.*@", address.authority):
        # not repeated: it would have the password in it
        raise BadUsage("what stands before @ in an ssh:// URL is more than a user", "ssh logs in with keys: user@host")
    if address.scheme == "ssh" and not re.fullmatch(r"([^@:/\s-][^@:/\s]*@)?[^@/\s-][^@/\s]*", address.authority):
        raise BadUsage(f"{text} names no host", "write it as ssh://user@host/path")


def _no_url(text: str, scheme: str) -> BadUsage:
    near = [_ALSO_CALLED[scheme]] if scheme in _ALSO_CALLED else difflib.get_close_matches(scheme, OPTIONS, 1, 0.5)
    example = {"file": "file:///directory", "s3": "s3://bucket/prefix", "ssh": "ssh://host/path"}
    if near:
        return BadUsage(f"{text} is no store's URL", f"did you mean {example[near[0]]}?")
    return BadUsage(f"{text} is no store's URL", f"known are {', '.join(example.values())}; for a file: ./{text}")
