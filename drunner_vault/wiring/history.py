"""Where commands write down what they do."""

from __future__ import annotations

from collections.abc import Mapping

from drunner_vault.wiring.services import require_root
from drunner_vault.wiring.settings import vault_directory
from drunner_vault.workflows.unattended.history import History

PART_OF_A_JOB = "DRUNNER_VAULT_JOB"  # in the environment of a job's commands: what they do is written down by the job


def history(environment: Mapping[str, str]) -> History:
    """What was done on this host. Raises BadUsage without root's rights."""
    require_root()
    return History(vault_directory(environment))


def history_of_hand(environment: Mapping[str, str]) -> History | None:
    """Where a command writes down what it does; None if a job does that, of which it is a part."""
    return None if environment.get(PART_OF_A_JOB) else history(environment)
