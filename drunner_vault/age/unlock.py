"""From a header and some identities to the file key, and the way back."""

from __future__ import annotations

import hmac
from collections.abc import Sequence

from drunner_vault.age import scrypt
from drunner_vault.age.header import Header, Stanza, authenticated_part, damaged_header
from drunner_vault.age.keys import Identity, Recipient
from drunner_vault.age.primitives import hkdf
from drunner_vault.errors import BadKey, NoKey, WrongKey


def lock(file_key: bytes, recipients: Sequence[Recipient]) -> Header:
    """Return a header that gives `file_key` to each of the recipients.

    Raises NoKey without recipients, BadKey if they cannot be mixed.
    """
    if not recipients:
        raise NoKey("no recipient was given to encrypt for", "name one with -r age1…, or set DRUNNER_PASSPHRASE")
    if len({recipient.labels for recipient in recipients}) > 1:
        raise _cannot_mix(recipients)
    stanzas = tuple(recipient.wrap(file_key) for recipient in recipients)
    return Header(stanzas, _mac(file_key, stanzas))


def unlock(header: Header, identities: Sequence[Identity]) -> bytes:
    """Return the file key, 16 bytes, after checking that the header is as it was written.

    Raises NoKey without identities, WrongKey if none of them fits, DamagedArchive if the header was altered.
    """
    _check_passphrase_is_alone(header)
    if not identities:
        raise NoKey(*_key_advice(header, "none was given"))
    for identity in identities:
        file_key = identity.unwrap(header.stanzas)
        if file_key is not None:
            if not hmac.compare_digest(_mac(file_key, header.stanzas), header.mac):
                raise damaged_header("it was altered, its authentication code does not match")
            return file_key
    raise WrongKey(*_key_advice(header, _why_none_fits(header, identities)))


def _mac(file_key: bytes, stanzas: tuple[Stanza, ...]) -> bytes:
    return hmac.digest(hkdf(file_key, b"", b"header"), authenticated_part(stanzas), "sha256")


def _check_passphrase_is_alone(header: Header) -> None:
    # Whoever knows a passphrase trusts that only those who know it wrote the file; a second stanza would break that.
    if len(header.stanzas) > 1 and scrypt.KIND in header.recipient_types:
        raise damaged_header("it mixes a passphrase with other recipients")


def _cannot_mix(recipients: Sequence[Recipient]) -> BadKey:
    if any(isinstance(recipient, scrypt.ScryptRecipient) for recipient in recipients):
        return BadKey(
            "a passphrase must be the only recipient, and others were given with it",
            "give either one passphrase or recipients",
        )
    return BadKey(
        "post-quantum recipients cannot be mixed with others, which would undo their protection",
        "give only recipients that begin with age1pq1, or none of them",
    )


def _why_none_fits(header: Header, identities: Sequence[Identity]) -> str:
    only_files = not any(isinstance(identity, scrypt.ScryptIdentity) for identity in identities)
    if _needs_passphrase(header):
        return "only identities were given" if only_files else "another one was given"
    return "none of the identities given fits" if only_files else "a passphrase was given"


def _key_advice(header: Header, problem: str) -> tuple[str, str]:
    """Message and hint: what opens this file, and why what was given does not."""
    if _needs_passphrase(header):
        return (
            f"the file is encrypted with a passphrase, and {problem}",
            "set DRUNNER_PASSPHRASE to the passphrase it was made with",
        )
    kinds = ", ".join(kind[:40] for kind in header.recipient_types[:5])
    return (
        f"the file is encrypted for recipients of kind {kinds}, and {problem}",
        "pass the file with the right identity: -i FILE",
    )


def _needs_passphrase(header: Header) -> bool:
    return header.recipient_types == [scrypt.KIND]
