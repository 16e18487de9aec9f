"""Setting up a host: keys, settings, and a store that is proven before the settings name it.

What was done before an interruption is taken up when it is called again; the settings are written last.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from drunner_vault.clock import Clock
from drunner_vault.config import Settings
from drunner_vault.config.template import Start, template
from drunner_vault.durable import new_file, storage_error
from drunner_vault.errors import BadUsage, NoChange
from drunner_vault.workflows.setup.new_key import new_identity
from drunner_vault.workflows.setup.proving import Proof
from drunner_vault.workflows.trust import Trust

_MODE = 0o600  # there may be secrets in it one day
_PUBLIC = "# public key: "


@dataclass(frozen=True)
class KeyFile:
    """A recovery identity to be made. path: its file."""

    path: Path
    post_quantum: bool


@dataclass(frozen=True)
class SetUp:
    """What was done. settings: the file. key_file: where a recovery identity is that has been made; empty if recipients
    were given. signer: the line by which others trust this host. proof: None if no store was named."""

    settings: str
    recipients: tuple[str, ...]
    key_file: str
    signer: str
    proof: Proof | None


Prove = Callable[[Sequence[str], Path | None], Proof]
"""Proves the store, with an archive to these recipients; the file has an identity that opens it, if there is one."""


def set_up(path: Path, start: Start, key: KeyFile, trust: Trust, prove: Prove | None, clock: Clock) -> SetUp:
    """Make keys, prove the store, and write the settings to `path`, which is not there yet.

    start: its recipients; none: those of `key`, which is made. Raises whatever goes wrong; the settings are then not
    written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as cause:
        raise storage_error("create", path.parent, cause) from cause
    made = None
    if not start.recipients:
        made = key.path
        start = replace(start, recipients=(_recovery_key(key, clock),))
    signer = trust.signer_line()
    proof = prove(start.recipients, made) if prove else None
    with new_file(path, _MODE) as stream:
        stream.write(template(start).encode())
    return SetUp(str(path), tuple(start.recipients), str(made or ""), signer, proof)


def require_as_asked(path: Path, known: Settings, start: Start) -> None:
    """For a host that has settings: raises NoChange if they say all that was asked for, BadUsage if they do not."""
    urls = [item.url for item in known.stores.values()]
    missing = [f"recipient {each}" for each in start.recipients if each not in known.recipients]
    missing += [f"store {start.store}"] if start.store and start.store not in urls else []
    if missing:
        raise BadUsage(
            f"{path} is there already, and has no {' and no '.join(missing)}",
            "it is yours to change; then: drunner-vault config check",
        )
    raise NoChange(f"this host is set up: {path} is there")


def _recovery_key(key: KeyFile, clock: Clock) -> str:
    """The recipient of the identity in a file, made unless an interrupted `init` has made it. Raises BadUsage,
    StorageError."""
    if not key.path.exists():
        return new_identity(key.path, clock, post_quantum=key.post_quantum)
    try:
        text = key.path.read_text(encoding="utf-8", errors="replace")
    except OSError as cause:
        raise storage_error("read", key.path, cause) from cause
    found = [line.removeprefix(_PUBLIC) for line in text.splitlines() if line.startswith(_PUBLIC)]
    if len(found) != 1:
        raise BadUsage(f"{key.path} is there already, and is no identity of ours", "name another: --recovery-key FILE")
    return found[0]
