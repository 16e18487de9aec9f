"""What a person types to get at archives on a host that has neither our settings nor, perhaps, our program.

Every line can be pasted into a shell as it stands.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from urllib.parse import quote, urlencode

from drunner_vault.archive.recover import RESCUE
from drunner_vault.catalog.catalog import Archive
from drunner_vault.kit.page import KEY_FILE
from drunner_vault.kit.sheet import SignerSheet, Step
from drunner_vault.signing import NAMESPACE, parse_allowed_signer
from drunner_vault.stores.address import Address
from drunner_vault.stores.ssh.options import ssh_options

_FINDING = ("endpoint", "region", "path_style")  # the options of a store without which it is not found
_SPECIAL, _ESCAPED = re.compile(r"([^\w@%+=:,./-])"), r"\\\1"  # sftp reads the name of a file like a word of its own
_ABSENT = " It is not on this page."


@dataclass(frozen=True)
class Place:
    """A store, and the newest complete archive of each service in it."""

    address: Address
    newest: tuple[Archive, ...] = ()

    @property
    def url(self) -> str:
        """The store, as a host understands it that has no settings."""
        return url(self.address)

    @property
    def login(self) -> str:
        """What one needs to get in, in words."""
        if self.address.scheme == "s3":
            return f"A bucket. Its access key goes into AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.{_ABSENT}"
        if self.address.scheme == "ssh":
            return f"A directory of another host. An SSH key logs in there.{_ABSENT}"
        return "A directory of the host that this was made on, or what is mounted there. Has another host a copy?"

    def login_lines(self) -> list[str]:
        """How to see whether one gets in."""
        if self.address.scheme == "s3":
            return ["export AWS_ACCESS_KEY_ID=… AWS_SECRET_ACCESS_KEY=…"]
        if self.address.scheme == "ssh":
            return [ssh_options(self.address.authority, self.address.path, {}).by_hand]
        return []

    def restore(self, item: Archive) -> str:
        """The line that restores a service with drunner-vault."""
        own = self.address.below(item.host)
        place = own if item.key == f"{item.host}/{item.service}/{item.name}" else self.address.below(item.key)
        return shlex.join(["drunner-vault", "restore", url(place), item.service, "-i", KEY_FILE])

    def fetch(self, item: Archive) -> str:
        """The line that brings an archive here without drunner-vault."""
        if self.address.scheme == "s3":
            return shlex.join(["aws", "s3", "cp", f"{_bucket(self.address)}/{item.key}", ".", *_aws(self.address)])
        if self.address.scheme == "ssh":
            return shlex.join(["sftp", *_sftp(self.address, item.key)])
        return shlex.join(["cp", f"{self.address.path}/{item.key}", "."])

    def list(self) -> str:
        """The line that lists what there is, without drunner-vault."""
        if self.address.scheme == "s3":
            return shlex.join(["aws", "s3", "ls", "--recursive", f"{_bucket(self.address)}/", *_aws(self.address)])
        if self.address.scheme == "ssh":
            return shlex.join(["sftp", *_sftp(self.address, "")])
        return shlex.join(["ls", "-R", self.address.path])


def url(address: Address) -> str:
    """A place, as a host understands it that has no settings: with those options that tell where it is."""
    if address.scheme == "file":
        return address.path
    options = {key: value for key, value in address.options.items() if key in _FINDING}
    text = f"{address.scheme}://{address.authority}/{quote(address.path.lstrip('/'), safe='/~@:+,')}".rstrip("/")
    return f"{text}?{urlencode(options, safe='/:')}" if options else text


def with_us(places: list[Place], signers: list[SignerSheet], *, has_key: bool) -> list[Step]:
    """How to bring services back with drunner-vault."""
    us = "drunner-vault"
    typed = "from its code, or by typing it in and Ctrl-D" if has_key else "from where it is kept"
    steps = [Step(f"On a Linux host with Docker and drunner-vault, as root, save the key, {typed}:", _SAVE)]
    if logins := [line for place in places for line in place.login_lines()]:
        steps.append(Step("See to it that the host gets into the stores:", tuple(dict.fromkeys(logins))))
    if signers:
        lines = tuple(shlex.join([us, "key", "trust", *_pattern(signer.line), signer.line]) for signer in signers)
        steps.append(Step("Trust those who signed the archives:", lines))
    rehearsals = tuple(shlex.join([us, "key", "rehearse", place.url, "-i", KEY_FILE]) for place in places)
    steps.append(Step("See which services there are, and that the key opens them:", rehearsals))
    hosts = [(place, host) for place in places for host in dict.fromkeys(item.host for item in place.newest) if host]
    if hosts:
        lines = tuple(shlex.join([us, "rebuild", place.url, "--host", host, "-i", KEY_FILE]) for place, host in hosts)
        steps.append(Step("Bring back all services of a host:", lines))
    if single := tuple(place.restore(item) for place in places for item in place.newest):
        steps.append(Step("Or one of them:", single))
    return steps


def _pattern(line: str) -> list[str]:
    return [] if parse_allowed_signer(line).is_literal else ["--pattern"]


_SAVE = ("umask 077", f"cat > {KEY_FILE}")


def without_us(places: list[Place], signers: list[SignerSheet], *, post_quantum: bool) -> list[Step]:
    """How to bring files back with age, zstd and tar alone."""
    age = "age 1.3 or later" if post_quantum else "age"
    steps = [Step(f"Have {age}, zstd and GNU tar, and save the key:", _SAVE)]
    lines = tuple(place.list() for place in places)
    steps.append(Step("See what there is; the times in the names are UTC:", lines))
    if fetched := tuple(place.fetch(item) for place in places for item in place.newest):
        steps.append(Step("Fetch an archive. The newest when this was made:", fetched))
    steps.append(
        Step(
            "Unpack it, as root, in an empty directory. FILE is the archive; if its name does not end in .age, the "
            "line begins with zstd -dc ../FILE instead:",
            ("mkdir restored && cd restored", f"age -d -i ../{KEY_FILE} ../FILE | {RESCUE}"),
        )
    )
    if signers:
        steps.append(
            Step(
                "See who signed the list of its files. HOST is the host it was made on:",
                (
                    *(f"echo {shlex.quote(signer.line)} >> allowed_signers" for signer in signers),
                    _WHO,
                ),
            )
        )
    steps.append(Step("RECOVER.txt, which is there now, says the rest. For each volume NAME in volumes/:", _VOLUME))
    steps.append(
        Step(
            "If there is a directory images/, load it; that says an ID, and RECOVER.txt says the NAME:",
            (
                "tar -C images -cf - . | docker load",
                "docker tag ID NAME",
            ),
        )
    )
    return steps


_WHO = f"ssh-keygen -Y verify -f allowed_signers -I HOST -n {NAMESPACE} -s index/root.json.sig < index/root.json"
_VOLUME = (
    "docker volume create NAME",
    "cp -a volumes/NAME/. \"$(docker volume inspect -f '{{.Mountpoint}}' NAME)\"",
)


def checks(places: list[Place], *, file: str) -> list[Step]:
    """What to see to while all is well. file: what the page is printed from, if that is a secret."""
    lines = tuple(shlex.join(["drunner-vault", "key", "rehearse", place.url, "-i", KEY_FILE]) for place in places)
    steps = [
        Step("The key, read back from where it is kept, opens the newest archive of every service:", lines),
        Step("What logs in to the stores is known apart from the host."),
        Step("Somebody else knows where this page is."),
    ]
    if file:
        steps.append(Step("What this was printed from is gone:", (shlex.join(["shred", "-u", file]),)))
    return steps


def _bucket(address: Address) -> str:
    return f"s3://{address.authority}/{address.path}".rstrip("/")


def _aws(address: Address) -> list[str]:
    endpoint, region = address.options.get("endpoint"), address.options.get("region")
    return [*(["--endpoint-url", endpoint] if endpoint else []), *(["--region", region] if region else [])]


def _sftp(address: Address, key: str) -> list[str]:
    options = ssh_options(address.authority, address.path, {})
    host = f"[{options.host}]" if ":" in options.host else options.host
    user = f"{options.user}@" if options.user else ""
    port = [] if options.port is None else ["-P", str(options.port)]
    if not key:
        return [*port, f"{user}{host}:{options.path}"]
    path = f"{options.path.rstrip('/')}/{key}".removeprefix("./")
    return [*port, f"{user}{host}:{_SPECIAL.sub(_ESCAPED, path)}"]
