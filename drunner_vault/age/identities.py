"""Identity files: secret keys one a line, in the clear or encrypted with a passphrase."""

from __future__ import annotations

import io
from collections.abc import Callable

from drunner_vault.age import bech32, mlkem768x25519, scrypt, x25519
from drunner_vault.age.armor import ARMOR_BEGIN
from drunner_vault.age.header import MAGIC
from drunner_vault.age.keys import Identity
from drunner_vault.age.mlkem768x25519 import HybridIdentity
from drunner_vault.age.reader import DecryptReader, read_header
from drunner_vault.age.scrypt import ScryptIdentity
from drunner_vault.age.x25519 import X25519Identity
from drunner_vault.errors import ArchiveError, BadKey, NoKey, WrongKey

_SIZE_LIMIT = 16 * 1024 * 1024
_USE_AGE_KEYS = "use a file as age-keygen writes it, with lines that begin with AGE-SECRET-KEY-"


def parse_identities(data: bytes, source: str, passphrase: Callable[[], str] | None = None) -> list[Identity]:
    """Return the identities of a file, in its order; empty lines and lines that begin with `#` are passed over.

    data: the file; plain text, or that text encrypted by age with a passphrase, armored or not. source: what to call
    the file in errors. passphrase: asked once, only for an encrypted file.

    Raises BadKey, naming the line and never quoting it, also for a file without any identity; NoKey for an encrypted
    file without `passphrase`; WrongKey for the wrong passphrase.
    """
    if len(data) > _SIZE_LIMIT:
        raise BadKey(f"{source} is too large for an identity file", _USE_AGE_KEYS)
    if data.startswith(MAGIC) or data.lstrip().startswith(ARMOR_BEGIN):
        data = _decrypt(data, source, passphrase)
    return _parse_lines(data, source)


def _decrypt(data: bytes, source: str, passphrase: Callable[[], str] | None) -> bytes:
    try:
        if read_header(io.BytesIO(data)).recipient_types != [scrypt.KIND]:
            raise BadKey(f"{source} is encrypted, and not with a passphrase", "decrypt it with age first")
        if passphrase is None:
            raise NoKey(f"{source} is encrypted with a passphrase, and none was given", "type it at a terminal")
        return DecryptReader(io.BytesIO(data), [ScryptIdentity(passphrase())]).read()
    except WrongKey as error:
        raise WrongKey(f"the passphrase does not open {source}", "give the passphrase of the identity file") from error
    except ArchiveError as error:
        raise BadKey(f"{source} cannot be decrypted: {error.message}", error.hint) from error


def _parse_lines(data: bytes, source: str) -> list[Identity]:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        # The UnicodeDecodeError carries the whole file.
        raise BadKey(f"{source} is not an identity file: it is not text", _USE_AGE_KEYS) from None
    identities = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            identities.append(_parse_identity(line.strip()))
        except BadKey as error:
            raise BadKey(f"{source}, line {number}: {error.message}", error.hint) from error
    if not identities:
        raise BadKey(f"{source} holds no identity", _USE_AGE_KEYS)
    return identities


def _parse_identity(text: str) -> Identity:
    _refuse_foreign(text)
    try:
        prefix, data = bech32.decode(text)
    except ValueError as error:
        raise BadKey(f"an identity cannot be read: {error}", _USE_AGE_KEYS) from error
    if prefix == x25519.IDENTITY_PREFIX:
        return X25519Identity(data)
    if prefix == mlkem768x25519.IDENTITY_PREFIX:
        return HybridIdentity(data)
    raise BadKey("an identity cannot be read: it is of no kind that is supported", _USE_AGE_KEYS)


def _refuse_foreign(text: str) -> None:
    """Recognise what people put here by mistake."""
    if text.startswith("-----BEGIN"):
        raise BadKey("SSH and PEM keys are not supported as identities", _USE_AGE_KEYS)
    if text.upper().startswith("AGE-PLUGIN-"):
        raise BadKey("identities of age plugins are not supported", _USE_AGE_KEYS)
    if text.startswith("age1"):
        raise BadKey("a recipient, which opens nothing, was given where an identity belongs", _USE_AGE_KEYS)
    if not text.startswith("AGE-SECRET-KEY-"):
        raise BadKey("an identity cannot be read: it does not begin with AGE-SECRET-KEY-", _USE_AGE_KEYS)
