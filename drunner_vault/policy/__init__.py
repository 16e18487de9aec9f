"""What to keep, to lock and to doubt, and what is due; from times and sizes alone. Nothing here reads, writes, asks."""

from drunner_vault.policy.cron import Schedule, is_due, parse_schedule
from drunner_vault.policy.locking import LONGEST, lock_until
from drunner_vault.policy.retention import Candidate, Decision, decide
from drunner_vault.policy.rules import Retention, Span, parse_duration
from drunner_vault.policy.suspicion import Sized, Suspicion, suspicion

__all__ = [
    "LONGEST",
    "Candidate",
    "Decision",
    "Retention",
    "Schedule",
    "Sized",
    "Span",
    "Suspicion",
    "decide",
    "is_due",
    "lock_until",
    "parse_duration",
    "parse_schedule",
    "suspicion",
]
