"""Making identities."""

from __future__ import annotations

from pathlib import Path

from drunner_vault.age import HybridIdentity, X25519Identity
from drunner_vault.clock import Clock, isoformat
from drunner_vault.durable import new_file


def new_identity(path: Path, clock: Clock, *, post_quantum: bool) -> str:
    """Make an identity in a new file that only its owner may read; returns its recipient. Raises AlreadyExists,
    StorageError."""
    identity = HybridIdentity.generate() if post_quantum else X25519Identity.generate()
    recipient = str(identity.recipient())
    text = f"# created: {isoformat(clock.now())}\n# public key: {recipient}\n{identity}\n"
    with new_file(path) as stream:
        stream.write(text.encode())
    return recipient
