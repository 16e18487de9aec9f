"""Ed25519 signatures in OpenSSH's SSHSIG form, and who is trusted to make them.

`ssh-keygen -Y verify` checks what `sign` makes, and reads the same file of allowed signers.
Sources: OpenSSH PROTOCOL.sshsig; ssh-keygen(1), "ALLOWED SIGNERS".
"""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import fnmatch
import hashlib
import re
import struct
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from drunner_vault.errors import BadKey, DamagedArchive

NAMESPACE = "drunner-vault-archive"
_KEY_TYPE = b"ssh-ed25519"
_MAGIC = b"SSHSIG"
_VERSION = 1
_HASH = b"sha512"
_LONGEST_KEY = 4096
_BEGIN = "-----BEGIN SSH SIGNATURE-----"
_END = "-----END SSH SIGNATURE-----"


@dataclass(frozen=True)
class SignerKey:
    """The public half of a signing key. blob: as OpenSSH encodes it, before base64."""

    blob: bytes

    @property
    def fingerprint(self) -> str:
        """As ssh-keygen -l shows it: SHA256:…"""
        digest = base64.b64encode(hashlib.sha256(self.blob).digest()).decode().rstrip("=")
        return f"SHA256:{digest}"

    def allowed_line(self, principal: str) -> str:
        """A line for a file of allowed signers, good for archives only."""
        key = base64.b64encode(self.blob).decode()
        return f'{principal} namespaces="{NAMESPACE}" {_KEY_TYPE.decode()} {key}'


