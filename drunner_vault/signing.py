"""Ed25519 signatures in OpenSSH's SSHSIG form, and who is trusted to make them.

`ssh-keygen -Y verify` checks what `sign` makes, and reads the same file of allowed signers.
Sources: OpenSSH PROTOCOL.sshsig; ssh-keygen(1), "ALLOWED SIGNERS".
"""

from __future__ import annotations

import base64
import binascii
import fnmatch
import hashlib
import shlex
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


class AllowedSigners:
    """The signers a person trusts, from a file as ssh-keygen reads it."""

    def __init__(self, text: str, source: str) -> None:
        """Raises BadKey, naming the line, for what cannot be read."""
        self._principals: dict[bytes, list[str]] = {}
        for number, line in enumerate(text.splitlines(), 1):
            if line.strip() and not line.lstrip().startswith("#"):
                principal, blob = _allowed(line, f"{source}, line {number}")
                if blob:
                    self._principals.setdefault(blob, []).append(principal)

    def allows(self, key: SignerKey, host: str) -> bool:
        """Whether this key is trusted to sign archives of this host: its principals are names, or patterns with * and
        ?."""
        patterns = ",".join(self._principals.get(key.blob, ())).split(",")
        return any(fnmatch.fnmatchcase(host, pattern) for pattern in patterns if pattern)

    def only(self) -> SignerKey:
        """The one key there is. Raises BadKey if there are none or several."""
        if len(self._principals) != 1:
            raise BadKey(
                "exactly one signer of archives was expected, an Ed25519 key",
                'give one line as `drunner-vault key signer` prints it: NAME namespaces="…" ssh-ed25519 AAAA…',
            )
        return SignerKey(next(iter(self._principals)))


def _allowed(line: str, where: str) -> tuple[str, bytes | None]:
    """Who a line of allowed signers is about, and the key; no key if it is not meant for archives, or not Ed25519."""
    try:
        fields = shlex.split(line)
        at = next(index for index, field in enumerate(fields) if field.startswith(("ssh-", "ecdsa-", "sk-")))
        blob = base64.b64decode(fields[at + 1], validate=True)
        if at == 0 or next(_each_string(blob)).decode() != fields[at] or len(blob) > _LONGEST_KEY:
            raise ValueError("no name before the key, or a key of another type")
    except (ValueError, StopIteration, IndexError, struct.error, binascii.Error) as cause:
        raise BadKey(f"{where} is no allowed signer", 'a line is: NAME namespaces="…" ssh-ed25519 AAAA…') from cause
    options = ",".join(fields[1:at])
    limited = "namespaces=" in options and NAMESPACE not in options
    foreign = fields[at].encode() != _KEY_TYPE or any(word in options for word in ("cert-authority", "valid-"))
    return fields[0], None if limited or foreign else blob


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
