"""What to keep, what to lock and what to doubt, from times and sizes alone. Nothing here reads, writes or asks."""

from drunner_vault.policy.locking import LONGEST, lock_until
from drunner_vault.policy.retention import Candidate, Decision, decide
from drunner_vault.policy.rules import Retention, Span, parse_duration
from drunner_vault.policy.suspicion import Sized, Suspicion, suspicion

__all__ = [
    "LONGEST",
    "Candidate",
    "Decision",
    "Retention",
    "Sized",
    "Span",
    "Suspicion",
    "decide",
    "lock_until",
    "parse_duration",
    "suspicion",
]
