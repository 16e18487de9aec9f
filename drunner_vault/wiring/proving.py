"""Proving a store that the settings do not name yet."""

from __future__ import annotations

import os
from collections.abc import Callable, MutableMapping, Sequence
from pathlib import Path

from drunner_vault.clock import SYSTEM_CLOCK
from drunner_vault.config import Settings, StoreSettings
from drunner_vault.config.template import Start
from drunner_vault.wiring.environment import adopt
from drunner_vault.wiring.settings import trust
from drunner_vault.wiring.stores import named_store, open_store, places
from drunner_vault.workflows.backup import BackupChoices
from drunner_vault.workflows.keys import identities, recipients
from drunner_vault.workflows.setup.proving import Proof, prove_store


def prove_url(
    environment: MutableMapping[str, str],
    start: Start,
    to: Sequence[str],
    files: Sequence[Path],
    ask: Callable[[str], str] | None,
    notice: Callable[[str], None],
) -> Proof:
    """Prove the store of settings to come. to: recipients. files: of identities that open what is for them. Raises
    BadUsage for what is no store, and whatever goes wrong."""
    adopt(Settings(environment_file=start.environment_file), environment)
    address = named_store("main", StoreSettings(start.store, {}, {}, "--store"))
    store = open_store(environment, notice, address)
    trusted = trust(environment)
    key = trusted.signing_key()
    chosen = recipients((), (), to, {}, unencrypted=False)
    choices = BackupChoices(chosen, host=os.uname().nodename, sign=key.sign)
    proof = prove_store(store, choices, identities(files, {}, ask), trusted, SYSTEM_CLOCK)
    known = places(environment, notice)
    known.identified(known.writable_root(address))
    return proof
