"""Recipients as people write them: one on the command line, or a file with one a line."""

from __future__ import annotations

from drunner_vault.age import bech32, mlkem768x25519, x25519
from drunner_vault.age.keys import Recipient
from drunner_vault.age.mlkem768x25519 import HybridRecipient
from drunner_vault.age.x25519 import X25519Recipient
from drunner_vault.errors import BadKey

_SECRET_PREFIXES = ("AGE-SECRET-KEY-", "AGE-PLUGIN-")
_USE_AGE_KEYS = "use a recipient that begins with age1, as age-keygen prints it"


def parse_recipient(text: str) -> Recipient:
    """Return the recipient behind `age1…` or `age1pq1…`; white space around it is ignored.

    Raises BadKey, with a message that never quotes the text: it may be a secret that was put in the wrong place.
    """
    text = text.strip()
    _refuse_foreign(text)
    try:
        prefix, data = bech32.decode(text)
    except ValueError as error:
        raise BadKey(f"a recipient cannot be read: {error}", _USE_AGE_KEYS) from error
    if prefix == x25519.RECIPIENT_PREFIX:
        return X25519Recipient(data)
    if prefix == mlkem768x25519.RECIPIENT_PREFIX:
        return HybridRecipient(data)
    raise _unknown(prefix)


def parse_recipients_file(text: str, source: str) -> list[Recipient]:
    """Return the recipients of a file, one a line; empty lines and lines that begin with `#` are passed over.

    source: what to call the file in errors. Raises BadKey, naming the line, also for a file without any recipient.
    """
    recipients = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            recipients.append(parse_recipient(line))
        except BadKey as error:
            raise BadKey(f"{source}, line {number}: {error.message}", error.hint) from error
    if not recipients:
        raise BadKey(f"{source} holds no recipient", "put one on each line, beginning with age1")
    return recipients


def _refuse_foreign(text: str) -> None:
    """Recognise what people put here by mistake."""
    if text.upper().startswith(_SECRET_PREFIXES):
        raise BadKey(
            "an identity, which is secret, was given where a recipient belongs",
            "give its recipient: age-keygen -y FILE prints it",
        )
    if text.startswith("ssh-"):
        raise BadKey("SSH keys are not supported as recipients", _USE_AGE_KEYS)
    if not text.lower().startswith("age1"):
        raise BadKey("a recipient cannot be read: it does not begin with age1", _USE_AGE_KEYS)


def _unknown(prefix: str) -> BadKey:
    name = prefix.removeprefix("age1")
    if prefix.startswith("age1") and prefix.islower():
        return BadKey(f"recipients of the age plugin {name[:40]} are not supported", _USE_AGE_KEYS)
    return BadKey("a recipient cannot be read: it must be in lower case and begin with age1", _USE_AGE_KEYS)