class SigningKey:
    """A host's own key."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key

    @staticmethod
    def generate() -> SigningKey:
        """A new key."""
        return SigningKey(Ed25519PrivateKey.generate())

    @staticmethod
    def parse(data: bytes, source: str) -> SigningKey:
        """The key in an OpenSSH private key file without a passphrase. Raises BadKey."""
        try:
            key = serialization.load_ssh_private_key(data, None)
        except (ValueError, TypeError) as cause:
            raise BadKey(
                f"{source} is no usable OpenSSH key: {cause}", "it has to be Ed25519, without a passphrase"
            ) from cause
        if not isinstance(key, Ed25519PrivateKey):
            raise BadKey(f"{source} is no Ed25519 key", "ssh-keygen -t ed25519 makes one")
        return SigningKey(key)

    def encode(self) -> bytes:
        """The key as an OpenSSH private key file."""
        return self._key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
        )

    def public(self) -> SignerKey:
        """The public half."""
        raw = self._key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        return SignerKey(_strings(_KEY_TYPE, raw))

    def sign(self, message: bytes) -> bytes:
        """The signature of a message, armored."""
        signature = _strings(_KEY_TYPE, self._key.sign(_signed_data(message)))
        body = _strings(self.public().blob, NAMESPACE.encode(), b"", _HASH, signature)
        encoded = base64.b64encode(_MAGIC + struct.pack(">I", _VERSION) + body).decode()
        return "\n".join([_BEGIN, *textwrap.wrap(encoded, 70), _END, ""]).encode()


def verify(armored: bytes, message: bytes) -> SignerKey:
    """Who made this signature of this message. Says nothing about whether that is to be trusted.

    Raises DamagedArchive if it is malformed, for another use, or not of this message.
    """
    try:
        public, namespace, _, algorithm, signature = _unarmored(armored)
        key_type, raw = _split(public, 2)
        signature_type, value = _split(signature, 2)
        if (key_type, signature_type, namespace, algorithm) != (_KEY_TYPE, _KEY_TYPE, NAMESPACE.encode(), _HASH):
            raise DamagedArchive("the signature is of a kind that archives do not have", "do not trust this archive")
        Ed25519PublicKey.from_public_bytes(raw).verify(value, _signed_data(message))
    except (ValueError, struct.error, InvalidSignature) as cause:
        raise DamagedArchive("the signature is not of this archive", "do not trust this archive") from cause
    return SignerKey(public)


@dataclass(frozen=True)
class AllowedSigner:
    """One line of a file of allowed signers.

    principals: host names or patterns, as written.
    valid_after, valid_before: the period in which the key is valid; None where the line gives no limit.
    """

    key: SignerKey
    principals: tuple[str, ...]
    valid_after: dt.datetime | None = None
    valid_before: dt.datetime | None = None

    def matches(self, host: str) -> bool:
        """Return True if the principals cover this host: names, patterns with `*` and `?`, and `!` to exclude."""
        excluded = any(_is_like(host, item[1:]) for item in self.principals if item.startswith("!"))
        return not excluded and any(_is_like(host, item) for item in self.principals)

    def names(self, host: str) -> bool:
        """Return True if the line is for this host alone: one principal, and no pattern."""
        return self.principals == (host,) and is_literal(host)

    @property
    def is_literal(self) -> bool:
        """Return True if the line names exactly one host."""
        return len(self.principals) == 1 and is_literal(self.principals[0])

    def is_valid(self, moment: dt.datetime | None) -> bool:
        """Return True if the key was valid at a moment. Without a moment, True if it was never retired."""
        if moment is None:
            return self.valid_before is None
        return not (
            (self.valid_after is not None and moment < self.valid_after)
            or (self.valid_before is not None and moment >= self.valid_before)
        )


def _is_like(text: str, pattern: str) -> bool:
    """Return True if a pattern of ssh-keygen covers a text: only `*` and `?` are special."""
    return fnmatch.fnmatchcase(text, pattern.replace("[", "[[]"))


def is_literal(principal: str) -> bool:
    """Return True if a principal is a name and not a pattern."""
    return bool(principal) and not set(principal) & set("*?!,[]")


def parse_allowed_signers(text: str, source: str) -> list[AllowedSigner]:
    """Parse a file of allowed signers, as ssh-keygen reads it: the lines that are for archives and for Ed25519 keys.

    Source: ssh-keygen(1), "ALLOWED SIGNERS". Raises BadKey, naming the line, for what cannot be read.
    """
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.lstrip().startswith("#"):
            signer = _allowed(line, f"{source}, line {number}")
            if signer:
                found.append(signer)
    return found


def parse_allowed_signer(line: str) -> AllowedSigner:
    """Parse a single line. Raises BadKey if it is not exactly one signer of archives with an Ed25519 key."""
    found = parse_allowed_signers(line, "the signer")
    if len(found) != 1:
        raise BadKey(
            "expected exactly one signer of archives with an Ed25519 key",
            'use one line as printed by `drunner-vault key signer`: NAME namespaces="…" ssh-ed25519 AAAA…',
        )
    return found[0]


def retired_line(line: str, moment: dt.datetime) -> str:
    """Return a line of allowed signers with `valid-before` set, so that the key is not valid from then on."""
    fields = _FIELD.findall(line.strip())
    at = next(index for index, field in enumerate(fields) if field.startswith(_KEY_TYPES))
    options = [option for option in _split_options(",".join(fields[1:at])) if not option.startswith("valid-before=")]
    options.append(f'valid-before="{moment.astimezone(dt.UTC):%Y%m%d%H%M%SZ}"')
    return " ".join([fields[0], ",".join(options), *fields[at:]])


_FIELD = re.compile(r'(?:[^\s"]|"[^"]*")+')
_OPTION = re.compile(r'(?:[^,"]|"[^"]*")+')
_KEY_TYPES = ("ssh-", "ecdsa-", "sk-")


def _split_options(text: str) -> list[str]:
    return _OPTION.findall(text)


def _allowed(line: str, where: str) -> AllowedSigner | None:
    """The signer of a line; None if the line is not for archives, or the key is not Ed25519."""
    try:
        fields = _FIELD.findall(line)
        at = next(index for index, field in enumerate(fields) if field.startswith(_KEY_TYPES))
        blob = base64.b64decode(fields[at + 1], validate=True)
        if at == 0 or next(_each_string(blob)).decode() != fields[at] or len(blob) > _LONGEST_KEY:
            raise ValueError("no name before the key, or a key of another type")
        options = _options(fields[1:at])
        principals = tuple(filter(None, fields[0].strip('"').split(",")))
        after, before = (_moment(options[name]) if name in options else None for name in _VALIDITY)
    except (ValueError, StopIteration, IndexError, struct.error, binascii.Error) as cause:
        raise BadKey(
            f"{where} is not a valid allowed signer", 'a line is: NAME namespaces="…" ssh-ed25519 AAAA…'
        ) from cause
    namespaces = options.get("namespaces")
    for_archives = namespaces is None or any(_is_like(NAMESPACE, item) for item in namespaces.split(","))
    foreign = options.keys() - {"namespaces", *_VALIDITY}  # certificates, and what later versions of OpenSSH add
    if not for_archives or foreign or fields[at].encode() != _KEY_TYPE or not principals:
        return None
    return AllowedSigner(SignerKey(blob), principals, after, before)


_VALIDITY = ("valid-after", "valid-before")


def _options(fields: list[str]) -> dict[str, str]:
    """The options of a line by name, in lower case; a flag has an empty value."""
    found: dict[str, str] = {}
    for option in _split_options(",".join(fields)):
        name, _, value = option.partition("=")
        found[name.lower()] = value.strip('"')
    return found


def _moment(text: str) -> dt.datetime:
    """A time as ssh-keygen reads it: YYYYMMDD[HHMM[SS]], with Z in UTC, else in the local time zone."""
    zone = dt.UTC if text.endswith(("Z", "z")) else None
    digits = text.rstrip("Zz")
    layout = {8: "%Y%m%d", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}.get(len(digits))
    if layout is None or not digits.isascii() or not digits.isdigit():
        raise ValueError(f"{text} is not a valid time")
    naive = dt.datetime.strptime(digits, layout)  # noqa: DTZ007 (the zone is added below)
    return naive.replace(tzinfo=zone) if zone else naive.astimezone()


def _signed_data(message: bytes) -> bytes:
    return _MAGIC + _strings(NAMESPACE.encode(), b"", _HASH, hashlib.sha512(message).digest())


def _strings(*values: bytes) -> bytes:
    """SSH strings: each its length in four bytes, big endian, and itself."""
    return b"".join(struct.pack(">I", len(value)) + value for value in values)


def _split(data: bytes, count: int) -> list[bytes]:
    """Exactly `count` SSH strings. Raises ValueError or struct.error."""
    values = list(_each_string(data))
    if len(values) != count:
        raise ValueError("wrong number of parts")
    return values


def _each_string(data: bytes) -> Iterator[bytes]:
    while data:
        (length,) = struct.unpack_from(">I", data)
        if length > len(data) - 4:
            raise ValueError("a part is longer than the whole")
        yield data[4 : 4 + length]
        data = data[4 + length :]


def _unarmored(armored: bytes) -> list[bytes]:
    lines = armored.decode("ascii").split("\n")
    if lines[0] != _BEGIN or lines[-2:] != [_END, ""]:
        raise ValueError("no armor")
    data = base64.b64decode("".join(lines[1:-2]), validate=True)
    head = _MAGIC + struct.pack(">I", _VERSION)
    if not data.startswith(head):
        raise ValueError("no signature")
    return _split(data[len(head) :], 5)
